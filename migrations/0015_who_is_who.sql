CREATE TABLE "customer_shared_identities" (
	"kind" text NOT NULL,
	"value" text COLLATE "C" NOT NULL,
	"customer_id" uuid NOT NULL,
	"is_primary" boolean NOT NULL,
	"brought_by" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "customer_shared_identities_customer_id_kind_value_pk" PRIMARY KEY("customer_id","kind","value")
);
--> statement-breakpoint
CREATE TABLE "dismissed_duplicates" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"other_id" uuid NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"by" text NOT NULL,
	CONSTRAINT "dismissed_duplicates_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
ALTER TABLE "customer_shared_identities" ADD CONSTRAINT "customer_shared_identities_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "dismissed_duplicates" ADD CONSTRAINT "dismissed_duplicates_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "customer_shared_identities_value" ON "customer_shared_identities" USING btree ("kind","value","customer_id");--> statement-breakpoint
CREATE INDEX "dismissed_duplicates_pair" ON "dismissed_duplicates" USING btree ("customer_id","other_id");--> statement-breakpoint
CREATE INDEX "dismissed_duplicates_other" ON "dismissed_duplicates" USING btree ("other_id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "customers_same_birthday" ON "customers" USING btree ((hashtextextended(lower(btrim(coalesce(nullif(name, ''), coalesce(given_name, '') || ' ' || coalesce(family_name, '')))), (birthday - date '2000-01-01')::bigint)),"id") WHERE coalesce(name, given_name, family_name) is not null and birthday is not null;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "customers_same_postal_code" ON "customers" USING btree ((hashtextextended(lower(btrim(coalesce(nullif(name, ''), coalesce(given_name, '') || ' ' || coalesce(family_name, '')))) || '|' || lower(replace(address ->> 'postalCode', ' ', '')), 0)),"id") WHERE coalesce(name, given_name, family_name) is not null and address ->> 'postalCode' is not null;