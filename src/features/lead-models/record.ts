import { index, unique } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import type { LeadModel } from '../../domain/lead-features.ts';
import { personal } from '../../platform/personal.ts';
import { text as boundedText, id, instant as instantText, smallInteger } from '../../platform/values.ts';
import { instant, integer, json, key, text, version, words } from '../../records/fields.ts';
import { outputShape, storedTable } from '../../records/table.ts';

export const leadModelStatuses = ['queued', 'training', 'ready', 'refused', 'failed'] as const;
export type LeadModelStatus = (typeof leadModelStatuses)[number];
export const leadModelStatus = z.enum(leadModelStatuses).meta({
  id: 'LeadModelStatus',
  description:
    'queued and training: a background job trains it. ready: it can score; the ready one with the highest number is in use. refused: there is too little to learn from. failed: it could not be trained.',
  example: 'ready',
});

/** Cross-validation of every model. */
export const foldCount = 5;
export const defaultHorizonDays = 90;
export const defaultMinConversions = 100;

export const leadModelInput = z
  .strictObject({
    exclude: z
      .array(boundedText(200).regex(/^[^*]+\*?$/))
      .max(100)
      .optional()
      .meta({
        description:
          'Fields to leave out: those that staff fill in when the outcome is known. A name leaves out the field and everything under it; with `*` at the end, everything that begins with it. Fields are `profile.kind`, `.locale`, `.preferredChannel`, `.acquisitionSource`, `.leadSource`, `.country`, `.hasEmail`, `.hasPhone`, `.hasCompany`, `.hasBirthday`, `.referred`; `attributes.<name>`; `interactions.<kind>.inbound`, `.outbound`, `.count`, `.minutes`, `.pages`; `interactions.topic`, `.outcome`, `.last`. Default: none.',
        example: ['attributes.leadQuality', 'attributes.sales*'],
      }),
    horizonDays: z.int().min(1).max(3_650).optional().meta({
      description: 'A lead that became a customer within this many days after it entered is a conversion. Default: 90.',
      example: 90,
    }),
    enteredFrom: instantText
      .optional()
      .meta({ description: 'Only leads that entered at or after this. Default: all.' }),
    enteredTo: instantText.optional().meta({ description: 'Only leads that entered before this. Default: all.' }),
    asOf: instantText.optional().meta({
      description:
        'The model learns only from what was known before this instant. Leads whose `horizonDays` are not over are left out. Default: now.',
    }),
    minConversions: z.int().min(50).max(1_000_000).optional().meta({
      description:
        'With fewer conversions, or fewer leads without one, the model is refused. At least 50. Default: 100.',
      example: 100,
    }),
  })
  .meta({
    id: 'LeadModelInput',
    description: 'The leads to learn from.',
    example: { exclude: ['attributes.leadQuality', 'attributes.sales*'], horizonDays: 90 },
  });

export const leadModelParameters = z
  .strictObject({
    exclude: z.array(z.string()),
    horizonDays: smallInteger,
    enteredFrom: instantText.nullable(),
    enteredTo: instantText.nullable(),
    asOf: instantText,
    minConversions: smallInteger,
    folds: smallInteger.meta({ description: 'Number of folds of the cross-validation.', example: foldCount }),
  })
  .meta({ id: 'LeadModelParameters', description: 'The leads it learns from.' });
export type LeadModelParameters = z.output<typeof leadModelParameters>;

export const leadModelCounts = z
  .strictObject({
    leads: smallInteger.meta({ description: 'Leads learned from: conversions and others.', example: 6467 }),
    conversions: smallInteger.meta({ description: 'Those that became customers in time.', example: 2480 }),
    tooYoung: smallInteger.meta({ description: 'Left out: not converted, and their `horizonDays` are not over.' }),
    alreadyCustomers: smallInteger.meta({ description: 'Left out: customers when they entered, or before.' }),
  })
  .meta({ id: 'LeadModelCounts', description: 'Leads of the window, by what became of them until `asOf`.' });
export type LeadModelCounts = z.output<typeof leadModelCounts>;

const share = z.number().min(0).max(1);
const decile = z.int().min(1).max(10);

export const calibrationGroup = z
  .strictObject({
    decile: decile.meta({ description: '1: the lowest probabilities.' }),
    count: smallInteger,
    predicted: share.meta({ description: 'Mean probability.', example: 0.31 }),
    observed: share.meta({ description: 'Share that converted.', example: 0.29 }),
  })
  .meta({
    id: 'CalibrationGroup',
    description: 'A tenth of the leads by probability: predicted and actual conversions.',
  });

export const liftGroup = z
  .strictObject({
    decile: decile.meta({ description: '1: the best scores.' }),
    count: smallInteger,
    conversions: z
      .number()
      .meta({ description: 'Can be a fraction: leads with equal scores are shared between neighbouring tenths.' }),
    share: share.meta({ description: 'Conversions ÷ count.' }),
    lift: z.number().nullable().meta({ description: 'The share ÷ that among all leads.', example: 2.4 }),
    cumulativeGain: share
      .nullable()
      .meta({ description: 'Part of all conversions that is in this tenth and the better ones.' }),
  })
  .meta({ id: 'LiftGroup', description: 'A tenth of the leads by score, and how many of them converted.' });

const area = z.number().min(0).max(1).nullable();

export const leadModelQuality = z
  .strictObject({
    auc: area.meta({
      description:
        'Mean of `foldAucs`: the chance that of two leads, one converted and one not, the converted one has the higher score. 0.5 is pure chance.',
      example: 0.898,
    }),
    foldAucs: z
      .array(area)
      .meta({ description: 'Of each fifth of the leads, by a model fitted to the other four fifths.' }),
    brierScore: share
      .nullable()
      .meta({ description: 'Mean squared difference of probability and outcome.', example: 0.12 }),
    calibration: z.array(calibrationGroup),
    lift: z.array(liftGroup).meta({ description: 'By probability.' }),
    ruleSetId: id.meta({ description: 'The rule set in force at `asOf`, for comparison.' }),
    ruleAuc: area.meta({
      description:
        'The rule score on the same leads, each as of when it was last heard of before its conversion or the end of the horizon.',
    }),
    ruleLift: z.array(liftGroup).meta({ description: 'By rule score.' }),
    columns: smallInteger.meta({ description: 'Coefficients beside the intercept.' }),
    unusedExclusions: z.array(z.string()).meta({
      description: 'Names in `exclude` that match no field of these leads, perhaps because they are misspelt.',
    }),
    converged: z.boolean().meta({ description: 'Whether the last fit converged.' }),
    seconds: z.number().meta({ description: 'How long the training took.' }),
  })
  .meta({
    id: 'LeadModelQuality',
    description:
      'How good it is on leads held out in training: all figures are of predictions by a model that has not seen the lead.',
  });
export type LeadModelQuality = z.output<typeof leadModelQuality>;

export const leadModelReasonCodes = [
  'too_few_conversions',
  'too_few_others',
  'no_features',
  'unavailable',
  'internal_error',
] as const;
export const leadModelReason = z
  .strictObject({
    code: z.enum(leadModelReasonCodes).meta({ id: 'LeadModelReasonCode', example: 'too_few_conversions' }),
    message: z.string(),
  })
  .meta({ id: 'LeadModelReason', description: 'Why it was refused or failed.' });
export type LeadModelReason = z.output<typeof leadModelReason>;

/** From this mean AUC on, the model is too good to be true. */
export const suspiciousAuc = 0.97;

export const leadModelWarning = z
  .strictObject({
    code: z.enum(['outcome_in_fields']).meta({ id: 'LeadModelWarningCode', example: 'outcome_in_fields' }),
    message: z.string(),
    fields: z.array(z.string()).meta({ description: 'The fields with the most weight, the largest first.' }),
  })
  .meta({
    id: 'LeadModelWarning',
    description: 'From an AUC of 0.97 on: a field may have been filled in after the outcome.',
  });

export const leadModelFields = {
  id: key(),
  version: version(),
  number: integer(1, 2_147_483_647)
    .required()
    .readOnly()
    .answers(smallInteger.min(1))
    .says('1, 2, 3 … in the order of the requests.'),
  status: words(leadModelStatus).required().readOnly(),
  parameters: json(leadModelParameters).plain().required().readOnly(),
  /** Null until the leads were counted. */
  counts: json(leadModelCounts).plain().readOnly(),
  /** Columns with their shares, and coefficients; null until trained. */
  model: json(z.custom<LeadModel>()).plain().internal(),
  /** Null until trained. */
  quality: json(leadModelQuality).plain().readOnly(),
  reason: json(leadModelReason).plain().readOnly(),
  requestedBy: text(200).plain().required().readOnly().says('The client that requested it.'),
  createdAt: instant().required().readOnly(),
  startedAt: instant().readOnly(),
  finishedAt: instant().readOnly(),
};

/** Learned lead scores: what was trained when on what, and what came of it. Nothing in here is about one person. */
export const leadModels = storedTable('lead_models', {
  name: 'leadModels',
  label: 'Learned lead scores',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'lead_model' },
  fields: leadModelFields,
  extras: (t) => [unique().on(t.number), index('lead_models_created').on(t.createdAt, t.id)],
});

/** A model without its coefficients, as lists have it. */
export const listedLeadModel = z
  .strictObject({
    ...outputShape(leadModelFields),
    intercept: z
      .number()
      .nullable()
      .meta({ description: 'Log-odds of a lead with none of the features; null until it is ready.' }),
    warning: leadModelWarning.nullable(),
  })
  .meta({ id: 'ListedLeadModel', description: 'A learned lead score.' });

export const leadModelCoefficient = z
  .strictObject({
    field: z.string().meta({ description: 'As in `exclude`.', example: 'interactions.topic' }),
    feature: personal(
      z.string().meta({
        description:
          'A feature of leads. Next to a contribution it reveals what a single lead has, so it is personal data.',
        example: 'topic seen = price',
      }),
    ),
    coefficient: z.number().meta({ description: 'Log-odds that a lead with it has more.', example: 0.42 }),
    oddsRatio: z.number().meta({ description: 'e^coefficient.', example: 1.52 }),
    share: share.meta({ description: 'Part of the leads learned from that have it.' }),
  })
  .meta({ id: 'LeadModelCoefficient', description: 'The weight of one feature.' });

export const leadModel = listedLeadModel
  .extend({
    coefficients: z.array(leadModelCoefficient).meta({ description: 'By absolute value, largest first.' }),
  })
  .meta({
    id: 'LeadModel',
    description: 'A learned lead score: its training data, its quality and its coefficients.',
  });
export type LeadModelAnswer = z.output<typeof leadModel>;

const logOdds = z.number().meta({ description: 'ln(p ÷ (1 − p)): a multiple of 2^−20.', example: -0.75 });
const points = z.number().meta({ description: '20 points double the odds: a multiple of 2^−10.', example: -21.5 });
const probability = share.meta({ description: '1 ÷ (1 + e^−logOdds).', example: 0.32 });

export const learnedContribution = z
  .strictObject({
    field: z.string().meta({ example: 'interactions.topic' }),
    feature: personal(z.string().meta({ description: 'The value of the lead.', example: 'topic seen = price' })),
    logOdds: logOdds.meta({ description: 'Compared with the average lead.' }),
    points: points.meta({ description: 'Compared with the average lead.' }),
  })
  .meta({ id: 'LearnedContribution', description: 'What one field adds to the learned score, or takes from it.' });

export const learnedScore = z
  .strictObject({
    modelId: id,
    number: smallInteger.meta({ description: 'Of the model.' }),
    probability: probability.meta({
      description: 'Probability that the lead becomes a customer within the `horizonDays` of the model.',
    }),
    logOdds: logOdds.meta({ description: 'The exact sum of `baseLogOdds` and those of the contributions.' }),
    points: points.meta({ description: 'The exact sum of `basePoints` and those of the contributions.' }),
    baseLogOdds: logOdds.meta({ description: 'Of the average lead.' }),
    basePoints: points.meta({ description: 'Of the average lead.' }),
    contributions: z
      .array(learnedContribution)
      .meta({ description: 'By field, those that are not 0, by absolute value, largest first.' }),
  })
  .meta({ id: 'LearnedScore', description: 'The score of a lead by the model in use, with its reasons.' });
export type LearnedScoreAnswer = z.output<typeof learnedScore>;

export const learnedReasons = ['no_model'] as const;
export const learnedReason = z
  .enum(learnedReasons)
  .meta({ id: 'LearnedReason', description: 'no_model: no model is ready.', example: 'no_model' });

/** What lists of leads answer of the learned score. */
export const learnedGlance = z
  .strictObject({ probability, points })
  .meta({ id: 'LearnedGlance', description: 'The learned score of a lead by the model in use, in short.' });

export const modelScore = z
  .strictObject({ leadId: id, probability, logOdds, points })
  .meta({ id: 'LeadModelScore', description: 'The score of a lead by a model.' });
