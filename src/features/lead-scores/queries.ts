import { type SQL, sql } from 'drizzle-orm';
import { gradeOf, pointsOf, unitsOf } from '../../domain/lead-score.ts';
import { type Db, fields, param, type Statement, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import type { ScoreGrade } from './grade.ts';
import { leadRuleSets, type RuleSetDocument, type RuleSetRow } from './record.ts';
import { scoreQuery } from './score-sql.ts';

/** A rule set to compute with. */
export interface ScoringRules {
  id: string;
  number: number | null;
  document: RuleSetDocument;
}

/** The rule set in force at an instant. */
export interface RulesInForce extends ScoringRules {
  number: number;
  /** Whether the bounds of its scores are complete. */
  indexed: boolean;
}

/** Makes of a map a cache of at most so many entries: those that were put in first go. */
function remember<V>(cache: Map<string, V>, key: string, value: V, most: number): V {
  cache.set(key, value);
  for (const oldest of cache.keys()) {
    if (cache.size <= most) break;
    cache.delete(oldest);
  }
  return value;
}

const statements = new Map<string, Statement<unknown>>();

/**
 * A statement of a rule set: compiled once per published rule set and `shape`, which stands for all else that its SQL
 * depends on. That of a draft changes with it, and is not prepared.
 */
export function compiled<Row>(rules: ScoringRules, shape: string, make: () => SQL): Statement<Row> {
  if (rules.number === null) return statement<Row>('draft', make(), { unprepared: true });
  const key = `${rules.id} ${shape}`;
  const known = statements.get(key) ?? remember(statements, key, statement('lead_scores', make()), 300);
  return known as Statement<Row>; // the shape says what the rows are
}

// The first rule set also serves what was before it.
const inForce = statement<{ id: string; number: number; indexed: boolean }>(
  'rule_set_in_force',
  sql`select id, number, indexed_at is not null as indexed from (
      select *, 1 as choice from (select * from lead_rule_sets where published_at <= ${param('asOf')}::timestamptz order by published_at desc, number desc limit 1) latest
      union all select *, 2 from (select * from lead_rule_sets where published_at is not null order by published_at, number limit 1) earliest) found
    order by choice limit 1`,
);

const documentOf = statement<{ document: RuleSetDocument; number: number | null }>(
  'rule_set_document',
  sql`select document, number from lead_rule_sets where id = ${param('id')}::uuid`,
);

const published = new Map<string, ScoringRules>();

/** A rule set by id, published or draft. @throws Problem not_found */
export async function rulesById(db: Db, id: string): Promise<ScoringRules> {
  const known = published.get(id);
  if (known) return known;
  const found = await db.first(documentOf, { id });
  if (!found) throw notFound('rule set');
  const rules = { id, ...found };
  // A published one never changes again.
  return found.number === null ? rules : remember(published, id, rules, 50);
}

/** The latest rule set published at or before `asOf`; before the first one, the first. */
export async function rulesInForce(db: Db, asOf: string): Promise<RulesInForce> {
  const found = await db.first(inForce, { asOf });
  if (!found) throw notFound('rule set');
  return { ...(await rulesById(db, found.id)), ...found };
}

/** What the rule set in force says of a lead. */
export interface LeadScore {
  score: number;
  grade: ScoreGrade;
}

export function scoreAndGrade(rules: ScoringRules, units: number): LeadScore {
  const score = pointsOf(units);
  return { score, grade: gradeOf(rules.document.grades, score) };
}

/** Score and grade at `asOf` (default: `context.now`) of these leads by id; two statements whatever their number. */
export async function scoresOf(
  db: Db,
  context: Context,
  ids: string[],
  asOf = context.now,
): Promise<Map<string, LeadScore>> {
  if (ids.length === 0) return new Map();
  const rules = await rulesInForce(db, asOf);
  const scores = await scoresAt(
    db,
    rules,
    ids.map((customerId) => ({ customerId, asOf })),
  );
  return new Map(scores.map(({ customerId, units }) => [customerId, scoreAndGrade(rules, units)]));
}

/** Scores under any rule set, each at an instant of its own, in grid units; one statement. */
export async function scoresAt(
  db: Db,
  rules: ScoringRules,
  subjects: { customerId: string; asOf: string }[],
): Promise<{ customerId: string; asOf: string; units: number }[]> {
  const query = compiled<{ customerId: string; asOf: string; units: number }>(
    rules,
    'subjects',
    () => sql`select s."customerId", s."asOf", x.score as units
      from json_to_recordset(${param('subjects')}::json) as s("customerId" uuid, "asOf" timestamptz)
      cross join lateral (${scoreQuery(rules.document, { customerId: sql`s."customerId"`, asOf: sql`s."asOf"` })}) x`,
  );
  return subjects.length === 0 ? [] : db.all(query, { subjects: JSON.stringify(subjects) });
}

/** A lead whose score has reached a threshold of the rule set in force, and that stands in a stage before it. */
export interface QualifiedLead {
  id: string;
  from: 'subscriber' | 'lead' | 'marketing_qualified';
  to: 'marketing_qualified' | 'sales_qualified';
  score: number;
}

/**
 * Leads before the stage that their score at `context.now` entitles them to, in id order, at most `limit`. Of `ids` only,
 * when given: to look again at leads that have been locked.
 */
export async function qualifiedLeads(
  db: Db,
  context: Context,
  { ids, after, limit }: { ids?: string[]; after?: string; limit: number },
): Promise<QualifiedLead[]> {
  const rules = await rulesInForce(db, context.now);
  const { marketing, sales } = rules.document.qualify ?? {};
  if (marketing === undefined && sales === undefined) return [];
  const query = compiled<Omit<QualifiedLead, 'score'> & { units: number }>(
    rules,
    `qualified ${ids !== undefined} ${rules.indexed}`,
    () => {
      const subject = { customerId: sql`s.customer_id`, asOf: sql`${param('asOf')}::timestamptz` };
      const reached = (points: number | undefined) =>
        points === undefined ? sql`false` : sql`x.score >= ${unitsOf(points)}::bigint`;
      const lowest = unitsOf(Math.min(marketing ?? Number.POSITIVE_INFINITY, sales ?? Number.POSITIVE_INFINITY));
      // Bounds of a rule set that is indexed leave out those that cannot have reached anything.
      const bound = rules.indexed
        ? sql`and not exists (select from lead_score_bounds b where b.customer_id = s.customer_id and b.rule_set_id = ${rules.id}::uuid
            and b.bound < ${lowest}::bigint and b.bound_at <= ${subject.asOf})`
        : sql``;
      return sql`select * from (select s.customer_id as id, s.stage as "from", x.score as units,
          case when ${reached(sales)} then 'sales_qualified' when ${reached(marketing)} and s.stage <> 'marketing_qualified' then 'marketing_qualified' end as "to"
        from leads s cross join lateral (${scoreQuery(rules.document, subject)}) x
        where s.stage in ('subscriber', 'lead', 'marketing_qualified') and s.customer_id > ${param('after')}::uuid
          ${ids === undefined ? sql`` : sql`and s.customer_id = any(${param('ids')}::uuid[])`} ${bound}
        order by s.customer_id) found where "to" is not null order by id limit ${param('limit')}::int`;
    },
  );
  const rows = await db.all(query, {
    asOf: context.now,
    after: after ?? '00000000-0000-0000-0000-000000000000',
    limit,
    ...(ids && { ids }),
  });
  return rows.map(({ units, ...lead }) => ({ ...lead, score: pointsOf(units) }));
}

const byId = statement<RuleSetRow>(
  'rule_set_by_id',
  sql`select ${fields(leadRuleSets)} from ${leadRuleSets} where ${leadRuleSets.id} = ${param('id')}::uuid`,
);
const lockedById = statement<RuleSetRow>(
  'locked_rule_set',
  sql`select ${fields(leadRuleSets)} from ${leadRuleSets} where ${leadRuleSets.id} = ${param('id')}::uuid for update`,
);

/** @throws Problem not_found */
export async function ruleSetById(db: Db, id: string, options: { lock?: boolean } = {}): Promise<RuleSetRow> {
  const row = await db.first(options.lock ? lockedById : byId, { id });
  if (!row) throw notFound('rule set');
  return row;
}
