import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { id, smallInteger, text } from '../../platform/values.ts';
import {
  boolean,
  count,
  instant,
  integer,
  json,
  key,
  recordId,
  text as textField,
  version,
  words,
} from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { customerKind } from '../customers/words.ts';
import { kinds, type RetentionKind } from './kinds.ts';

const [firstKind, ...otherKinds] = Object.keys(kinds) as [RetentionKind, ...RetentionKind[]]; // keys of a constant
export const retentionKind = z.enum([firstKind, ...otherKinds]).meta({
  id: 'RetentionKind',
  description: Object.entries(kinds)
    .map(([kind, { says }]) => `${kind}: ${says}`)
    .join(' '),
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

export const retentionConditionsInput = z
  .strictObject({
    customerKind: customerKind
      .nullable()
      .optional()
      .meta({ description: 'customer, lead: only persons, or only companies; null: both.' }),
    keepConsented: z.boolean().optional().meta({
      description: 'customer, lead: keep customers who have any consent in force. Default: true.',
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
  .meta({ id: 'RetentionConditions', description: 'What a rule keeps, or is restricted to.' });
export type RetentionConditions = z.output<typeof retentionConditions>;

export const ruleFields = {
  id: key(),
  version: version(),
  name: textField(200).plain().required().says('Display name.', 'Former customers'),
  kind: words(retentionKind).required(),
  after: integer(1, 3_650).required().answers(smallInteger).says('How long it is kept, in `unit`.', 36),
  unit: words(retentionUnit).required(),
  conditions: json(retentionConditions)
    .plain()
    .defaultsTo({ customerKind: null, keepConsented: true, channel: null, surveyId: null })
    .takes(retentionConditionsInput),
  enabled: boolean().defaultsTo(false).says('Whether it is applied every night. Default: false.'),
  /** Not a change of the rule. */
  lastRunAt: instant().readOnly().says('When its latest run ended.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** What is kept for how long. A rule removes what became older than that, every night. */
export const retentionRules = storedTable('retention_rules', {
  name: 'retentionRules',
  label: 'Retention rules',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'retention_rule' },
  fields: ruleFields,
  extras: (t) => [index('retention_rules_created').on(t.createdAt, t.id)],
});

export const runFields = {
  id: key(),
  version: version(),
  ruleId: recordId().required(),
  /** Of the rule as it is applied: a run ends when its rule becomes another. */
  ruleVersion: version().internal(),
  kind: words(retentionKind).required(),
  conditions: json(retentionConditions).plain().required(),
  before: instant().required().says('What is older is removed; for customers and leads the last contact counts.'),
  requestedBy: textField(255).plain().says('The client that requested it; null: the schedule.'),
  status: words(retentionRunStatus).required(),
  matching: count().says('How many records it was going to remove, counted at the request; null for scheduled runs.'),
  examined: count().required().says('Records checked so far.'),
  removed: count().required().says('Customers erased; texts, invitations or answers removed.'),
  skipped: count().required().says('Left for the next run, because something else was changing them.'),
  /** The key of the last record that was looked at, where the next step goes on; `at` where records are read by that. */
  position: json(z.strictObject({ at: z.string(), id: z.string() }))
    .plain()
    .internal(),
  createdAt: instant().required(),
  startedAt: instant(),
  finishedAt: instant(),
};

/**
 * One application of a rule: what it was about to remove, and how far it came. It keeps what the rule said, as rules are
 * changed and deleted; hence no foreign key.
 */
export const retentionRuns = storedTable('retention_runs', {
  name: 'retentionRuns',
  label: 'Runs of retention rules',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'retention_run' },
  fields: runFields,
  extras: (t) => [
    index('retention_runs_created').on(t.createdAt, t.id),
    index('retention_runs_rule').on(t.ruleId, t.createdAt, t.id),
  ],
});

const members = inputShape(ruleFields);

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
  .strictObject(outputShape(ruleFields))
  .meta({ id: 'RetentionRule', description: 'How long data is kept.' });
export type RetentionRule = z.output<typeof retentionRule>;

export const retentionRun = z
  .strictObject(outputShape(runFields))
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
