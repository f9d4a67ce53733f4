import { type SQL, sql } from 'drizzle-orm';
import {
  largestCap,
  mostHalfLives,
  profileFieldsOf,
  type RuleCondition,
  type RuleTouches,
  type ScoreRule,
  unitsOf,
} from '../../domain/lead-score.ts';
import { everyIdentity } from '../customers/record.ts';
import { isTouch } from '../interactions/record.ts';
import type { RuleSetDocument } from './record.ts';

/**
 * A rule set as SQL: the one place that computes rule scores in the database, for lists, previews, qualification,
 * details and bounds. The formula is that of domain/lead-score.ts. Values travel as parameters.
 */

/** Whose score, and at which instant: expressions over the relation that the score is joined to. */
export interface Subject {
  customerId: SQL;
  asOf: SQL;
}

/**
 * `exact`: the score at `asOf`. `bound`: what the score can at most be at `asOf` or any later instant while the facts
 * stay as they are: what takes away is left out of intent, as it fades or begins later, and interactions that are still
 * to come count in full.
 */
export type ScoreMode = 'exact' | 'bound';

const raw = sql.raw;
const list = (parts: SQL[], separator = ', ') => sql.join(parts, raw(separator));

/**
 * A lateral subquery of one row: the score of a subject with its parts, all in grid units.
 *
 * - `score`, `fit`, `intent`: bigint, after all caps; `fit_sum`, `intent_sum` before those of the groups
 * - `units`, `uncapped`: float8[], by the rules' places in the document; `applies`: boolean[]
 *
 * The interactions of a subject are read once, whatever the number of rules. Columns nobody selects cost nothing; those
 * of a rule are worked out once (`offset 0`), however often the score is compared.
 */
export function scoreQuery(document: RuleSetDocument, subject: Subject, mode: ScoreMode = 'exact'): SQL {
  const rules = document.rules.map((rule, index) => ({ rule, index }));
  const counting = rules.filter(({ rule }) => rule.on !== undefined);
  const parts = rules.map(({ rule, index }) => rulePart(document, subject, mode, rule, index));
  const sumOf = (group: ScoreRule['group']) =>
    list(
      [
        raw('0'),
        ...rules
          .filter(({ rule }) => rule.group === group && (mode === 'exact' || group === 'fit' || rule.points > 0))
          .map(({ index }) => raw(`u${index}`)),
      ],
      ' + ',
    );
  const capped = (group: ScoreRule['group']) => {
    const cap = document.caps?.[group];
    const sum = raw(`${group}_sum`);
    return cap === undefined ? sum : sql`least(${sum}, ${unitsOf(cap)}::float8)`;
  };
  const facts =
    counting.length === 0
      ? sql``
      : sql`cross join lateral (
          select ${list(counting.flatMap(({ rule, index }) => aggregates(subject, mode, rule, index)))}
          from interactions i where i.customer_id = ${subject.customerId} and ${isTouch}
            ${mode === 'exact' ? sql`and i.occurred_at < ${subject.asOf}` : sql``}
        ) t`;
  const numbers = (prefix: string) => list(rules.map(({ index }) => raw(`${prefix}${index}`)));
  return sql`select (fit + intent)::bigint as score, fit::bigint as fit, intent::bigint as intent,
      fit_sum::bigint as fit_sum, intent_sum::bigint as intent_sum, units, uncapped, applies
    from (select *, ${capped('fit')} as fit, ${capped('intent')} as intent
      from (select ${sumOf('fit')} as fit_sum, ${sumOf('intent')} as intent_sum,
          array[${numbers('u')}]::float8[] as units, array[${numbers('r')}]::float8[] as uncapped, array[${numbers('a')}] as applies
        from (select *, ${list(rules.map(({ rule, index }) => ruleCap(rule, index)))}
          from (select ${list(parts)}
            from customers c left join lateral (${leadFields}) l on true ${facts}
            where c.id = ${subject.customerId} offset 0) rule_values) capped_rules) sums) groups`;
}

/** The limit keeps the planner from reading all leads for the few that are looked at. */
const leadFields = sql`select source, segment from leads where customer_id = c.id limit 1`;

/** `a<n>`: whether the rule applies; `r<n>`: what it adds before its cap, 0 where it does not apply. */
function rulePart(document: RuleSetDocument, subject: Subject, mode: ScoreMode, rule: ScoreRule, index: number): SQL {
  const conditions = (rule.when ?? []).map((condition) => conditionSql(document, condition));
  const when = conditions.length === 0 ? raw('true') : sql`(${list(conditions, ' and ')})`;
  const applies = raw(`a${index}`);
  const value = raw(`r${index}`);
  if (rule.on === undefined) {
    return sql`${when} as ${applies}, case when ${when} then ${unitsOf(rule.points)}::float8 else 0 end as ${value}`;
  }
  const found = sql`${when} and ${raw(`t.n${index} > 0`)}`;
  const worth =
    rule.per === 'latest' ? worthSql(rule, raw('1'), ageDays(subject, mode, raw(`t.s${index}`))) : raw(`t.s${index}`);
  return sql`${found} as ${applies}, case when ${found} then ${worth} else 0 end as ${value}`;
}

function ruleCap(rule: ScoreRule, index: number): SQL {
  const most = unitsOf(rule.cap ?? largestCap);
  const value = raw(`r${index}`);
  return rule.points < 0
    ? sql`greatest(${value}, ${-most}::float8) as ${raw(`u${index}`)}`
    : sql`least(${value}, ${most}::float8) as ${raw(`u${index}`)}`;
}

/** `s<n>`: the sum of what interactions are worth, or the latest one's time; `n<n>`: their number. */
function aggregates(subject: Subject, mode: ScoreMode, rule: ScoreRule, index: number): SQL[] {
  const matches = sql`filter (where ${touchSql(rule.on ?? {}, subject)})`;
  const value = rule.per === 'latest' ? raw('max(i.occurred_at)') : sql`sum(${evidenceUnits(rule, subject, mode)})`;
  return [sql`${value} ${matches} as ${raw(`s${index}`)}`, sql`count(*) ${matches} as ${raw(`n${index}`)}`];
}

/** What the interaction `i` is worth under a rule, in grid units: whole numbers as float8, whose sums are exact. */
function evidenceUnits(rule: ScoreRule, subject: Subject, mode: ScoreMode): SQL {
  return worthSql(rule, amountSql(rule), ageDays(subject, mode, raw('i.occurred_at')));
}

function worthSql(rule: ScoreRule, amount: SQL, age: SQL): SQL {
  const full = sql`${unitsOf(rule.points)}::float8 * ${amount}`;
  if (rule.halfLifeDays === undefined) return sql`floor(${full} + 0.5::float8)`;
  const halfLives = sql`least(${age} / ${rule.halfLifeDays}::float8, ${raw(String(mostHalfLives))})`;
  return sql`floor(${full} * power(0.5::float8, ${halfLives}) + 0.5::float8)`;
}

function amountSql({ per }: ScoreRule): SQL {
  if (per === 'minute') return raw('(coalesce(i.seconds, 0) / 60::float8)');
  return per === 'page' ? raw('coalesce(i.pages, 0)::float8') : raw('1');
}

function ageDays(subject: Subject, mode: ScoreMode, at: SQL): SQL {
  const age = sql`date_part('epoch', ${subject.asOf} - ${at}) / 86400::float8`;
  return mode === 'exact' ? age : sql`greatest(${age}, 0)`;
}

function touchSql(on: RuleTouches, subject: Subject): SQL {
  const among = (column: string, wanted: string[] | undefined, type = 'text[]') =>
    wanted === undefined ? [] : [sql`${raw(`i.${column}`)} = any(${sql.param(wanted)}::${raw(type)})`];
  const conditions = [
    ...among('kind', on.kinds),
    ...among('direction', on.directions),
    ...among('channel', on.channels),
    ...among('topic', on.topics),
    ...among('outcome', on.outcomes),
    ...among('campaign_id', on.campaignIds, 'uuid[]'),
    ...(on.minSeconds === undefined ? [] : [sql`i.seconds >= ${on.minSeconds}::int`]),
    // In hours: a day of an interval is 24 hours in the session's zone, UTC, and has to stay so.
    ...(on.withinDays === undefined
      ? []
      : [sql`i.occurred_at >= ${subject.asOf} - make_interval(hours => ${on.withinDays * 24}::int)`]),
  ];
  return conditions.length === 0 ? raw('true') : list(conditions, ' and ');
}

/** By the customer's index alone: that of kinds and values may look short to the planner, and then have grown. */
function primaryIdentity(kind: 'email' | 'phone'): string {
  return `(select max(x.value) filter (where x.kind = '${kind}' and x.is_primary) from ${everyIdentity} x where x.customer_id = c.id)`;
}

const plainFields: Readonly<Record<string, string>> = {
  kind: 'c.kind',
  locale: 'c.locale',
  preferredChannel: 'c.preferred_channel',
  acquisitionSource: 'c.acquisition_source',
  source: 'l.source',
  segment: 'l.segment',
  country: `c.address ->> 'country'`,
  email: primaryIdentity('email'),
  phone: primaryIdentity('phone'),
  name: `coalesce(nullif(c.name, ''), concat_ws(' ', c.given_name, c.family_name))`,
  company: 'c.company_id::text',
  birthday: `case when extract(year from c.birthday) = 4 then to_char(c.birthday, '"--"MM-DD') else c.birthday::text end`,
};

/** The text of a field of the profile (customer `c`, lead `l`); null where it is not filled in. */
export function fieldSql(field: string): SQL {
  if (!field.startsWith('attributes.')) return raw(`nullif(${plainFields[field] ?? 'null'}, '')`);
  const name = field.slice('attributes.'.length);
  const whole = sql`c.attributes ->> ${name}::text`;
  if (!name.includes('.')) return sql`nullif(${whole}, '')`;
  return sql`nullif(coalesce(${whole}, c.attributes #>> ${sql.param(name.split('.'))}::text[]), '')`;
}

/** How many of the fields are filled in. */
function filledSql(fields: readonly string[]): SQL {
  return sql`(${list(
    fields.map((field) => sql`(${fieldSql(field)} is not null)::int`),
    ' + ',
  )})`;
}

/** The share of the rule set's profile fields that are filled in, as text. */
export function completenessSql(document: RuleSetDocument): SQL {
  const fields = profileFieldsOf(document);
  return sql`(${filledSql(fields)} / ${fields.length}::float8)::text`;
}

function conditionSql(document: RuleSetDocument, condition: RuleCondition): SQL {
  const { field, exists, oneOf, noneOf, atLeast, atMost } = condition;
  if (field === 'completeness') {
    const fields = profileFieldsOf(document);
    const share = sql`${filledSql(fields)} / ${fields.length}::float8`;
    return list(
      [
        ...(atLeast === undefined ? [] : [sql`${share} >= ${atLeast}::float8`]),
        ...(atMost === undefined ? [] : [sql`${share} <= ${atMost}::float8`]),
      ],
      ' and ',
    );
  }
  const text = fieldSql(field);
  // Digits of any number are within numeric's: attributes have at most 16 KiB.
  const number = (compare: SQL) =>
    sql`case when ${text} ~ '^-?[0-9]+([.][0-9]+)?$' then (${text})::numeric ${compare}::numeric else false end`;
  return list(
    [
      ...(exists === undefined ? [] : [sql`${text} is ${raw(exists ? 'not null' : 'null')}`]),
      ...(oneOf === undefined ? [] : [sql`coalesce(${text} = any(${sql.param(oneOf)}::text[]), false)`]),
      ...(noneOf === undefined ? [] : [sql`coalesce(${text} <> all(${sql.param(noneOf)}::text[]), false)`]),
      ...(atLeast === undefined ? [] : [number(sql`>= ${atLeast}`)]),
      ...(atMost === undefined ? [] : [number(sql`<= ${atMost}`)]),
    ],
    ' and ',
  );
}

/** Interactions listed as evidence of a rule, at most. */
export const mostEvidence = 50;

/**
 * What stands behind each rule's points: rows (rule, count, evidence) with the place of the rule and JSON rows
 * [id, kind, occurredAt, topic, channel, units], latest first. The interactions that count for `latest` are one.
 */
export function evidenceQuery(document: RuleSetDocument, subject: Subject): SQL | null {
  const parts = document.rules.flatMap((rule, index) => {
    if (rule.on === undefined) return [];
    const limit = rule.per === 'latest' ? 1 : mostEvidence;
    return [
      sql`select ${raw(String(index))} as rule, max(e.matching) as count, json_agg(json_build_array(e.id, e.kind, e.occurred_at, e.topic, e.channel, e.units)
          order by e.occurred_at desc, e.id desc) as evidence
        from (select i.id, i.kind, i.occurred_at, i.topic, i.channel, ${evidenceUnits(rule, subject, 'exact')} as units, ${rule.per === 'latest' ? raw('1') : raw('count(*) over ()')} as matching
          from interactions i where i.customer_id = ${subject.customerId} and ${isTouch} and i.occurred_at < ${subject.asOf} and ${touchSql(rule.on, subject)}
          order by i.occurred_at desc, i.id desc limit ${raw(String(limit))}) e having count(*) > 0`,
    ];
  });
  return parts.length === 0 ? null : list(parts, ' union all ');
}

/** The fields that the rules' conditions read, each with its text, as a JSON object. */
export function profileValuesSql(document: RuleSetDocument): SQL {
  const fields = [...new Set(document.rules.flatMap(({ when = [] }) => when.map(({ field }) => field)))];
  const pairs = fields.map((field) =>
    field === 'completeness'
      ? sql`${field}::text, ${completenessSql(document)}`
      : sql`${field}::text, ${fieldSql(field)}`,
  );
  // json_build_object takes at most 100 arguments.
  const chunks: SQL[] = [];
  for (let start = 0; start < pairs.length; start += 40)
    chunks.push(sql`jsonb_build_object(${list(pairs.slice(start, start + 40))})`);
  return chunks.length === 0 ? raw(`'{}'::jsonb`) : list(chunks, ' || ');
}
