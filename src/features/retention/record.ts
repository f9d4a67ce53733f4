import { boolean, index, integer, pgTable, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { customerKind } from '../customers/model.ts';

/** What is kept for how long. A rule removes what became older than that, every night. */
export const retentionRules = pgTable(
  'retention_rules',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    kind: textColumn('kind').$type<RetentionKind>().notNull(),
    after: integer('after').notNull(),
    unit: textColumn('unit').$type<RetentionUnit>().notNull(),
    conditions: json('conditions').notNull(),
    enabled: boolean('enabled').notNull(),
    /** When its latest run ended; not a change of the rule. */
    lastRunAt: instantColumn('last_run_at'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('retention_rules_created').on(t.createdAt, t.id)],
);

/**
 * One application of a rule: what it was about to remove, and how far it came. It keeps what the rule said, as rules are
 * changed and deleted; hence no foreign key.
 */
export const retentionRuns = pgTable(
  'retention_runs',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    ruleId: uuid('rule_id').notNull(),
    /** Of the rule as it is applied: a run ends when its rule becomes another. */
    ruleVersion: integer('rule_version').notNull(),
    kind: textColumn('kind').$type<RetentionKind>().notNull(),
    conditions: json('conditions').notNull(),
    /** What is older goes. */
    before: instantColumn('before').notNull(),
    /** The client that asked for it; null: the schedule. */
    requestedBy: textColumn('requested_by'),
    status: textColumn('status').$type<RetentionRunStatus>().notNull(),
    /** Counted when it was asked for by hand. */
    matching: amountColumn('matching'),
    examined: amountColumn('examined').notNull(),
    removed: amountColumn('removed').notNull(),
    /** Left for the next run, as somebody else was at work on them. */
    skipped: amountColumn('skipped').notNull(),
    /** Where the next step goes on: the key of the last record that was looked at. */
    position: json('position'),
    createdAt: instantColumn('created_at').notNull(),
    startedAt: instantColumn('started_at'),
    finishedAt: instantColumn('finished_at'),
  },
  (t) => [
    index('retention_runs_created').on(t.createdAt, t.id),
    index('retention_runs_rule').on(t.ruleId, t.createdAt, t.id),
  ],
);

export const retentionKinds = [
  'customer',
  'lead',
  'interaction_text',
  'survey_text',
  'follow_up_note',
  'survey_invitation',
  'idempotency',
] as const;
export type RetentionKind = (typeof retentionKinds)[number];
export const retentionKind = z.enum(retentionKinds).meta({
  id: 'RetentionKind',
  description:
    'customer: who has been known for longer and has had no fact and no contact for so long is erased. lead: the same for leads that never converted and never ordered. interaction_text: texts of interactions. survey_text: texts of survey answers. follow_up_note: reasons and notes of closed follow-ups. survey_invitation: invitations that are answered, cancelled or expired, unless somebody might be asked again too soon without them. idempotency: answers kept for repeated calls, which are deleted after 48 hours anyway.',
  example: 'customer',
});
export const retentionUnits = ['days', 'months'] as const;
export type RetentionUnit = (typeof retentionUnits)[number];
export const retentionUnit = z
  .enum(retentionUnits)
  .meta({ id: 'RetentionUnit', description: 'Calendar months and days in UTC.', example: 'months' });
export const retentionRunStatuses = ['queued', 'running', 'finished', 'cancelled'] as const;
export type RetentionRunStatus = (typeof retentionRunStatuses)[number];
export const retentionRunStatus = z.enum(retentionRunStatuses).meta({
  id: 'RetentionRunStatus',
  description: 'cancelled: its rule was changed or deleted meanwhile; what was removed until then stays removed.',
  example: 'finished',
});

/** Which conditions a rule of a kind may have. */
export const conditionsOf: Readonly<Record<RetentionKind, readonly (keyof RetentionConditions)[]>> = {
  customer: ['customerKind', 'keepConsented'],
  lead: ['customerKind', 'keepConsented'],
  interaction_text: ['channel'],
  survey_text: ['surveyId'],
  follow_up_note: [],
  survey_invitation: ['surveyId'],
  idempotency: [],
};

export const retentionConditionsInput = z
  .strictObject({
    customerKind: customerKind
      .nullable()
      .optional()
      .meta({ description: 'customer, lead: only persons, or only companies; null: both.' }),
    keepConsented: z.boolean().optional().meta({
      description: 'customer, lead: leave who has a consent in force, whatever its purpose; true unless told.',
    }),
    channel: text(200)
      .nullable()
      .optional()
      .meta({ description: 'interaction_text: only of this channel; null: of all.', example: 'chat' }),
    surveyId: id.nullable().optional().meta({ description: 'survey_text, survey_invitation: only of this survey.' }),
  })
  .meta({ id: 'RetentionConditionsInput' });

export const retentionConditions = z
  .strictObject({
    customerKind: customerKind.nullable(),
    keepConsented: z.boolean(),
    channel: z.string().nullable(),
    surveyId: id.nullable(),
  })
  .meta({ id: 'RetentionConditions', description: 'What a rule leaves alone or is restricted to.' });
export type RetentionConditions = z.output<typeof retentionConditions>;

const members = {
  name: text(200).meta({ example: 'Former customers' }),
  kind: retentionKind,
  after: z.int().min(1).max(3_650).meta({ description: 'How long it is kept, in `unit`.', example: 36 }),
  unit: retentionUnit,
  conditions: retentionConditionsInput.optional(),
  enabled: z.boolean().optional().meta({ description: 'Whether it is applied every night; false unless told.' }),
};

export const retentionRuleInput = z.strictObject(members).meta({
  id: 'RetentionRuleInput',
  example: { name: 'Former customers', kind: 'customer', after: 36, unit: 'months', enabled: true },
});
export const retentionRulePatch = z
  .strictObject(members)
  .omit({ kind: true })
  .partial()
  .meta({ id: 'RetentionRulePatch', example: { enabled: true } });

export const retentionRule = z
  .strictObject({
    id,
    name: z.string(),
    kind: retentionKind,
    after: z.int(),
    unit: retentionUnit,
    conditions: retentionConditions,
    enabled: z.boolean(),
    lastRunAt: instant.nullable().meta({ description: 'When its latest run ended.' }),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'RetentionRule', description: 'What is kept for how long.' });
export type RetentionRule = z.output<typeof retentionRule>;

const removedText = 'Customers erased; texts, invitations or answers removed.';

export const retentionRun = z
  .strictObject({
    id,
    ruleId: id,
    kind: retentionKind,
    conditions: retentionConditions,
    before: instant.meta({ description: 'What is older goes: of customers and leads, what was last heard of them.' }),
    requestedBy: z.string().nullable().meta({ description: 'The client that asked for it; null: the schedule.' }),
    status: retentionRunStatus,
    matching: z
      .int()
      .nullable()
      .meta({ description: 'What it was going to remove, counted when it was asked for; null of the schedule.' }),
    examined: z.int().meta({ description: 'Records it has looked at so far.' }),
    removed: z.int().meta({ description: removedText }),
    skipped: z.int().meta({ description: 'Left for the next run, as somebody else was at work on them.' }),
    version,
    createdAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
  })
  .meta({ id: 'RetentionRun', description: 'An application of a retention rule.' });
export type RetentionRun = z.output<typeof retentionRun>;

/** How many ids a request for a run is answered with. */
export const firstIdsLimit = 20;

export const requestedRetentionRun = retentionRun
  .extend({
    firstIds: z.array(id).meta({
      description: `The first ${firstIdsLimit} records that match: customers, interactions, survey responses, follow-ups or invitations; none for \`idempotency\`.`,
    }),
  })
  .meta({ id: 'RequestedRetentionRun' });
