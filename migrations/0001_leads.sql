CREATE TABLE "assignment_rules" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"purpose" text NOT NULL,
	"method" text NOT NULL,
	"key" text,
	"groups" jsonb NOT NULL,
	"position" integer NOT NULL,
	"active" boolean NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "assignment_turns" (
	"rule_id" uuid NOT NULL,
	"value" text COLLATE "C" NOT NULL,
	"members" text COLLATE "C" NOT NULL,
	"turn" bigint NOT NULL,
	CONSTRAINT "assignment_turns_rule_id_value_members_pk" PRIMARY KEY("rule_id","value","members")
);
--> statement-breakpoint
CREATE TABLE "assignments" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"purpose" text NOT NULL,
	"follow_up_id" uuid,
	"owner" text,
	"previous_owner" text,
	"rule_id" uuid,
	"key_value" text,
	"method" text,
	"by" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "assignments_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "campaigns" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"channel" text,
	"starts_on" date,
	"ends_on" date,
	"cost" bigint,
	"audience" text,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "follow_ups" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"kind" text NOT NULL,
	"reason" text,
	"owner" text,
	"due_at" timestamp with time zone,
	"status" text NOT NULL,
	"outcome" text,
	"note" text,
	"closed_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "follow_ups_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "interactions" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"source" text COLLATE "C",
	"external_id" text COLLATE "C",
	"kind" text NOT NULL,
	"direction" text,
	"channel" text,
	"occurred_at" timestamp with time zone NOT NULL,
	"topic" text,
	"outcome" text,
	"staff" text,
	"seconds" integer,
	"pages" integer,
	"cost" bigint,
	"campaign_id" uuid,
	"order_id" uuid,
	"ticket" text,
	"text" text,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "interactions_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "lead_models" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"number" integer NOT NULL,
	"status" text NOT NULL,
	"parameters" jsonb NOT NULL,
	"counts" jsonb,
	"model" jsonb,
	"quality" jsonb,
	"reason" jsonb,
	"requested_by" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	CONSTRAINT "lead_models_number_unique" UNIQUE("number")
);
--> statement-breakpoint
CREATE TABLE "lead_rule_sets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"number" integer,
	"name" text NOT NULL,
	"status" text NOT NULL,
	"document" jsonb NOT NULL,
	"published_at" timestamp with time zone,
	"published_by" text,
	"indexed_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "lead_rule_sets_number_unique" UNIQUE("number")
);
--> statement-breakpoint
CREATE TABLE "lead_score_bounds" (
	"customer_id" uuid NOT NULL,
	"rule_set_id" uuid NOT NULL,
	"bound" bigint NOT NULL,
	"bound_at" timestamp with time zone NOT NULL,
	CONSTRAINT "lead_score_bounds_customer_id_rule_set_id_pk" PRIMARY KEY("customer_id","rule_set_id")
);
--> statement-breakpoint
CREATE TABLE "lead_stage_changes" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"sequence" integer NOT NULL,
	"from_stage" text,
	"to_stage" text NOT NULL,
	"by" text NOT NULL,
	"rule" text,
	"loss_reason" text,
	"note" text,
	"order_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "lead_stage_changes_customer_id_sequence_pk" PRIMARY KEY("customer_id","sequence")
);
--> statement-breakpoint
CREATE TABLE "leads" (
	"customer_id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"stage" text NOT NULL,
	"stage_since" timestamp with time zone NOT NULL,
	"loss_reason" text,
	"owner" text,
	"source" text,
	"segment" text,
	"entered_at" timestamp with time zone NOT NULL,
	"converted_at" timestamp with time zone,
	"conversion_order_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "campaign_id" uuid;--> statement-breakpoint
ALTER TABLE "assignments" ADD CONSTRAINT "assignments_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "follow_ups" ADD CONSTRAINT "follow_ups_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "interactions" ADD CONSTRAINT "interactions_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "interactions" ADD CONSTRAINT "interactions_campaign_id_campaigns_id_fk" FOREIGN KEY ("campaign_id") REFERENCES "public"."campaigns"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lead_score_bounds" ADD CONSTRAINT "lead_score_bounds_customer_id_leads_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."leads"("customer_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lead_score_bounds" ADD CONSTRAINT "lead_score_bounds_rule_set_id_lead_rule_sets_id_fk" FOREIGN KEY ("rule_set_id") REFERENCES "public"."lead_rule_sets"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lead_stage_changes" ADD CONSTRAINT "lead_stage_changes_customer_id_leads_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."leads"("customer_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "leads" ADD CONSTRAINT "leads_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "assignments_at" ON "assignments" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "assignments_owner" ON "assignments" USING btree ("owner","at","id");--> statement-breakpoint
CREATE INDEX "campaigns_created" ON "campaigns" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "campaigns_starts" ON "campaigns" USING btree (coalesce(starts_on, 'infinity'::date),"id");--> statement-breakpoint
CREATE INDEX "follow_ups_id" ON "follow_ups" USING btree ("id");--> statement-breakpoint
CREATE INDEX "follow_ups_created" ON "follow_ups" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "follow_ups_due" ON "follow_ups" USING btree (coalesce("due_at", '9999-12-31T00:00:00Z'::timestamptz),"id");--> statement-breakpoint
CREATE INDEX "follow_ups_open" ON "follow_ups" USING btree (coalesce("due_at", '9999-12-31T00:00:00Z'::timestamptz),"id") WHERE status = 'open';--> statement-breakpoint
CREATE INDEX "follow_ups_owner" ON "follow_ups" USING btree ("owner",coalesce("due_at", '9999-12-31T00:00:00Z'::timestamptz),"id") WHERE status = 'open';--> statement-breakpoint
CREATE INDEX "interactions_id" ON "interactions" USING btree ("id");--> statement-breakpoint
CREATE INDEX "interactions_customer_occurred" ON "interactions" USING btree ("customer_id","occurred_at","id");--> statement-breakpoint
CREATE INDEX "interactions_occurred" ON "interactions" USING btree ("occurred_at","id");--> statement-breakpoint
CREATE INDEX "interactions_campaign" ON "interactions" USING btree ("campaign_id","occurred_at","id","customer_id") WHERE campaign_id is not null;--> statement-breakpoint
CREATE INDEX "interactions_staff" ON "interactions" USING btree ("staff","occurred_at","id") WHERE staff is not null;--> statement-breakpoint
CREATE INDEX "interactions_responses" ON "interactions" USING btree ("customer_id","occurred_at") WHERE (direction = 'outbound' or staff is not null) and kind <> 'ad_impression';--> statement-breakpoint
CREATE INDEX "interactions_terms" ON "interactions" USING gin (array_remove(array['kind:' || kind, 'direction:' || direction, 'channel:' || channel, 'topic:' || topic, 'outcome:' || outcome, 'ticket:' || ticket, 'order:' || order_id::text], null));--> statement-breakpoint
CREATE INDEX "interactions_words" ON "interactions" USING gin (to_tsvector('simple', coalesce(topic, '') || ' ' || coalesce("text", '')));--> statement-breakpoint
CREATE INDEX "lead_models_created" ON "lead_models" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "lead_rule_sets_published" ON "lead_rule_sets" USING btree ("published_at","id");--> statement-breakpoint
CREATE INDEX "lead_rule_sets_created" ON "lead_rule_sets" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "lead_score_bounds_order" ON "lead_score_bounds" USING btree ("rule_set_id","bound","customer_id");--> statement-breakpoint
CREATE INDEX "lead_stage_changes_at" ON "lead_stage_changes" USING btree ("at","customer_id");--> statement-breakpoint
CREATE INDEX "leads_entered" ON "leads" USING btree ("entered_at","customer_id");--> statement-breakpoint
CREATE INDEX "leads_updated" ON "leads" USING btree ("updated_at","customer_id");--> statement-breakpoint
CREATE INDEX "leads_stage" ON "leads" USING btree ("stage","entered_at","customer_id");--> statement-breakpoint
CREATE INDEX "leads_owner" ON "leads" USING btree ("owner","stage","customer_id") WHERE owner is not null;--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_campaign_id_campaigns_id_fk" FOREIGN KEY ("campaign_id") REFERENCES "public"."campaigns"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "orders_campaign" ON "orders" USING btree ("campaign_id","placed_at") WHERE campaign_id is not null;--> statement-breakpoint
CREATE INDEX "refunds_customer_refunded" ON "refunds" USING btree ("customer_id","refunded_at","id");