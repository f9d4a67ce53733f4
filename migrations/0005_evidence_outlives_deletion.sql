-- Consents, merges and former ids outlive no customer, so a customer who has them cannot be deleted: these keys no longer
-- cascade. Until the previous version is gone, its DELETE of such a customer answers 500 where it lost them before.
-- NOT VALID, because the keys dropped here have already checked every row, and so no table is read under these locks.
ALTER TABLE "consent_changes" DROP CONSTRAINT "consent_changes_customer_id_customers_id_fk";
--> statement-breakpoint
ALTER TABLE "consent_changes" ADD CONSTRAINT "consent_changes_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action NOT VALID;
--> statement-breakpoint
ALTER TABLE "customer_aliases" DROP CONSTRAINT "customer_aliases_customer_id_customers_id_fk";
--> statement-breakpoint
ALTER TABLE "customer_aliases" ADD CONSTRAINT "customer_aliases_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action NOT VALID;
--> statement-breakpoint
ALTER TABLE "customer_merges" DROP CONSTRAINT "customer_merges_customer_id_customers_id_fk";
--> statement-breakpoint
ALTER TABLE "customer_merges" ADD CONSTRAINT "customer_merges_customer_id_customers_id_fk" FOREIGN KEY ("customer_id") REFERENCES "public"."customers"("id") ON DELETE no action ON UPDATE no action NOT VALID;
