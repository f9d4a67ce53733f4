import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import {
  type Survey,
  type SurveyQuestion,
  type SurveySettings,
  type SurveyVersion,
  surveys,
  surveyVersions,
} from './record.ts';

type StoredSurvey = typeof surveys.$inferSelect;
type StoredVersion = typeof surveyVersions.$inferSelect;
/** `settings` were validated when written. */
export type SurveyRow = Omit<StoredSurvey, 'settings'> & { settings: SurveySettings };
/** `questions` were validated when written. */
export type VersionRow = Omit<StoredVersion, 'questions'> & { questions: SurveyQuestion[] };

/** A survey with the questions of its current version. */
export type SurveyRecord = SurveyRow & { questions: SurveyQuestion[] };

/** The select list of a survey and what it is selected from; for `toSurvey`. */
export const surveyColumns = sql`${fields(surveys)}, ${surveyVersions.questions} as questions`;
export const surveySource = sql`${surveys} join ${surveyVersions} on ${surveyVersions.surveyId} = ${surveys.id} and ${surveyVersions.number} = ${surveys.currentVersion}`;

export function toSurvey(record: SurveyRecord): Survey {
  return {
    id: record.id,
    name: record.name,
    status: record.status,
    openedAt: record.openedAt,
    closesAt: record.closesAt,
    journeyStage: record.journeyStage,
    channel: record.channel,
    language: record.language,
    // Surveys that were stored before there were consents ask everybody.
    settings: { ...record.settings, consentPurpose: record.settings.consentPurpose ?? null },
    currentVersion: record.currentVersion,
    questions: record.questions,
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

export function toVersion(row: VersionRow): SurveyVersion {
  return { surveyId: row.surveyId, number: row.number, questions: row.questions, createdAt: row.createdAt };
}

const byIds = statement<SurveyRecord>(
  'surveys_by_ids',
  sql`select ${surveyColumns} from ${surveySource} where ${surveys.id} = any(${param('ids')}::uuid[])`,
);

/** Surveys with settings and current questions, by id; absent ones are absent. */
export async function surveysByIds(db: Db, ids: readonly string[]): Promise<Map<string, SurveyRecord>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(byIds, { ids: [...new Set(ids)] });
  return new Map(rows.map((row) => [row.id, row]));
}

/** A survey with its settings and current questions. */
export async function surveyById(db: Db, id: string): Promise<SurveyRecord | null> {
  return (await surveysByIds(db, [id])).get(id) ?? null;
}

const versionsFrom = statement<VersionRow>(
  'survey_versions_from',
  sql`select ${fields(surveyVersions)} from ${surveyVersions}
    where ${surveyVersions.surveyId} = ${param('id')}::uuid and ${surveyVersions.number} >= ${param('from')}::int order by ${surveyVersions.number}`,
);

/** The versions of a survey from this number on, ascending. */
export function surveyVersionsFrom(db: Db, id: string, from: number): Promise<VersionRow[]> {
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
  await tx.elevated((service) => service.all(keep, { id }));
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

export async function insertSurvey(tx: Transaction, row: SurveyRow, version: VersionRow): Promise<void> {
  await tx.all(insert, { rows: JSON.stringify([row]), versions: JSON.stringify([version]) });
}

const change = statement(
  'update_survey',
  sql`with v as (
      ${insertRows(surveyVersions, param('versions'))}
      on conflict (survey_id, number) do update set questions = excluded.questions
    )
    update surveys s set version = n."version", name = n."name", status = n."status", current_version = n."currentVersion",
      opened_at = n."openedAt", closes_at = n."closesAt", journey_stage = n."journeyStage", channel = n."channel",
      language = n."language", settings = n."settings", updated_at = n."updatedAt"
    from ${rowsOf(surveys, param('rows'), 'n')} where s.id = n."id"`,
);

/** Changes a locked survey; `version` is one that is new or replaced in place. */
export async function updateSurveyRow(tx: Transaction, row: SurveyRow, version: VersionRow | null): Promise<void> {
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
