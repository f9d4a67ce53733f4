CREATE TABLE "customer_terms" (
	"customer_id" uuid NOT NULL,
	"term" text COLLATE "C" NOT NULL,
	"of_name" boolean NOT NULL,
	CONSTRAINT "customer_terms_customer_id_term_pk" PRIMARY KEY("customer_id","term")
);
--> statement-breakpoint
ALTER TABLE "customer_terms" ADD CONSTRAINT "customer_terms_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "customer_terms_term" ON "customer_terms" USING btree ("term","customer_id");--> statement-breakpoint
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
