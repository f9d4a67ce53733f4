import { effortBand } from '../../domain/customer-effort.ts';
import { isSatisfied } from '../../domain/customer-satisfaction.ts';
import { npsBand } from '../../domain/net-promoter-score.ts';
import { type FieldError, Problem } from '../../platform/errors.ts';
import { meaningOf } from '../surveys/questions.ts';
import type { QuestionScale, Survey, SurveyQuestion, SurveyVersion } from '../surveys/record.ts';
import type { AnswerRow } from './queries.ts';
import type { AnswerBand, SurveyAnswerInput } from './record.ts';
import { storedBand } from './record.ts';

/** What of an answer follows from its question. */
type ReadAnswer = Pick<AnswerRow, 'question' | 'type' | 'primary' | 'score' | 'band' | 'choices' | 'text'>;

/** The questions of a version, as answers to them are checked. */
export interface Version {
  questions: ReadonlyMap<string, SurveyQuestion>;
  /** The first question of each type. */
  primary: ReadonlySet<string>;
  /** Keys that nobody had answered when a later version gave them another meaning: this one is void. */
  changed: ReadonlySet<string>;
}

/** @param later versions from the earliest that is meant on; the current one comes with the survey */
export function questionsOf(survey: Survey, later: readonly SurveyVersion[]): Map<number, Version> {
  const versions = new Map<number, Version>();
  const meanings = new Map<string, string>();
  const current = { number: survey.currentVersion, questions: survey.questions };
  const newestFirst = later.length === 0 ? [current] : [...later].reverse();
  for (const { number, questions } of newestFirst) {
    const changed = new Set<string>();
    for (const question of questions) {
      const meaning = meaningOf(question);
      const newest = meanings.get(question.key) ?? meaning;
      if (newest !== meaning) changed.add(question.key);
      meanings.set(question.key, newest);
    }
    const first = new Map([...questions].reverse().map(({ type, key }) => [type, key]));
    versions.set(number, {
      questions: new Map(questions.map((question) => [question.key, question])),
      primary: new Set(first.values()),
      changed,
    });
  }
  return versions;
}

/**
 * Answers as they are stored, by the key of the question.
 *
 * @throws Problem invalid_input, with every fault
 */
export function readAnswers(version: Version, answers: readonly SurveyAnswerInput[]): ReadAnswer[] {
  const errors: FieldError[] = [];
  const read = new Map<string, ReadAnswer>();
  for (const [index, answer] of answers.entries()) {
    const { question: key } = answer;
    const fault = (member: string, code: string, message: string) =>
      errors.push({ pointer: `/answers/${index}/${member}`, code, message });
    const question = version.questions.get(key);
    if (!question) {
      fault('question', 'unknown_question', `The survey has no question ${key}.`);
    } else if (version.changed.has(key)) {
      fault('question', 'question_changed', `${key} has another meaning in the current version of the survey.`);
    } else if (read.has(key)) {
      fault('question', 'duplicate_question', `${key} is answered twice.`);
    } else {
      checkAnswer(question, answer, fault);
      read.set(key, {
        question: key,
        type: question.type,
        primary: version.primary.has(key),
        score: answer.score ?? null,
        band: errors.length === 0 && answer.score !== undefined ? bandOf(question, answer.score) : null,
        choices: answer.choices ?? null,
        text: answer.text ?? null,
      });
    }
  }
  refuse(errors);
  // By code units, as the database orders them.
  return [...read.values()].sort((a, b) => (a.question < b.question ? -1 : 1));
}

/** @throws Problem invalid_input, with every required question that lacks an answer */
export function checkRequired(version: Version, answers: readonly { question: string }[]): void {
  const answered = new Set(answers.map(({ question }) => question));
  const missing = [...version.questions.values()].filter(({ key, required }) => required && !answered.has(key));
  refuse(
    missing.map(({ key }) => ({
      pointer: '/answers',
      code: 'required_question',
      message: `A complete response must answer ${key}.`,
    })),
  );
  if (answers.length > 0) return;
  refuse([{ pointer: '/answers', code: 'no_answers', message: 'A complete response must have at least one answer.' }]);
}

function refuse(errors: FieldError[]): void {
  const [first] = errors;
  if (first) throw new Problem('invalid_input', `${first.pointer}: ${first.message}`, { errors });
}

type Fault = (member: string, code: string, message: string) => void;

function checkAnswer(question: SurveyQuestion, answer: SurveyAnswerInput, fault: Fault): void {
  const given = answer.score !== undefined ? 'score' : answer.choices !== undefined ? 'choices' : 'text';
  const wanted = question.scale ? 'score' : question.options ? 'choices' : 'text';
  if (given !== wanted) {
    fault(given, 'wrong_type', `A question of type ${question.type} must be answered with ${wanted}.`);
  } else if (answer.score !== undefined && question.scale) {
    const { min, max } = question.scale;
    if (answer.score < min || answer.score > max)
      fault('score', 'out_of_scale', `The scale goes from ${min} to ${max}.`);
  } else if (answer.choices !== undefined) {
    checkChoices(question, answer.choices, fault);
  }
}

function checkChoices({ type, options }: SurveyQuestion, choices: string[], fault: Fault): void {
  const known = new Set(options?.map(({ key }) => key));
  if (type === 'single_choice' && choices.length > 1) fault('choices', 'one_choice', 'Choose only one option.');
  for (const [place, choice] of choices.entries()) {
    if (!known.has(choice)) fault(`choices/${place}`, 'unknown_option', 'There is no such option.');
    else if (choices.indexOf(choice) < place) fault(`choices/${place}`, 'duplicate', 'The option is listed twice.');
  }
}

/** The band of a score that is on the scale, as stored. */
function bandOf({ type, scale }: SurveyQuestion, score: number): number | null {
  const name = scale && bandOn(type, scale, score);
  return name ? storedBand(name).band : null;
}

function bandOn(type: SurveyQuestion['type'], scale: QuestionScale, score: number): AnswerBand | null {
  const { min, max, topBoxFrom, direction, easyTo, hardFrom } = scale;
  if (type === 'nps') return npsBand(score);
  if (topBoxFrom !== null) return isSatisfied({ min, max, topBoxFrom }, score) ? 'satisfied' : 'not_satisfied';
  if (direction === null || easyTo === null || hardFrom === null) return null;
  return effortBand({ min, max, direction, easyTo, hardFrom }, score);
}
