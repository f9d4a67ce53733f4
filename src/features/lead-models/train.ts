import { setImmediate } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import {
  areaByFold,
  areaUnderCurve,
  calibration,
  hashOfId,
  liftByDecile,
  stratifiedFolds,
} from '../../domain/classification.ts';
import { type LeadEncoder, type LeadModel, LeadSurvey, leadEncoding } from '../../domain/lead-features.ts';
import { crossValidate, fitLogisticRegression, probabilityOf, SparseMatrix } from '../../domain/logistic-regression.ts';
import { type Db, param, statement, transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { id } from '../../platform/values.ts';
import { isTouch } from '../interactions/record.ts';
import { rulesInForce, scoresAt } from '../lead-scores/queries.ts';
import { type FactsRow, factsQuery, firstConversion, readFacts } from './queries.ts';
import type { LeadModelCounts, LeadModelParameters, LeadModelQuality, LeadModelReason } from './record.ts';

/** Leads read at a time. */
const chunk = 500;
const nobody = '00000000-0000-0000-0000-000000000000';

/*
 * A lead is a conversion when it became a customer within the horizon after it entered, and none when the horizon was
 * over by `asOf`. Of both only what happened before is looked at: until the conversion, or until the horizon was over.
 * `offset 0`: the conversion is looked up once per lead, not wherever it is named. `+ interval '0'`: pages are read along
 * the ids; by the index of `entered_at`, which the planner likes better, each would look through all leads.
 */
const labelled = sql`select l.customer_id, l.source, v.converted_at <= l.entered_at as was_customer, x.outcome,
    case x.outcome when 1 then v.converted_at else v.over_at end as cut
  from leads l
    cross join lateral (select ${firstConversion} as converted_at, l.entered_at + make_interval(hours => ${param('hours')}::int) as over_at offset 0) v
    cross join lateral (select case
        when v.converted_at <= l.entered_at then null
        when v.converted_at <= least(v.over_at, ${param('asOf')}::timestamptz) then 1
        when v.over_at < ${param('asOf')}::timestamptz then 0
      end as outcome) x
  where l.entered_at + interval '0' >= ${param('enteredFrom')}::timestamptz
    and l.entered_at + interval '0' < least(${param('enteredTo')}::timestamptz, ${param('asOf')}::timestamptz)`;

const counting = statement<LeadModelCounts>(
  'count_labelled_leads',
  sql`select count(outcome) as leads, coalesce(sum(outcome), 0) as conversions,
      count(*) filter (where outcome is null and was_customer is not true) as "tooYoung",
      count(*) filter (where was_customer) as "alreadyCustomers"
    from (${labelled}) leads`,
);

interface LabelledRow extends FactsRow {
  outcome: 0 | 1;
  /** Just after the last interaction before the cut. */
  heardAt: string;
}

/*
 * Rules are compared as of when a lead was last heard of. At its cut, which a conversion brings forward, decay alone would
 * tell who converted: of the leads this was tried on, 99.8 % of the best fifth by the default rules had converted.
 */
const page = statement<LabelledRow>(
  'labelled_leads',
  factsQuery(
    sql`${labelled} and l.customer_id > ${param('after')}::uuid and x.outcome is not null
      order by l.customer_id limit ${sql.raw(String(chunk))}`,
    sql`s.outcome, coalesce((select max(i.occurred_at) + interval '1 microsecond' from interactions i
        where i.customer_id = s.customer_id and ${isTouch} and i.occurred_at < s.cut), s.cut) as "heardAt",`,
  ),
);

/** What is learned from, in plain arrays: row by row of the matrix. */
interface Examples {
  encoder: LeadEncoder;
  matrix: SparseMatrix;
  outcomes: Uint8Array;
  hashes: Float64Array;
  ruleScores: Float64Array;
  ruleSetId: string;
  unusedExclusions: string[];
}

/** Too little to learn from: no fault of the service. */
class Refusal extends Error {
  readonly code: LeadModelReason['code'];

  constructor(code: LeadModelReason['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Reads the leads twice: for what there is in them, and as rows. `db` is one snapshot, so both see the same. Leads come
 * in pages and are gone when the next one comes; what stays is some hundred bytes per lead.
 */
async function readExamples(
  db: Db,
  parameters: LeadModelParameters,
  counted: (counts: LeadModelCounts) => void,
  signal: AbortSignal,
): Promise<Examples> {
  const { exclude, horizonDays, enteredFrom, enteredTo, asOf, minConversions } = parameters;
  const window = {
    hours: horizonDays * 24,
    enteredFrom: enteredFrom ?? '-infinity',
    enteredTo: enteredTo ?? 'infinity',
    asOf,
  };
  const counts = await db.first(counting, window);
  if (!counts) throw new Error('count(*) answers a row');
  counted(counts);
  const others = counts.leads - counts.conversions;
  const among = `of ${counts.leads} leads whose ${horizonDays} days were over`;
  if (counts.conversions < minConversions) {
    throw new Refusal(
      'too_few_conversions',
      `${counts.conversions} ${among} had converted; ${minConversions} are needed.`,
    );
  }
  if (others < minConversions) {
    throw new Refusal('too_few_others', `${others} ${among} had not converted; ${minConversions} are needed.`);
  }

  const eachPage = async (work: (rows: LabelledRow[]) => unknown) => {
    for (let after = nobody; ; ) {
      signal.throwIfAborted();
      const rows = await db.all(page, { ...window, after });
      const last = rows.at(-1);
      if (last === undefined) return;
      await work(rows);
      after = last.id;
    }
  };
  const survey = new LeadSurvey({ excluded: exclude });
  await eachPage((rows) => {
    for (const row of rows) survey.add(factsOf(row));
  });
  const encoder = survey.encoder();
  if (encoder.columns.length === 0) {
    throw new Refusal(
      'no_features',
      `No feature is known for at least ${encoder.minimumLeads} of these leads but not for all.`,
    );
  }

  const rules = await rulesInForce(db, asOf);
  const examples: Examples = {
    encoder,
    matrix: new SparseMatrix(encoder.columns.length),
    outcomes: new Uint8Array(counts.leads),
    hashes: new Float64Array(counts.leads),
    ruleScores: new Float64Array(counts.leads),
    ruleSetId: rules.id,
    unusedExclusions: survey.unusedExclusions(),
  };
  const encode = leadEncoding(encoder);
  await eachPage(async (rows) => {
    const subjects = rows.map(({ id: customerId, heardAt }) => ({ customerId, asOf: heardAt }));
    const scores = new Map((await scoresAt(db, rules, subjects)).map(({ customerId, units }) => [customerId, units]));
    for (const row of rows) {
      const at = examples.matrix.rows;
      examples.outcomes[at] = row.outcome;
      examples.hashes[at] = hashOfId(row.id);
      examples.ruleScores[at] = scores.get(row.id) ?? 0;
      examples.matrix.append(encode(factsOf(row)));
    }
  });
  if (examples.matrix.rows !== counts.leads) {
    throw new Error(`${examples.matrix.rows} leads of one snapshot where ${counts.leads} were counted`);
  }
  return examples;
}

function factsOf({ outcome: _, heardAt: __, ...row }: LabelledRow) {
  return readFacts(row);
}

/** Lets others run between the steps of a long computation. */
async function finish<T>(work: Generator<void, T, void>, signal: AbortSignal): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    await setImmediate();
    signal.throwIfAborted();
  }
}

async function fit(
  { encoder, matrix, outcomes, hashes, ruleScores, ruleSetId, unusedExclusions }: Examples,
  count: number,
  signal: AbortSignal,
): Promise<{ model: LeadModel; quality: Omit<LeadModelQuality, 'seconds'> }> {
  const step = async <T>(work: () => T): Promise<T> => {
    await setImmediate();
    signal.throwIfAborted();
    return work();
  };
  const folds = { of: await step(() => stratifiedFolds(hashes, outcomes, count)), count };
  const unseen = await finish(crossValidate(matrix, outcomes, folds), signal);
  const { intercept, coefficients, converged } = await finish(fitLogisticRegression(matrix, outcomes), signal);
  const foldAucs = await step(() => areaByFold(unseen, outcomes, folds));
  const areas = foldAucs.filter((area) => area !== null);
  const { groups, brierScore } = await step(() => calibration(unseen.map(probabilityOf), outcomes));
  return {
    model: { encoder, intercept, coefficients },
    quality: {
      auc: areas.length === 0 ? null : areas.reduce((sum, area) => sum + area, 0) / areas.length,
      foldAucs,
      brierScore,
      calibration: [...groups],
      lift: await step(() => liftByDecile(unseen, outcomes)),
      ruleSetId,
      ruleAuc: await step(() => areaUnderCurve(ruleScores, outcomes)),
      ruleLift: await step(() => liftByDecile(ruleScores, outcomes)),
      columns: encoder.columns.length,
      unusedExclusions,
      converged,
    },
  };
}

const begin = statement<{ parameters: LeadModelParameters }>(
  'begin_lead_model',
  sql`update lead_models set status = 'training', version = version + 1, started_at = ${param('now')}::timestamptz
    where id = ${param('id')}::uuid and status in ('queued', 'training') returning parameters`,
);
const end = statement(
  'end_lead_model',
  sql`update lead_models set status = ${param('status')}, version = version + 1, counts = ${param('counts')}::jsonb,
      model = ${param('model')}::jsonb, quality = ${param('quality')}::jsonb, reason = ${param('reason')}::jsonb,
      finished_at = ${param('now')}::timestamptz
    where id = ${param('id')}::uuid and status = 'training'`,
);

const maxAttempts = 10;

/**
 * Trains a model. It may be killed and run again: nothing is kept before the end. One at a time, as each takes some
 * hundred bytes per lead and a core.
 */
export const trainLeadModel = job({
  name: 'trainLeadModel',
  payload: z.strictObject({ leadModelId: id }),
  queue: 'trainLeadModel',
  maxAttempts,
  async run(services, { leadModelId }, { now, attempt, signal, log }) {
    const begun = await services.db.first(begin, { id: leadModelId, now });
    // It was deleted, or a run that was taken for dead has finished it.
    if (!begun) return;
    const started = performance.now();
    let counts: LeadModelCounts | null = null;
    const finished = (outcome: Outcome) =>
      services.db.all(end, {
        id: leadModelId,
        now: services.clock(),
        status: outcome.status,
        counts: JSON.stringify(counts),
        model: JSON.stringify(outcome.model ?? null),
        quality: JSON.stringify(outcome.quality ?? null),
        reason: JSON.stringify(outcome.reason ?? null),
      });
    try {
      const examples = await inSnapshot(services, (db) =>
        readExamples(
          db,
          begun.parameters,
          (found) => {
            counts = found;
          },
          signal,
        ),
      );
      const { model, quality } = await fit(examples, begun.parameters.folds, signal);
      const seconds = Math.round(performance.now() - started) / 1000;
      await finished({ status: 'ready', model, quality: { ...quality, seconds } });
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Refusal) {
        await finished({ status: 'refused', reason: { code: error.code, message: error.message } });
        return;
      }
      const isAway = error instanceof Problem && error.status === 503;
      if (isAway && attempt < maxAttempts) throw error;
      log.error({ err: error, leadModelId }, 'a lead model could not be trained');
      const reason = isAway
        ? ({ code: 'unavailable', message: 'The database could not be reached.' } as const)
        : ({ code: 'internal_error', message: 'See the log of the service.' } as const);
      await finished({ status: 'failed', reason });
    }
  },
});

interface Outcome {
  status: 'ready' | 'refused' | 'failed';
  model?: LeadModel;
  quality?: LeadModelQuality;
  reason?: LeadModelReason;
}

function inSnapshot<T>({ pool }: Services, work: (db: Db) => Promise<T>): Promise<T> {
  return transaction(pool, work, { snapshot: true });
}

export const leadModelJobs = [trainLeadModel];
