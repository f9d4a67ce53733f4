CREATE TABLE "audit_entries" (
	"id" uuid PRIMARY KEY NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"request_id" text NOT NULL,
	"client" text COLLATE "C" NOT NULL,
	"confinement" text,
	"confinement_id" uuid,
	"address" text,
	"door" text NOT NULL,
	"operation" text COLLATE "C" NOT NULL,
	"kind" text NOT NULL,
	"resource" text NOT NULL,
	"record_ids" uuid[] NOT NULL,
	"customer_ids" uuid[] NOT NULL,
	"members" text[] NOT NULL,
	"outcome" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "client_secrets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"client_id" uuid NOT NULL,
	"hash" text NOT NULL,
	"hint" text NOT NULL,
	"expires_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "clients" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"scopes" jsonb NOT NULL,
	"partner_id" uuid,
	"self_service" boolean NOT NULL,
	"token_ttl" integer NOT NULL,
	"status" text NOT NULL,
	"tokens_from" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"kid" text COLLATE "C" PRIMARY KEY NOT NULL,
	"algorithm" text NOT NULL,
	"sealed" text,
	"signs_from" timestamp with time zone NOT NULL,
	"revoked_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "token_revocations" (
	"jti" text COLLATE "C" PRIMARY KEY NOT NULL,
	"client" text NOT NULL,
	"revoked_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "consent_changes" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"purpose" text COLLATE "C" NOT NULL,
	"channel" text COLLATE "C",
	"status" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"source" text,
	"text_version" text,
	"wording" text,
	"reference" text,
	"by" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "consent_changes_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "consents" (
	"customer_id" uuid NOT NULL,
	"purpose" text COLLATE "C" NOT NULL,
	"channel" text COLLATE "C" NOT NULL,
	"status" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"change_id" uuid NOT NULL,
	CONSTRAINT "consents_customer_id_purpose_channel_pk" PRIMARY KEY("customer_id","purpose","channel")
);
--> statement-breakpoint
CREATE TABLE "customer_aliases" (
	"old_id" uuid PRIMARY KEY NOT NULL,
	"customer_id" uuid NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "customer_merge_records" (
	"merge_id" uuid NOT NULL,
	"kind" text COLLATE "C" NOT NULL,
	"record_id" uuid NOT NULL,
	CONSTRAINT "customer_merge_records_merge_id_kind_record_id_pk" PRIMARY KEY("merge_id","kind","record_id")
);
--> statement-breakpoint
CREATE TABLE "customer_merges" (
	"id" uuid PRIMARY KEY NOT NULL,
	"customer_id" uuid NOT NULL,
	"survivor_id" uuid NOT NULL,
	"merged_id" uuid NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"by" text NOT NULL,
	"take" jsonb NOT NULL,
	"before" jsonb,
	"after" jsonb,
	"undone_at" timestamp with time zone,
	"undone_by" text
);
--> statement-breakpoint
CREATE TABLE "partner_customers" (
	"partner_id" uuid NOT NULL,
	"customer_id" uuid NOT NULL,
	"writable" boolean NOT NULL,
	CONSTRAINT "partner_customers_partner_id_customer_id_pk" PRIMARY KEY("partner_id","customer_id")
);
--> statement-breakpoint
CREATE TABLE "partner_shares" (
	"partner_id" uuid NOT NULL,
	"customer_id" uuid NOT NULL,
	"writable" boolean NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"by" text NOT NULL,
	CONSTRAINT "partner_shares_partner_id_customer_id_pk" PRIMARY KEY("partner_id","customer_id")
);
--> statement-breakpoint
CREATE TABLE "partners" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"status" text NOT NULL,
	"fields" jsonb NOT NULL,
	"minimum_group_size" integer NOT NULL,
	"rules" jsonb NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "privacy_tombstones" (
	"hash" text COLLATE "C" PRIMARY KEY NOT NULL,
	"customer_id" uuid NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "retention_rules" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"after" integer NOT NULL,
	"unit" text NOT NULL,
	"conditions" jsonb NOT NULL,
	"enabled" boolean NOT NULL,
	"last_run_at" timestamp with time zone,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "retention_runs" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"rule_id" uuid NOT NULL,
	"rule_version" integer NOT NULL,
	"kind" text NOT NULL,
	"conditions" jsonb NOT NULL,
	"before" timestamp with time zone NOT NULL,
	"requested_by" text,
	"status" text NOT NULL,
	"matching" bigint,
	"examined" bigint NOT NULL,
	"removed" bigint NOT NULL,
	"skipped" bigint NOT NULL,
	"position" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	"started_at" timestamp with time zone,
	"finished_at" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "customers" ADD COLUMN "acquired_by" uuid;--> statement-breakpoint
ALTER TABLE "customers" ADD COLUMN "erased_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "customers" ADD COLUMN "erased_fields" jsonb;--> statement-breakpoint
ALTER TABLE "client_secrets" ADD CONSTRAINT "client_secrets_client_id_clients_id_fk" FOREIGN KEY ("client_id") REFERENCES "public"."clients"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "consent_changes" ADD CONSTRAINT "consent_changes_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "consents" ADD CONSTRAINT "consents_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "customer_aliases" ADD CONSTRAINT "customer_aliases_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "customer_merge_records" ADD CONSTRAINT "customer_merge_records_merge_id_customer_merges_id_fk" FOREIGN KEY ("merge_id") REFERENCES "public"."customer_merges"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "customer_merges" ADD CONSTRAINT "customer_merges_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "partner_shares" ADD CONSTRAINT "partner_shares_partner_id_partners_id_fk" FOREIGN KEY ("partner_id") REFERENCES "public"."partners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "partner_shares" ADD CONSTRAINT "partner_shares_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "privacy_tombstones" ADD CONSTRAINT "privacy_tombstones_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_entries_at" ON "audit_entries" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_client" ON "audit_entries" USING btree ("client","at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_operation" ON "audit_entries" USING btree ("operation","at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_customers" ON "audit_entries" USING gin ("customer_ids");--> statement-breakpoint
CREATE INDEX "client_secrets_client" ON "client_secrets" USING btree ("client_id");--> statement-breakpoint
CREATE INDEX "clients_created" ON "clients" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "token_revocations_expires" ON "token_revocations" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "consent_changes_id" ON "consent_changes" USING btree ("id");--> statement-breakpoint
CREATE INDEX "consent_changes_customer_at" ON "consent_changes" USING btree ("customer_id","at","id");--> statement-breakpoint
CREATE INDEX "consent_changes_at" ON "consent_changes" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "consents_purpose" ON "consents" USING btree ("purpose","channel","status","customer_id");--> statement-breakpoint
CREATE INDEX "customer_aliases_customer" ON "customer_aliases" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "customer_merges_customer" ON "customer_merges" USING btree ("customer_id","at","id");--> statement-breakpoint
CREATE INDEX "partner_customers_customer" ON "partner_customers" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "partner_shares_customer" ON "partner_shares" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "privacy_tombstones_customer" ON "privacy_tombstones" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "retention_rules_created" ON "retention_rules" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "retention_runs_created" ON "retention_runs" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "retention_runs_rule" ON "retention_runs" USING btree ("rule_id","created_at","id");--> statement-breakpoint
CREATE INDEX "customers_acquired_by" ON "customers" USING btree ("acquired_by","id") WHERE acquired_by is not null;