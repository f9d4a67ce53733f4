ALTER TABLE "segments" ADD COLUMN "attributes" jsonb;--> statement-breakpoint
ALTER TABLE "segments" ADD COLUMN "tags" text[];