import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { minorUnits } from '../../domain/currencies.ts';
import { type LoyaltyRules, type RatedOrder, worthOf } from '../../domain/loyalty-earning.ts';
import { goodsLeft, OrderGoods } from '../../domain/loyalty-goods.ts';
import { parseDecimal, ratio } from '../../domain/money.ts';
import { isBefore } from '../../domain/period.ts';
import { param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { invalid, Problem, problemType } from '../../platform/errors.ts';
import { readOperation } from '../../platform/operation.ts';
import { currency, id, instant, smallInteger } from '../../platform/values.ts';
import { byCustomer, ordersOfMembers, replayFacts } from '../loyalty/earning-queries.ts';
import { itemsOfOrder, refundsOfOrder } from '../orders/queries.ts';
import { type ProgrammeRules, programmeById, rulesAt, rulesOf } from './queries.ts';
import { completeRules, loyaltyRulesInput } from './record.ts';

const tooManyOrders = problemType('too_many_orders', 422, 'There are too many orders');

/** Orders that one preview looks at, at most. */
export const mostPreviewed = 200_000;
/** Orders read at a time. */
const chunk = 1_000;

const population = z.enum(['members', 'everyone']).meta({
  id: 'LoyaltyPreviewPopulation',
  description:
    'members: orders of the members of the programme since they joined. everyone: orders of all customers, as if all had been members.',
  example: 'members',
});

const loyaltyPreviewInput = z
  .strictObject({
    rules: loyaltyRulesInput.optional().meta({ description: 'The rules to try. Default: the draft.' }),
    from: instant.meta({ description: 'Orders placed at or after this …' }),
    to: instant.meta({ description: '… and before this.' }),
    population: population.optional().meta({ description: 'Default: members.' }),
  })
  .meta({
    id: 'LoyaltyPreviewInput',
    description: 'The rules to try, and the orders to try them on.',
    example: { from: '2026-01-01T00:00:00.000Z', to: '2026-04-01T00:00:00.000Z', population: 'everyone' },
  });

const points = z.int();
const value = z.number().meta({
  description: 'Points × `pointValue` of the rules they are earned by, minor units of the base currency, unrounded.',
  example: 12345.5,
});

const sideOfPreview = z
  .strictObject({
    earningOrders: smallInteger.meta({ description: 'Orders that earn at least one point.' }),
    points,
    value,
  })
  .meta({ id: 'LoyaltyPreviewSide', description: 'What the orders earn under one set of rules.' });

const comparedPoints = {
  orders: smallInteger,
  current: points.meta({ description: 'Points by the version in force then.' }),
  changed: points.meta({ description: 'Points under the change.' }),
  difference: points.meta({ description: 'changed − current.' }),
};

const previewMonth = z
  .strictObject({
    month: z.string().meta({ description: 'In the reporting time zone.', example: '2026-03' }),
    ...comparedPoints,
  })
  .meta({ id: 'LoyaltyPreviewMonth' });
const previewTier = z
  .strictObject({
    tier: z
      .string()
      .nullable()
      .meta({ description: 'Key of the level; null: the change has none.', example: 'silver' }),
    ...comparedPoints,
  })
  .meta({ id: 'LoyaltyPreviewTier' });
const previewCustomers = z
  .strictObject({ customers: smallInteger, points: points.meta({ description: 'The sum of all differences.' }) })
  .meta({ id: 'LoyaltyPreviewCustomers', description: 'Customers whose points differ, and by how much.' });

const loyaltyPreview = z
  .strictObject({
    programmeId: id,
    from: instant,
    to: instant,
    population,
    currency: currency.meta({ description: 'The base currency.' }),
    orders: smallInteger.meta({ description: 'Qualifying orders of the period.' }),
    customers: smallInteger.meta({ description: 'Customers who placed them.' }),
    current: sideOfPreview.meta({ description: 'By the version in force when each was placed.' }),
    changed: sideOfPreview.meta({ description: 'Under the change.' }),
    difference: points.meta({ description: 'Points: changed − current.' }),
    differenceInValue: z.number().meta({ description: 'The difference in value.', example: -120.5 }),
    entitled: points.meta({
      description:
        'Points that members have for these orders in the ledger. It can differ from `current`, because orders placed before joining earn nothing.',
    }),
    gain: previewCustomers.meta({ description: 'Customers who would have more.' }),
    lose: previewCustomers.meta({ description: 'Customers who would have less: negative points.' }),
    byMonth: z.array(previewMonth),
    byTier: z.array(previewTier).meta({ description: 'By the level that counts under the change.' }),
  })
  .meta({ id: 'LoyaltyPreview', description: 'What a change of the rules would have earned on past orders.' });

export const previewLoyaltyProgramme = readOperation({
  name: 'previewLoyaltyProgramme',
  scope: 'loyalty:read',
  partners: false,
  selfService: false,
  summary: 'Preview what a change of the rules would have earned',
  description:
    'Takes the qualifying orders of a period as they are now, and compares what they earn under the change with what they earn by the version in force when they were placed. A member’s order counts with the tier it was earned with, any other with the lowest level. Bonuses are left out. At most 200,000 orders. Changes nothing.',
  input: z.strictObject({ id, body: loyaltyPreviewInput }),
  output: loyaltyPreview,
  problems: ['not_found', tooManyOrders],
  async run(context, { id: programmeId, body }) {
    const { from, to, population: who = 'members' } = body;
    if (!isBefore(from, to)) throw invalid('/to', 'not_after_from', 'Must be after `from`.');
    const exponent = minorUnits(context.baseCurrency);
    // One snapshot: what is counted is what is read.
    return transaction(
      context.pool,
      async (tx) => {
        const record = await programmeById(tx, programmeId, context.now);
        const programme = (await rulesOf(tx, [programmeId])).get(programmeId) ?? {
          id: programmeId,
          endedAt: null,
          versions: [],
        };
        const rules = body.rules ? completeRules(body.rules) : record.rules;
        const comparison = new Comparison(programme, rules, exponent);
        const values = { from, to, programmeId, zone: context.reportingTimeZone };
        const { total } = (await tx.first(counting[who], values)) ?? { total: 0 };
        if (total > mostPreviewed) throw tooMany();
        await tx.all(declared[who], values);
        for (;;) {
          const rows = await tx.all(fetchOrders);
          const returned = await goodsOfReturners(tx, rows, from);
          for (const row of rows) comparison.add(row, returned.get(row.id) ?? new OrderGoods(row));
          if (rows.length < chunk) break;
        }
        return { programmeId, from, to, population: who, currency: context.baseCurrency, ...comparison.result() };
      },
      { snapshot: true },
    );
  },
});

function tooMany(): Problem {
  const message = `There are more than ${mostPreviewed} orders: ask for a shorter period.`;
  return new Problem(tooManyOrders, message, {
    errors: [{ pointer: '/to', code: tooManyOrders, message }],
    extra: { limit: mostPreviewed },
  });
}

/** An order as the preview reads it, by customer. */
interface PreviewedOrder extends RatedOrder {
  customerId: string;
  id: string;
  month: string;
  /** Of the ledger; null: not an order of a member of this programme that ever earned. */
  entitled: number | null;
  tier: string | null;
}

const inPeriod = sql`o.qualifying and o.placed_at >= ${param('from')}::timestamptz and o.placed_at < ${param('to')}::timestamptz`;
const joined = sql`loyalty_accounts a on a.customer_id = o.customer_id and a.programme_id = ${param('programmeId')}::uuid`;
const sources: Record<z.output<typeof population>, SQL> = {
  members: sql`orders o join ${joined} where ${inPeriod} and o.placed_at >= a.joined_at`,
  everyone: sql`orders o left join ${joined} where ${inPeriod}`,
};

const counting = perPopulation((source) =>
  statement<{ total: number }>(
    'count_previewed_orders',
    sql`select count(*) as total from (select from ${source} limit ${sql.raw(String(mostPreviewed + 1))}) found`,
  ),
);

/*
 * A cursor, so that neither side holds more than some rows at a time, while a customer's orders still come together. They
 * are sorted without their items, which are looked up as rows are fetched.
 */
const declared = perPopulation((source) =>
  statement<unknown>(
    'declare_previewed_orders',
    sql`declare previewed no scroll cursor for
      select s.*, ${itemsOfOrder(sql`s."customerId"`, sql`s.id`)} as items, ${refundsOfOrder(sql`s."customerId"`, sql`s.id`)} as refunds
      from (select f.*, to_char(f."placedAt" at time zone ${param('zone')}::text, 'YYYY-MM') as month, e.entitled, e.tier
        from (select o.customer_id as "customerId", o.id, o.placed_at as "placedAt", o.base_factor::text as "baseFactor", o.qualifying, o.test, o.campaign_id as "campaignId",
            o.total, o.tax, o.tax_included as "taxIncluded", o.shipping, o.fees,
            o.payment_status as "paymentStatus", o.fulfillment_status as "fulfillmentStatus", a.customer_id as member from ${source} offset 0) f
          left join loyalty_earnings e on e.customer_id = f.member and e.order_id = f.id
        order by f."customerId" offset 0) s`,
  ),
);

function perPopulation<T>(make: (source: SQL) => T): Record<z.output<typeof population>, T> {
  return { members: make(sources.members), everyone: make(sources.everyone) };
}

const fetchOrders = statement<PreviewedOrder>(
  'fetch_previewed_orders',
  sql`fetch forward ${sql.raw(String(chunk))} from previewed`,
);

/**
 * What is left of the orders of customers who sent something back. Returns take from their latest orders: also those
 * after the period are read, and none before it.
 */
async function goodsOfReturners(
  tx: Transaction,
  orders: readonly PreviewedOrder[],
  joinedAt: string,
): Promise<Map<string, OrderGoods>> {
  const ids = [...new Set(orders.map(({ customerId }) => customerId))];
  const facts = await replayFacts(
    tx,
    ids.map((customerId) => ({ customerId, lots: false })),
  );
  const returners = [...facts.values()].filter(({ returns }) => returns.length > 0);
  if (returners.length === 0) return new Map();
  const known = byCustomer(
    await ordersOfMembers(
      tx,
      returners.map(({ customerId }) => ({ customerId, joinedAt })),
    ),
  );
  return new Map(
    returners.flatMap(({ customerId, returns }) =>
      goodsLeft(known.get(customerId) ?? [], returns).map(({ order, goods }) => [order.id, goods]),
    ),
  );
}

interface Compared {
  orders: number;
  current: number;
  changed: number;
}

/** `pointValue` has six decimal places at most. */
const valueUnit = 1_000_000n;

/** Points of orders under two sets of rules, added up as they come: by customer. */
class Comparison {
  private readonly programme: ProgrammeRules;
  private readonly rules: LoyaltyRules;
  private readonly exponent: number;
  private readonly months = new Map<string, Compared>();
  private readonly tiers = new Map<string | null, Compared>();
  private readonly current = { earningOrders: 0, points: 0, value: 0n };
  private readonly changed = { earningOrders: 0, points: 0, value: 0n };
  private readonly gain = { customers: 0, points: 0 };
  private readonly lose = { customers: 0, points: 0 };
  private customers = 0;
  private orders = 0;
  private entitled = 0;
  private customer: { id: string; difference: number } | null = null;

  constructor(programme: ProgrammeRules, rules: LoyaltyRules, exponent: number) {
    this.programme = programme;
    this.rules = rules;
    this.exponent = exponent;
  }

  add(row: PreviewedOrder, goods: OrderGoods): void {
    const { placedAt } = row;
    const { endedAt } = this.programme;
    const hasEnded = endedAt !== null && !isBefore(placedAt, endedAt);
    const inForce = hasEnded ? null : rulesAt(this.programme, placedAt);
    const level = levelOf(this.rules, row.tier);
    const points = (rules: LoyaltyRules, tier: string | null) => worthOf(rules, row, goods, tier, this.exponent).points;
    // What is in the ledger was earned with the tier in the ledger.
    const current = inForce ? points(inForce, row.entitled === null ? levelOf(inForce, null) : row.tier) : 0;
    const changed = points(this.rules, level);
    addTo(this.current, current, inForce);
    addTo(this.changed, changed, this.rules);
    compare(this.months, row.month, current, changed);
    compare(this.tiers, level, current, changed);
    this.orders += 1;
    this.entitled += row.entitled ?? 0;
    if (this.customer?.id !== row.customerId) {
      this.settleCustomer();
      this.customer = { id: row.customerId, difference: 0 };
    }
    this.customer.difference += changed - current;
  }

  private settleCustomer(): void {
    if (!this.customer) return;
    const { difference } = this.customer;
    this.customers += 1;
    this.customer = null;
    if (difference === 0) return;
    const side = difference > 0 ? this.gain : this.lose;
    side.customers += 1;
    side.points += difference;
  }

  result() {
    this.settleCustomer();
    const { current, changed, gain, lose } = this;
    const side = ({ value: sum, ...rest }: typeof current) => ({ ...rest, value: ratio(sum, valueUnit) });
    return {
      orders: this.orders,
      customers: this.customers,
      current: side(current),
      changed: side(changed),
      difference: changed.points - current.points,
      differenceInValue: ratio(changed.value - current.value, valueUnit),
      entitled: this.entitled,
      gain,
      lose,
      byMonth: [...this.months]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([month, compared]) => ({ month, ...withDifference(compared) })),
      byTier: this.levels().flatMap((tier) => {
        const compared = this.tiers.get(tier);
        return compared ? [{ tier, ...withDifference(compared) }] : [];
      }),
    };
  }

  /** As the change orders them. */
  private levels(): (string | null)[] {
    return [null, ...(this.rules.tiers?.levels ?? []).map(({ key }) => key)];
  }
}

/** The level an order counts with: the one given when these rules know it, else the lowest. */
function levelOf({ tiers }: LoyaltyRules, tier: string | null): string | null {
  const levels = tiers?.levels ?? [];
  return (levels.find(({ key }) => key === tier) ?? levels[0])?.key ?? null;
}

function addTo(
  side: { earningOrders: number; points: number; value: bigint },
  points: number,
  rules: LoyaltyRules | null,
): void {
  if (points === 0 || rules === null) return;
  side.earningOrders += 1;
  side.points += points;
  const { digits, scale } = parseDecimal(String(rules.pointValue));
  side.value += (BigInt(points) * digits * valueUnit) / 10n ** BigInt(scale);
}

function compare<K>(groups: Map<K, Compared>, key: K, current: number, changed: number): void {
  const group = groups.get(key) ?? { orders: 0, current: 0, changed: 0 };
  group.orders += 1;
  group.current += current;
  group.changed += changed;
  groups.set(key, group);
}

function withDifference(compared: Compared) {
  return { ...compared, difference: compared.changed - compared.current };
}
