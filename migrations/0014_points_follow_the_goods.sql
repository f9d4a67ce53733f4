ALTER TABLE "loyalty_accounts" ADD COLUMN "tier_by_hand" text;--> statement-breakpoint
ALTER TABLE "loyalty_accounts" ADD COLUMN "replayed_to" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "loyalty_earnings" ADD COLUMN "tier_points" bigint NOT NULL DEFAULT 0;--> statement-breakpoint
ALTER TABLE "loyalty_earnings" ALTER COLUMN "tier_points" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "loyalty_tier_changes" ADD COLUMN "reached" text;--> statement-breakpoint
ALTER TABLE "loyalty_tier_changes" ADD COLUMN "note" text;--> statement-breakpoint
ALTER TABLE "loyalty_tier_changes" ADD COLUMN "by" text;--> statement-breakpoint
-- By hand: what counted for tiers was what orders were entitled to.
UPDATE "loyalty_earnings" SET "tier_points" = "entitled";--> statement-breakpoint
-- By hand: rules that were stored before say what they meant.
UPDATE "loyalty_programmes" SET "rules" = '{"expiresOn": null, "expiresAtEndOf": null, "tierOnRefund": "recompute", "includeShipping": true, "includeFees": true}'::jsonb
  || "rules" || CASE WHEN jsonb_typeof("rules"->'tiers') = 'object' THEN jsonb_build_object('tiers', '{"reachingOrder": "former_tier"}'::jsonb || ("rules"->'tiers')) ELSE '{}'::jsonb END;--> statement-breakpoint
UPDATE "loyalty_programme_versions" SET "rules" = '{"expiresOn": null, "expiresAtEndOf": null, "tierOnRefund": "recompute", "includeShipping": true, "includeFees": true}'::jsonb
  || "rules" || CASE WHEN jsonb_typeof("rules"->'tiers') = 'object' THEN jsonb_build_object('tiers', '{"reachingOrder": "former_tier"}'::jsonb || ("rules"->'tiers')) ELSE '{}'::jsonb END;
