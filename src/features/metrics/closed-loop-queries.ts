import { sql } from 'drizzle-orm';
import type { ClosedLoopCounts } from '../../domain/closed-loop.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { type FollowUpOutcome, followUpOutcomes } from '../follow-ups/record.ts';
import { wholeOf } from './population.ts';
import { boundsOf, type Part, type Scope, wholePeriod } from './scope.ts';
import { shaped } from './source.ts';

interface Shape {
  series: boolean;
  oneSurvey: boolean;
}

type CountRow = Record<`outcome_${FollowUpOutcome}`, number> & {
  /** null: the whole period. */
  bucket: number | null;
  opened: number;
  closed: number;
  closedInTime: number;
  overdue: number;
  cancelled: number;
  answeredAgain: number;
  beforeSum: number;
  beforePromoters: number;
  beforeDetractors: number;
  afterSum: number;
  afterPromoters: number;
  afterDetractors: number;
};

const asOf = sql`${param('asOf')}::timestamptz`;
const counted = (alias: string) => {
  const a = sql.raw(alias);
  return sql`${a}.type = 'nps' and ${a}.is_primary and ${a}.counted`;
};

/** The follow-ups of the period as they stood at `asOf`; of those that were closed, the next answer after that. */
const countsOf = shaped<Shape, CountRow>('closed_loop', ({ series, oneSurvey }) => {
  const count = (condition: string) => sql`count(*) filter (where ${sql.raw(condition)})`;
  const outcomes = followUpOutcomes.map(
    (outcome) =>
      sql`${count(`o.state = 'done' and o.outcome = '${outcome}'`)} as ${sql.identifier(`outcome_${outcome}`)}`,
  );
  const bucket = series ? sql`width_bucket(f.created_at, ${param('bounds')}::timestamptz[])` : sql`0`;
  const ofSurvey = oneSurvey
    ? sql`join survey_responses r on r.id = f.response_id and r.survey_id = ${param('surveyId')}::uuid`
    : sql``;
  return sql`with opened as materialized (
      select f.id, f.customer_id, f.due_at, f.closed_at, f.outcome, case when f.closed_at < ${asOf} then f.status else 'open' end as state,
        b.score, b.band, ${bucket} as bucket
      from follow_ups f ${ofSurvey} left join survey_answers b on b.response_id = f.response_id and ${counted('b')}
      where f.kind = 'detractor' and f.created_at >= ${param('from')}::timestamptz and f.created_at < ${param('end')}::timestamptz
    )
    select ${series ? sql`o.bucket::int` : sql`null::int`} as bucket, ${count("o.state <> 'cancelled'")} as opened, ${count("o.state = 'done'")} as closed,
      ${count("o.state = 'done' and (o.due_at is null or o.closed_at <= o.due_at)")} as "closedInTime",
      count(*) filter (where o.state = 'open' and o.due_at < ${asOf}) as overdue, ${count("o.state = 'cancelled'")} as cancelled,
      ${sql.join(outcomes, sql`, `)}, count(n.id) as "answeredAgain",
      coalesce(sum(o.score) filter (where n.id is not null), 0) as "beforeSum", ${count('n.id is not null and o.band = 1')} as "beforePromoters",
      ${count('n.id is not null and o.band = -1')} as "beforeDetractors",
      coalesce(sum(n.score), 0) as "afterSum", ${count('n.band = 1')} as "afterPromoters", ${count('n.band = -1')} as "afterDetractors"
    from opened o left join lateral (
        select o.id, a.score, a.band from survey_answers a
        where o.state = 'done' and o.score is not null and a.customer_id = o.customer_id and ${counted('a')}
          and a.answered_at > o.closed_at and a.answered_at < ${asOf}
        order by a.answered_at, a.response_id limit 1
      ) n on true group by ${series ? sql`grouping sets ((), (o.bucket))` : sql`()`}`;
});

export interface LoopCounts {
  counts: ClosedLoopCounts;
  /** Opened in the period, and cancelled by `asOf`. */
  cancelled: number;
}

/** The whole period, and each bucket of its series. */
export async function loopCounts(
  db: Db,
  scope: Scope,
  surveyId: string | null,
  buckets: readonly Part[],
): Promise<{ whole: LoopCounts; series: LoopCounts[] }> {
  const [from, end] = boundsOf([wholePeriod(scope)], scope.end);
  const query = countsOf({ series: buckets.length > 0, oneSurvey: surveyId !== null });
  const rows = await db.all(query, { from, end, asOf: scope.asOf, surveyId, bounds: boundsOf(buckets, scope.end) });
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return {
    whole: loopCountsOf(byBucket.get(null)),
    series: buckets.map((_, index) => loopCountsOf(byBucket.get(index + 1))),
  };
}

function loopCountsOf(row: CountRow | undefined): LoopCounts {
  return {
    cancelled: row?.cancelled ?? 0,
    counts: {
      opened: row?.opened ?? 0,
      closed: row?.closed ?? 0,
      closedInTime: row?.closedInTime ?? 0,
      overdue: row?.overdue ?? 0,
      outcomes: Object.fromEntries(followUpOutcomes.map((outcome) => [outcome, row?.[`outcome_${outcome}`] ?? 0])),
      answeredAgain: row?.answeredAgain ?? 0,
      before: {
        sum: row?.beforeSum ?? 0,
        promoters: row?.beforePromoters ?? 0,
        detractors: row?.beforeDetractors ?? 0,
      },
      after: { sum: row?.afterSum ?? 0, promoters: row?.afterPromoters ?? 0, detractors: row?.afterDetractors ?? 0 },
    },
  };
}

const first = statement<{ at: string }>(
  'closed_loop_first',
  sql`select created_at as at from follow_ups where kind = 'detractor' and created_at < ${param('end')}::timestamptz
    order by created_at limit 1`,
);

/** When the first one was opened: where a period of all time begins. */
export async function firstDetractorAt(db: Db, { from, end }: Scope): Promise<string | null> {
  if (from !== null) return null;
  return (await wholeOf(db).first(first, { end }))?.at ?? null;
}
