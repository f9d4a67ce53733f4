import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { assignments, fromExcluded, updateRows } from '../../records/table.ts';
import { type Survey, type SurveyVersion, surveys, surveyVersions } from './record.ts';

/**
 * The select list of a survey with the questions that it asks now, and what it is selected from. Surveys that were stored
 * before there were consents ask everybody.
 */
export const surveyColumns = sql`${fields(surveys, ['settings'])}, ${surveyVersions.questions} as questions,
  '{"consentPurpose": null}'::jsonb || ${surveys.settings} as settings`;
export const surveySource = sql`${surveys} join ${surveyVersions} on ${surveyVersions.surveyId} = ${surveys.id} and ${surveyVersions.number} = ${surveys.currentVersion}`;

const byIds = statement<Survey>(
  'surveys_by_ids',
  sql`select ${surveyColumns} from ${surveySource} where ${surveys.id} = any(${param('ids')}::uuid[])`,
);

/** Surveys with settings and current questions, by id; absent ones are absent. */
export async function surveysByIds(db: Db, ids: readonly string[]): Promise<Map<string, Survey>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(byIds, { ids: [...new Set(ids)] });
  return new Map(rows.map((row) => [row.id, row]));
}

/** A survey with its settings and current questions. */
export async function surveyById(db: Db, id: string): Promise<Survey | null> {
  return (await surveysByIds(db, [id])).get(id) ?? null;
}

const versionsFrom = statement<SurveyVersion>(
  'survey_versions_from',
  sql`select ${fields(surveyVersions)} from ${surveyVersions}
    where ${surveyVersions.surveyId} = ${param('id')}::uuid and ${surveyVersions.number} >= ${param('from')}::int order by ${surveyVersions.number}`,
);

/** The versions of a survey from this number on, ascending. */
export function surveyVersionsFrom(db: Db, id: string, from: number): Promise<SurveyVersion[]> {
  return db.all(versionsFrom, { id, from });
}

const keep = statement<{ id: string }>(
  'keep_survey',
  sql`select ${surveys.id} as id from ${surveys} where ${surveys.id} = ${param('id')}::uuid for key share`,
);

/**
 * Keeps the questions of a survey as they are until the transaction ends, for whoever writes answers to them: after the
 * customers' locks, and in a statement before the one that reads them.
 */
export async function keepSurvey(tx: Transaction, id: string): Promise<void> {
  await tx.asService((service) => service.all(keep, { id }));
}

const lock = statement<{ id: string }>(
  'lock_survey',
  sql`select ${surveys.id} as id from ${surveys} where ${surveys.id} = ${param('id')}::uuid for update`,
);

/** Waits for whoever is writing answers, and lets nobody begin. */
export async function lockSurvey(tx: Transaction, id: string): Promise<void> {
  await tx.all(lock, { id });
}

const insert = statement(
  'insert_survey',
  sql`with s as (${insertRows(surveys, param('rows'))}) ${insertRows(surveyVersions, param('versions'))}`,
);

export async function insertSurvey(tx: Transaction, row: Survey, version: SurveyVersion): Promise<void> {
  await tx.all(insert, { rows: JSON.stringify([row]), versions: JSON.stringify([version]) });
}

const change = statement(
  'update_survey',
  sql`with v as (
      ${insertRows(surveyVersions, param('versions'))}
      on conflict (survey_id, number) do update set ${assignments(surveyVersions, fromExcluded)}
    )
    ${updateRows(surveys, param('rows'))}`,
);

/** Changes a locked survey; `version` is one that is new or replaced in place. */
export async function updateSurveyRow(tx: Transaction, row: Survey, version: SurveyVersion | null): Promise<void> {
  await tx.all(change, { rows: JSON.stringify([row]), versions: JSON.stringify(version ? [version] : []) });
}

const remove = statement(
  'delete_survey',
  sql`with versions as (delete from ${surveyVersions} where ${surveyVersions.surveyId} = ${param('id')}::uuid)
    delete from ${surveys} where ${surveys.id} = ${param('id')}::uuid`,
);

/** Deletes a locked survey that nothing hangs on. */
export async function deleteSurveyRow(tx: Transaction, id: string): Promise<void> {
  await tx.all(remove, { id });
}

const uses = statement<{ responses: boolean; invitations: boolean; current: boolean }>(
  'survey_uses',
  sql`select exists (select from survey_responses where survey_id = ${param('id')}::uuid) as responses,
    exists (select from survey_invitations where survey_id = ${param('id')}::uuid) as invitations,
    exists (select from survey_responses r join ${surveys} on ${surveys.id} = r.survey_id and ${surveys.currentVersion} = r.survey_version
      where r.survey_id = ${param('id')}::uuid) as current`,
);

/** What hangs on a locked survey; `current`: somebody responded to its current version. */
export async function surveyUses(
  tx: Transaction,
  id: string,
): Promise<{ responses: boolean; invitations: boolean; current: boolean }> {
  const found = await tx.first(uses, { id });
  return found ?? { responses: false, invitations: false, current: false };
}

const answered = statement<{ key: string }>(
  'answered_questions',
  sql`select k.key from unnest(${param('keys')}::text[]) as k(key)
    where exists (select from survey_answers where survey_id = ${param('id')}::uuid and question = k.key)`,
);

/** Which of these keys were ever answered in a locked survey. */
export async function answeredQuestions(tx: Transaction, id: string, keys: string[]): Promise<Set<string>> {
  return new Set((await tx.all(answered, { id, keys })).map(({ key }) => key));
}
