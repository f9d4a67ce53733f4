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
ALTER TABLE "customers" ADD COLUMN "acquired_by" uuid;--> statement-breakpoint
ALTER TABLE "customers" ADD COLUMN "erased_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "consent_changes" ADD CONSTRAINT "consent_changes_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "consents" ADD CONSTRAINT "consents_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "partner_shares" ADD CONSTRAINT "partner_shares_partner_id_partners_id_fk" FOREIGN KEY ("partner_id") REFERENCES "public"."partners"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "partner_shares" ADD CONSTRAINT "partner_shares_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "privacy_tombstones" ADD CONSTRAINT "privacy_tombstones_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_entries_at" ON "audit_entries" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_client" ON "audit_entries" USING btree ("client","at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_operation" ON "audit_entries" USING btree ("operation","at","id");--> statement-breakpoint
CREATE INDEX "audit_entries_customers" ON "audit_entries" USING gin ("customer_ids");--> statement-breakpoint
CREATE INDEX "consent_changes_id" ON "consent_changes" USING btree ("id");--> statement-breakpoint
CREATE INDEX "consent_changes_customer_at" ON "consent_changes" USING btree ("customer_id","at","id");--> statement-breakpoint
CREATE INDEX "consent_changes_at" ON "consent_changes" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "consents_purpose" ON "consents" USING btree ("purpose","channel","status","customer_id");--> statement-breakpoint
CREATE INDEX "partner_customers_customer" ON "partner_customers" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "partner_shares_customer" ON "partner_shares" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "privacy_tombstones_customer" ON "privacy_tombstones" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "customers_acquired_by" ON "customers" USING btree ("acquired_by","id") WHERE acquired_by is not null;