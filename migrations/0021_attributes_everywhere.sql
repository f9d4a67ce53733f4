ALTER TABLE "follow_ups" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "follow_ups" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "loyalty_programmes" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "loyalty_programmes" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "partners" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "partners" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "redemptions" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "redemptions" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "rewards" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "rewards" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "survey_responses" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "survey_responses" ADD COLUMN "tags" text[];--> statement-breakpoint
ALTER TABLE "surveys" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "surveys" ADD COLUMN "tags" text[];