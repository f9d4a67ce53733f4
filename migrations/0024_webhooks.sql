CREATE TABLE "webhook_deliveries" (
	"webhook_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"partner_id" uuid,
	"type" text NOT NULL,
	"record_id" text NOT NULL,
	"outcome" text NOT NULL,
	"attempts" bigint NOT NULL,
	"status" integer,
	"error" text,
	"duration" bigint,
	"last_attempt_at" timestamp with time zone,
	"next_attempt_at" timestamp with time zone,
	"tried_until" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "webhook_deliveries_webhook_id_id_pk" PRIMARY KEY("webhook_id","id")
);
--> statement-breakpoint
CREATE TABLE "webhook_positions" (
	"webhook_id" uuid PRIMARY KEY NOT NULL,
	"position" bigint NOT NULL,
	"held_until" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"url" text NOT NULL,
	"description" text,
	"kinds" jsonb,
	"types" jsonb,
	"include" jsonb NOT NULL,
	"status" text NOT NULL,
	"disabled_reason" text,
	"disabled_at" timestamp with time zone,
	"client" text NOT NULL,
	"partner_id" uuid,
	"scopes" jsonb NOT NULL,
	"sealed_secret" text NOT NULL,
	"sealed_former_secret" text,
	"former_secret_until" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "webhook_positions" ADD CONSTRAINT "webhook_positions_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "public"."webhooks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "webhook_deliveries_next" ON "webhook_deliveries" USING btree ("webhook_id","next_attempt_at") WHERE next_attempt_at is not null;--> statement-breakpoint
CREATE INDEX "webhook_deliveries_failed" ON "webhook_deliveries" USING btree ("webhook_id","id") WHERE outcome = 'failed';--> statement-breakpoint
CREATE INDEX "webhooks_created" ON "webhooks" USING btree ("created_at","id");