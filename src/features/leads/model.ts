import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { type LeadStage, leadStages } from '../../domain/lead-lifecycle.ts';
import { instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { consentInputs } from '../customers/consent-input.ts';
import { customerClaim, customerOwner } from '../customers/owner.ts';
import { customers } from '../customers/record.ts';
import { scoreGrade } from '../lead-scores/grade.ts';

/**
 * The lifecycle of a customer who is or was a lead: one row per customer, whose id is the lead's id. The row changes
 * under the customer's lock, and every change of its stage leaves a row in `lead_stage_changes`.
 */
export const leads = pgTable(
  'leads',
  {
    customerId: uuid('customer_id')
      .primaryKey()
      .references(() => customers.id),
    version: integer('version').notNull(),
    stage: textColumn('stage').$type<LeadStage>().notNull(),
    /** When the stage began. */
    stageSince: instantColumn('stage_since').notNull(),
    /** Why it was lost; only in the stage `former`. */
    lossReason: textColumn('loss_reason').$type<LossReason>(),
    owner: textColumn('owner'),
    source: textColumn('source'),
    segment: textColumn('segment'),
    /** When the customer became a lead. */
    enteredAt: instantColumn('entered_at').notNull(),
    /** When it became a customer: by its first qualifying order, or by hand. */
    convertedAt: instantColumn('converted_at'),
    /** The order that converted it; null: by hand. */
    conversionOrderId: uuid('conversion_order_id'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    index('leads_entered').on(t.enteredAt, t.customerId),
    index('leads_updated').on(t.updatedAt, t.customerId),
    index('leads_stage').on(t.stage, t.enteredAt, t.customerId),
    index('leads_owner').on(t.owner, t.stage, t.customerId).where(sql`owner is not null`),
  ],
);

/** Every change of stage: when, from, to, and by whom or which rule. */
export const leadStageChanges = pgTable(
  'lead_stage_changes',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => leads.customerId, { onDelete: 'cascade' }),
    id: uuid('id').notNull(),
    /** When it happened. In the order of `sequence` these never go back. */
    at: instantColumn('at').notNull(),
    /** 1, 2, 3 … per lead. */
    sequence: integer('sequence').notNull(),
    /** null: the lead's beginning. */
    from: textColumn('from_stage').$type<LeadStage>(),
    to: textColumn('to_stage').$type<LeadStage>().notNull(),
    /** The client that asked for it. */
    by: textColumn('by').notNull(),
    /** The rule that made it, e.g. `first_qualifying_order`; null: a person's decision. */
    rule: textColumn('rule').$type<StageRule>(),
    lossReason: textColumn('loss_reason').$type<LossReason>(),
    note: textColumn('note'),
    orderId: uuid('order_id'),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.sequence] }), index('lead_stage_changes_at').on(t.at, t.customerId)],
);

export const lossReasons = [
  'service',
  'price',
  'competitor',
  'product',
  'no_need',
  'no_budget',
  'no_answer',
  'duplicate',
  'other',
] as const;
export type LossReason = (typeof lossReasons)[number];
/** What changes a stage without a person's decision. */
export const stageRules = ['first_qualifying_order', 'no_qualifying_order_left', 'score_threshold', 'merge'] as const;
export type StageRule = (typeof stageRules)[number];

export const leadStage = z.enum(leadStages).meta({
  id: 'LeadStage',
  description:
    'Where in the lifecycle: subscriber → lead → marketing_qualified → sales_qualified → customer → former. `former` is a lost lead or a lost customer.',
  example: 'lead',
});
export const lossReason = z
  .enum(lossReasons)
  .meta({ id: 'LossReason', description: 'Why a lead or customer was lost.', example: 'price' });
export const stageRule = z
  .enum(stageRules)
  .meta({ id: 'StageRule', description: 'A rule that changes stages.', example: 'first_qualifying_order' });

const members = {
  owner: text(200)
    .nullable()
    .optional()
    .meta({ description: 'Who looks after it; left out, the assignment rules say.', example: 'maria' }),
  source: text(100).nullable().optional().meta({
    description: 'Where the lead came from; the acquisition source of its customer unless told.',
    example: 'fair',
  }),
  segment: text(100).nullable().optional().meta({ description: 'Market segment, as you cut it.', example: 'smb' }),
};

const entry = {
  ...members,
  stage: leadStage.optional().meta({
    description: 'Where it begins, `lead` unless told; a lead that exists moves there, as by POST …/stage.',
  }),
  lossReason: lossReason.optional().meta({ description: 'Required with the stage `former`, refused otherwise.' }),
  enteredAt: instant.optional().meta({
    description: 'When the customer became a lead; now unless told. A lead that exists keeps its own.',
  }),
  consents: consentInputs.meta({
    description:
      'Of the customer; what is not known yet is recorded, and where `at` is left out, what changes what is in force.',
  }),
};

export const leadInput = z.strictObject({ ...customerOwner.input, ...entry }).meta({
  id: 'LeadInput',
  description:
    'Makes a customer a lead; the customer is found as for orders, and created if unknown. A `customer.externalId` needs its `customer.source`.',
  example: {
    customer: { source: 'web', externalId: 'L-660681', email: 'ada@example.org' },
    source: 'landing-page',
    segment: 'smb',
  },
});
export type LeadInput = z.output<typeof leadInput>;

export const leadDocument = z
  .strictObject({
    customer: customerClaim
      .omit({ source: true, externalId: true })
      .meta({
        id: 'LeadPerson',
        description: 'Who it is: completes the customer of the reference, or is what it is made with.',
      })
      .optional(),
    ...entry,
  })
  .meta({
    id: 'LeadDocument',
    description:
      'A lead by the reference of its customer. `segment` left out is cleared, `source` left out is the acquisition source of the customer again; `owner` and `stage` left out stay.',
    example: { source: 'landing-page', segment: 'smb', customer: { email: 'ada@example.org' } },
  });
export type LeadDocument = z.output<typeof leadDocument>;

export const leadPatch = z
  .strictObject(members)
  .meta({ id: 'LeadPatch', description: 'Members left out stay, null clears. Stages change by POST …/stage.' });
export type LeadPatch = z.output<typeof leadPatch>;

export const stageChangeInput = z
  .strictObject({
    to: leadStage,
    at: instant.optional().meta({ description: 'When it happened, not before the change before it; now unless told.' }),
    lossReason: lossReason.optional().meta({ description: 'Required with `former`, refused otherwise.' }),
    note: text(1_000).optional().meta({ description: 'Why, in words: personal data.' }),
  })
  .meta({ id: 'StageChangeInput', example: { to: 'sales_qualified' } });
export type StageChangeInput = z.output<typeof stageChangeInput>;

export const leadAssignment = z
  .strictObject({
    owner: text(200)
      .optional()
      .meta({ description: 'Who is to look after it; left out, the assignment rules choose.', example: 'maria' }),
  })
  .meta({ id: 'LeadAssignmentInput' });

export const leadQualification = z
  .strictObject({
    moves: z.array(
      z
        .strictObject({
          leadId: id,
          from: leadStage,
          to: leadStage,
          score: z.number().meta({ description: 'What entitles it.', example: 41.5 }),
        })
        .meta({ id: 'QualifiedLead' }),
    ),
    next: id.nullable().meta({ description: 'Ask again with it as `after` until it is null.' }),
  })
  .meta({ id: 'LeadQualification', description: 'The leads that were moved because of their scores.' });
export type LeadQualification = z.output<typeof leadQualification>;

export const stageChange = z
  .strictObject({
    id,
    leadId: id.meta({ description: 'The id of its customer.' }),
    sequence: z.int().min(1).meta({ description: '1, 2, 3 … per lead.' }),
    at: instant,
    from: leadStage.nullable().meta({ description: 'null: the beginning.' }),
    to: leadStage,
    by: z.string().meta({ description: 'The client that asked for it.' }),
    rule: stageRule.nullable().meta({ description: 'null: a decision, by hand.' }),
    lossReason: lossReason.nullable(),
    note: personal(z.string()),
    orderId: id.nullable().meta({ description: 'The order that made a customer of it.' }),
  })
  .meta({ id: 'StageChange', description: 'One step in the lifecycle of a lead.' });
export type StageChange = z.output<typeof stageChange>;

export const lead = z
  .strictObject({
    id: id.meta({ description: 'The id of its customer.' }),
    stage: leadStage,
    stageSince: instant,
    lossReason: lossReason.nullable(),
    owner: z.string().nullable(),
    source: z.string().nullable(),
    segment: z.string().nullable(),
    score: z.number().meta({
      description: 'How ready it is to buy, now and by the rules in force; multiples of 1/1024.',
      example: 12.5,
    }),
    grade: scoreGrade,
    enteredAt: instant,
    convertedAt: instant
      .nullable()
      .meta({ description: 'When it last became a customer; stays with a customer who leaves.' }),
    conversionOrderId: id
      .nullable()
      .meta({ description: 'The first order that makes a customer of it; null: by hand, or none.' }),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({
    id: 'Lead',
    description:
      'A customer in the lifecycle; the lead has the id of its customer. `version` counts its changes: scores fade and rise without one.',
  });
export type Lead = z.output<typeof lead>;
