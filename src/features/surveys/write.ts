import { isDeepStrictEqual } from 'node:util';
import type { Transaction } from '../../platform/db/client.ts';
import { type FieldError, invalid, Problem, problemType } from '../../platform/errors.ts';
import { type Context, personalScope, requireScope } from '../../platform/operation.ts';
import { nextStamps } from '../../records/stamps.ts';
import { sentMembers } from '../../records/table.ts';
import { answeredQuestions, surveyUses, surveyVersionsFrom } from './queries.ts';
import { changedMeaning, readQuestions } from './questions.ts';
import {
  customMembers,
  defaultSettings,
  type Survey,
  type SurveyInput,
  type SurveyPatch,
  type SurveyQuestion,
  type SurveySettings,
  type SurveySettingsInput,
} from './record.ts';

export const questionAnswered = problemType('question_answered', 422, 'The question was answered already');

/** Settings as they are stored; members left out stay. */
function readSettings(input: SurveySettingsInput | undefined, before: SurveySettings): SurveySettings {
  const { contactFrequencyDays, answerWithinDays, linkDays, triggers, followUp, consentPurpose } = input ?? {};
  return {
    contactFrequencyDays: contactFrequencyDays ?? before.contactFrequencyDays,
    answerWithinDays: answerWithinDays === undefined ? before.answerWithinDays : answerWithinDays,
    linkDays: linkDays ?? before.linkDays,
    triggers:
      triggers?.map(({ on, stage, kind, topic, outcome, delayDays }) => ({
        on,
        stage: stage ?? null,
        kind: kind ?? null,
        topic: topic ?? null,
        outcome: outcome ?? null,
        delayDays: delayDays ?? 0,
      })) ?? before.triggers,
    followUp:
      followUp === undefined
        ? before.followUp
        : followUp && { withinDays: followUp.withinDays, owner: followUp.owner ?? null },
    consentPurpose: consentPurpose === undefined ? before.consentPurpose : consentPurpose,
  };
}

/** Who is invited tells whose interactions have the words that a trigger names, and these are personal data. */
function checkTriggers(context: Context, settings: SurveySettingsInput | undefined): void {
  if (settings?.triggers?.some(({ topic, outcome }) => topic || outcome)) requireScope(context, personalScope);
}

/** A survey that is new. @throws Problem with what is wrong with its questions or triggers */
export function newSurvey(context: Context, id: string, input: SurveyInput): Survey {
  const { now } = context;
  checkTriggers(context, input.settings);
  const questions = readQuestions(input.questions);
  const status = input.status ?? 'draft';
  return {
    id,
    version: 1,
    name: input.name,
    status,
    currentVersion: 1,
    openedAt: status === 'draft' ? null : now,
    closesAt: closing(status, input.closesAt ?? null, now),
    journeyStage: input.journeyStage ?? null,
    channel: input.channel ?? null,
    language: input.language ?? null,
    settings: readSettings(input.settings, defaultSettings),
    ...sentMembers(customMembers, input, null),
    createdAt: now,
    updatedAt: now,
    questions,
  };
}

/** A closed survey was closed by now at the latest. */
function closing(status: Survey['status'], closesAt: string | null, now: string): string | null {
  if (status !== 'closed') return closesAt;
  return closesAt !== null && Date.parse(closesAt) < Date.parse(now) ? closesAt : now;
}

/** A locked survey as a patch makes it; new questions have a version of their own. @throws Problem */
export async function changedSurvey(
  tx: Transaction,
  context: Context,
  before: Survey,
  patch: SurveyPatch,
): Promise<Survey> {
  const { now } = context;
  checkTriggers(context, patch.settings);
  const status = patch.status ?? before.status;
  if (status === 'draft' && before.status !== 'draft') {
    throw invalid(
      '/status',
      'was_opened',
      'A survey that was opened cannot become a draft again: send open or closed.',
    );
  }
  const isReopened = before.status === 'closed' && status === 'open';
  const closesAt = patch.closesAt !== undefined ? patch.closesAt : isReopened ? null : before.closesAt;
  const { questions, currentVersion } = await changedQuestions(tx, before, patch);
  return {
    ...before,
    ...nextStamps(before, now),
    name: patch.name ?? before.name,
    status,
    currentVersion,
    openedAt: before.openedAt ?? (status === 'draft' ? null : now),
    closesAt: closing(status, closesAt, now),
    journeyStage: patch.journeyStage === undefined ? before.journeyStage : patch.journeyStage,
    channel: patch.channel === undefined ? before.channel : patch.channel,
    language: patch.language === undefined ? before.language : patch.language,
    settings: readSettings(patch.settings, before.settings),
    ...sentMembers(customMembers, patch, before),
    questions,
  };
}

/** While nobody has responded to the current version it is replaced in place; after that questions are a new version. */
async function changedQuestions(
  tx: Transaction,
  before: Survey,
  { questions: inputs }: SurveyPatch,
): Promise<Pick<Survey, 'questions' | 'currentVersion'>> {
  if (inputs === undefined) return before;
  const questions = readQuestions(inputs);
  if (isDeepStrictEqual(questions, before.questions)) return before;
  const [uses, answered, versions] = await Promise.all([
    surveyUses(tx, before.id),
    answeredQuestions(
      tx,
      before.id,
      questions.map(({ key }) => key),
    ),
    surveyVersionsFrom(tx, before.id, 1),
  ]);
  // A key may have had another meaning before anybody answered it, so the newest is what answers mean.
  const known = new Map(versions.flatMap((version) => version.questions.map((question) => [question.key, question])));
  refuseAnswered(questions, (key) => (answered.has(key) ? known.get(key) : undefined));
  return { questions, currentVersion: before.currentVersion + (uses.current ? 1 : 0) };
}

/** @throws Problem question_answered, with every member that would change what stored answers mean */
function refuseAnswered(questions: SurveyQuestion[], answered: (key: string) => SurveyQuestion | undefined): void {
  const errors = questions.flatMap((question, index): FieldError[] => {
    const known = answered(question.key);
    return (known ? changedMeaning(known, question) : []).map((member) => ({
      pointer: `/questions/${index}/${member}`,
      code: questionAnswered,
      message: `${question.key} was answered, so its ${member} stays: ask anew under another key.`,
    }));
  });
  const [first] = errors;
  if (first) throw new Problem(questionAnswered, first.message, { errors });
}
