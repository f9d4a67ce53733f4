import { sql } from 'drizzle-orm';
import { foreignKey, index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { leadStages } from '../../domain/lead-lifecycle.ts';
import { customerKey } from '../../platform/audit.ts';
import { typeNames } from '../../platform/type-names.ts';
import { text as boundedText, id, instant as instantText, smallInteger } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { instant, integer, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { consentInputs } from '../customers/consent-input.ts';
import { customerClaim, customerOwner } from '../customers/owner.ts';
import { customers } from '../customers/record.ts';
import { scoreGrade } from '../lead-scores/grade.ts';

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
export const stageRule = z.enum(stageRules).meta({
  id: 'StageRule',
  description:
    'A rule that changes stages. first_qualifying_order: the lead has its first order that is neither cancelled, nor refunded in full, nor a test, since it was last lost. no_qualifying_order_left: no such order is left, so it returns to its previous stage. score_threshold: its score reached the threshold of the stage in the rule set. merge: the record was lost as a duplicate, and then merged into the other one.',
  example: 'first_qualifying_order',
});

/** What clients say of a lead. */
const members = {
  owner: text(200).plain().says('The owner. Default for a new lead: chosen by the assignment rules.', 'maria'),
  source: text(100).plain().says('Where the lead came from. Default: the acquisition source of its customer.', 'fair'),
  segment: text(100).plain().says('Market segment, in your own terms.', 'smb'),
  ...customFields({ personal: true }),
};

const leadFields = {
  /** Answered as `id`. */
  customerId: ownerId(() => customers.id).hidden(),
  version: version(),
  stage: words(leadStage).required().readOnly(),
  /** When the stage began. */
  stageSince: instant().required().readOnly(),
  /** Only in the stage `former`. */
  lossReason: words(lossReason).readOnly(),
  ...members,
  /** When the customer became a lead. */
  enteredAt: instant().required().readOnly().lifeSign(),
  convertedAt: instant().readOnly().says('When it last became a customer; kept when the customer leaves.'),
  conversionOrderId: recordId()
    .readOnly()
    .says('The order that made it a customer; null: made a customer by hand, or not a customer.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/**
 * The lifecycle of a customer who is or was a lead: one row per customer, whose id is the lead's id. The row changes
 * under the customer's lock, and every change of its stage leaves a row in `lead_stage_changes`.
 */
export const leads = storedTable('leads', {
  name: 'lead',
  label: 'Lead',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['customerId'],
  guard: 'lead',
  feed: { kind: 'lead' },
  merge: 'rewrite',
  fields: leadFields,
  extras: (t) => [
    index('leads_entered').on(t.enteredAt, t.customerId),
    index('leads_updated').on(t.updatedAt, t.customerId),
    index('leads_stage').on(t.stage, t.enteredAt, t.customerId),
    index('leads_owner').on(t.owner, t.stage, t.customerId).where(sql`owner is not null`),
  ],
});

const stageFields = {
  /** Answered as `leadId`. */
  customerId: ownerId().hidden(),
  id: key(),
  /** In the order of `sequence` these never go back. */
  at: instant().required().readOnly().happened(),
  sequence: integer(1, 2_147_483_647).required().readOnly().answers(smallInteger.min(1)).says('1, 2, 3 … per lead.'),
  from: words(leadStage).named('from_stage').readOnly().says('null: the first entry.'),
  to: words(leadStage).named('to_stage').required().readOnly(),
  by: text(200).plain().required().readOnly().says('The client that requested it.'),
  rule: words(stageRule).readOnly().says('null: changed by hand.'),
  lossReason: words(lossReason).readOnly(),
  note: text(1_000).personal().readOnly(),
  orderId: recordId().readOnly().says('The order that made it a customer.'),
  createdAt: instant().required().internal(),
};

/** Every change of stage: when, from, to, and by whom or which rule. */
export const leadStageChanges = storedTable('lead_stage_changes', {
  name: 'stageChanges',
  label: 'Stages of the lead',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'sequence'],
  guard: 'stage change',
  feed: 'none',
  merge: 'rewrite',
  timeline: { kind: 'stage_change', scope: 'leads:read', members: ['from', 'to', 'by', 'rule', 'lossReason'] },
  fields: stageFields,
  extras: (t) => [
    index('lead_stage_changes_at').on(t.at, t.customerId),
    foreignKey({
      columns: [t.customerId],
      foreignColumns: [leads.customerId],
      name: 'lead_stage_changes_customer_id_leads_customer_id_fk',
    }).onDelete('cascade'),
  ],
});

const entry = {
  ...inputShape(members),
  stage: leadStage.optional().meta({
    description: 'The initial stage; an existing lead moves there, as by POST …/stage. Default: `lead`.',
  }),
  lossReason: lossReason.optional().meta({ description: 'Required with the stage `former`, refused otherwise.' }),
  enteredAt: instantText.optional().meta({
    description: 'When the customer became a lead; an existing lead keeps its own. Default: now.',
  }),
  consents: consentInputs.meta({
    description:
      'Consents of the customer. Only new ones are recorded; without `at`, only those that change what is in force, and, with PUT and in batches, none that gives again what was taken back: send `at` for that.',
  }),
};

export const leadInput = z.strictObject({ ...customerOwner.input, ...entry }).meta({
  id: 'LeadInput',
  description:
    '`customerId` or `customer` is required. Makes a customer a lead; the customer is matched as for orders, and created if unknown. A `customer.externalId` needs its `customer.source`.',
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
        description:
          'Details of the customer: they complete the customer of the reference, or a new customer is created from them.',
      })
      .register(typeNames, { name: 'LeadPersonInput' })
      .optional(),
    ...entry,
  })
  .meta({
    id: 'LeadDocument',
    description:
      'A lead by the reference of its customer. If omitted, `segment`, `attributes` and `tags` are cleared and `source` becomes the acquisition source of the customer again; `owner` and `stage` stay.',
    example: { source: 'landing-page', segment: 'smb', customer: { email: 'ada@example.org' } },
  });
export type LeadDocument = z.output<typeof leadDocument>;

export const leadPatch = z.strictObject(inputShape(members)).meta({
  id: 'LeadPatch',
  description: 'Omitted members keep their values; null clears. To change the stage, use POST …/stage.',
});
export type LeadPatch = z.output<typeof leadPatch>;

export const stageChangeInput = z
  .strictObject({
    to: leadStage,
    at: instantText.optional().meta({ description: 'When it happened, not before the previous change. Default: now.' }),
    lossReason: lossReason.optional().meta({ description: 'Required with `former`, refused otherwise.' }),
    note: boundedText(1_000).optional().meta({ description: 'Why, in words: personal data.' }),
  })
  .meta({ id: 'StageChangeInput', example: { to: 'sales_qualified' } });
export type StageChangeInput = z.output<typeof stageChangeInput>;

export const leadAssignment = z
  .strictObject({
    owner: boundedText(200)
      .optional()
      .meta({ description: 'The new owner. Default: chosen by the assignment rules.', example: 'maria' }),
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
          score: z.number().meta({ description: 'The score that reached the threshold.', example: 41.5 }),
        })
        .meta({ id: 'QualifiedLead' }),
    ),
    next: id.nullable().meta({ description: 'Send it as `after` to continue, until it is null.' }),
  })
  .meta({ id: 'LeadQualification', description: 'The leads that were moved because of their scores.' })
  .register(typeNames, { name: 'LeadQualificationPayload' });
export type LeadQualification = z.output<typeof leadQualification>;

export const stageChange = z
  .strictObject({ leadId: id.meta({ description: 'The id of its customer.' }), ...outputShape(stageFields) })
  .meta({ id: 'StageChange', description: 'One step in the lifecycle of a lead.' });
export type StageChange = z.output<typeof stageChange>;

export const lead = z
  .strictObject({
    id: customerKey(id).meta({ description: 'The id of its customer.' }),
    ...outputShape(leadFields),
    score: z.number().meta({
      description: 'How ready it is to buy, now and by the rules in force; multiples of 1/1024.',
      example: 12.5,
    }),
    grade: scoreGrade,
  })
  .meta({
    id: 'Lead',
    description:
      'A customer in the lifecycle; the lead has the id of its customer. `version` counts its changes: scores fade and rise without one.',
  });
export type Lead = z.output<typeof lead>;
