import { type SQL, sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { answered, answeredMembers, assignments, fromExcluded } from '../../records/table.ts';
import { bandName, bandNamed, responseFields, type SurveyResponse, surveyAnswers, surveyResponses } from './record.ts';

export type ResponseRow = typeof surveyResponses.$inferSelect;
export type AnswerRow = typeof surveyAnswers.$inferSelect;

/** The select list of a response with its answers. */
export const responseColumns = sql`${answered(surveyResponses)}, coalesce((
    select json_agg(json_build_object('question', a.question, 'type', a.type, 'score', a.score, 'band', ${bandNamed('a')},
      'choices', a.choices, 'text', a.text) order by a.question collate "C")
    from survey_answers a where a.response_id = ${surveyResponses.id}), '[]') as answers`;

const byId = statement<SurveyResponse>(
  'survey_response_by_id',
  sql`select ${responseColumns} from ${surveyResponses} where ${surveyResponses.id} = ${param('id')}::uuid`,
);

export function responseById(db: Db, id: string): Promise<SurveyResponse | null> {
  return db.first(byId, { id });
}

/** A response with its answers, by the key of the question, as stored: what a write starts from. */
export interface ResponseState {
  row: ResponseRow;
  answers: AnswerRow[];
}

/** What is known after a write is what was written: nothing that is told of a response is made by the database. */
export function fromState({ row, answers }: ResponseState): SurveyResponse {
  return {
    ...answeredMembers(responseFields, row),
    answers: answers.map(({ question, type, score, band, choices, text }) => ({
      ...{ question, type, score, choices, text },
      band: bandName(type, band),
    })),
  };
}

/** Which responses are meant: by the names their sender gave them in the survey, or by id. */
interface Wanted {
  surveyId: string;
  submissionIds: string[];
  ids: string[];
}

const wanted = sql`(${surveyResponses.surveyId} = ${param('surveyId')}::uuid and ${surveyResponses.submissionId} = any(${param('submissionIds')}::text[])
  or ${surveyResponses.id} = any(${param('ids')}::uuid[]))`;

const known = statement<Pick<ResponseRow, 'id' | 'customerId' | 'surveyVersion'>>(
  'known_survey_responses',
  sql`select ${surveyResponses.id} as id, ${surveyResponses.customerId} as "customerId", ${surveyResponses.surveyVersion} as "surveyVersion"
    from ${surveyResponses} where ${wanted}`,
);

/** Whose these responses are, read without a lock: true until the next commit of somebody else. */
export function knownResponses(
  db: Db,
  which: Wanted,
): Promise<Pick<ResponseRow, 'id' | 'customerId' | 'surveyVersion'>[]> {
  return db.all(known, { ...which });
}

// Anonymous ones have no customer whose lock would part their writers.
const stateRows = statement<ResponseRow>(
  'survey_response_rows',
  sql`select ${fields(surveyResponses)} from ${surveyResponses} where ${wanted} order by ${surveyResponses.id} for no key update`,
);
const stateAnswers = statement<AnswerRow>(
  'survey_answer_rows',
  sql`select ${fields(surveyAnswers)} from ${surveyAnswers}
    where ${surveyAnswers.responseId} in (select ${surveyResponses.id} from ${surveyResponses} where ${wanted})
    order by ${surveyAnswers.question} collate "C"`,
);

/** The states of responses whose customers are locked; they are locked as well. */
export async function responseStates(tx: Transaction, which: Wanted): Promise<ResponseState[]> {
  const [rows, answers] = await Promise.all([tx.all(stateRows, { ...which }), tx.all(stateAnswers, { ...which })]);
  const states = new Map<string, ResponseState>(rows.map((row) => [row.id, { row, answers: [] }]));
  for (const answer of answers) states.get(answer.responseId)?.answers.push(answer);
  return [...states.values()];
}

const insertNew = statement(
  'insert_survey_responses',
  sql`with r as (${insertRows(surveyResponses, param('rows'))}) ${insertRows(surveyAnswers, param('answers'))}`,
);

/** New responses with their answers: one statement for one or a thousand. */
export async function insertResponses(tx: Transaction, states: ResponseState[]): Promise<void> {
  if (states.length === 0) return;
  await tx.all(insertNew, {
    rows: JSON.stringify(states.map(({ row }) => row)),
    answers: JSON.stringify(states.flatMap(({ answers }) => answers)),
  });
}

/** Of another customer, or of none, it begins anew; a recompute of the customers follows. */
const kept = (column: string) =>
  sql`${sql.identifier(column)} = case when survey_answers.customer_id = excluded.customer_id then survey_answers.${sql.identifier(column)} end`;

const replace = statement(
  'replace_survey_responses',
  sql`with gone as (
      delete from survey_answers a where a.response_id = any(${param('ids')}::uuid[])
        and not exists (select from json_to_recordset(${param('answers')}::json) as n("responseId" uuid, "question" text)
          where n."responseId" = a.response_id and n."question" = a.question)
    ), r as (
      ${insertRows(surveyResponses, param('rows'))} on conflict (id) do update set ${assignments(surveyResponses, fromExcluded)}
    )
    ${insertRows(surveyAnswers, param('answers'))}
    on conflict (response_id, question) do update set ${assignments(surveyAnswers, fromExcluded, ['supersededAt', 'supersededInSurveyAt'])}, ${kept('superseded_at')}, ${kept('superseded_in_survey_at')}`,
);

/** Changed responses with their answers. */
export async function replaceResponses(tx: Transaction, states: ResponseState[]): Promise<void> {
  if (states.length === 0) return;
  await tx.all(replace, {
    ids: states.map(({ row }) => row.id),
    rows: JSON.stringify(states.map(({ row }) => row)),
    answers: JSON.stringify(states.flatMap(({ answers }) => answers)),
  });
}

const remove = statement(
  'delete_survey_response',
  sql`delete from ${surveyResponses} where ${surveyResponses.id} = ${param('id')}::uuid`,
);

/** Deletes a response with its answers. A recompute of its customer follows. */
export async function deleteResponseRow(tx: Transaction, id: string): Promise<void> {
  await tx.all(remove, { id });
}

/**
 * When each of these answers was superseded: the definition of `superseded_at` and `superseded_in_survey_at`. Only counted
 * scores of known customers supersede and are superseded, in the order (answered_at, response). A response has one
 * primary answer of a type, and one to a question, so that order has no ties.
 */
function supersessions(of: SQL): SQL {
  const next = sql`lead(answered_at) over (partition by customer_id, counts`;
  const order = sql`order by answered_at, response_id)`;
  return sql`select customer_id, response_id, question,
      case when counts and is_primary then ${next}, type, is_primary ${order} end as superseded_at,
      case when counts then ${next}, survey_id, question ${order} end as superseded_in_survey_at
    from (select *, counted and score is not null and customer_id is not null as counts from survey_answers where ${of}) a`;
}

const recompute = statement(
  'recompute_answers',
  sql`update survey_answers a set superseded_at = f.superseded_at, superseded_in_survey_at = f.superseded_in_survey_at
    from (${supersessions(sql`customer_id = any(${param('ids')}::uuid[])`)}) f
    where a.response_id = f.response_id and a.question = f.question
      and (a.superseded_at, a.superseded_in_survey_at) is distinct from (f.superseded_at, f.superseded_in_survey_at)`,
);

/**
 * Sets what the answers of these customers say of being superseded. The customers were locked in an earlier statement,
 * and their answers written in one.
 */
export async function recomputeAnswers(tx: Transaction, customerIds: Iterable<string>): Promise<void> {
  const ids = [...new Set(customerIds)];
  if (ids.length > 0) await tx.all(recompute, { ids });
}

const clearAnonymous = statement(
  'clear_anonymous_answers',
  sql`update survey_answers set superseded_at = null, superseded_in_survey_at = null
    where customer_id is null and (superseded_at is not null or superseded_in_survey_at is not null)`,
);

/** For verify-rollups: anonymous answers have no customer whose recompute would mend them. */
export async function clearAnonymousAnswers(tx: Transaction): Promise<void> {
  await tx.all(clearAnonymous);
}

/** An answer whose derived state is not what the answers of its customer make it. */
interface AnswerDifference {
  table: string;
  /** Empty: anonymous. */
  customerId: string;
  /** Response and question. */
  key: string;
  stored: string;
  counted: string;
}

const compare = statement<AnswerDifference>(
  'compare_answers',
  sql`select 'survey_answers' as "table", coalesce(a.customer_id::text, '') as "customerId", a.response_id || ' ' || a.question as key,
      json_build_object('superseded_at', a.superseded_at, 'superseded_in_survey_at', a.superseded_in_survey_at)::text as stored,
      json_build_object('superseded_at', f.superseded_at, 'superseded_in_survey_at', f.superseded_in_survey_at)::text as counted
    from survey_answers a join (${supersessions(sql`true`)}) f on a.response_id = f.response_id and a.question = f.question
    where (a.superseded_at, a.superseded_in_survey_at) is distinct from (f.superseded_at, f.superseded_in_survey_at)
    order by 2, 3 limit ${param('limit')}::int`,
);

/** For verify-rollups: answers whose derived state disagrees with a recompute, at most `limit`. */
export function answerDifferences(db: Db, limit: number): Promise<AnswerDifference[]> {
  return db.all(compare, { limit });
}
