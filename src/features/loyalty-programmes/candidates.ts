import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { minorUnits } from '../../domain/currencies.ts';
import type { LoyaltyRules } from '../../domain/loyalty-earning.ts';
import { levelFor } from '../../domain/loyalty-tiers.ts';
import { parseDecimal, ratio } from '../../domain/money.ts';
import { addDays, isBefore } from '../../domain/period.ts';
import { param, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { pointsSql } from './points-sql.ts';
import { rulesOf, versionInForce } from './queries.ts';

const defaultWindowDays = 365;

const loyaltyCandidate = z
  .strictObject({
    customerId: id,
    points: z.int().meta({ description: 'What these orders would have earned, on the lowest level.', example: 1830 }),
    value: z.number().meta({
      description: 'These points × `pointValue`, minor units of the base currency, unrounded.',
      example: 915,
    }),
    orders: z.int().meta({ description: 'Orders that would have earned.', example: 12 }),
    spend: z.int().meta({
      description: 'Their net revenue, minor units of the base currency (2^53 − 1 at most).',
      example: 183000,
    }),
    tier: z
      .string()
      .nullable()
      .meta({ description: 'Key of the level that would be reached now; null: there are none.', example: 'silver' }),
  })
  .meta({ id: 'LoyaltyCandidate', description: 'A customer outside of all programmes, and what one would bring.' });

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
  summary: 'List customers who would gain most by joining',
  description:
    'Customers who are in no programme, by the points that their orders of the last `windowDays` would have earned by the rules in force, most first; without bonuses. Further pages are of the instant of the first.',
  input: z.strictObject({
    limit,
    after,
    cursors,
    programmeId: id,
    windowDays: z
      .int()
      .min(1)
      .max(3_650)
      .optional()
      .meta({ description: 'Orders of the last so many days; 365 unless told.', example: 365 }),
  }),
  output: pageOf(loyaltyCandidate).meta({ id: 'LoyaltyCandidatePage' }),
  problems: ['not_found', 'programme_not_published'],
  async run(context, { programmeId, windowDays = defaultWindowDays, limit: wanted = defaultLimit, ...input }) {
    const scope = JSON.stringify([context.principal.client, 'loyalty_candidates', programmeId, windowDays]);
    const start = input.after === undefined ? null : readCursor(context.cursors.decode(input.after, scope));
    const asOf = start?.asOf ?? context.now;
    const programme = (await rulesOf(context.db, [programmeId])).get(programmeId);
    if (!programme) throw notFound('loyalty programme');
    const { rules } = versionInForce(programme, asOf);
    const rows = await context.db.all(ranking(rules, minorUnits(context.baseCurrency)), {
      asOf,
      ...windows(rules, windowDays, asOf),
      points: start?.points ?? '9223372036854775807',
      id: start?.id ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      limit: wanted + 1,
    });
    const cursor = (row: CandidateRow) => context.cursors.encode({ scope, key: [`${row.points} ${asOf}`, row.id] });
    const { data, page } = pageFrom(rows, { limit: wanted, cursor, cursors: input.cursors });
    return { data: data.map((row) => toCandidate(rules, row)), page };
  },
});

function readCursor([text, last]: [string | number, string]) {
  const [points = '', asOf = ''] = String(text).split(' ');
  return { points, asOf, id: last };
}

/** Where the orders begin that are asked about, those that count for a tier, and the first of both. */
function windows({ tiers }: LoyaltyRules, windowDays: number, asOf: string) {
  const from = addDays(asOf, -windowDays);
  const tierFrom = tiers ? addDays(asOf, -tiers.windowDays) : asOf;
  return { from, tierFrom, first: isBefore(tierFrom, from) ? tierFrom : from };
}

/** Every order that earns is worked out: exact, and as long as the window is. */
function ranking(rules: LoyaltyRules, exponent: number) {
  const { tiers, earnOn } = rules;
  const status = earnOn === 'paid' ? sql`o.payment_status = 'paid'` : sql`o.fulfillment_status = 'fulfilled'`;
  const counted: SQL = tiers?.basis === 'points' ? sql`o.points` : sql`o.base_revenue`;
  const after = (name: string) => sql`filter (where o.placed_at > ${param(name)}::timestamptz)`;
  // A sum beyond what JSON can carry is answered as the most it can.
  const most = (sum: SQL) => sql`least(coalesce(${sum}, 0), 9007199254740991)::bigint`;
  const query = statement<CandidateRow>(
    'loyalty_candidates',
    sql`select * from (
        select o.customer_id as id, ${most(sql`sum(o.points) ${after('from')}`)} as points, count(*) ${after('from')} as orders,
          ${most(sql`sum(o.base_revenue) ${after('from')}`)} as spend, ${most(sql`sum(${counted}) ${after('tierFrom')}`)} as qualifying
        from (select o.customer_id, o.placed_at, o.base_revenue, ${pointsSql(rules, tiers?.levels[0]?.key ?? null, exponent)} as points
            from orders o
            where o.qualifying and ${status} and o.base_revenue > 0
              and o.placed_at > ${param('first')}::timestamptz and o.placed_at <= ${param('asOf')}::timestamptz
              and not exists (select from loyalty_accounts a where a.customer_id = o.customer_id)
            offset 0) o
        group by o.customer_id) x
      where x.points > 0 and (x.points, x.id) < (${param('points')}::bigint, ${param('id')}::uuid)
      order by x.points desc, x.id desc limit ${param('limit')}::int`,
    // Its text is of these rules, and they may change.
    { unprepared: true },
  );
  return query;
}

function toCandidate(rules: LoyaltyRules, { id: customerId, qualifying, ...row }: CandidateRow) {
  const { digits, scale } = parseDecimal(String(rules.pointValue));
  return {
    customerId,
    ...row,
    value: ratio(BigInt(row.points) * digits, 10n ** BigInt(scale)),
    tier: rules.tiers ? levelFor(rules.tiers.levels, qualifying).key : null,
  };
}
