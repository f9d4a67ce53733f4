-- Triggers of surveys say what interaction they ask about; those of stages and orders none.
UPDATE "surveys" SET "settings" = jsonb_set("settings", '{triggers}', (
  SELECT jsonb_agg('{"kind": null, "topic": null, "outcome": null}'::jsonb || "trigger" ORDER BY "place")
  FROM jsonb_array_elements("settings" -> 'triggers') WITH ORDINALITY AS t("trigger", "place")
)) WHERE jsonb_array_length("settings" -> 'triggers') > 0;
--> statement-breakpoint
-- The rule set that every service starts with takes ads that were seen into account. In a store without leads it has
-- scored nobody yet. Elsewhere a published set never changes: the addition waits there as a draft, to be compared and published.
UPDATE "lead_rule_sets" SET "document" = jsonb_set("document", '{rules}', ("document" -> 'rules') || $rule$[
    {"name": "Saw ads", "group": "intent", "points": 0.25, "on": {"kinds": ["ad_impression"]}, "cap": 2, "halfLifeDays": 7}
  ]$rule$::jsonb)
WHERE "id" = '00000000-0000-7000-8000-000000000001' AND NOT EXISTS (SELECT FROM "leads");
--> statement-breakpoint
INSERT INTO "lead_rule_sets" ("id", "version", "name", "status", "document", "created_at", "updated_at")
SELECT '00000000-0000-7000-8000-000000000002', 1, 'Default, with ads seen', 'draft', jsonb_set("document", '{rules}', ("document" -> 'rules') || $rule$[
    {"name": "Saw ads", "group": "intent", "points": 0.25, "on": {"kinds": ["ad_impression"]}, "cap": 2, "halfLifeDays": 7}
  ]$rule$::jsonb), now(), now()
FROM "lead_rule_sets" WHERE "id" = '00000000-0000-7000-8000-000000000001' AND EXISTS (SELECT FROM "leads");
