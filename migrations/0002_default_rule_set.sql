-- The rule set every service starts with; other ones are drafted and published beside it (POST /v1/lead-rule-sets).
-- There are no leads yet, so its bounds are complete.
INSERT INTO "lead_rule_sets" ("id", "version", "number", "name", "status", "document", "published_at", "published_by", "indexed_at", "created_at", "updated_at")
VALUES ('00000000-0000-7000-8000-000000000001', 1, 1, 'Default', 'published', $rules${
  "rules": [
    {"name": "Is a company", "group": "fit", "points": 5, "when": [{"field": "kind", "oneOf": ["company"]}]},
    {"name": "Belongs to a company", "group": "fit", "points": 5, "when": [{"field": "company", "exists": true}]},
    {"name": "Can be mailed", "group": "fit", "points": 5, "when": [{"field": "email", "exists": true}]},
    {"name": "Can be called", "group": "fit", "points": 5, "when": [{"field": "phone", "exists": true}]},
    {"name": "Profile is filled in", "group": "fit", "points": 7.5, "when": [{"field": "completeness", "atLeast": 0.8}]},
    {"name": "Was recommended", "group": "fit", "points": 10, "when": [{"field": "source", "oneOf": ["referral", "reference", "recommendation"]}]},
    {"name": "Filled in a form", "group": "intent", "points": 15, "on": {"kinds": ["form"]}, "cap": 30, "halfLifeDays": 30},
    {"name": "Came to us", "group": "intent", "points": 10, "on": {"kinds": ["phone", "chat", "email_received", "sms", "fax", "post", "ticket"], "directions": ["inbound"]}, "cap": 30, "halfLifeDays": 21},
    {"name": "Met us", "group": "intent", "points": 15, "on": {"kinds": ["meeting", "retail_visit", "event"]}, "cap": 30, "halfLifeDays": 45},
    {"name": "Talked at length", "group": "intent", "points": 5, "on": {"kinds": ["phone", "chat", "meeting"], "minSeconds": 300}, "cap": 10, "halfLifeDays": 30},
    {"name": "Visited the website", "group": "intent", "points": 2, "on": {"kinds": ["web_visit"]}, "cap": 14, "halfLifeDays": 14},
    {"name": "Read many pages", "group": "intent", "points": 0.25, "on": {"kinds": ["web_visit"]}, "per": "page", "cap": 8, "halfLifeDays": 14},
    {"name": "Stayed on the website", "group": "intent", "points": 0.5, "on": {"kinds": ["web_visit"]}, "per": "minute", "cap": 10, "halfLifeDays": 14},
    {"name": "Clicked", "group": "intent", "points": 4, "on": {"kinds": ["email_clicked", "ad_click"]}, "cap": 16, "halfLifeDays": 14},
    {"name": "Opened e-mails", "group": "intent", "points": 1, "on": {"kinds": ["email_opened"]}, "cap": 6, "halfLifeDays": 14},
    {"name": "Spoke up on social media", "group": "intent", "points": 2, "on": {"kinds": ["social"], "directions": ["inbound"]}, "cap": 8, "halfLifeDays": 14},
    {"name": "Active this week", "group": "intent", "points": 5, "on": {"directions": ["inbound"], "withinDays": 7}, "per": "latest"},
    {"name": "Unsubscribed", "group": "intent", "points": -20, "on": {"kinds": ["unsubscribe"]}, "per": "latest", "halfLifeDays": 180},
    {"name": "E-mail bounced", "group": "intent", "points": -5, "on": {"kinds": ["email_bounced"]}, "cap": 10, "halfLifeDays": 90}
  ],
  "caps": {"fit": 30, "intent": 90}, "grades": {"A": 60, "B": 35, "C": 15}, "qualify": {"marketing": 35, "sales": 60},
  "profileFields": ["name", "email", "phone", "country", "source"]
}$rules$, '2000-01-01T00:00:00Z', 'rapport', '2000-01-01T00:00:00Z', '2000-01-01T00:00:00Z', '2000-01-01T00:00:00Z');
