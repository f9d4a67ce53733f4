import { foreignKey, index, unique } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { personal } from '../../platform/personal.ts';
import { text as boundedText, id, instant as instantText, smallInteger } from '../../platform/values.ts';
import { count, instant, integer, json, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { direction, interactionKind } from '../interactions/record.ts';
import { learnedReason, learnedScore } from '../lead-models/record.ts';
import { leads } from '../leads/record.ts';
import { scoreGrade } from './grade.ts';

export const ruleSetStatuses = ['draft', 'published'] as const;
export type RuleSetStatus = (typeof ruleSetStatuses)[number];
export const ruleSetStatus = z.enum(ruleSetStatuses).meta({ id: 'RuleSetStatus', example: 'draft' });

export const ruleGroups = ['fit', 'intent'] as const;
export const ruleGroup = z.enum(ruleGroups).meta({
  id: 'RuleGroup',
  description: 'fit: who they are. intent: what they did.',
  example: 'intent',
});
export const contributionKinds = ['rule', 'group_cap'] as const;
export const ruleCounts = ['interaction', 'minute', 'page', 'latest'] as const;
export const ruleCount = z.enum(ruleCounts).meta({
  id: 'RuleCount',
  description:
    'What `points` are for: each interaction that matches, each minute or page of these, or only the latest of them.',
  example: 'interaction',
});

/** Points are multiples of a quarter: sums and caps are then exact in every arithmetic. */
const points = z.number().min(-1_000).max(1_000).multipleOf(0.25);
const cap = z.number().min(0).max(10_000).multipleOf(0.25);

const field = boundedText(200)
  .regex(
    /^(kind|locale|preferredChannel|acquisitionSource|source|segment|country|email|phone|name|company|birthday|completeness|attributes\.[^\s].*)$/,
    'is no field of a profile, see its description',
  )
  .meta({
    description:
      'A field of the profile as it is now, whatever `asOf`: `kind`, `locale`, `preferredChannel`, `acquisitionSource`, `source`, `segment` (of the lead), `country`, `email`, `phone`, `name`, `company`, `birthday`, `attributes.<name>`, or `completeness` (0–1, the share of `profileFields` that are filled in).',
    example: 'attributes.occupation',
  });

export const ruleConditionInput = z
  .strictObject({
    field,
    exists: z.boolean().optional().meta({ description: 'Whether it is filled in.' }),
    oneOf: z
      .array(boundedText(200))
      .min(1)
      .max(200)
      .optional()
      .meta({ description: 'Its text is one of these; numbers and booleans are compared as text.' }),
    noneOf: z
      .array(boundedText(200))
      .min(1)
      .max(200)
      .optional()
      .meta({ description: 'It is filled in and none of these.' }),
    atLeast: z.number().min(-1e12).max(1e12).optional().meta({ description: 'It is a number, and at least this.' }),
    atMost: z.number().min(-1e12).max(1e12).optional().meta({ description: 'It is a number, and at most this.' }),
  })
  .meta({ id: 'RuleCondition', description: 'A condition on the profile; everything you send must hold.' });

export const ruleTouchesInput = z
  .strictObject({
    kinds: z.array(interactionKind).min(1).max(30).optional(),
    directions: z.array(direction).min(1).max(2).optional(),
    channels: z.array(boundedText(100)).min(1).max(100).optional(),
    topics: z.array(boundedText(200)).min(1).max(100).optional(),
    outcomes: z.array(boundedText(200)).min(1).max(100).optional(),
    campaignIds: z.array(id).min(1).max(100).optional(),
    minSeconds: z.int().min(0).max(31_622_400).optional().meta({ description: 'It took at least so long.' }),
    withinDays: z
      .int()
      .min(1)
      .max(36_500)
      .optional()
      .meta({ description: 'It happened within this many days before `asOf`.' }),
  })
  .meta({
    id: 'RuleTouches',
    description: 'Which interactions count; everything you send must hold. `automatic` ones never count.',
  });

export const scoreRuleInput = z
  .strictObject({
    name: boundedText(200).meta({
      description: 'Unique in the rule set; the name shown with contributions.',
      example: 'Asked for a call',
    }),
    group: ruleGroup,
    points: points.meta({ description: 'A multiple of 0.25; negative to take away.', example: 15 }),
    when: z
      .array(ruleConditionInput)
      .min(1)
      .max(20)
      .optional()
      .meta({ description: 'Profile conditions; all must hold.' }),
    on: ruleTouchesInput
      .optional()
      .meta({ description: 'The interactions that count; required in the group intent, refused in fit.' }),
    per: ruleCount.optional().meta({ description: 'With `on`. Default: `interaction`.' }),
    cap: cap.optional().meta({ description: 'The most that the rule adds or takes away. Default: 10,000.' }),
    halfLifeDays: z.number().min(0.01).max(36_500).optional().meta({
      description: 'With `on`: the points of an interaction halve in this time. Default: never.',
      example: 14,
    }),
  })
  .meta({ id: 'ScoreRule', description: 'A rule: points for a profile, or for interactions.' });

export const ruleSetDocumentInput = z
  .strictObject({
    rules: z.array(scoreRuleInput).min(1).max(200).meta({
      description:
        'Their names are unique. They have at most 600 conditions in all, of which one on `completeness` counts as many as it has fields.',
    }),
    caps: z
      .strictObject({ fit: cap.optional(), intent: cap.optional() })
      .meta({ id: 'GroupCaps', description: 'The most that a group adds.' })
      .optional(),
    grades: z.strictObject({ A: points, B: points, C: points }).meta({
      id: 'Grades',
      description: 'The lowest score of each grade, falling; below C it is D.',
      example: { A: 70, B: 45, C: 20 },
    }),
    qualify: z
      .strictObject({ marketing: points.optional(), sales: points.optional() })
      .meta({ id: 'Qualify', description: 'The score from which a lead is marketing- or sales-qualified.' })
      .optional(),
    profileFields: z
      .array(field)
      .min(1)
      .max(50)
      .optional()
      .meta({ description: 'What `completeness` counts. Default: name, email, phone, country, source.' }),
  })
  .meta({ id: 'RuleSetDocument', description: 'The rules, and the meaning of their scores.' });
export type RuleSetDocument = z.output<typeof ruleSetDocumentInput>;

export const ruleSetMembers = {
  name: text(200).plain().required(),
  document: json(ruleSetDocumentInput).plain().required(),
};

export const ruleSetFields = {
  id: key(),
  version: version(),
  number: integer(1, 2_147_483_647).readOnly().says('1, 2, 3 … in the order of publication; null for a draft.'),
  ...ruleSetMembers,
  status: words(ruleSetStatus).required().readOnly(),
  publishedAt: instant().readOnly(),
  publishedBy: text(200).plain().readOnly(),
  /** When `lead_score_bounds` became complete for it; until then lists by score compute every score. */
  indexedAt: instant()
    .readOnly()
    .says('When the index for lists by its score was ready. Until then the lists are correct, but slow.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** Versioned rule documents; a published one never changes again. The one in force is the latest published. */
export const leadRuleSets = storedTable('lead_rule_sets', {
  name: 'leadRuleSets',
  label: 'Rule sets of lead scores',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'lead_rule_set' },
  fields: ruleSetFields,
  extras: (t) => [
    unique().on(t.number),
    index('lead_rule_sets_published').on(t.publishedAt, t.id),
    index('lead_rule_sets_created').on(t.createdAt, t.id),
  ],
});

/**
 * Derived state: what a lead's score under a rule set can at most be from `boundAt` on, as decay only takes away from
 * what adds to it. Lists by score read leads in this order and compute exactly as many as can be on the page. Written
 * in the transaction of the interaction or profile, under the customer's lock.
 */
export const leadScoreBounds = storedTable('lead_score_bounds', {
  name: 'scoreBounds',
  label: 'Upper bounds of scores',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId', 'ruleSetId'],
  guard: null,
  fields: {
    customerId: ownerId().internal(),
    ruleSetId: recordId().required().internal(),
    /** In 1/1024 of a point. */
    bound: count().required().internal(),
    boundAt: instant().required().internal(),
  },
  extras: (t) => [
    index('lead_score_bounds_order').on(t.ruleSetId, t.bound, t.customerId),
    foreignKey({
      columns: [t.customerId],
      foreignColumns: [leads.customerId],
      name: 'lead_score_bounds_customer_id_leads_customer_id_fk',
    }).onDelete('cascade'),
    foreignKey({
      columns: [t.ruleSetId],
      foreignColumns: [leadRuleSets.id],
      name: 'lead_score_bounds_rule_set_id_lead_rule_sets_id_fk',
    }).onDelete('cascade'),
  ],
});

export const ruleSetInput = z.strictObject(inputShape(ruleSetMembers)).meta({
  id: 'RuleSetInput',
  description: 'A draft of a rule set.',
  example: {
    name: 'Forms and calls',
    document: {
      rules: [
        { name: 'Can be called', group: 'fit', points: 5, when: [{ field: 'phone', exists: true }] },
        {
          name: 'Filled in a form',
          group: 'intent',
          points: 15,
          on: { kinds: ['form'], withinDays: 365 },
          cap: 30,
          halfLifeDays: 30,
        },
      ],
      caps: { intent: 90 },
      grades: { A: 40, B: 20, C: 5 },
      qualify: { marketing: 20, sales: 40 },
    },
  },
});
export const ruleSetPatch = z
  .strictObject(inputShape(ruleSetMembers))
  .partial()
  .meta({
    id: 'RuleSetPatch',
    description: 'You can only change drafts; the document is replaced as a whole.',
    example: { name: 'Forms, calls and visits' },
  });

export const ruleSet = z
  .strictObject(outputShape(ruleSetFields))
  .meta({ id: 'RuleSet', description: 'A versioned document of score rules.' });
export type RuleSet = z.output<typeof ruleSet>;
export type RuleSetRow = typeof leadRuleSets.$inferSelect;

const scorePoints = z.number().meta({ description: 'Points: a multiple of 1/1024.', example: 12.5 });

export const scoreEvidence = z
  .strictObject({
    interactionId: id,
    kind: interactionKind,
    occurredAt: instantText,
    topic: personal(z.string()),
    channel: z.string().nullable(),
    points: z.number().meta({ description: 'Its points at `asOf`, before caps.', example: 7.5 }),
  })
  .meta({ id: 'ScoreEvidence', description: 'An interaction that counts.' });

export const scoreProfileValue = z
  .strictObject({
    field: z.string(),
    value: personal(z.string().meta({ description: 'As text; null: not filled in.' })),
  })
  .meta({ id: 'ScoreProfileValue', description: 'A field of the profile that the rule reads.' });

export const scoreContribution = z
  .strictObject({
    rule: z.string().meta({ description: 'Name of the rule; of a `group_cap` the group.' }),
    group: ruleGroup,
    kind: z.enum(contributionKinds).meta({
      id: 'ContributionKind',
      description: 'group_cap: what the cap of the group takes away.',
      example: 'rule',
    }),
    points: scorePoints.meta({ description: 'The points it adds to the score, after its cap.' }),
    uncapped: scorePoints.meta({ description: 'Before its cap.' }),
    profile: z.array(scoreProfileValue).meta({ description: 'The profile fields that the rule read.' }),
    evidence: z.array(scoreEvidence).meta({
      description:
        'The interactions that count, latest first, at most 50; their points sum to `uncapped` unless there are more.',
    }),
    evidenceCount: smallInteger.meta({ description: 'All interactions that count.' }),
  })
  .meta({ id: 'ScoreContribution', description: 'One reason for the score.' });

export const ruleScoreAnswer = z
  .strictObject({
    ruleSetId: id,
    number: smallInteger.nullable().meta({ description: 'null: a draft.' }),
    score: scorePoints.meta({ description: 'The exact sum of the contributions.' }),
    grade: scoreGrade,
    fit: scorePoints,
    intent: scorePoints,
    contributions: z.array(scoreContribution),
  })
  .meta({ id: 'RuleScore', description: 'The score of a lead by the rules, with its reasons.' });

export const leadScore = z
  .strictObject({
    leadId: id,
    asOf: instantText,
    rule: ruleScoreAnswer,
    learned: learnedScore.nullable().meta({ description: 'By the model in use; null when there is none.' }),
    learnedReason: learnedReason.nullable().meta({ description: 'Why there is no learned score.' }),
  })
  .meta({ id: 'LeadScore', description: 'The score of a lead at an instant.' });
export type LeadScoreAnswer = z.output<typeof leadScore>;

export const gradeMove = z
  .strictObject({ from: scoreGrade, to: scoreGrade, leads: smallInteger })
  .meta({ id: 'GradeMove', description: 'How many leads would move from one grade to the other.' });

export const leadMove = z
  .strictObject({
    leadId: id,
    from: scoreGrade,
    to: scoreGrade,
    scoreBefore: scorePoints,
    scoreAfter: scorePoints,
  })
  .meta({ id: 'LeadMove', description: 'A lead that would get another grade.' });

export const ruleSetPreview = z
  .strictObject({
    ruleSetId: id,
    comparedWith: id.meta({ description: 'The rule set in force at `asOf`.' }),
    asOf: instantText,
    leads: smallInteger.meta({ description: 'Open leads: all except customers and former ones.' }),
    moved: smallInteger.meta({ description: 'Those that would get another grade.' }),
    meanChange: z.number().nullable().meta({ description: 'Points per lead; null without leads.' }),
    grades: z.array(gradeMove).meta({ description: 'By present and new grade, including leads that stay.' }),
    moves: z.array(leadMove).meta({ description: 'The largest changes of score among those that move.' }),
  })
  .meta({ id: 'RuleSetPreview', description: 'The effect of publishing the rule set.' });
export type RuleSetPreview = z.output<typeof ruleSetPreview>;
