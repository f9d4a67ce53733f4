CREATE TABLE "loyalty_programme_versions" (
	"programme_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"rules" jsonb NOT NULL,
	"valid_from" timestamp with time zone NOT NULL,
	"published_at" timestamp with time zone NOT NULL,
	"published_by" text NOT NULL,
	CONSTRAINT "loyalty_programme_versions_programme_id_number_pk" PRIMARY KEY("programme_id","number")
);
--> statement-breakpoint
CREATE TABLE "loyalty_programmes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"status" text NOT NULL,
	"rules" jsonb NOT NULL,
	"ended_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "loyalty_accounts" (
	"customer_id" uuid PRIMARY KEY NOT NULL,
	"programme_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"joined_at" timestamp with time zone NOT NULL,
	"joined_on" date NOT NULL,
	"tier" text,
	"tier_since" timestamp with time zone,
	"tier_ends_at" timestamp with time zone,
	"tier_in_grace" boolean NOT NULL,
	"active" bigint NOT NULL,
	"pending" bigint NOT NULL,
	"debt" bigint NOT NULL,
	"settled_at" timestamp with time zone NOT NULL,
	"next_at" timestamp with time zone,
	"referral_rewarded" boolean NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "loyalty_earnings" (
	"customer_id" uuid NOT NULL,
	"order_id" uuid NOT NULL,
	"placed_at" timestamp with time zone NOT NULL,
	"entitled" bigint NOT NULL,
	"spend" bigint NOT NULL,
	"tier" text,
	CONSTRAINT "loyalty_earnings_customer_id_order_id_pk" PRIMARY KEY("customer_id","order_id")
);
--> statement-breakpoint
CREATE TABLE "loyalty_entries" (
	"customer_id" uuid NOT NULL,
	"transaction_id" uuid NOT NULL,
	"line" smallint NOT NULL,
	"lot_id" uuid,
	"points" bigint NOT NULL,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "loyalty_entries_customer_id_transaction_id_line_pk" PRIMARY KEY("customer_id","transaction_id","line")
);
--> statement-breakpoint
CREATE TABLE "loyalty_lots" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"transaction_id" uuid NOT NULL,
	"points" bigint NOT NULL,
	"remaining" bigint NOT NULL,
	"earned_at" timestamp with time zone NOT NULL,
	"active_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone,
	"order_id" uuid,
	"bonus_key" text COLLATE "C",
	CONSTRAINT "loyalty_lots_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "loyalty_tier_changes" (
	"customer_id" uuid NOT NULL,
	"sequence" integer NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"previous" text,
	"tier" text NOT NULL,
	"reason" text NOT NULL,
	"amount" bigint NOT NULL,
	"ends_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "loyalty_tier_changes_customer_id_sequence_pk" PRIMARY KEY("customer_id","sequence")
);
--> statement-breakpoint
CREATE TABLE "loyalty_transactions" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"kind" text NOT NULL,
	"points" bigint NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"order_id" uuid,
	"entitled" bigint,
	"lapsed" bigint NOT NULL,
	"waived" bigint NOT NULL,
	"bonus_key" text COLLATE "C",
	"redemption_id" uuid,
	"related_id" uuid,
	"related_customer_id" uuid,
	"reason" text,
	"by" text NOT NULL,
	"external_id" text COLLATE "C",
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "loyalty_transactions_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "redemptions" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"reward_id" uuid NOT NULL,
	"quantity" integer NOT NULL,
	"points" bigint NOT NULL,
	"status" text NOT NULL,
	"transaction_id" uuid NOT NULL,
	"redeemed_at" timestamp with time zone NOT NULL,
	"fulfilled_at" timestamp with time zone,
	"cancelled_at" timestamp with time zone,
	"reason" text,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "redemptions_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "rewards" (
	"id" uuid PRIMARY KEY NOT NULL,
	"programme_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"points" bigint NOT NULL,
	"stock" integer,
	"redeemed" integer NOT NULL,
	"limit_per_customer" integer,
	"tier" text,
	"available_from" timestamp with time zone,
	"available_to" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "survey_invitations" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"survey_id" uuid NOT NULL,
	"status" text NOT NULL,
	"trigger" text NOT NULL,
	"occasion" text,
	"order_id" uuid,
	"interaction_id" uuid,
	"sku" text,
	"staff" text,
	"department" text,
	"process" text,
	"channel" text,
	"due_at" timestamp with time zone NOT NULL,
	"sent_at" timestamp with time zone,
	"expires_at" timestamp with time zone,
	"response_id" uuid,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "survey_invitations_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "survey_plans" (
	"survey_id" uuid PRIMARY KEY NOT NULL,
	"triggers" text NOT NULL,
	"planned_until" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "survey_answers" (
	"response_id" uuid NOT NULL,
	"survey_id" uuid NOT NULL,
	"answered_at" timestamp with time zone NOT NULL,
	"score" smallint,
	"band" smallint,
	"is_primary" boolean NOT NULL,
	"counted" boolean NOT NULL,
	"customer_id" uuid,
	"superseded_at" timestamp with time zone,
	"superseded_in_survey_at" timestamp with time zone,
	"question" text NOT NULL,
	"type" text NOT NULL,
	"choices" jsonb,
	"text" text,
	CONSTRAINT "survey_answers_response_id_question_pk" PRIMARY KEY("response_id","question")
);
--> statement-breakpoint
CREATE TABLE "survey_responses" (
	"id" uuid PRIMARY KEY NOT NULL,
	"customer_id" uuid,
	"version" integer NOT NULL,
	"survey_id" uuid NOT NULL,
	"survey_version" integer NOT NULL,
	"submission_id" text COLLATE "C" NOT NULL,
	"status" text NOT NULL,
	"answered_at" timestamp with time zone NOT NULL,
	"asked_at" timestamp with time zone,
	"late" boolean NOT NULL,
	"order_id" uuid,
	"sku" text,
	"interaction_id" uuid,
	"invitation_id" uuid,
	"staff" text,
	"department" text,
	"process" text,
	"channel" text,
	"language" text,
	"journey_stage" text,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "survey_versions" (
	"survey_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"questions" jsonb NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "survey_versions_survey_id_number_pk" PRIMARY KEY("survey_id","number")
);
--> statement-breakpoint
CREATE TABLE "surveys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"status" text NOT NULL,
	"current_version" integer NOT NULL,
	"opened_at" timestamp with time zone,
	"closes_at" timestamp with time zone,
	"journey_stage" text,
	"channel" text,
	"language" text,
	"settings" jsonb NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "follow_ups" ADD COLUMN "response_id" uuid;--> statement-breakpoint
ALTER TABLE "loyalty_programme_versions" ADD CONSTRAINT "loyalty_programme_versions_programme_id_loyalty_programmes_id_fk" FOREIGN KEY ("programme_id") REFERENCES "public"."loyalty_programmes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "loyalty_accounts" ADD CONSTRAINT "loyalty_accounts_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "loyalty_accounts" ADD CONSTRAINT "loyalty_accounts_programme_id_loyalty_programmes_id_fk" FOREIGN KEY ("programme_id") REFERENCES "public"."loyalty_programmes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "loyalty_tier_changes" ADD CONSTRAINT "loyalty_tier_changes_customer_id_loyalty_accounts_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."loyalty_accounts"("customer_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "loyalty_transactions" ADD CONSTRAINT "loyalty_transactions_customer_id_loyalty_accounts_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."loyalty_accounts"("customer_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "redemptions" ADD CONSTRAINT "redemptions_customer_id_loyalty_accounts_customer_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."loyalty_accounts"("customer_id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "redemptions" ADD CONSTRAINT "redemptions_reward_id_rewards_id_fk" FOREIGN KEY ("reward_id") REFERENCES "public"."rewards"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "rewards" ADD CONSTRAINT "rewards_programme_id_loyalty_programmes_id_fk" FOREIGN KEY ("programme_id") REFERENCES "public"."loyalty_programmes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_invitations" ADD CONSTRAINT "survey_invitations_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_invitations" ADD CONSTRAINT "survey_invitations_survey_id_surveys_id_fk" FOREIGN KEY ("survey_id") REFERENCES "public"."surveys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_plans" ADD CONSTRAINT "survey_plans_survey_id_surveys_id_fk" FOREIGN KEY ("survey_id") REFERENCES "public"."surveys"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_answers" ADD CONSTRAINT "survey_answers_response_id_survey_responses_id_fk" FOREIGN KEY ("response_id") REFERENCES "public"."survey_responses"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_responses" ADD CONSTRAINT "survey_responses_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_responses" ADD CONSTRAINT "survey_responses_survey_id_surveys_id_fk" FOREIGN KEY ("survey_id") REFERENCES "public"."surveys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "survey_versions" ADD CONSTRAINT "survey_versions_survey_id_surveys_id_fk" FOREIGN KEY ("survey_id") REFERENCES "public"."surveys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "loyalty_programmes_created" ON "loyalty_programmes" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "loyalty_accounts_joined" ON "loyalty_accounts" USING btree ("programme_id","joined_at","customer_id");--> statement-breakpoint
CREATE INDEX "loyalty_accounts_tier" ON "loyalty_accounts" USING btree ("programme_id","tier","customer_id");--> statement-breakpoint
CREATE INDEX "loyalty_accounts_due" ON "loyalty_accounts" USING btree ("next_at");--> statement-breakpoint
CREATE INDEX "loyalty_accounts_joined_day" ON "loyalty_accounts" USING btree ((extract(month from joined_on) * 100 + extract(day from joined_on)));--> statement-breakpoint
CREATE INDEX "loyalty_earnings_window" ON "loyalty_earnings" USING btree ("customer_id","placed_at");--> statement-breakpoint
CREATE INDEX "loyalty_entries_lot" ON "loyalty_entries" USING btree ("customer_id","lot_id");--> statement-breakpoint
CREATE INDEX "loyalty_lots_live" ON "loyalty_lots" USING btree ("customer_id") WHERE remaining > 0;--> statement-breakpoint
CREATE INDEX "loyalty_lots_expiring" ON "loyalty_lots" USING btree ("expires_at") WHERE remaining > 0 and expires_at is not null;--> statement-breakpoint
CREATE INDEX "loyalty_tier_changes_at" ON "loyalty_tier_changes" USING btree ("at","customer_id");--> statement-breakpoint
CREATE INDEX "loyalty_transactions_id" ON "loyalty_transactions" USING btree ("id");--> statement-breakpoint
CREATE INDEX "loyalty_transactions_customer_at" ON "loyalty_transactions" USING btree ("customer_id","at","id");--> statement-breakpoint
CREATE INDEX "loyalty_transactions_created" ON "loyalty_transactions" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "loyalty_transactions_order" ON "loyalty_transactions" USING btree ("order_id","customer_id") WHERE order_id is not null;--> statement-breakpoint
CREATE INDEX "loyalty_transactions_bonus" ON "loyalty_transactions" USING btree ("customer_id","bonus_key") WHERE bonus_key is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "loyalty_transactions_external" ON "loyalty_transactions" USING btree ("customer_id","by","external_id") WHERE external_id is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "loyalty_transactions_undone" ON "loyalty_transactions" USING btree ("customer_id","related_id") WHERE kind = 'return';--> statement-breakpoint
CREATE INDEX "redemptions_id" ON "redemptions" USING btree ("id");--> statement-breakpoint
CREATE INDEX "redemptions_created" ON "redemptions" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "redemptions_reward" ON "redemptions" USING btree ("reward_id","created_at","id");--> statement-breakpoint
CREATE INDEX "redemptions_customer_reward" ON "redemptions" USING btree ("customer_id","reward_id") WHERE status <> 'cancelled';--> statement-breakpoint
CREATE INDEX "rewards_created" ON "rewards" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "rewards_programme" ON "rewards" USING btree ("programme_id","points","id");--> statement-breakpoint
CREATE INDEX "survey_invitations_id" ON "survey_invitations" USING btree ("id");--> statement-breakpoint
CREATE INDEX "survey_invitations_created" ON "survey_invitations" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "survey_invitations_survey" ON "survey_invitations" USING btree ("survey_id","created_at","id");--> statement-breakpoint
CREATE INDEX "survey_invitations_due" ON "survey_invitations" USING btree ("due_at","id") WHERE status = 'due';--> statement-breakpoint
CREATE INDEX "survey_invitations_sent" ON "survey_invitations" USING btree ("customer_id","sent_at") WHERE sent_at is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "survey_invitations_occasion" ON "survey_invitations" USING btree ("customer_id","survey_id","occasion") WHERE occasion is not null;--> statement-breakpoint
CREATE INDEX "survey_answers_customer" ON "survey_answers" USING btree ("customer_id","type","answered_at");--> statement-breakpoint
CREATE INDEX "survey_answers_survey" ON "survey_answers" USING btree ("survey_id","question","answered_at");--> statement-breakpoint
CREATE INDEX "survey_answers_nps" ON "survey_answers" USING btree ("answered_at","band","superseded_at") WHERE is_primary and counted and type = 'nps';--> statement-breakpoint
CREATE INDEX "survey_answers_csat" ON "survey_answers" USING btree ("answered_at","band","superseded_at") WHERE is_primary and counted and type = 'csat';--> statement-breakpoint
CREATE INDEX "survey_answers_ces" ON "survey_answers" USING btree ("answered_at","band","superseded_at") WHERE is_primary and counted and type = 'ces';--> statement-breakpoint
CREATE INDEX "survey_answers_apart" ON "survey_answers" USING btree ("answered_at","response_id","type") WHERE is_primary and not counted;--> statement-breakpoint
CREATE UNIQUE INDEX "survey_responses_submission" ON "survey_responses" USING btree ("survey_id","submission_id");--> statement-breakpoint
CREATE INDEX "survey_responses_customer" ON "survey_responses" USING btree ("customer_id","answered_at","id");--> statement-breakpoint
CREATE INDEX "survey_responses_survey" ON "survey_responses" USING btree ("survey_id","answered_at","id");--> statement-breakpoint
CREATE INDEX "survey_responses_answered" ON "survey_responses" USING btree ("answered_at","id");--> statement-breakpoint
CREATE INDEX "survey_responses_apart" ON "survey_responses" USING btree ("answered_at","id","status","late","survey_id","survey_version") WHERE late or status <> 'complete';--> statement-breakpoint
CREATE INDEX "survey_responses_terms" ON "survey_responses" USING gin (array_remove(array['order:' || order_id::text, 'interaction:' || interaction_id::text, 'sku:' || sku, 'staff:' || staff, 'department:' || department, 'process:' || process, 'channel:' || channel, 'language:' || language, 'stage:' || journey_stage], null));--> statement-breakpoint
CREATE INDEX "surveys_created" ON "surveys" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "customers_birth_day" ON "customers" USING btree ((extract(month from birthday) * 100 + extract(day from birthday))) WHERE birthday is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "follow_ups_response" ON "follow_ups" USING btree ("customer_id","response_id") WHERE response_id is not null;