import { defaultEffortScales, effortBand } from '../../domain/customer-effort.ts';
import { defaultSatisfactionScale, isSatisfied } from '../../domain/customer-satisfaction.ts';
import { type FieldError, Problem } from '../../platform/errors.ts';
import type { QuestionScale, SurveyQuestion, SurveyQuestionInput } from './record.ts';

/** What answers to a question mean: its type, scale and options. The words of it may be corrected. */
export function meaningOf({ type, scale, options }: SurveyQuestion): string {
  const keys = options?.map(({ key }) => key).sort() ?? null;
  return JSON.stringify([type, scaleText(scale), keys]);
}

function scaleText(scale: QuestionScale | null): string | null {
  if (!scale) return null;
  const { min, max, topBoxFrom, direction, easyTo, hardFrom } = scale;
  return [min, max, topBoxFrom, direction, easyTo, hardFrom].join();
}

/** Which members of a question change what its answers mean. */
export function changedMeaning(before: SurveyQuestion, after: SurveyQuestion): ('type' | 'scale' | 'options')[] {
  if (meaningOf(before) === meaningOf(after)) return [];
  if (before.type !== after.type) return ['type'];
  return scaleText(before.scale) !== scaleText(after.scale) ? ['scale'] : ['options'];
}

/**
 * Questions as they are stored: with their scales.
 *
 * @throws Problem invalid_input, with every fault
 */
export function readQuestions(inputs: readonly SurveyQuestionInput[]): SurveyQuestion[] {
  const errors: FieldError[] = [];
  const keys = new Set<string>();
  const questions = inputs.map((input, index): SurveyQuestion => {
    const fault = (member: string, code: string, message: string) =>
      errors.push({ pointer: `/questions/${index}/${member}`, code, message });
    if (keys.has(input.key)) fault('key', 'duplicate', `Another question has the key ${input.key}.`);
    keys.add(input.key);
    return {
      key: input.key,
      type: input.type,
      text: input.text,
      required: input.required ?? false,
      options: readOptions(input, fault),
      scale: readScale(input, fault),
    };
  });
  const [first] = errors;
  if (first) throw new Problem('invalid_input', `${first.pointer}: ${first.message}`, { errors });
  return questions;
}

type Fault = (member: string, code: string, message: string) => void;

function readOptions({ type, options }: SurveyQuestionInput, fault: Fault): SurveyQuestion['options'] {
  const given = options ?? null;
  if (type !== 'single_choice' && type !== 'multiple_choice') {
    if (given) fault('options', 'not_allowed', 'Only questions of choices can have options.');
    return null;
  }
  if (!given) fault('options', 'required', 'A question of choices needs options.');
  const keys = given?.map(({ key }) => key) ?? [];
  for (const [place, key] of keys.entries()) {
    if (keys.indexOf(key) < place) fault(`options/${place}/key`, 'duplicate', `Another option has the key ${key}.`);
  }
  return given;
}

const none = { topBoxFrom: null, direction: null, easyTo: null, hardFrom: null };

function readScale({ type, scale }: SurveyQuestionInput, fault: Fault): QuestionScale | null {
  const given = scale ?? null;
  const refuse = (members: ('topBoxFrom' | 'direction' | 'easyTo' | 'hardFrom')[]) => {
    for (const member of members) {
      if ((given?.[member] ?? null) !== null) {
        fault(
          `scale/${member}`,
          'not_allowed',
          `The scale of a question of type ${type} cannot have this. Leave it out.`,
        );
      }
    }
  };
  if (type === 'nps') {
    refuse(['topBoxFrom', 'direction', 'easyTo', 'hardFrom']);
    if (given && (given.min !== 0 || given.max !== 10)) fault('scale', 'invalid_scale', 'The scale of nps is 0–10.');
    return { ...none, min: 0, max: 10 };
  }
  if (type === 'csat') {
    refuse(['direction', 'easyTo', 'hardFrom']);
    return satisfactionScale(given, fault);
  }
  if (type === 'ces') {
    refuse(['topBoxFrom']);
    return effortScale(given, fault);
  }
  if (given) fault('scale', 'not_allowed', 'Only questions of scores can have a scale.');
  return null;
}

type GivenScale = NonNullable<SurveyQuestionInput['scale']>;

function satisfactionScale(given: GivenScale | null, fault: Fault): QuestionScale {
  const { min, max } = given ?? defaultSatisfactionScale;
  const usual = min === defaultSatisfactionScale.min && max === defaultSatisfactionScale.max;
  const topBoxFrom = given?.topBoxFrom ?? (usual ? defaultSatisfactionScale.topBoxFrom : null);
  if (topBoxFrom === null) {
    fault('scale/topBoxFrom', 'required', 'Send topBoxFrom: the lowest score that counts as satisfied.');
  } else if (!isScale(() => isSatisfied({ min, max, topBoxFrom }, min))) {
    fault('scale', 'invalid_scale', 'topBoxFrom must be above min, and at most max.');
  }
  return { ...none, min, max, topBoxFrom };
}

function effortScale(given: GivenScale | null, fault: Fault): QuestionScale {
  const direction = given?.direction ?? 'easy_low';
  const standard = defaultEffortScales[direction];
  const { min, max } = given ?? standard;
  const usual = min === standard.min && max === standard.max;
  const easyTo = given?.easyTo ?? (usual ? standard.easyTo : null);
  const hardFrom = given?.hardFrom ?? (usual ? standard.hardFrom : null);
  if (easyTo === null)
    fault('scale/easyTo', 'required', 'Send easyTo: the last score, from the easy end, that counts as easy.');
  if (hardFrom === null)
    fault('scale/hardFrom', 'required', 'Send hardFrom: the first score, from the easy end, that counts as hard.');
  if (easyTo !== null && hardFrom !== null) {
    if (!isScale(() => effortBand({ min, max, direction, easyTo, hardFrom }, min)))
      fault('scale', 'invalid_scale', 'easyTo and hardFrom must be on the scale, easyTo nearer to its easy end.');
  }
  return { ...none, min, max, direction, easyTo, hardFrom };
}

/** Whether the domain takes the scale: it throws on one that is none. */
function isScale(use: () => unknown): boolean {
  try {
    use();
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
