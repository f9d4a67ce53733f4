import { type SQL, sql } from 'drizzle-orm';
import {
  type InteractionGroup,
  type LeadFacts,
  type LeadModel,
  type LeadProfile,
  type LearnedScore,
  leadScorer,
} from '../../domain/lead-features.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { everyIdentity } from '../customers/record.ts';
import { isTouch } from '../interactions/record.ts';
import type { LearnedScoreAnswer } from './record.ts';

/**
 * When a lead `l` became a customer for the first time; a conversion that was undone, as no qualifying order was left, is
 * none. `leads.converted_at` is the latest one.
 */
export const firstConversion: SQL = sql`(case when l.converted_at is not null then (
    select min(c.at) from lead_stage_changes c
    where c.customer_id = l.customer_id and c.to_stage = 'customer' and not exists (
      select from lead_stage_changes undone
      where undone.customer_id = c.customer_id and undone.sequence = c.sequence + 1 and undone.rule = 'no_qualifying_order_left')
  ) end)`;

type GroupTuple = [
  kind: string,
  topic: string | null,
  outcome: string | null,
  direction: string | null,
  count: number,
  seconds: number,
  pages: number,
  lastAt: string,
];

export interface FactsRow extends LeadProfile {
  id: string;
  attributes: Record<string, unknown> | null;
  interactions: GroupTuple[] | null;
}

/**
 * What is known of the leads in `subjects` (customer_id, source, cut), in the order of their ids: the profile as it stands
 * and the touches before `cut`, grouped; for `readFacts`. `offset 0` keeps the planner to one look-up per lead: it
 * would read all customers for a page of them.
 */
export function factsQuery(subjects: SQL, more: SQL = sql``): SQL {
  const has = (kind: string) =>
    sql`exists (select from ${sql.raw(everyIdentity)} x where x.customer_id = s.customer_id and x.kind = ${sql.raw(`'${kind}'`)})`;
  return sql`select s.customer_id as id, ${more} c.kind, c.locale, c.preferred_channel as "preferredChannel",
      c.acquisition_source as "acquisitionSource", s.source as "leadSource", c.address ->> 'country' as country,
      ${has('email')} as "hasEmail", ${has('phone')} as "hasPhone", c.company_id is not null as "hasCompany",
      c.birthday is not null as "hasBirthday", c.referred_by is not null as referred, c.attributes, g.interactions
    from (${subjects}) s
      cross join lateral (select * from customers where id = s.customer_id offset 0) c
      cross join lateral (select json_agg(json_build_array(kind, topic, outcome, direction, count, seconds, pages, last_at)) as interactions
        from (select i.kind, i.topic, i.outcome, i.direction, count(*) as count, coalesce(sum(i.seconds), 0) as seconds,
            coalesce(sum(i.pages), 0) as pages, max(i.occurred_at) as last_at
          from interactions i where i.customer_id = s.customer_id and ${isTouch} and i.occurred_at < s.cut
          group by i.kind, i.topic, i.outcome, i.direction) grouped) g
    order by s.customer_id`;
}

export function readFacts({ id: _, attributes, interactions, ...profile }: FactsRow): LeadFacts {
  return {
    profile,
    attributes: attributes ?? {},
    interactions: (interactions ?? []).map(
      ([kind, topic, outcome, direction, count, seconds, pages, lastAt]): InteractionGroup => ({
        kind,
        topic,
        outcome,
        direction,
        count,
        seconds,
        pages,
        lastAt,
      }),
    ),
  };
}

/** A model that can score. */
export interface ReadyModel {
  id: string;
  number: number;
  score: (facts: LeadFacts) => LearnedScore;
}

const inUse = statement<{ id: string }>(
  'lead_model_in_use',
  sql`select id from lead_models where status = 'ready' order by number desc limit 1`,
);
const ready = statement<{ number: number; model: LeadModel }>(
  'ready_lead_model',
  sql`select number, model from lead_models where id = ${param('id')}::uuid and status = 'ready'`,
);

/** Models that were read lately: one that is ready never changes again. */
const cache = new Map<string, ReadyModel>();
const mostCached = 5;

/** The newest model that is ready; null when there is none. */
export async function modelInUse(db: Db): Promise<ReadyModel | null> {
  const found = await db.first(inUse);
  return found && readyModel(db, found.id);
}

/** A model that is ready; null when there is no such one. */
export async function readyModel(db: Db, id: string): Promise<ReadyModel | null> {
  const known = cache.get(id);
  if (known) return known;
  const found = await db.first(ready, { id });
  if (!found) return null;
  const made = { id, number: found.number, score: leadScorer(found.model) };
  cache.set(id, made);
  for (const oldest of cache.keys()) {
    if (cache.size <= mostCached) break;
    cache.delete(oldest);
  }
  return made;
}

// What came after the conversion says nothing about it.
const factsOf = statement<FactsRow>(
  'lead_facts',
  factsQuery(sql`select l.customer_id, l.source, least(${param('asOf')}::timestamptz, ${firstConversion}) as cut
    from leads l where l.customer_id = any(${param('ids')}::uuid[])`),
);

/**
 * What a model says of the leads among these customers, by id; one statement. Interactions before `asOf` count, of a lead
 * that became a customer those before that; the profile counts as it is now.
 */
export async function scoresByModel(
  db: Db,
  model: ReadyModel,
  ids: readonly string[],
  asOf: string,
): Promise<Map<string, LearnedScore>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(factsOf, { ids, asOf });
  return new Map(rows.map((row) => [row.id, model.score(readFacts(row))]));
}

/** The same by the model in use, as answered; null when there is none. Two statements, one of which a cache may save. */
export async function learnedScoresOf(
  db: Db,
  ids: readonly string[],
  asOf: string,
): Promise<Map<string, LearnedScoreAnswer> | null> {
  const model = await modelInUse(db);
  if (!model) return null;
  const scores = await scoresByModel(db, model, ids, asOf);
  return new Map([...scores].map(([id, score]) => [id, learnedAnswer(model, score)]));
}

function learnedAnswer({ id, number }: ReadyModel, score: LearnedScore): LearnedScoreAnswer {
  return {
    modelId: id,
    number,
    probability: score.probability,
    logOdds: score.logOdds,
    points: score.points,
    baseLogOdds: score.baseLogOdds,
    basePoints: score.basePoints,
    contributions: score.contributions.map(({ field, name: feature, logOdds, points }) => ({
      field,
      feature,
      logOdds,
      points,
    })),
  };
}
