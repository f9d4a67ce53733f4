/**
 * The rule score of a lead: points for who somebody is (fit) and for what they did (intent), the latter fading by
 * half-lives. Every value lies on a grid of 1/1024 point: what an interaction is worth is rounded to it once, and from
 * there on everything is integers, whose sums are exact in any order, also as the doubles they are answered as.
 *
 * The service computes scores in SQL (features/lead-scores/score-sql.ts), for one lead and for a million; this is the
 * same formula for one lead, which the tests hold against it, and what needs no database: grades and faults.
 */

/** Grid units in a point. */
export const unitsPerPoint = 1_024;
/** What a rule without a cap adds or takes away at most. */
export const largestCap = 10_000;
/** Conditions of a rule set, at most: each is compared for each lead, and has its place in every statement of a score. */
export const mostConditions = 600;
/** Half-lives after which nothing is left; also keeps the power within what a double can say. */
export const mostHalfLives = 1_000;

const day = 86_400_000;

type Optional<T> = T | undefined;

export interface RuleCondition {
  field: string;
  exists?: Optional<boolean>;
  oneOf?: Optional<string[]>;
  noneOf?: Optional<string[]>;
  atLeast?: Optional<number>;
  atMost?: Optional<number>;
}

export interface RuleTouches {
  kinds?: Optional<string[]>;
  directions?: Optional<string[]>;
  channels?: Optional<string[]>;
  topics?: Optional<string[]>;
  outcomes?: Optional<string[]>;
  campaignIds?: Optional<string[]>;
  minSeconds?: Optional<number>;
  withinDays?: Optional<number>;
}

export interface ScoreRule {
  name: string;
  group: 'fit' | 'intent';
  points: number;
  when?: Optional<RuleCondition[]>;
  on?: Optional<RuleTouches>;
  per?: Optional<'interaction' | 'minute' | 'page' | 'latest'>;
  cap?: Optional<number>;
  halfLifeDays?: Optional<number>;
}

export interface Grades {
  A: number;
  B: number;
  C: number;
}

export type Grade = 'A' | 'B' | 'C' | 'D';

export interface ScoreRules {
  rules: ScoreRule[];
  caps?: Optional<{ fit?: Optional<number>; intent?: Optional<number> }>;
  grades: Grades;
  qualify?: Optional<{ marketing?: Optional<number>; sales?: Optional<number> }>;
  profileFields?: Optional<string[]>;
}

/** What `completeness` counts unless the rule set says. */
export const defaultProfileFields: readonly string[] = ['name', 'email', 'phone', 'country', 'source'];

export function profileFieldsOf(document: ScoreRules): readonly string[] {
  return document.profileFields ?? defaultProfileFields;
}

/** Grid units of points; exact, as points are multiples of a quarter. */
export function unitsOf(points: number): number {
  return points * unitsPerPoint;
}

/** Points of grid units, exact. */
export function pointsOf(units: number): number {
  return units / unitsPerPoint;
}

export function gradeOf(grades: Grades, score: number): Grade {
  if (score >= grades.A) return 'A';
  if (score >= grades.B) return 'B';
  return score >= grades.C ? 'C' : 'D';
}

/** The scores of a grade: from `from` on and below `to`; null where it is open. */
export function scoresOfGrade(grades: Grades, grade: Grade): { from: number | null; to: number | null } {
  const { A, B, C } = grades;
  return { A: { from: A, to: null }, B: { from: B, to: A }, C: { from: C, to: B }, D: { from: null, to: C } }[grade];
}

export interface Profile {
  /** Text of the plain fields; absent or null: not filled in. */
  fields: Readonly<Record<string, string | null>>;
  attributes: Readonly<Record<string, unknown>> | null;
}

export interface Touch {
  id: string;
  kind: string;
  occurredAt: string;
  direction?: string | null;
  channel?: string | null;
  topic?: string | null;
  outcome?: string | null;
  campaignId?: string | null;
  seconds?: number | null;
  pages?: number | null;
}

/** The text of a field of the profile; null when it is not filled in. */
export function fieldText(profile: Profile, field: string): string | null {
  const value = field.startsWith('attributes.')
    ? attribute(profile.attributes, field.slice('attributes.'.length))
    : profile.fields[field];
  if (value === null || value === undefined || value === '') return null;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** The attribute of that whole name, or else the one that the dots lead to. */
function attribute(attributes: Profile['attributes'], name: string): unknown {
  const whole = member(attributes, name);
  if (whole !== null && whole !== undefined) return whole;
  return name.split('.').reduce<unknown>(member, attributes);
}

function member(of: unknown, key: string): unknown {
  if (Array.isArray(of)) return /^-?\d+$/.test(key) ? of.at(Number(key)) : undefined;
  if (typeof of !== 'object' || of === null || !Object.hasOwn(of, key)) return undefined;
  return (of as Record<string, unknown>)[key]; // an object by the line above
}

/** The share of fields that are filled in, 0 to 1. */
export function completeness(profile: Profile, fields: readonly string[]): number {
  return fields.filter((field) => fieldText(profile, field) !== null).length / fields.length;
}

export function holds(profile: Profile, fields: readonly string[], condition: RuleCondition): boolean {
  const { field, exists, oneOf, noneOf, atLeast, atMost } = condition;
  const text = field === 'completeness' ? String(completeness(profile, fields)) : fieldText(profile, field);
  const number = text !== null && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : null;
  return (
    (exists === undefined || exists === (text !== null)) &&
    (oneOf === undefined || (text !== null && oneOf.includes(text))) &&
    (noneOf === undefined || (text !== null && !noneOf.includes(text))) &&
    (atLeast === undefined || (number !== null && number >= atLeast)) &&
    (atMost === undefined || (number !== null && number <= atMost))
  );
}

function counts(on: RuleTouches, touch: Touch, asOf: number): boolean {
  const at = Date.parse(touch.occurredAt);
  const among = (wanted: string[] | undefined, value: string | null | undefined) =>
    wanted === undefined || (value !== null && value !== undefined && wanted.includes(value));
  return (
    at < asOf &&
    among(on.kinds, touch.kind) &&
    among(on.directions, touch.direction) &&
    among(on.channels, touch.channel) &&
    among(on.topics, touch.topic) &&
    among(on.outcomes, touch.outcome) &&
    among(on.campaignIds, touch.campaignId) &&
    (on.minSeconds === undefined || (touch.seconds ?? -1) >= on.minSeconds) &&
    (on.withinDays === undefined || at >= asOf - on.withinDays * day)
  );
}

/** What one interaction is worth at that age, in grid units; halves are rounded up. */
export function touchUnits(rule: ScoreRule, touch: Touch, ageDays: number): number {
  const amount = rule.per === 'minute' ? (touch.seconds ?? 0) / 60 : rule.per === 'page' ? (touch.pages ?? 0) : 1;
  const left = rule.halfLifeDays === undefined ? 1 : 0.5 ** Math.min(ageDays / rule.halfLifeDays, mostHalfLives);
  return Math.floor(unitsOf(rule.points) * amount * left + 0.5);
}

/** What a rule, or the cap of a group, adds to the score; in grid units. */
export interface Contribution {
  /** The rule's name; of a group's cap, the group's. */
  rule: string;
  group: 'fit' | 'intent';
  kind: 'rule' | 'group_cap';
  units: number;
  uncapped: number;
}

export interface RuleScore {
  /** Grid units. */
  score: number;
  fit: number;
  intent: number;
  /** Of the rules that apply, in their order, then of the groups whose caps bite. Their sum is the score. */
  contributions: Contribution[];
}

/** The score of one lead at `asOf`, out of all its interactions. */
export function ruleScore(document: ScoreRules, profile: Profile, touches: readonly Touch[], asOf: string): RuleScore {
  const fields = profileFieldsOf(document);
  const now = Date.parse(asOf);
  const contributions = document.rules.flatMap((rule): Contribution[] => {
    if (!(rule.when ?? []).every((condition) => holds(profile, fields, condition))) return [];
    const { on } = rule;
    if (on === undefined) return [contribution(rule, unitsOf(rule.points))];
    const found = touches.filter((touch) => counts(on, touch, now));
    if (found.length === 0) return [];
    const latest = Math.max(...found.map(({ occurredAt }) => Date.parse(occurredAt)));
    const counted =
      rule.per === 'latest' ? found.filter((t) => Date.parse(t.occurredAt) === latest).slice(0, 1) : found;
    const worth = counted.map((touch) =>
      touchUnits(rule, touch, (now - Date.parse(touch.occurredAt)) / 1_000 / 86_400),
    );
    return [
      contribution(
        rule,
        worth.reduce((sum, units) => sum + units, 0),
      ),
    ];
  });
  const groups = (['fit', 'intent'] as const).map((group) => {
    const uncapped = contributions.filter((one) => one.group === group).reduce((sum, { units }) => sum + units, 0);
    const most = document.caps?.[group];
    return { group, uncapped, units: most === undefined ? uncapped : Math.min(uncapped, unitsOf(most)) };
  });
  const [fit = 0, intent = 0] = groups.map(({ units }) => units);
  const bites = groups.flatMap(({ group, uncapped, units }): Contribution[] =>
    units === uncapped
      ? []
      : [{ rule: group, group, kind: 'group_cap', units: units - uncapped, uncapped: units - uncapped }],
  );
  return { score: fit + intent, fit, intent, contributions: [...contributions, ...bites] };
}

function contribution({ name, group, cap }: ScoreRule, uncapped: number): Contribution {
  const most = unitsOf(cap ?? largestCap);
  return { rule: name, group, kind: 'rule', units: Math.max(-most, Math.min(most, uncapped)), uncapped };
}

export interface DocumentFault {
  /** JSON Pointer into the document. */
  pointer: string;
  code: string;
  message: string;
}

/** What is wrong with a document whose members are each of the right form. */
export function documentFaults(document: ScoreRules): DocumentFault[] {
  const faults: DocumentFault[] = [];
  const fault = (pointer: string, code: string, message: string) => faults.push({ pointer, code, message });
  const names = new Set<string>();
  for (const [index, rule] of document.rules.entries()) {
    const at = `/rules/${index}`;
    if (names.has(rule.name)) fault(`${at}/name`, 'duplicate', 'Another rule has this name.');
    names.add(rule.name);
    if (rule.group === 'intent' && rule.on === undefined)
      fault(`${at}/on`, 'required', 'A rule of the group intent needs `on`: the interactions that count.');
    if (rule.group === 'fit' && rule.on !== undefined)
      fault(`${at}/on`, 'not_allowed', 'A rule of the group fit cannot have `on`. Leave it out.');
    if (rule.on === undefined && rule.per !== undefined)
      fault(`${at}/per`, 'not_allowed', 'Only a rule with `on` can have this: a profile has no interactions.');
    if (rule.on === undefined && rule.halfLifeDays !== undefined)
      fault(`${at}/halfLifeDays`, 'not_allowed', 'Only a rule with `on` can have this: a profile does not fade.');
    for (const [place, condition] of (rule.when ?? []).entries())
      for (const one of conditionFaults(condition)) fault(`${at}/when/${place}${one.pointer}`, one.code, one.message);
  }
  if (comparisons(document) > mostConditions) {
    const all = `${mostConditions} conditions, of which one on completeness counts as many as it has fields`;
    fault('/rules', 'too_many_conditions', `The rules have at most ${all}.`);
  }
  const { A, B, C } = document.grades;
  if (B >= A) fault('/grades/B', 'not_falling', 'Grades must descend: B must be below A.');
  if (C >= B) fault('/grades/C', 'not_falling', 'Grades must descend: C must be below B.');
  const { marketing, sales } = document.qualify ?? {};
  if (marketing !== undefined && sales !== undefined && marketing > sales)
    fault('/qualify/marketing', 'out_of_order', 'A lead is marketing-qualified before it is sales-qualified.');
  for (const [index, field] of (document.profileFields ?? []).entries()) {
    if (field === 'completeness')
      fault(`/profileFields/${index}`, 'not_allowed', 'completeness cannot be one of its own fields.');
    if (document.profileFields?.indexOf(field) !== index)
      fault(`/profileFields/${index}`, 'duplicate', 'The field is listed twice.');
  }
  return faults;
}

/** How many fields of the profile are looked at, one after the other. */
function comparisons(document: ScoreRules): number {
  const each = profileFieldsOf(document).length;
  const conditions = document.rules.flatMap(({ when = [] }) => when);
  return conditions.reduce((sum, { field }) => sum + (field === 'completeness' ? each : 1), 0);
}

function conditionFaults({ field, ...given }: RuleCondition): DocumentFault[] {
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  if (said.length === 0)
    return [{ pointer: '', code: 'empty_condition', message: 'Send at least one condition on the field.' }];
  if (field !== 'completeness') return [];
  return said
    .filter(([name]) => name !== 'atLeast' && name !== 'atMost')
    .map(([name]) => ({
      pointer: `/${name}`,
      code: 'not_allowed',
      message: 'Completeness is a number: atLeast, atMost.',
    }));
}

const publicFields = new Set([
  'kind',
  'locale',
  'preferredChannel',
  'acquisitionSource',
  'source',
  'segment',
  'company',
]);

/** Whether a document reads values of personal data, so that whoever writes it could find them out by its scores. */
export function readsPersonalData(document: ScoreRules): boolean {
  return document.rules.some(
    ({ when = [], on }) =>
      on?.topics !== undefined ||
      on?.outcomes !== undefined ||
      when.some(
        ({ field, oneOf, noneOf, atLeast, atMost }) =>
          field !== 'completeness' &&
          !publicFields.has(field) &&
          [oneOf, noneOf, atLeast, atMost].some((value) => value !== undefined),
      ),
  );
}
