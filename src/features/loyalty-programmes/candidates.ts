import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { minorUnits } from '../../domain/currencies.ts';
import { decimalFraction, fraction, multiply } from '../../domain/fraction.ts';
import { type LoyaltyRules, type PointCampaign, worthForTiers, worthOf } from '../../domain/loyalty-earning.ts';
import { goodsLeft } from '../../domain/loyalty-goods.ts';
import { levelFor } from '../../domain/loyalty-tiers.ts';
import { parseDecimal, ratio } from '../../domain/money.ts';
import { addDays, isBefore } from '../../domain/period.ts';
import { param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, longestPage, pageFrom, pageOf, pageParameters } from '../../platform/page.ts';
import { id, smallInteger } from '../../platform/values.ts';
import { isSomebody } from '../../records/nobody.ts';
import { byCustomer, ordersOfMembers, replayFacts } from '../loyalty/earning-queries.ts';
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
  /** What counts for tiers. */
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
    'Customers who are in no programme, by the points that their orders of the last `windowDays` would have earned by the rules in force, without bonuses, most first. As for members, points follow what is left of the goods. Further pages are as of the first one.',
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
    const question = {
      rules,
      exponent: minorUnits(context.baseCurrency),
      from: addDays(asOf, -windowDays),
      asOf,
      after: start ?? highest,
      rows: wanted + 1,
    };
    // One snapshot: the orders are those of which the bounds are.
    const rows = await transaction(context.pool, (tx) => candidates(tx, question), { snapshot: true });
    const cursor = (row: CandidateRow) => context.cursors.encode({ scope, key: [`${row.points} ${asOf}`, row.id] });
    const { data, page } = pageFrom(rows, { limit: wanted, cursor, cursors: input.cursors });
    return { data: data.map((row) => withTierAndValue(rules, row)), page };
  },
});

interface Place {
  points: number;
  id: string;
}

function readCursor([text, last]: [string | number, string]) {
  const [points = '', asOf = ''] = String(text).split(' ');
  return { points: Number(points), asOf, id: last };
}

const highest: Place = { points: Number.POSITIVE_INFINITY, id: '' };
/** Whose points are worked out at a time: twice the longest page. */
const chunk = 2 * (longestPage + 1);

interface Question {
  rules: LoyaltyRules;
  exponent: number;
  /** Orders placed after this … */
  from: string;
  /** … until this. */
  asOf: string;
  /** The last candidate of the page before. */
  after: Place;
  /** Rows wanted: those of the page and one more. */
  rows: number;
}

/**
 * The points of few customers have to be worked out: SQL bounds what each can earn, and once there are as many
 * candidates as are wanted, who cannot reach the last of them is not looked at.
 */
async function candidates(tx: Transaction, question: Question): Promise<CandidateRow[]> {
  const { from, asOf, after, rows } = question;
  const best: CandidateRow[] = [];
  await tx.all(declaredBounds(question), { from, asOf });
  for (;;) {
    const bounded = await tx.all(fetchBounds);
    const last = best[rows - 1];
    const reaching = last ? bounded.filter(({ id, bound }) => isBehind(last, { points: bound, id })) : bounded;
    if (reaching.length === 0) return best;
    const worked = await worthOfCustomers(tx, question, reaching);
    best.push(...worked.filter((row) => row.points > 0 && isBehind(row, after)));
    best.sort((a, b) => (isBehind(a, b) ? 1 : -1)).splice(rows);
    if (reaching.length < chunk) return best;
  }
}

/** Most points first, and of equal ones the later id. */
function isBehind(a: Place, b: Place): boolean {
  return a.points < b.points || (a.points === b.points && a.id < b.id);
}

const fetchBounds = statement<{ id: string; bound: number }>(
  'fetch_loyalty_candidates',
  sql`fetch forward ${sql.raw(String(chunk))} from candidates`,
);

/**
 * No order earns more than its net revenue × the greatest multiplier of its lines × those of its campaigns, and a point by
 * rounding.
 */
function declaredBounds({ rules, exponent }: Question) {
  const { numerator, denominator } = [
    decimalFraction(rules.pointsPerUnit),
    decimalFraction(rules.tiers?.levels[0]?.multiplier ?? 1),
    fraction(1, 10n ** BigInt(exponent)),
  ].reduce(multiply);
  const factors = [sql`o.base_revenue`, greatestMultiplier(rules), ...rules.campaigns.map(multiplierOf)];
  const status = rules.earnOn === 'paid' ? sql`o.payment_status = 'paid'` : sql`o.fulfillment_status = 'fulfilled'`;
  return statement<unknown>(
    'declare_loyalty_candidates',
    sql`declare candidates no scroll cursor for
      select o.customer_id as id, least(9007199254740991, count(*)
        + div(sum(${sql.join(factors, sql` * `)}) * ${String(numerator)}::numeric, ${String(denominator)}::numeric))::bigint as bound
      from orders o
      where o.qualifying and ${status} and o.base_revenue > 0
        and o.placed_at > ${param('from')}::timestamptz and o.placed_at <= ${param('asOf')}::timestamptz
        and ${isSomebody(sql`o.customer_id`)} and not exists (select from loyalty_accounts a where a.customer_id = o.customer_id)
      group by o.customer_id order by bound desc, id desc`,
    // Its text is of these rules, and they may change.
    { unprepared: true },
  );
}

/** Of a campaign, for order `o`. */
function multiplierOf({ from, to, campaignId, multiplier }: PointCampaign): SQL {
  const ofCampaign = campaignId == null ? sql`` : sql`and o.campaign_id = ${campaignId}::uuid`;
  return sql`case when o.placed_at >= ${from}::timestamptz and o.placed_at < ${to}::timestamptz ${ofCampaign}
    then ${String(multiplier)}::numeric else 1 end`;
}

/** Of the lines of order `o`. */
function greatestMultiplier({ categories }: LoyaltyRules): SQL {
  if (categories.length === 0) return sql`1`;
  const multipliers = JSON.stringify(
    Object.fromEntries(categories.map(({ category, multiplier }) => [category, multiplier])),
  );
  return sql`coalesce((select max(coalesce((${multipliers}::jsonb ->> i.category)::numeric, 1)) from order_items i
    where i.customer_id = o.customer_id and i.order_id = o.id and i.total > 0), 1)`;
}

/** What these customers would have earned on the lowest level: as the replay of a member has it, but for the tier. */
async function worthOfCustomers(
  tx: Transaction,
  { rules, exponent, from, asOf }: Question,
  customers: readonly { id: string }[],
): Promise<CandidateRow[]> {
  const { tiers } = rules;
  const tierFrom = tiers ? addDays(asOf, -tiers.windowDays) : from;
  // Returns take from the latest orders, so earlier ones do not matter.
  const joinedAt = isBefore(tierFrom, from) ? tierFrom : from;
  const lowest = tiers?.levels[0]?.key ?? null;
  const [orders, found] = await Promise.all([
    ordersOfMembers(
      tx,
      customers.map(({ id: customerId }) => ({ customerId, joinedAt })),
    ),
    replayFacts(
      tx,
      customers.map(({ id: customerId }) => ({ customerId, lots: false })),
    ),
  ]);
  const ordersOf = byCustomer(orders);
  return customers.map(({ id: customerId }) => {
    const row: CandidateRow = { id: customerId, points: 0, orders: 0, spend: 0, qualifying: 0 };
    for (const { order, goods } of goodsLeft(ordersOf.get(customerId) ?? [], found.get(customerId)?.returns ?? [])) {
      if (isBefore(asOf, order.placedAt)) continue;
      const earned = worthOf(rules, order, goods, lowest, exponent);
      if (isBefore(from, order.placedAt) && earned.spend > 0) {
        row.points = sumOf(row.points, earned.points);
        row.spend = sumOf(row.spend, earned.spend);
        row.orders += 1;
      }
      if (tiers && isBefore(tierFrom, order.placedAt)) {
        row.qualifying += worthForTiers(rules, order, earned, lowest, exponent)[tiers.basis];
      }
    }
    return row;
  });
}

/** A sum beyond what JSON can carry is answered as the most it can. */
function sumOf(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
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
