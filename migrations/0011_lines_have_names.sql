ALTER TABLE "order_items" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "order_items" ADD COLUMN "tax" bigint;--> statement-breakpoint
ALTER TABLE "refund_items" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "refund_items" ADD COLUMN "order_line" smallint;--> statement-breakpoint
ALTER TABLE "refund_items" ADD COLUMN "tax" bigint;--> statement-breakpoint
ALTER TABLE "return_items" ADD COLUMN "external_id" text;--> statement-breakpoint
ALTER TABLE "return_items" ADD COLUMN "order_line" smallint;--> statement-breakpoint
ALTER TABLE "return_items" ADD COLUMN "tax" bigint;