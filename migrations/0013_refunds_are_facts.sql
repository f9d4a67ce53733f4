ALTER TABLE "refunds" ALTER COLUMN "order_id" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "source" text COLLATE "C";--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "external_id" text COLLATE "C";--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "order_source" text COLLATE "C";--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "order_external_id" text COLLATE "C";--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "refused_reason" text;--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "status" text GENERATED ALWAYS AS (case when order_id is null then 'waiting' when refused_reason is not null then 'refused' else 'applied' end) STORED NOT NULL;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_refunded" ON "refunds" USING btree ("refunded_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_updated" ON "refunds" USING btree ("updated_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_not_applied" ON "refunds" USING btree ("status","refunded_at","id") WHERE status <> 'applied';--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "refunds_waiting" ON "refunds" USING btree ("order_source","order_external_id") WHERE order_id is null;