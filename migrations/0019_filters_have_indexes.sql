-- By hand: the extension (trusted: it needs the right CREATE on the database), IF NOT EXISTS (on a large store, build these indexes before
-- the release: README.md, Locks), and the drops at the end.
CREATE EXTENSION IF NOT EXISTS btree_gin;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "customers_by_kind" ON "customers" USING btree ("kind","created_at","id") WHERE id < 'ffffffff-0000-0000-0000-000000000000'::uuid;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "customers_by_preferred_channel" ON "customers" USING btree ("preferred_channel","created_at","id") WHERE "preferred_channel" is not null and id < 'ffffffff-0000-0000-0000-000000000000'::uuid;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "customers_by_acquisition_source" ON "customers" USING btree ("acquisition_source","created_at","id") WHERE "acquisition_source" is not null and id < 'ffffffff-0000-0000-0000-000000000000'::uuid;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "interactions_filters" ON "interactions" USING gin ("kind","direction","channel","topic","outcome","order_id","ticket") WITH (gin_pending_list_limit=512);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "orders_by_currency" ON "orders" USING btree ("currency","placed_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "orders_by_payment_status" ON "orders" USING btree ("payment_status","placed_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "orders_by_channel" ON "orders" USING btree ("channel","placed_at","id") WHERE "channel" is not null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "orders_by_test" ON "orders" USING btree ("test","placed_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "orders_by_status" ON "orders" USING btree ("status","placed_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_by_order_id" ON "refunds" USING btree ("order_id","refunded_at","id") WHERE "order_id" is not null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_by_status" ON "refunds" USING btree ("status","refunded_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "returns_by_currency" ON "returns" USING btree ("currency","returned_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "idempotency_keys_created" ON "idempotency_keys" USING btree ("created_at");--> statement-breakpoint
DROP INDEX IF EXISTS "interactions_terms";--> statement-breakpoint
DROP INDEX IF EXISTS "refunds_not_applied";
