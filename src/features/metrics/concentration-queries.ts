import { type SQL, sql } from 'drizzle-orm';
import { exactInteger } from '../../domain/money.ts';
import { type ConcentrationSums, concentrationShares } from '../../domain/revenue-concentration.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import {
  fromPurchases,
  isSeries,
  type Present,
  purchaseStatement,
  type Ranges,
  revenueIn,
  visits,
} from './purchases.ts';
import type { Scope } from './scope.ts';
import { buyerRows, chooseSource, overBounds, type Shape, shaped } from './source.ts';
import {
  asideColumns,
  asideOfDays,
  asideOrNone,
  type LeftOutRow,
  leftOut,
  type Numeric,
  netByBuyer,
  nothingLeftOut,
  type ReturnsLeftOut,
  returnedIn,
  sentBack,
  type Unvalued,
  withFirsts,
} from './value-queries.ts';

type Row = LeftOutRow & {
  bucket: number;
  missingRate: number;
  customers: number;
  revenue: Numeric;
  ofTop: Numeric[];
  bringing80: number | null;
  lossMaking: number;
  losses: Numeric;
  contactSeconds: Numeric;
  contactSecondsOfRest: Numeric;
};

/** ⌈n × per cent⌉ of the customers of a range. */
const topOf = (percent: number) => sql.raw(`(n * ${percent} + 99) / 100`);

/** From `net` (customer_id, k, net): `sums` of each range, and `contact`, the time that was spent with whom. */
const concentrated: SQL = sql`ranked as (
      select k, customer_id, net, row_number() over highest as rank, sum(net) over highest as so_far,
        count(*) over (partition by k) as n, sum(net) over (partition by k) as total
      from net window highest as (partition by k order by net desc, customer_id)
    ), sums as (
      select k, max(n) as customers, max(total) as revenue,
        array[${sql.join(
          concentrationShares.map((percent) => sql`sum(net) filter (where rank <= ${topOf(percent)})`),
          sql`, `,
        )}] as tops,
        min(rank) filter (where so_far * 5 >= total * 4) as bringing, count(*) filter (where net < 0) as losing,
        coalesce(sum(net) filter (where net < 0), 0) as losses
      from ranked group by k
    ), contact as (
      select k, sum(seconds) as seconds, coalesce(sum(seconds) filter (where not top), 0) as rest from (
        select k, customer_id, bool_or(top) as top, sum(seconds) as seconds from (
          select k, customer_id, rank <= ${topOf(20)} as top, 0::bigint as seconds from ranked
          union all select width_bucket(i.occurred_at, ${param('instants')}::timestamptz[]), i.customer_id, false, i.seconds from interactions i
            where i.seconds > 0 and ${isSomebody(sql`i.customer_id`)} and i.occurred_at >= ${param('since')}::timestamptz and i.occurred_at < ${param('until')}::timestamptz
        ) f group by 1, 2
      ) c group by k
    )`;

const columns = sql`coalesce(s.customers, 0) as customers, coalesce(s.revenue, 0) as revenue, s.tops as "ofTop",
      s.bringing as "bringing80", coalesce(s.losing, 0) as "lossMaking", coalesce(s.losses, 0) as losses,
      coalesce(c.seconds, 0) as "contactSeconds", coalesce(c.rest, 0) as "contactSecondsOfRest"`;

const concentration = shaped<Shape, Row>(
  'revenue_concentration',
  (shape) => sql`with ${withFirsts(shape, buyerRows(shape))}, ${netByBuyer}, ${concentrated}
    select k as bucket, ${columns}, ${asideColumns} from aside a left join sums s using (k) left join contact c using (k)`,
);

const concentrationDays = purchaseStatement<Ranges, Row>(
  'revenue_concentration_days',
  true,
  (ranges) => sql`with ${sentBack}, net as (
      select v.customer_id, k, ${revenueIn} - ${returnedIn} as net from ${visits(ranges)} v where counts
    ), ${concentrated}, back as (
      select k, ${asideOfDays(sql`bought`, sql`not here`)} from sent_back group by k
    )
    select k as bucket, ${columns}, ${asideOrNone} from sums s full join back a using (k) left join contact c using (k)`,
);

/** How net revenue is spread over the buyers of each of the consecutive ranges. */
export async function concentrationSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<(ConcentrationSums & Unvalued & ReturnsLeftOut)[]> {
  const more = { instants: bounds, since: bounds[0], until: bounds.at(-1) };
  const rows =
    (await fromPurchases(db, context, scope, bounds, concentrationDays(isSeries(bounds)), () => more)) ??
    (await overBounds(db, scope, bounds, chooseSource(scope, bounds, context), concentration, more));
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row) return { ...nobody, missingRate: 0, ...nothingLeftOut };
    return {
      customers: row.customers,
      revenue: exactInteger(row.revenue),
      ofTop: (row.ofTop ?? []).map(exactInteger),
      bringing80: row.bringing80,
      lossMaking: row.lossMaking,
      losses: exactInteger(row.losses),
      contactSeconds: exactInteger(row.contactSeconds),
      contactSecondsOfRest: exactInteger(row.contactSecondsOfRest),
      missingRate: row.missingRate,
      ...leftOut(row),
    };
  });
}

const nobody: ConcentrationSums = {
  customers: 0,
  revenue: 0n,
  ofTop: [],
  bringing80: null,
  lossMaking: 0,
  losses: 0n,
  contactSeconds: 0n,
  contactSecondsOfRest: 0n,
};
