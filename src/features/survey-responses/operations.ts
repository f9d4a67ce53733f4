import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, type Page, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { customerRequired } from '../../records/ownership.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { surveyById } from '../surveys/queries.ts';
import { surveyClosed } from '../surveys/record.ts';
import {
  deleteResponseRow,
  fromState,
  recomputeAnswers,
  responseById,
  responseColumns,
  responseStates,
} from './queries.ts';
import {
  answerBand,
  responseStatus,
  type SurveyResponse,
  storedBand,
  surveyResponse,
  surveyResponseInput,
  surveyResponsePatch,
  surveyResponses,
  terms,
  words,
} from './record.ts';
import { asOutcome, type ResponseWrite, writeResponses } from './write.ts';

const writtenSurveyResponse = surveyResponse
  .extend({
    created,
    applied: z.boolean().meta({ description: 'false: it was stored like this already, so nothing changed.' }),
    warnings: z.array(warning),
  })
  .meta({ id: 'WrittenSurveyResponse' });

const surveyTarget = { id: id.meta({ description: 'The survey.' }) };

export const createSurveyResponse = writeOperation({
  name: 'createSurveyResponse',
  scope: 'survey-responses:write',
  partners: true,
  selfService: true,
  summary: 'Push a response',
  description:
    'Finds or creates the customer as for orders. Without a customer, the response has that of its order or interaction; without these, it is anonymous. An existing `submissionId` is refused with `already_exists` and the id of its response: use PATCH (GraphQL: update) to change that one. A late response is stored, but metrics do not count it.',
  input: z.strictObject({ ...surveyTarget, ...writeParameters, body: surveyResponseInput }),
  output: writtenSurveyResponse,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found', 'already_exists', surveyClosed, customerRequired],
  run: (tx, context, { id: surveyId, body }) => writeOne(tx, context, surveyId, { mode: 'create', input: body }),
});

export const batchSurveyResponses = writeOperation({
  name: 'batchSurveyResponses',
  scope: 'survey-responses:write',
  partners: false,
  selfService: false,
  summary: 'Push up to 1,000 responses of a survey',
  description:
    'Each item is an upsert by `submissionId`, in index order. The status is always 200, with a result per item. Omitted members are cleared. An item that is stored like this already is `unchanged`.',
  input: batchInput('responses', surveyResponseInput).extend(surveyTarget),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['not_found', 'batch_refused'],
  run: (tx, context, { id: surveyId, body, atomic }) =>
    runBatch(tx, body, surveyResponseInput, { plural: 'responses', atomic }, async (items) => {
      const writes = items.map((input): ResponseWrite => ({ mode: 'upsert', input }));
      return (await writeResponses(tx, context, surveyId, writes)).map(asOutcome);
    }),
});

export const getSurveyResponse = readOperation({
  name: 'getSurveyResponse',
  scope: 'survey-responses:read',
  partners: true,
  selfService: true,
  summary: 'Read a response',
  input: z.strictObject({ id }),
  output: surveyResponse,
  problems: ['not_found'],
  async run({ db }, { id: responseId }) {
    const found = await responseById(db, responseId);
    if (!found) throw notFound('survey response');
    return found;
  },
});

const term = (prefix: string) => (value: SQL) => sql`${terms} @> array[${sql.raw(`'${prefix}:'`)} || ${value}::text]`;

const custom = customList(surveyResponses);

export const responseList = keysetList<SurveyResponse>({
  name: 'survey_responses',
  select: responseColumns,
  from: sql`${surveyResponses}`,
  id: sql`${surveyResponses.id}`,
  owner: sql`${surveyResponses.customerId}`,
  filters: {
    surveyId: (value) => sql`${surveyResponses.surveyId} = ${value}::uuid`,
    customerId: (value) => sql`${surveyResponses.customerId} = ${value}::uuid`,
    orderId: term('order'),
    interactionId: term('interaction'),
    sku: term('sku'),
    staff: term('staff'),
    department: term('department'),
    process: term('process'),
    channel: term('channel'),
    language: term('language'),
    journeyStage: term('stage'),
    status: (value) => sql`${surveyResponses.status} = ${value}`,
    late: (value) => sql`${surveyResponses.late} = ${value}::boolean`,
    answeredFrom: (value) => sql`${surveyResponses.answeredAt} >= ${value}::timestamptz`,
    answeredTo: (value) => sql`${surveyResponses.answeredAt} < ${value}::timestamptz`,
    // One answer has to be all of it: question, band and score.
    answer: (value) => sql`exists (
      select from survey_answers a, json_to_record(${value}::json) as v("question" text, "type" text, "band" int, "scoreFrom" int, "scoreTo" int)
      where a.response_id = ${surveyResponses.id} and (v."question" is null or a.question = v."question")
        and (v."band" is null or a.type = v."type" and a.band = v."band")
        and (v."scoreFrom" is null or a.score >= v."scoreFrom") and (v."scoreTo" is null or a.score <= v."scoreTo"))`,
    q: (value) => sql`exists (
      select from survey_answers a where a.response_id = ${surveyResponses.id} and a.text is not null
        and ${words} @@ websearch_to_tsquery('simple', ${value}))`,
    ...custom.filters,
  },
  uneven: [
    ...['orderId', 'interactionId', 'sku', 'staff', 'department', 'process', 'channel', 'language', 'journeyStage'],
    ...['status', 'late', 'answer', 'q'],
    ...custom.uneven,
  ],
  normalize: custom.normalize,
  sorts: { answeredAt: { expression: sql`${surveyResponses.answeredAt}`, type: 'timestamptz', field: 'answeredAt' } },
  defaultSort: '-answeredAt',
});

/** PostgreSQL's parser gives up on 32 negations that stand open, whatever is between them. */
const searchText = text(200).refine((value) => value.split('-').length <= 21, {
  error: 'has more than 20 minus signs',
  params: { code: 'too_many_minus_signs' },
});

const score = z.int().min(-100).max(100).optional();

const answerFilters = {
  question: text(64).optional().meta({ description: 'Only responses that answered it.', example: 'recommend' }),
  band: answerBand
    .optional()
    .meta({ description: 'Only responses with such an answer, to `question` if it is given.' }),
  scoreFrom: score.meta({ description: 'Responses with at least this score, to `question` if it is given.' }),
  scoreTo: score.meta({ description: 'Responses with a score up to this one, inclusive.' }),
};

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['answeredAt'], '-answeredAt'),
  orderId: id.optional(),
  sku: text(200).optional().meta({ description: 'The product it is about.', example: '85123A' }),
  interactionId: id.optional(),
  staff: text(200).optional().meta({ description: 'The member of staff it is about.', example: 'maria' }),
  department: text(200).optional(),
  process: text(200).optional(),
  channel: text(200).optional(),
  language: text(35).optional(),
  journeyStage: text(200).optional(),
  status: responseStatus.optional(),
  late: z.boolean().optional().meta({ description: 'Only late responses, or only those in time.' }),
  ...answerFilters,
  answeredFrom: instant.optional(),
  answeredTo: instant.optional().meta({ description: 'Before this instant.' }),
  q: searchText.optional().meta({
    description:
      'Words in a text answer, in any order; `"…"` for a phrase, `or` between alternatives, `-` before a word to exclude. Needs `customers:pii`.',
    example: 'late -refund',
  }),
  ...custom.parameters,
};

const responsePage = pageOf(surveyResponse).meta({ id: 'SurveyResponsePage' });

type Filter = Partial<z.output<z.ZodObject<typeof listFilters>>> & {
  surveyId?: string | undefined;
  customerId?: string | undefined;
};

async function listPage(context: Context, filter: Filter): Promise<Page<SurveyResponse>> {
  const { question, band, scoreFrom, scoreTo, ...rest } = filter;
  const asked = { question, scoreFrom, scoreTo, ...(band && storedBand(band)) };
  const answer = Object.values(asked).some((value) => value !== undefined) ? JSON.stringify(asked) : undefined;
  return responseList(context.db, context, { ...rest, answer });
}

const personalParameters = ['q', ...custom.personalParameters];

/** What is in the answers, and not in the response itself. */
const selects = {
  q: ['SurveyAnswer.text'],
  band: ['SurveyAnswer.band'],
  scoreFrom: ['SurveyAnswer.score'],
  scoreTo: ['SurveyAnswer.score'],
};

export const listSurveyResponses = readOperation({
  name: 'listSurveyResponses',
  scope: 'survey-responses:read',
  partners: true,
  selfService: true,
  summary: 'List and search responses',
  input: z.strictObject({ ...listFilters, surveyId: id.optional(), customerId: id.optional() }),
  output: responsePage,
  personalParameters,
  selects,
  run: (context, input) => listPage(context, input),
});

export const listResponsesOfSurvey = readOperation({
  name: 'listResponsesOfSurvey',
  scope: 'survey-responses:read',
  partners: true,
  selfService: true,
  summary: "List a survey's responses",
  input: z.strictObject({ ...surveyTarget, ...listFilters, customerId: id.optional() }),
  output: responsePage,
  personalParameters,
  selects,
  problems: ['not_found'],
  async run(context, { id: surveyId, ...filter }) {
    const answer = await listPage(context, { ...filter, surveyId });
    if (answer.data.length === 0 && !(await surveyById(context.db, surveyId))) throw notFound('survey');
    return answer;
  },
});

export const listCustomerSurveyResponses = readOperation({
  name: 'listCustomerSurveyResponses',
  scope: 'survey-responses:read',
  partners: true,
  selfService: true,
  summary: "List a customer's responses",
  input: z.strictObject({ ...targetParameters, ...listFilters, surveyId: id.optional() }),
  output: responsePage,
  personalParameters,
  selects,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...filter }) {
    const owner = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const answer = await listPage(context, { ...filter, customerId: owner });
    // An empty page says the customer has no responses, so there has to be such a customer.
    if (answer.data.length === 0 && !(await customerById(context.db, owner))) throw notFound('customer');
    return answer;
  },
});

export const updateSurveyResponse = writeOperation({
  name: 'updateSurveyResponse',
  scope: 'survey-responses:write',
  partners: false,
  selfService: true,
  summary: 'Complete or correct a response',
  description:
    'Omitted members keep their values; null clears; `answers` are replaced as a whole. Sending another customer moves the response; `customerId: null` makes it anonymous. A response from before its survey was closed can still be corrected.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: surveyResponsePatch }),
  output: writtenSurveyResponse,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required', surveyClosed],
  async run(tx, context, { id: responseId, expectedVersion: expected, body }) {
    const found = await responseById(tx, responseId);
    if (!found) throw notFound('survey response');
    return writeOne(tx, context, found.surveyId, {
      mode: 'patch',
      id: responseId,
      input: body,
      expectedVersion: expected,
    });
  },
});

export const deleteSurveyResponse = writeOperation({
  name: 'deleteSurveyResponse',
  scope: 'survey-responses:write',
  partners: false,
  selfService: false,
  summary: 'Delete a response',
  description: 'With its answers. Nothing remembers it: the same `submissionId` sent again is a new response.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: responseId, expectedVersion: expected }) {
    const before = await responseById(tx, responseId);
    if (!before) throw notFound('survey response');
    const owner = before.customerId === null ? [] : [before.customerId];
    await lockCustomers(tx, owner);
    const [found] = await responseStates(tx, { surveyId: before.surveyId, submissionIds: [], ids: [responseId] });
    if (found?.row.customerId !== before.customerId) throw new Retry('a survey response moved or vanished');
    checkVersion(found.row.version, expected);
    await deleteResponseRow(tx, responseId);
    await recomputeAnswers(tx, owner);
    return { id: responseId, deleted: true };
  },
});

async function writeOne(
  tx: Transaction,
  context: Context,
  surveyId: string,
  write: ResponseWrite,
): Promise<z.output<typeof writtenSurveyResponse>> {
  const [result] = await writeResponses(tx, context, surveyId, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('survey response');
  const { state, created: isNew, applied, warnings } = result;
  return { ...fromState(state), created: isNew, applied, warnings };
}
