ALTER TABLE "order_items" ALTER COLUMN "sku" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "refund_items" ALTER COLUMN "sku" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "return_items" ALTER COLUMN "sku" DROP NOT NULL;