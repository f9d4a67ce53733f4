CREATE TABLE "customer_purchases" (
	"customer_id" uuid PRIMARY KEY NOT NULL,
	"days" date[] NOT NULL,
	"orders" integer[] NOT NULL,
	"revenue" bigint[] NOT NULL,
	"unvalued" integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE "customer_month" ADD COLUMN "base_lines" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "customer_month" ADD COLUMN "base_costed_lines" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "customer_month" ADD COLUMN "base_cost" numeric DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "customer_purchases" ADD CONSTRAINT "customer_purchases_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "customer_purchases_unvalued" ON "customer_purchases" USING btree ("customer_id") WHERE unvalued > 0;--> statement-breakpoint
-- The version before writes months without these columns while both run. Where there are orders already, the job fillPurchases
-- fills them, and until then metrics count from the facts (src/features/rollups/fill.ts).
INSERT INTO "deployment_settings" SELECT 'FILL purchases', 'done' WHERE NOT EXISTS (SELECT FROM "orders");
