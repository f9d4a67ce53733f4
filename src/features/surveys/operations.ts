import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { answered, answeredMembers } from '../../records/table.ts';
import {
  deleteSurveyRow,
  insertSurvey,
  lockSurvey,
  surveysByIds as readSurveys,
  surveyById,
  surveyColumns,
  surveySource,
  surveyUses,
  updateSurveyRow,
} from './queries.ts';
import {
  type Survey,
  type SurveyVersion,
  survey,
  surveyFields,
  surveyInput,
  surveyPatch,
  surveyStatus,
  surveys,
  surveyVersion,
  surveyVersions,
} from './record.ts';
import { changedSurvey, newSurvey, questionAnswered } from './write.ts';

const surveyHasRecords = problemType('survey_has_records', 409, 'The survey has records');

export const createSurvey = writeOperation({
  name: 'createSurvey',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Create a survey',
  description:
    'A new survey is a draft by default; only open surveys take answers. Scales are stored with the questions. Default: nps 0–10; csat 1–5, satisfied from 4; ces 1–5, easy 1–2, hard 4–5.',
  input: z.strictObject({ ...writeParameters, body: surveyInput }),
  output: survey,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, context, { body }) {
    const made = newSurvey(context, newId(), body);
    await insertSurvey(tx, made, versionOf(made, context.now));
    return answeredSurvey(made);
  },
});

/** What is answered of a stored survey. */
function answeredSurvey({ questions, ...row }: Survey): Survey {
  return { ...answeredMembers(surveyFields, row), questions };
}

function versionOf({ id: surveyId, currentVersion: number, questions }: Survey, createdAt: string): SurveyVersion {
  return { surveyId, number, questions, createdAt };
}

export const getSurvey = readOperation({
  name: 'getSurvey',
  scope: 'surveys:read',
  partners: false,
  selfService: true,
  summary: 'Read a survey',
  input: z.strictObject({ id }),
  output: survey,
  problems: ['not_found'],
  async run({ db }, { id: surveyId }) {
    const found = await surveyById(db, surveyId);
    if (!found) throw notFound('survey');
    return answeredSurvey(found);
  },
});

/** For the GraphQL loaders: the surveys of a set of ids, one statement, absent ones as null. */
export const surveysByIds = readOperation({
  name: 'surveysByIds',
  scope: 'surveys:read',
  partners: false,
  selfService: true,
  summary: 'Read surveys by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(survey.nullable()),
  async run({ db }, { ids }) {
    const found = await readSurveys(db, ids);
    return ids.map((surveyId) => {
      const row = found.get(surveyId);
      return row ? answeredSurvey(row) : null;
    });
  },
});

const custom = customList(surveys);

const list = keysetList<Survey>({
  name: 'surveys',
  select: surveyColumns,
  from: surveySource,
  id: sql`${surveys.id}`,
  filters: {
    status: (value) => sql`${surveys.status} = ${value}`,
    journeyStage: (value) => sql`${surveys.journeyStage} = ${value}`,
    channel: (value) => sql`${surveys.channel} = ${value}`,
    language: (value) => sql`${surveys.language} = ${value}`,
    ...custom.filters,
  },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: { createdAt: { expression: sql`${surveys.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listSurveys = readOperation({
  name: 'listSurveys',
  scope: 'surveys:read',
  partners: false,
  selfService: true,
  summary: 'List surveys',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: surveyStatus.optional(),
    journeyStage: text(100).optional(),
    channel: text(100).optional(),
    language: text(35).optional(),
    ...custom.parameters,
  }),
  output: pageOf(survey).meta({ id: 'SurveyPage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(answeredSurvey), page };
  },
});

type ListedVersion = SurveyVersion & { id: string };

const versionList = keysetList<ListedVersion>({
  name: 'survey_versions',
  select: sql`${answered(surveyVersions)}, ${surveyVersions.number}::text as id`,
  from: sql`${surveyVersions}`,
  // The survey is given, so the number alone tells them apart.
  id: sql`${surveyVersions.number}`,
  idType: 'int',
  filters: { surveyId: (value) => sql`${surveyVersions.surveyId} = ${value}::uuid` },
  sorts: { number: { expression: sql`${surveyVersions.number}`, type: 'int', field: 'number' } },
  defaultSort: '-number',
});

export const listSurveyVersions = readOperation({
  name: 'listSurveyVersions',
  scope: 'surveys:read',
  partners: false,
  selfService: false,
  summary: "List a survey's versions",
  description: 'Every response has the number of the version it answers. A version that was answered never changes.',
  input: z.strictObject({
    id: id.meta({ description: 'The survey.' }),
    ...pageParameters,
    sort: sortParameter(['number'], '-number'),
  }),
  output: pageOf(surveyVersion).meta({ id: 'SurveyVersionPage' }),
  problems: ['not_found'],
  async run(context, { id: surveyId, ...filter }) {
    const { data, page } = await versionList(context.db, context, { ...filter, surveyId });
    if (data.length === 0 && !(await surveyById(context.db, surveyId))) throw notFound('survey');
    return { data: data.map(({ id: _, ...row }) => row), page };
  },
});

export const updateSurvey = writeOperation({
  name: 'updateSurvey',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Change, open or close a survey',
  description:
    'Omitted members keep their values; null clears; so do members of `settings`. Closing sets `closesAt` to now unless it was earlier, reopening clears it. `questions` are replaced as a whole: in place while nobody has responded to the current version, as a new version after that. Once a question was answered, its type, scale and options never change (`question_answered`); you can still correct its wording.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: surveyPatch }),
  output: survey,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required', questionAnswered],
  async run(tx, context, { id: surveyId, expectedVersion: expected, body }) {
    await lockSurvey(tx, surveyId);
    const before = await surveyById(tx, surveyId);
    if (!before) throw notFound('survey');
    checkVersion(before.version, expected);
    const after = await changedSurvey(tx, context, before, body);
    await updateSurveyRow(tx, after, after.questions === before.questions ? null : versionOf(after, context.now));
    return answeredSurvey(after);
  },
});

export const deleteSurvey = writeOperation({
  name: 'deleteSurvey',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Delete a survey',
  description: 'Refused with `survey_has_records` once it has responses or invitations: close it instead.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', surveyHasRecords, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: surveyId, expectedVersion: expected }) {
    await lockSurvey(tx, surveyId);
    const found = await surveyById(tx, surveyId);
    if (!found) throw notFound('survey');
    checkVersion(found.version, expected);
    const { responses, invitations } = await surveyUses(tx, surveyId);
    if (responses || invitations) {
      const held = [...(responses ? ['responses'] : []), ...(invitations ? ['invitations'] : [])];
      throw new Problem(surveyHasRecords, `The survey has ${held.join(' and ')}: close it instead.`);
    }
    await deleteSurveyRow(tx, surveyId);
    return { id: surveyId, deleted: true };
  },
});
