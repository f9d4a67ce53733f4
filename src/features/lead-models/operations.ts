import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { fieldWeights } from '../../domain/field-weights.ts';
import { type Db, fields, insertRows, param, statement } from '../../platform/db/client.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { enqueue } from '../../platform/jobs.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { answeredMembers } from '../../records/table.ts';
import { leads } from '../leads/record.ts';
import { learnedScoresOf, readyModel, scoresByModel } from './queries.ts';
import {
  defaultHorizonDays,
  defaultMinConversions,
  foldCount,
  type LeadModelAnswer,
  leadModel,
  leadModelCoefficient,
  leadModelFields,
  leadModelInput,
  leadModelStatus,
  leadModels,
  learnedGlance,
  listedLeadModel,
  modelScore,
  suspiciousAuc,
} from './record.ts';
import { trainLeadModel } from './train.ts';

const leadModelInUse = problemType('lead_model_in_use', 409, 'The model is in use');
const leadModelNotReady = problemType('lead_model_not_ready', 409, 'The model is not ready');

const leadModelId = z.strictObject({ id });

export const writtenLeadModel = leadModel.extend({ created }).meta({ id: 'WrittenLeadModel' });

type LeadModelRow = typeof leadModels.$inferSelect;

const columns = fields(leadModels);

function withWarning(row: LeadModelRow): z.output<typeof listedLeadModel> {
  return { ...answeredMembers(leadModelFields, row), intercept: row.model?.intercept ?? null, warning: warningOf(row) };
}

function withCoefficients(row: LeadModelRow): LeadModelAnswer {
  return { ...withWarning(row), coefficients: coefficientsOf(row) };
}

function warningOf({ model, quality }: LeadModelRow): LeadModelAnswer['warning'] {
  if (model === null || quality === null || quality.auc === null || quality.auc < suspiciousAuc) return null;
  const heaviest = fieldWeights(model)
    .slice(0, 5)
    .map(({ field }) => field);
  return {
    code: 'outcome_in_fields',
    message: `An AUC of ${quality.auc.toFixed(3)} is suspiciously high: a field may have been filled in after the outcome. The fields with the most weight are ${heaviest.join(', ')}; train again and exclude those that new leads do not have.`,
    fields: heaviest,
  };
}

function coefficientsOf({ model }: Pick<LeadModelRow, 'model'>): LeadModelAnswer['coefficients'] {
  if (model === null) return [];
  return model.encoder.columns
    .map(({ field, name, share }, index) => {
      const coefficient = model.coefficients[index] ?? 0;
      return { field, feature: name, coefficient, oddsRatio: Math.exp(coefficient), share };
    })
    .sort((a, b) => Math.abs(b.coefficient) - Math.abs(a.coefficient) || (a.feature < b.feature ? -1 : 1));
}

// Any constant does; in ASCII this one reads MODL.
const numbering = statement('lead_model_lock', sql`select pg_advisory_xact_lock(${param('key')}::bigint)`);
const nextNumber = statement<{ number: number }>(
  'next_lead_model',
  sql`select coalesce(max(number), 0) + 1 as number from lead_models`,
);
const insert = statement('insert_lead_model', insertRows(leadModels, param('rows')));

export const createLeadModel = writeOperation({
  name: 'createLeadModel',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Train a learned lead score',
  description:
    'Trains a logistic regression on your leads in the background: read it again until its `status` is `ready` (it is then in use), `refused` or `failed`. It learns from profiles as they are now, and from interactions before the conversion or the end of the horizon; never from stage, owner or rule score. The service cannot know which fields staff fill in along the way: `exclude` them.',
  input: z.strictObject({ ...writeParameters, body: leadModelInput }),
  output: writtenLeadModel,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, { now, principal }, { body }) {
    const { asOf = now, enteredFrom = null, enteredTo = null } = body;
    // As numbers: canonical text has three digits of a second or six.
    if (Date.parse(asOf) > Date.parse(now)) {
      throw invalid('/asOf', 'out_of_range', 'Cannot be in the future: leads would count as lost too early.');
    }
    if (enteredFrom !== null && enteredTo !== null && Date.parse(enteredFrom) >= Date.parse(enteredTo)) {
      throw invalid('/enteredTo', 'out_of_range', 'Must be after enteredFrom.');
    }
    await tx.all(numbering, { key: 0x4d4f444c });
    const next = await tx.first(nextNumber);
    const row: LeadModelRow = {
      id: newId(),
      version: 1,
      number: next?.number ?? 1,
      status: 'queued',
      parameters: {
        exclude: body.exclude ?? [],
        horizonDays: body.horizonDays ?? defaultHorizonDays,
        enteredFrom,
        enteredTo,
        asOf,
        minConversions: body.minConversions ?? defaultMinConversions,
        folds: foldCount,
      },
      counts: null,
      model: null,
      quality: null,
      reason: null,
      requestedBy: principal.client,
      createdAt: now,
      startedAt: null,
      finishedAt: null,
    };
    await tx.all(insert, { rows: JSON.stringify([row]) });
    enqueue(tx, trainLeadModel, { leadModelId: row.id });
    return { ...withCoefficients(row), created: true };
  },
});

const byId = statement<LeadModelRow>(
  'lead_model_by_id',
  sql`select ${columns} from ${leadModels} where ${leadModels.id} = ${param('id')}::uuid`,
);

async function modelById(db: Db, wanted: string): Promise<LeadModelRow> {
  const row = await db.first(byId, { id: wanted });
  if (!row) throw notFound('lead model');
  return row;
}

export const getLeadModel = readOperation({
  name: 'getLeadModel',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read a learned lead score',
  description: 'Its training data, its quality on leads it has not seen, and its coefficients.',
  input: leadModelId,
  output: leadModel,
  problems: ['not_found'],
  run: async ({ db }, { id: wanted }) => withCoefficients(await modelById(db, wanted)),
});

const list = keysetList<LeadModelRow>({
  name: 'lead_models',
  select: columns,
  from: sql`${leadModels}`,
  id: sql`${leadModels.id}`,
  filters: { status: (value) => sql`${leadModels.status} = ${value}` },
  sorts: { createdAt: { expression: sql`${leadModels.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listLeadModels = readOperation({
  name: 'listLeadModels',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List learned lead scores',
  description:
    'All models, including refused and failed ones. The one in use is the first that is `ready`. Read a single model for its coefficients.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: leadModelStatus.optional(),
  }),
  output: pageOf(listedLeadModel).meta({ id: 'LeadModelPage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(withWarning), page };
  },
});

const lock = statement<{ version: number; inUse: boolean }>(
  'locked_lead_model',
  sql`select version, status = 'ready' and number = (select max(number) from lead_models where status = 'ready') as "inUse"
    from lead_models where id = ${param('id')}::uuid for update`,
);
const remove = statement('delete_lead_model', sql`delete from lead_models where id = ${param('id')}::uuid`);

export const deleteLeadModel = writeOperation({
  name: 'deleteLeadModel',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Delete a learned lead score',
  description: 'If the model is queued or training, its training is cancelled. The model in use cannot be deleted.',
  input: z.strictObject({ ...leadModelId.shape, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', leadModelInUse, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: wanted, expectedVersion: expected }) {
    const found = await tx.first(lock, { id: wanted });
    if (!found) throw notFound('lead model');
    checkVersion(found.version, expected);
    if (found.inUse) throw new Problem(leadModelInUse, 'This model is in use: train a newer one first.');
    await tx.all(remove, { id: wanted });
    return { id: wanted, deleted: true };
  },
});

const ids = keysetList<{ id: string }>({
  name: 'lead_model_scores',
  select: sql`${leads.customerId} as id`,
  from: sql`${leads}`,
  id: sql`${leads.customerId}`,
  filters: {
    converted: (value) => sql`(${leads.convertedAt} is not null) = ${value}::boolean`,
    enteredFrom: (value) => sql`${leads.enteredAt} >= ${value}::timestamptz`,
    enteredTo: (value) => sql`${leads.enteredAt} < ${value}::timestamptz`,
  },
  sorts: { leadId: { expression: sql`${leads.customerId}`, type: 'uuid', field: 'id' } },
  defaultSort: 'leadId',
});

export const listLeadModelScores = readOperation({
  name: 'listLeadModelScores',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List the scores of all leads by a model',
  description:
    'Sorted by id, by any model that is ready: to test a model on leads it has not seen, or to export scores.',
  input: z.strictObject({
    ...leadModelId.shape,
    ...pageParameters,
    asOf: instant.optional().meta({
      description:
        'Only interactions before this instant count; for a lead that became a customer, only those before that. Profiles count as they are now. Default: now.',
    }),
    converted: z
      .boolean()
      .optional()
      .meta({ description: 'Only leads that have become a customer, or only those that have not.' }),
    enteredFrom: instant.optional().meta({ description: 'Only leads that entered then or later.' }),
    enteredTo: instant.optional().meta({ description: 'Only leads that entered before this.' }),
  }),
  output: pageOf(modelScore).meta({ id: 'LeadModelScorePage' }),
  problems: ['not_found', leadModelNotReady],
  async run(context, { id: wanted, asOf = context.now, ...input }) {
    const { db } = context;
    const model = await readyModel(db, wanted);
    if (!model) {
      const { status } = await modelById(db, wanted);
      throw new Problem(leadModelNotReady, `The model is ${status}: only a model that is ready can score.`);
    }
    const { data, page } = await ids(db, context, input);
    const scores = await scoresByModel(
      db,
      model,
      data.map((lead) => lead.id),
      asOf,
    );
    return {
      data: data.flatMap((lead) => {
        const score = scores.get(lead.id);
        // Without one it has vanished between the two statements.
        if (!score) return [];
        const { probability, logOdds, points } = score;
        return [{ leadId: lead.id, probability, logOdds, points }];
      }),
      page,
    };
  },
});

const modelsOf = statement<Pick<LeadModelRow, 'id' | 'model'>>(
  'lead_models_by_ids',
  sql`select id, model from lead_models where id = any(${param('ids')}::uuid[])`,
);

/** For the GraphQL loaders: coefficients of a set of models, one statement. */
export const coefficientsByLeadModels = readOperation({
  name: 'coefficientsByLeadModels',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the coefficients of models',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(leadModelCoefficient)),
  async run({ db }, input) {
    const found = new Map((await db.all(modelsOf, { ids: input.ids })).map((row) => [row.id, row]));
    return input.ids.map((wanted) => coefficientsOf(found.get(wanted) ?? { model: null }));
  },
});

/** For the GraphQL loaders: learned scores of a set of leads by the model in use, two statements. */
export const learnedByLeads = readOperation({
  name: 'learnedByLeads',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the learned scores of leads, in short',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(learnedGlance.nullable()),
  async run({ db, now }, input) {
    const found = await learnedScoresOf(db, [...new Set(input.ids)], now);
    return input.ids.map((wanted) => {
      const score = found?.get(wanted);
      return score ? { probability: score.probability, points: score.points } : null;
    });
  },
});
