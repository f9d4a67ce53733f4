CREATE TABLE "customer_identities" (
	"kind" text NOT NULL,
	"value" text COLLATE "C" NOT NULL,
	"customer_id" uuid NOT NULL,
	"is_primary" boolean NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "customer_identities_kind_value_pk" PRIMARY KEY("kind","value")
);
--> statement-breakpoint
CREATE TABLE "customers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"kind" text NOT NULL,
	"name" text,
	"given_name" text,
	"family_name" text,
	"company_id" uuid,
	"referred_by" uuid,
	"birthday" date,
	"address" jsonb,
	"locale" text,
	"preferred_channel" text,
	"acquisition_source" text,
	"acquisition_cost" bigint,
	"acquired_on" date,
	"attributes" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "order_items" (
	"customer_id" uuid NOT NULL,
	"order_id" uuid NOT NULL,
	"line" smallint NOT NULL,
	"sku" text NOT NULL,
	"name" text,
	"category" text,
	"quantity" numeric NOT NULL,
	"total" bigint NOT NULL,
	"unit_price" text,
	"cost" bigint,
	CONSTRAINT "order_items_customer_id_order_id_line_pk" PRIMARY KEY("customer_id","order_id","line")
);
--> statement-breakpoint
CREATE TABLE "orders" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"source" text COLLATE "C" NOT NULL,
	"external_id" text COLLATE "C" NOT NULL,
	"placed_at" timestamp with time zone NOT NULL,
	"currency" char(3) NOT NULL,
	"total" bigint NOT NULL,
	"discount" bigint NOT NULL,
	"shipping" bigint NOT NULL,
	"fees" bigint NOT NULL,
	"tax" bigint NOT NULL,
	"tax_included" boolean NOT NULL,
	"rounding" bigint NOT NULL,
	"payment_status" text NOT NULL,
	"fulfillment_status" text NOT NULL,
	"cancelled_at" timestamp with time zone,
	"channel" text,
	"test" boolean NOT NULL,
	"exchange_rate" numeric,
	"base_factor" numeric,
	"refunds" integer NOT NULL,
	"refunded" bigint NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	"status" text GENERATED ALWAYS AS (case when cancelled_at is not null then 'cancelled' when refunds > 0 and refunded = total then 'refunded' when refunds > 0 then 'partially_refunded' when fulfillment_status = 'fulfilled' then 'fulfilled' when payment_status = 'paid' then 'paid' else 'placed' end) STORED NOT NULL,
	"qualifying" boolean GENERATED ALWAYS AS (cancelled_at is null and not test and not (refunds > 0 and refunded = total)) STORED NOT NULL,
	"revenue" bigint GENERATED ALWAYS AS (total - tax - refunded) STORED NOT NULL,
	"base_revenue" bigint GENERATED ALWAYS AS (case when abs((total - tax - refunded) * base_factor) < 9007199254740991 then round((total - tax - refunded) * base_factor)::bigint end) STORED,
	CONSTRAINT "orders_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "refund_items" (
	"customer_id" uuid NOT NULL,
	"refund_id" uuid NOT NULL,
	"line" smallint NOT NULL,
	"sku" text NOT NULL,
	"quantity" numeric NOT NULL,
	"total" bigint,
	CONSTRAINT "refund_items_customer_id_refund_id_line_pk" PRIMARY KEY("customer_id","refund_id","line")
);
--> statement-breakpoint
CREATE TABLE "refunds" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"order_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"amount" bigint NOT NULL,
	"refunded_at" timestamp with time zone NOT NULL,
	"reason" text,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "refunds_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "exchange_rates" (
	"currency" char(3) NOT NULL,
	"date" date NOT NULL,
	"rate" numeric NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "exchange_rates_currency_date_pk" PRIMARY KEY("currency","date")
);
--> statement-breakpoint
CREATE TABLE "external_refs" (
	"kind" text NOT NULL,
	"source" text COLLATE "C" NOT NULL,
	"external_id" text COLLATE "C" NOT NULL,
	"record_id" uuid,
	"customer_id" uuid,
	"position" smallint NOT NULL,
	"version_kind" text,
	"version_value" numeric,
	"created_at" timestamp with time zone NOT NULL,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "external_refs_kind_source_external_id_pk" PRIMARY KEY("kind","source","external_id")
);
--> statement-breakpoint
CREATE TABLE "return_items" (
	"customer_id" uuid NOT NULL,
	"return_id" uuid NOT NULL,
	"line" smallint NOT NULL,
	"sku" text NOT NULL,
	"quantity" numeric NOT NULL,
	"total" bigint,
	CONSTRAINT "return_items_customer_id_return_id_line_pk" PRIMARY KEY("customer_id","return_id","line")
);
--> statement-breakpoint
CREATE TABLE "returns" (
	"customer_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"version" integer NOT NULL,
	"source" text COLLATE "C" NOT NULL,
	"external_id" text COLLATE "C" NOT NULL,
	"returned_at" timestamp with time zone NOT NULL,
	"currency" char(3) NOT NULL,
	"total" bigint NOT NULL,
	"reason" text,
	"exchange_rate" numeric,
	"base_factor" numeric,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	"base_total" bigint GENERATED ALWAYS AS (case when total * base_factor < 9007199254740991 then round(total * base_factor)::bigint end) STORED,
	CONSTRAINT "returns_customer_id_id_pk" PRIMARY KEY("customer_id","id")
);
--> statement-breakpoint
CREATE TABLE "customer_month" (
	"customer_id" uuid NOT NULL,
	"month" date NOT NULL,
	"currency" char(3) NOT NULL,
	"orders" integer NOT NULL,
	"revenue" bigint NOT NULL,
	"base_orders" integer NOT NULL,
	"base_revenue" bigint NOT NULL,
	"returns" integer NOT NULL,
	"returned" bigint NOT NULL,
	"base_returns" integer NOT NULL,
	"base_returned" bigint NOT NULL,
	CONSTRAINT "customer_month_customer_id_month_currency_pk" PRIMARY KEY("customer_id","month","currency")
);
--> statement-breakpoint
CREATE TABLE "customer_stats" (
	"customer_id" uuid NOT NULL,
	"currency" char(3) NOT NULL,
	"orders" integer NOT NULL,
	"revenue" bigint NOT NULL,
	"base_orders" integer NOT NULL,
	"base_revenue" bigint NOT NULL,
	"returns" integer NOT NULL,
	"returned" bigint NOT NULL,
	"base_returns" integer NOT NULL,
	"base_returned" bigint NOT NULL,
	"first_order_at" timestamp with time zone,
	"last_order_at" timestamp with time zone,
	"purchase_days" integer NOT NULL,
	CONSTRAINT "customer_stats_customer_id_currency_pk" PRIMARY KEY("customer_id","currency")
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"client" text COLLATE "C" NOT NULL,
	"operation" text COLLATE "C" NOT NULL,
	"personal" boolean NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"fingerprint" text NOT NULL,
	"status" smallint NOT NULL,
	"body" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "idempotency_keys_client_operation_personal_key_pk" PRIMARY KEY("client","operation","personal","key")
);
--> statement-breakpoint
CREATE TABLE "deployment_settings" (
	"key" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
ALTER TABLE "customer_identities" ADD CONSTRAINT "customer_identities_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "order_items" ADD CONSTRAINT "order_items_order" FOREIGN KEY ("customer_id","order_id") REFERENCES "public"."orders"("customer_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "refund_items" ADD CONSTRAINT "refund_items_refund" FOREIGN KEY ("customer_id","refund_id") REFERENCES "public"."refunds"("customer_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "refunds" ADD CONSTRAINT "refunds_order" FOREIGN KEY ("customer_id","order_id") REFERENCES "public"."orders"("customer_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "return_items" ADD CONSTRAINT "return_items_return" FOREIGN KEY ("customer_id","return_id") REFERENCES "public"."returns"("customer_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "returns" ADD CONSTRAINT "returns_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "customer_month" ADD CONSTRAINT "customer_month_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "customer_stats" ADD CONSTRAINT "customer_stats_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "customer_identities_customer" ON "customer_identities" USING btree ("customer_id");--> statement-breakpoint
CREATE INDEX "customers_created" ON "customers" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "customers_updated" ON "customers" USING btree ("updated_at","id");--> statement-breakpoint
CREATE INDEX "customers_company" ON "customers" USING btree ("company_id","id");--> statement-breakpoint
CREATE INDEX "customers_referred_by" ON "customers" USING btree ("referred_by","id");--> statement-breakpoint
CREATE INDEX "orders_id" ON "orders" USING btree ("id");--> statement-breakpoint
CREATE INDEX "orders_customer_placed" ON "orders" USING btree ("customer_id","placed_at");--> statement-breakpoint
CREATE INDEX "orders_placed" ON "orders" USING btree ("placed_at","id");--> statement-breakpoint
CREATE INDEX "orders_updated" ON "orders" USING btree ("updated_at","id");--> statement-breakpoint
CREATE INDEX "orders_not_qualifying" ON "orders" USING btree ("placed_at") WHERE not qualifying;--> statement-breakpoint
CREATE INDEX "orders_without_rate" ON "orders" USING btree ("currency","placed_at") WHERE base_factor is null;--> statement-breakpoint
CREATE INDEX "refunds_id" ON "refunds" USING btree ("id");--> statement-breakpoint
CREATE INDEX "refunds_order" ON "refunds" USING btree ("customer_id","order_id");--> statement-breakpoint
CREATE INDEX "external_refs_record" ON "external_refs" USING btree ("record_id");--> statement-breakpoint
CREATE INDEX "returns_id" ON "returns" USING btree ("id");--> statement-breakpoint
CREATE INDEX "returns_customer_returned" ON "returns" USING btree ("customer_id","returned_at");--> statement-breakpoint
CREATE INDEX "returns_returned" ON "returns" USING btree ("returned_at","id");--> statement-breakpoint
CREATE INDEX "returns_updated" ON "returns" USING btree ("updated_at","id");--> statement-breakpoint
CREATE INDEX "returns_without_rate" ON "returns" USING btree ("currency","returned_at") WHERE base_factor is null;--> statement-breakpoint
CREATE INDEX "customer_month_by_month" ON "customer_month" USING btree ("month","customer_id");