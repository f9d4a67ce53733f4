-- Refunds take their net amount from an order, not their gross one. What is stored keeps its old meaning here (a refund is
-- all net), so that the previous version goes on; the service restates it before it is ready, and says what changed
-- (src/upgrades.ts). The defaults are for rows that the previous version still writes: run
-- `npm run verify-rollups -- --repair` when the last of its processes has ended.
-- Each ALTER rewrites its table once, under its lock: about 10 s for a million orders.
ALTER TABLE "refunds"
	ADD COLUMN "tax" bigint,
	ADD COLUMN "shipping" bigint,
	ADD COLUMN "net" bigint DEFAULT 0 NOT NULL,
	ADD COLUMN "net_before" bigint DEFAULT 0 NOT NULL,
	ADD COLUMN "updated_at" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "tax_estimated" boolean GENERATED ALWAYS AS (tax is null) STORED NOT NULL;--> statement-breakpoint
UPDATE "refunds" SET "net" = "amount", "updated_at" = "created_at";--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "refunded_net" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
UPDATE "orders" SET "refunded_net" = "refunded" WHERE "refunded" <> 0;--> statement-breakpoint
ALTER TABLE "orders"
	DROP COLUMN "status",
	DROP COLUMN "qualifying",
	DROP COLUMN "revenue",
	DROP COLUMN "base_revenue",
	ADD COLUMN "status" text GENERATED ALWAYS AS (case when cancelled_at is not null then 'cancelled' when refunded > 0 and refunded >= total then 'refunded' when refunded > 0 then 'partially_refunded' when fulfillment_status = 'fulfilled' then 'fulfilled' when payment_status = 'paid' then 'paid' else 'placed' end) STORED NOT NULL,
	ADD COLUMN "qualifying" boolean GENERATED ALWAYS AS (cancelled_at is null and not test and not (refunded > 0 and refunded >= total)) STORED NOT NULL,
	ADD COLUMN "revenue" bigint GENERATED ALWAYS AS (total - tax - refunded_net) STORED NOT NULL,
	ADD COLUMN "base_revenue" bigint GENERATED ALWAYS AS (case when abs((total - tax - refunded_net) * base_factor) < 9007199254740991 then round((total - tax - refunded_net) * base_factor)::bigint end) STORED;--> statement-breakpoint
CREATE INDEX "orders_not_qualifying" ON "orders" USING btree ("placed_at") WHERE not qualifying;--> statement-breakpoint
ALTER TABLE "returns" ADD COLUMN "tax" bigint;--> statement-breakpoint
ALTER TABLE "returns"
	ADD COLUMN "net" bigint GENERATED ALWAYS AS (total - coalesce(tax, 0)) STORED NOT NULL,
	ADD COLUMN "base_net" bigint GENERATED ALWAYS AS (case when (total - coalesce(tax, 0)) * base_factor < 9007199254740991 then round((total - coalesce(tax, 0)) * base_factor)::bigint end) STORED;
