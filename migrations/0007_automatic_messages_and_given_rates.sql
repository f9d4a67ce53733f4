-- Of large tables build the three indexes before the release, CONCURRENTLY and under these names (migrations/README.md).
-- Until the previous version is gone it does without the two dropped ones: slower, not wrong.
DROP INDEX "interactions_customer_occurred";--> statement-breakpoint
DROP INDEX "interactions_responses";--> statement-breakpoint
-- What is there, and what the previous version still writes, is taken for a person's.
ALTER TABLE "interactions" ADD COLUMN "automatic" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "rate_given" boolean;--> statement-breakpoint
ALTER TABLE "returns" ADD COLUMN "rate_given" boolean;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "interactions_customer_time" ON "interactions" USING btree ("customer_id","occurred_at","id","automatic");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "interactions_answers" ON "interactions" USING btree ("customer_id","occurred_at") WHERE (direction = 'outbound' or staff is not null) and kind <> 'ad_impression' and not automatic;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "interactions_updated" ON "interactions" USING btree ("updated_at","id");
