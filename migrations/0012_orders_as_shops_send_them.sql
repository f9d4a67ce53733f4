ALTER TABLE "campaigns" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "campaigns" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "customers" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "interactions" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "interactions" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "leads" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "leads" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "paid_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "fulfilled_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "discount_codes" text[];--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "note" text;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "shipping_address" jsonb;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "billing_address" jsonb;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "refunds" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "returns" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "returns" ADD COLUMN "tags" text[];--> statement-breakpoint
CREATE INDEX "customers_attributes" ON "customers" USING gin ("attributes" jsonb_path_ops) WHERE attributes is not null;--> statement-breakpoint
CREATE INDEX "orders_payment_failed" ON "orders" USING btree ("placed_at") WHERE payment_status in ('failed', 'voided');--> statement-breakpoint
CREATE INDEX "orders_attributes" ON "orders" USING gin ("attributes" jsonb_path_ops) WHERE attributes is not null;