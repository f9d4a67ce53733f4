CREATE TABLE "customer_terms" (
	"customer_id" uuid NOT NULL,
	"term" text COLLATE "C" NOT NULL,
	"of_name" boolean NOT NULL,
	CONSTRAINT "customer_terms_customer_id_term_pk" PRIMARY KEY("customer_id","term")
);
--> statement-breakpoint
CREATE TABLE "segment_members" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"segment_id" uuid NOT NULL,
	"entered_at" timestamp with time zone NOT NULL,
	"left_at" timestamp with time zone,
	CONSTRAINT "segment_members_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "segment_versions" (
	"segment_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"filter" jsonb,
	"by" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "segment_versions_segment_id_number_pk" PRIMARY KEY("segment_id","number")
);
--> statement-breakpoint
CREATE TABLE "segments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"filter" jsonb,
	"kind" text NOT NULL,
	"filter_version" integer NOT NULL,
	"size" bigint,
	"members_at" timestamp with time zone,
	"kept_from" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "customer_terms" ADD CONSTRAINT "customer_terms_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "segment_members" ADD CONSTRAINT "segment_members_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "segment_members" ADD CONSTRAINT "segment_members_segment_id_segments_id_fk" FOREIGN KEY ("segment_id") REFERENCES "public"."segments"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "segment_versions" ADD CONSTRAINT "segment_versions_segment_id_segments_id_fk" FOREIGN KEY ("segment_id") REFERENCES "public"."segments"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "customer_terms_term" ON "customer_terms" USING btree ("term","customer_id");--> statement-breakpoint
CREATE INDEX "segment_members_present" ON "segment_members" USING btree ("segment_id","customer_id") WHERE left_at is null;--> statement-breakpoint
CREATE INDEX "segment_members_entered" ON "segment_members" USING btree ("segment_id","entered_at","id");--> statement-breakpoint
CREATE INDEX "segment_members_left" ON "segment_members" USING btree ("segment_id","left_at","id") WHERE left_at is not null;--> statement-breakpoint
CREATE INDEX "segments_created" ON "segments" USING btree ("created_at","id");--> statement-breakpoint
-- By hand from here. Typing errors are looked for where pg_trgm is there and may be made (it is trusted: it needs the right CREATE on the database).
-- Without it the index is missing, and searches take words as they are typed. To add it later: these two statements.
DO $$ BEGIN
	CREATE EXTENSION IF NOT EXISTS pg_trgm;
	CREATE INDEX "customer_terms_fuzzy" ON "customer_terms" USING gin ("term" gin_trgm_ops) WITH (gin_pending_list_limit=512) WHERE of_name;
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
	RAISE NOTICE 'pg_trgm is not available: searches find no typing errors';
END $$;--> statement-breakpoint
-- How many customers have so many orders, such a revenue, were silent so long: without it the planner guesses.
CREATE STATISTICS "customer_purchases_figures" ON (orders[cardinality(orders)]), (revenue[cardinality(revenue)]), (days[1]), (days[cardinality(days)]), (cardinality(days)) FROM "customer_purchases";--> statement-breakpoint
-- Where there are customers already, the job fillTerms makes their words (src/features/customers/fill-terms.ts).
INSERT INTO "deployment_settings" SELECT 'FILL terms', 'done' WHERE NOT EXISTS (SELECT FROM "customers");
