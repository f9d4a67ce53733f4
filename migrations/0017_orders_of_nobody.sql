DROP INDEX "customers_created";--> statement-breakpoint
DROP INDEX "customers_updated";--> statement-breakpoint
CREATE INDEX "customers_created" ON "customers" USING btree ("created_at","id") WHERE id < 'ffffffff-0000-0000-0000-000000000000'::uuid;--> statement-breakpoint
CREATE INDEX "customers_updated" ON "customers" USING btree ("updated_at","id") WHERE id < 'ffffffff-0000-0000-0000-000000000000'::uuid;