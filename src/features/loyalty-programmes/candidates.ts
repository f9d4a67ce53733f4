import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { minorUnits } from '../../domain/currencies.ts';
import type { LoyaltyRules, TierRules } from '../../domain/loyalty-earning.ts';
import { levelFor } from '../../domain/loyalty-tiers.ts';
import { parseDecimal, ratio } from '../../domain/money.ts';
import { addDays } from '../../domain/period.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, longestPage, pageFrom, pageOf, pageParameters } from '../../platform/page.ts';
import { id, smallInteger } from '../../platform/values.ts';
import { isSomebody } from '../../records/nobody.ts';
import { mostPerUnit, pointsSql } from './points-sql.ts';
import { programmeNotPublished, rulesOf, versionInForce } from './queries.ts';

const defaultWindowDays = 365;

const loyaltyCandidate = z
  .strictObject({
    customerId: id,
    points: z
      .int()
      .meta({ description: 'Points that these orders would have earned on the lowest level.', example: 1830 }),
    value: z.number().meta({
      description: 'These points × `pointValue`, minor units of the base currency, unrounded.',
      example: 915,
    }),
    orders: smallInteger.meta({ description: 'Orders that would have earned.', example: 12 }),
    spend: z.int().meta({
      description: 'Their net revenue, minor units of the base currency (2^53 − 1 at most).',
      example: 183000,
    }),
    tier: z
      .string()
      .nullable()
      .meta({ description: 'Key of the level that would be reached now; null: there are none.', example: 'silver' }),
  })
  .meta({ id: 'LoyaltyCandidate', description: 'A customer who is in no programme, and what joining would bring.' });

interface CandidateRow {
  id: string;
  points: number;
  orders: number;
  spend: number;
  qualifying: number;
}

const { limit, after, cursors } = pageParameters;

export const listLoyaltyCandidates = readOperation({
  name: 'listLoyaltyCandidates',
  scope: 'loyalty:read',
  partners: false,
  selfService: false,
  summary: 'List customers who would gain most by joining',
  description:
    'Customers who are in no programme, by the points that their orders of the last `windowDays` would have earned by the rules in force, without bonuses, most first. Refunds count by their amount, whatever goods they name. Further pages are as of the first one.',
  input: z.strictObject({
    limit,
    after,
    cursors,
    programmeId: id.meta({ description: 'The programme they would join.' }),
    windowDays: z
      .int()
      .min(1)
      .max(3_650)
      .optional()
      .meta({ description: 'Only orders of this many past days count. Default: 365.', example: 365 }),
  }),
  output: pageOf(loyaltyCandidate).meta({ id: 'LoyaltyCandidatePage' }),
  problems: ['not_found', programmeNotPublished],
  async run(context, { programmeId, windowDays = defaultWindowDays, limit: wanted = defaultLimit, ...input }) {
    const scope = JSON.stringify([context.principal.key, 'loyalty_candidates', programmeId, windowDays]);
    const start = input.after === undefined ? null : readCursor(context.cursors.decode(input.after, scope));
    const asOf = start?.asOf ?? context.now;
    const programme = (await rulesOf(context.db, [programmeId])).get(programmeId);
    if (!programme) throw notFound('loyalty programme');
    const { rules } = versionInForce(programme, asOf);
    const rows = await candidates(context.db, {
      rules,
      exponent: minorUnits(context.baseCurrency),
      from: addDays(asOf, -windowDays),
      asOf,
      after: start ?? highest,
      rows: wanted + 1,
    });
    const cursor = (row: CandidateRow) => context.cursors.encode({ scope, key: [`${row.points} ${asOf}`, row.id] });
    const { data, page } = pageFrom(rows, { limit: wanted, cursor, cursors: input.cursors });
    return { data: data.map((row) => withTierAndValue(rules, row)), page };
  },
});

function readCursor([text, last]: [string | number, string]) {
  const [points = '', asOf = ''] = String(text).split(' ');
  return { points, asOf, id: last };
}

const highest = { points: '9223372036854775807', id: 'ffffffff-ffff-ffff-ffff-ffffffffffff' };
const nobody = '00000000-0000-0000-0000-000000000000';
/** Whose points are worked out first: twice the longest page. */
const first = 2 * (longestPage + 1);

interface Question {
  rules: LoyaltyRules;
  exponent: number;
  /** Orders placed after this … */
  from: string;
  /** … until this. */
  asOf: string;
  /** The last candidate of the page before. */
  after: { points: string; id: string };
  /** Rows wanted: those of the page and one more. */
  rows: number;
}

/**
 * The points of few customers have to be worked out: none earns more than net revenue × the greatest multipliers, and a
 * point per order by rounding. The exact points of those with the highest bounds give a threshold that the last one of
 * the page reaches; who cannot reach it is not looked at.
 */
async function candidates(db: Db, { rules, exponent, from, asOf, after, rows }: Question): Promise<CandidateRow[]> {
  const { tiers } = rules;
  const tierKey = tiers?.levels[0]?.key ?? null;
  const { numerator, denominator } = mostPerUnit(rules, { tierKey, exponent, from, to: asOf });
  if (numerator === 0n) return [];
  const query = statement<CandidateRow>(
    'loyalty_candidates',
    sql`with bounded as materialized (
        select o.customer_id as id, div(sum(o.base_revenue) * ${String(numerator)}::numeric, ${String(denominator)}::numeric) + count(*) as bound
        from orders o
        where ${earning(rules)} and o.placed_at > ${param('from')}::timestamptz and o.placed_at <= ${param('asOf')}::timestamptz
          and ${isSomebody(sql`o.customer_id`)} and not exists (select from loyalty_accounts a where a.customer_id = o.customer_id)
        group by o.customer_id
      ), threshold as materialized (
        select coalesce(t.points, 0) as points, coalesce(t.id, ${nobody}::uuid) as id
        from (select 1) one left join (
            select x.points, b.id
            from (select id from bounded where (bound, id) < (${param('points')}::numeric, ${param('id')}::uuid) order by bound desc, id desc limit ${first}::int) b
              cross join lateral (${earned(rules, tierKey, exponent)}) x
            order by x.points desc, b.id desc offset ${param('rows')}::int - 1 limit 1) t on true
      ), page as materialized (
        select b.id, x.*
        from bounded b cross join threshold t cross join lateral (${earned(rules, tierKey, exponent)}) x
        where (b.bound, b.id) >= (t.points, t.id) and (x.points, b.id) >= (t.points, t.id)
          and (x.points, b.id) < (${param('points')}::bigint, ${param('id')}::uuid) and x.points > 0
        order by x.points desc, b.id desc limit ${param('rows')}::int
      )
      select p.*, ${tiers === null ? sql`0` : qualifying(rules, tiers, tierKey, exponent)} as qualifying from page p order by p.points desc, p.id desc`,
    // Its text is of these rules, and they may change.
    { unprepared: true },
  );
  return db.all(query, {
    from,
    asOf,
    points: after.points,
    id: after.id,
    rows,
    ...(tiers && { tierFrom: addDays(asOf, -tiers.windowDays) }),
  });
}

/** As `earns` of domain/loyalty-earning.ts says, and with something to earn from. */
function earning({ earnOn }: LoyaltyRules): SQL {
  const status = earnOn === 'paid' ? sql`o.payment_status = 'paid'` : sql`o.fulfillment_status = 'fulfilled'`;
  return sql`o.qualifying and ${status} and o.base_revenue > 0`;
}

/** A sum beyond what JSON can carry is answered as the most it can. */
const carried = (sum: SQL) => sql`least(coalesce(${sum}, 0), 9007199254740991)::bigint`;

/** What the orders of customer `b` earn. */
function earned(rules: LoyaltyRules, tierKey: string | null, exponent: number): SQL {
  return sql`select ${carried(sql`sum(${pointsSql(rules, tierKey, exponent)})`)} as points, count(*) as orders, ${carried(sql`sum(o.base_revenue)`)} as spend
    from orders o where o.customer_id = b.id and ${earning(rules)} and o.placed_at > ${param('from')}::timestamptz and o.placed_at <= ${param('asOf')}::timestamptz`;
}

/** What counts for a tier of customer `p`. */
function qualifying(rules: LoyaltyRules, { basis }: TierRules, tierKey: string | null, exponent: number): SQL {
  const counted = basis === 'points' ? pointsSql(rules, tierKey, exponent) : sql`o.base_revenue`;
  return sql`(select ${carried(sql`sum(${counted})`)} from orders o
    where o.customer_id = p.id and ${earning(rules)} and o.placed_at > ${param('tierFrom')}::timestamptz and o.placed_at <= ${param('asOf')}::timestamptz)`;
}

function withTierAndValue(rules: LoyaltyRules, { id: customerId, qualifying, ...row }: CandidateRow) {
  const { digits, scale } = parseDecimal(String(rules.pointValue));
  return {
    customerId,
    ...row,
    value: ratio(BigInt(row.points) * digits, 10n ** BigInt(scale)),
    tier: rules.tiers ? levelFor(rules.tiers.levels, qualifying).key : null,
  };
}
