import fc from 'fast-check';
import t from 'tap';
import { ledgerDifferences } from '../../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../../src/features/loyalty/earning-comparison.ts';
import { rewardDifferences } from '../../../src/features/rewards/comparison.ts';
import { rollupDifferences } from '../../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { runJobs, testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed, soakSeconds } from '../../support/draws.ts';
import {
  adjust,
  available,
  day,
  enrol,
  giveBack,
  grantOccasions,
  isReferralDue,
  liabilityOf,
  type OracleMember,
  type OracleOrder,
  type OracleProgramme,
  type OracleReturn,
  type OracleRules,
  ordersChanged,
  recomputeReferral,
  rulesIn,
  setTier,
  spend,
  standingAt,
  stepsUntil,
  type Taking,
  transfer,
} from '../../support/loyalty-oracle.ts';
import { fresh, newKey } from '../../support/shop.ts';

/**
 * Random histories of two customers through the API, at a clock that moves, against the replay of
 * test/support/loyalty-oracle.ts: balances and tiers at instants past, present and to come, the steps of the tiers, the
 * liability in all and in groups. At the end everything stored is what the ledger and the orders say.
 *
 * `RAPPORT_TEST_DRAWS` sets the number of histories, `RAPPORT_TEST_SEED` what they are drawn from, and
 * `RAPPORT_TEST_SECONDS` for how long the hunt goes on, with one seed after the other.
 */
const runs = draws({ quick: 12, deep: 100 });
const seed = firstSeed(20_261_123);
const seconds = soakSeconds(0);
t.setTimeout(280_000 + seconds * 2_000);

const start = Date.parse('2025-01-01T00:00:00Z') * 1000;
let now = start;
const api = await testApp(t, { clock: () => iso(now) });

/** Canonical text of microseconds since 1970. */
function iso(micros: number): string {
  const whole = new Date(Math.floor(micros / 1000)).toISOString();
  const rest = micros - Math.floor(micros / 1000) * 1000;
  return rest === 0 ? whole : whole.replace('Z', `${String(rest).padStart(3, '0')}Z`);
}

function micros(instant: string | null): number | null {
  if (instant === null) return null;
  const rest = /\.\d{3}(\d{3})Z$/.exec(instant)?.[1] ?? '0';
  return Date.parse(instant.replace(/(\.\d{3})\d{3}Z$/, '$1Z')) * 1000 + Number(rest);
}

const categories = ['A', 'B', 'C', null];
const pointsOrNot = (points: number[]) => fc.option(fc.constantFrom(...points), { nil: undefined });

const tiersOf = fc.record({
  basis: fc.constantFrom('spend' as const, 'points' as const),
  windowDays: fc.constantFrom(20, 60, 365),
  periodDays: fc.constantFrom(10, 30, 90),
  graceDays: fc.constantFrom(0, 7, 40),
  reachingOrder: fc.constantFrom('former_tier' as const, 'new_tier' as const),
  levels: fc.tuple(fc.constantFrom(100, 5_000), fc.constantFrom(10_000, 40_000)).chain(([silver, gold]) =>
    fc.tuple(fc.constantFrom(1, 1, 0.5), fc.constantFrom(1, 1.25), fc.constantFrom(2, 1.3333)).map((multipliers) =>
      [0, silver, gold].map((threshold, index) => ({
        key: ['basic', 'silver', 'gold'][index] ?? '',
        name: 'Level',
        threshold,
        multiplier: multipliers[index] ?? 1,
      })),
    ),
  ),
});

const rulesOf: fc.Arbitrary<OracleRules> = fc
  .record({
    pointsPerUnit: fc.constantFrom(1, 0.5, 2.3457, 10),
    rounding: fc.constantFrom('down' as const, 'half_up' as const, 'up' as const),
    earnOn: fc.constantFrom('paid' as const, 'paid' as const, 'fulfilled' as const),
    pendingDays: fc.constantFrom(0, 5, 14),
    lives: fc.constantFrom(null, 10, 40, 200),
    expiresOn: fc.option(fc.constantFrom('2025-02-20', '2025-04-30', '2025-08-01'), { nil: null, freq: 8 }),
    expiresAtEndOf: fc.option(fc.constantFrom('day' as const, 'month' as const, 'year' as const), { nil: null }),
    tierOnRefund: fc.constantFrom('recompute' as const, 'keep' as const),
    includeShipping: fc.boolean(),
    includeFees: fc.boolean(),
    refundPolicy: fc.constantFrom('only_pending' as const, 'within_balance' as const, 'allow_negative' as const),
    categories: fc.subarray([
      { category: 'A', multiplier: 2 },
      { category: 'B', multiplier: 0 },
      { category: 'C', multiplier: 1.3333 },
    ]),
    campaigns: fc.array(
      fc.record({
        from: fc.integer({ min: 0, max: 100 }),
        days: fc.constantFrom(1, 20),
        multiplier: fc.constantFrom(0, 2, 1.5),
      }),
      { maxLength: 2 },
    ),
    tiers: fc.option(tiersOf, { nil: null, freq: 4 }),
    bonuses: fc.record({
      welcome: pointsOrNot([50]),
      birthday: pointsOrNot([100]),
      anniversary: pointsOrNot([70]),
      purchase: fc.option(fc.record({ count: fc.constantFrom(1, 2, 3), points: fc.constantFrom(10, 250) }), {
        nil: undefined,
      }),
      referral: fc.option(fc.record({ referrer: fc.constantFrom(0, 200), referee: fc.constantFrom(0, 90) }), {
        nil: undefined,
      }),
    }),
    pointValue: fc.constantFrom(1, 0.5, 0.333333, 0),
  })
  .map(({ lives, campaigns, bonuses, expiresOn, ...rules }) => ({
    ...rules,
    // A date says it all.
    expiresOn,
    expiryDays: lives === null || expiresOn ? null : rules.pendingDays + lives,
    expiresAtEndOf: expiresOn ? null : rules.expiresAtEndOf,
    campaigns: campaigns.map(({ from, days, multiplier }) => ({
      name: 'More',
      from: start + from * day,
      to: start + (from + days) * day,
      campaignId: null,
      multiplier,
    })),
    bonuses: Object.fromEntries(Object.entries(bonuses).filter(([, bonus]) => bonus !== undefined)),
  }));

const kinds = [
  ...[
    'order',
    'order',
    'order',
    'order',
    'batch',
    'repeat',
    'replace',
    'pay',
    'cancel',
    'refund',
    'unrefund',
    'redate',
    'return',
    'unreturn',
  ],
  ...[
    'delete',
    'move',
    'spend',
    'spend',
    'redeem',
    'adjust',
    'transfer',
    'undo',
    'cancelRedemption',
    'enrol',
    'publish',
    'byHand',
    'byHand',
  ],
  ...['settle', 'occasions', 'jobs', 'jump', 'jump', 'refer', 'rate', 'end', 'regret', 'regret'],
];

const step = fc.record({
  kind: fc.constantFrom(...kinds),
  gap: fc.constantFrom(0, 0, 0.3, 1, 4, 11, 33),
  who: fc.constantFrom(...[0, 0, 1]),
  // What they mean depends on the kind.
  a: fc.nat(1_000),
  b: fc.nat(1_000),
  c: fc.nat(1_000),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const history = fc.record({
  rules: rulesOf,
  later: fc.array(rulesOf, { minLength: 1, maxLength: 2 }),
  birthday: fc.constantFrom(null, '1990-02-10', '1992-02-29', '--02-29'),
  steps: fc.array(step, { minLength: 10, maxLength: 30 }),
});

/** What a shop has of an order. */
interface Order {
  id: string;
  externalId: string;
  who: number;
  placedAt: number;
  items: OracleOrder['items'];
  shipping: number;
  fees: number;
  tax: number;
  taxIncluded: boolean;
  discount: number;
  paid: boolean;
  fulfilled: boolean;
  cancelled: boolean;
  test: boolean;
  /** In dollars, worth so many hundredths of a euro; null: nobody knows yet. */
  dollars: { rate: number | null } | null;
  refunds: (OracleOrder['refunds'][number] & { id: string })[];
}

interface Customer {
  id: string;
  externalId: string;
  birthday: string | null;
  referrer: Customer | null;
  member: OracleMember | null;
  /** As the oracle knows them. */
  orders: Map<string, OracleOrder>;
  returns: (OracleReturn & { id: string })[];
}

const at = <T>(list: readonly T[], n: number): T | undefined => list[n % Math.max(1, list.length)];
const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
const totalOf = ({ items, shipping, fees, tax, taxIncluded, discount }: Order) =>
  sum(items.map(({ total }) => total)) + shipping + fees + (taxIncluded ? 0 : tax) - discount;
const refundedOf = ({ refunds }: Order) => sum(refunds.map(({ amount }) => amount));

async function send(method: string, path: string, body?: unknown, allowed: number[] = []): Promise<any> {
  const headers: Record<string, string> = method === 'GET' ? {} : { ...newKey(), 'If-Match': '*' };
  const answer = await api.request(method, path, { ...(body !== undefined && { body }), headers });
  if (answer.status < 300) return answer.body;
  if (allowed.includes(answer.status)) return null;
  throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)} for ${JSON.stringify(body)}`);
}

const qualifies = (order: Order) =>
  !order.cancelled && !order.test && !(refundedOf(order) > 0 && refundedOf(order) >= totalOf(order));

/** A refund or a return, without what is not said. */
function goodsDocument<Goods extends { items: OracleReturn['items'] }>({ items, ...rest }: Goods) {
  const told = items.map(({ total, ...item }) => ({ ...item, ...(total !== null && { total }) }));
  return { ...rest, ...(told.length > 0 && { items: told }) };
}

function rulesDocument(rules: OracleRules) {
  const campaigns = rules.campaigns.map(({ from, to, campaignId: _, ...rest }) => ({
    ...rest,
    from: iso(from),
    to: iso(to),
  }));
  return { ...rules, campaigns };
}

class Story {
  readonly customers: Customer[] = [];
  readonly orders: Order[] = [];
  readonly programme: OracleProgramme = { versions: [], endedAt: null };
  readonly later: OracleRules[];
  programmeId = '';
  rewardId = '';
  rewardPoints = 40;
  readonly spendings: { customer: Customer; id: string; taking: Taking; isRedemption: boolean }[] = [];
  /** Whose referral an order has enqueued. */
  readonly referrals = new Set<Customer>();
  readonly log: string[] = [];

  constructor(later: OracleRules[]) {
    this.later = later;
  }

  async begin(rules: OracleRules, birthday: string | null): Promise<void> {
    const { id } = await send('POST', '/v1/loyalty/programmes', { name: 'Friends', rules: rulesDocument(rules) });
    this.programmeId = id;
    await send('POST', `/v1/loyalty/programmes/${id}/publish`, { validFrom: iso(start) });
    this.programme.versions.push({ validFrom: start, rules });
    this.rewardId = (
      await send('POST', '/v1/loyalty/rewards', { programmeId: id, name: 'Mug', points: this.rewardPoints })
    ).id;
    for (const referrer of [false, true]) {
      const externalId = fresh('member');
      const other = referrer ? (this.customers[0] ?? null) : null;
      const customer = await send('POST', '/v1/customers', {
        kind: 'person',
        name: 'Ada',
        references: [{ source: 'shop', externalId }],
        ...(birthday && { birthday }),
        ...(other && { referredBy: other.id }),
      });
      this.customers.push({
        id: customer.id,
        externalId,
        birthday,
        referrer: other,
        member: null,
        orders: new Map(),
        returns: [],
      });
    }
  }

  get members(): OracleMember[] {
    return this.customers.flatMap(({ member }) => member ?? []);
  }

  /** As the service sees it. */
  facts(order: Order): OracleOrder {
    const { id, placedAt, tax, taxIncluded, shipping, fees, cancelled, test, paid, fulfilled, items, refunds } = order;
    return {
      id,
      name: `shop ${order.externalId}`,
      placedAt,
      currency: order.dollars ? 'USD' : 'EUR',
      rate: order.dollars ? order.dollars.rate : 100,
      total: totalOf(order),
      tax,
      taxIncluded,
      shipping,
      fees,
      cancelled,
      test,
      paid,
      fulfilled,
      campaignId: null,
      items,
      refunds: [...refunds],
    };
  }

  /** These orders were written. Nothing that decides about points has changed: nothing happens. */
  written(orders: Order[], always = false): void {
    const touched = new Set<Customer>();
    for (const order of orders) {
      const owner = this.customers[order.who];
      const former = this.customers.find(({ orders }) => orders.has(order.id));
      if (!owner) continue;
      const before = former?.orders.get(order.id);
      const isGone = !this.orders.includes(order);
      const after = this.facts(order);
      former?.orders.delete(order.id);
      if (!isGone) owner.orders.set(order.id, after);
      if (isGone || before === undefined || former !== owner) {
        if (former) touched.add(former);
        if (!isGone && (qualifies(order) || before)) touched.add(owner);
      } else if (always || JSON.stringify(before) !== JSON.stringify(after)) touched.add(owner);
    }
    for (const customer of touched) this.changed(customer);
  }

  changed(customer: Customer): void {
    if (!customer.member) return;
    ordersChanged(customer.member, now);
    if (isReferralDue(customer.member, customer.referrer?.member ?? null)) this.referrals.add(customer);
  }

  newOrder({ who, a, b, c }: Step): Order {
    const items: Order['items'] = [
      {
        sku: 'A',
        category: at(categories, a) ?? null,
        quantity: 1 + (a % 3),
        total: at([0, 1, 199, 1_999, 5_000, 12_345, 33_333], b) ?? 0,
      },
    ];
    if (c % 3 === 0) {
      const category = at(categories, a + 1 + c) ?? null;
      items.push({ sku: b % 5 === 0 ? 'A' : 'B', category, quantity: 2, total: at([150, 2_500], c) ?? 0 });
    }
    const most = sum(items.map(({ total }) => total));
    // A coupon, goods taken back at the till.
    if (a % 4 === 1 && most > 0) {
      const [sku, category] = at([['B', null] as const, ['A', null] as const, ['C', 'A'] as const], b) ?? ['C', null];
      items.push({ sku, category, quantity: -1, total: -Math.ceil(most / (2 + (c % 4))) });
    }
    const order: Order = {
      id: '',
      externalId: fresh('order'),
      who,
      placedAt: now - Math.round((at([0, 0, 0.5, 3, 20, 45], c) ?? 0) * day) - 1,
      items,
      shipping: b % 4 === 0 ? 499 : 0,
      fees: b % 6 === 0 ? 150 : 0,
      tax: 0,
      taxIncluded: c % 2 === 0,
      discount: 0,
      paid: a % 5 !== 0,
      fulfilled: a % 2 === 0,
      cancelled: false,
      test: c % 17 === 0,
      dollars: a % 7 === 0 ? { rate: b % 2 === 0 ? null : 93 } : null,
      refunds: [],
    };
    if (b % 5 === 1) order.discount = Math.floor(sum(items.map(({ total }) => total)) / 10);
    if (a % 3 === 0) order.tax = Math.floor(totalOf(order) * 0.19);
    return order;
  }

  document(order: Order) {
    return {
      customer: { source: 'shop', externalId: this.customers[order.who]?.externalId },
      placedAt: iso(order.placedAt),
      currency: order.dollars ? 'USD' : 'EUR',
      ...(order.dollars?.rate && { exchangeRate: `0.${order.dollars.rate}` }),
      total: totalOf(order),
      items: order.items.map(({ category, ...item }) => ({ ...item, ...(category && { category }) })),
      shipping: order.shipping,
      fees: order.fees,
      discount: order.discount,
      tax: order.tax,
      taxIncluded: order.taxIncluded,
      paymentStatus: order.paid ? 'paid' : 'pending',
      fulfillmentStatus: order.fulfilled ? 'fulfilled' : 'unfulfilled',
      test: order.test,
    };
  }

  /** The next instants at which something happens by itself. */
  coming(): number[] {
    const all = this.members.flatMap((member) => [
      ...member.lots.flatMap(({ activeAt, expiresAt }) => [activeAt, expiresAt]),
      ...stepsUntil(member, now).flatMap(({ endsAt }) => endsAt ?? []),
    ]);
    return [...new Set(all)].filter((instant) => instant > now && Number.isFinite(instant)).sort((x, y) => x - y);
  }

  async run(one: Step): Promise<void> {
    now += one.gap * day + 1_000_003;
    if (one.kind === 'jump') {
      now = at(this.coming().slice(0, 2), one.a) ?? now;
      one = { ...one, kind: at(['order', 'spend', 'settle', 'refund', 'adjust', 'cancel'], one.b) ?? 'order' };
    }
    this.log.push(`${iso(now)} ${JSON.stringify(one)}`);
    await this.act(one);
  }

  async act(one: Step): Promise<void> {
    const { kind, who, a, b, c } = one;
    const customer = this.customers[who];
    // Mostly the same few: what happens to an order depends on what happened to it before.
    const order = at(b % 3 === 0 ? this.orders : this.orders.slice(0, 2), a);
    if (!customer) return;
    switch (kind) {
      case 'order': {
        const made = this.newOrder(one);
        made.id = (
          await send('POST', '/v1/orders', { source: 'shop', externalId: made.externalId, ...this.document(made) })
        ).id;
        this.orders.push(made);
        return this.written([made]);
      }
      case 'batch':
        return this.batch(one);
      case 'regret':
        return this.regret(one);
      case 'enrol':
        return this.enrol(customer, Math.round((at([0, 0, 2, 25, 80], b) ?? 0) * day));
      case 'publish':
        return this.publish(b);
      case 'settle':
        await api.app.jobs.addRecurring(['settleLoyalty']);
        return this.runJobs();
      case 'occasions':
        await api.app.jobs.addRecurring(['grantLoyaltyBonuses']);
        for (const member of this.members) grantOccasions(member, now);
        return this.runJobs();
      case 'jobs':
        return this.runJobs();
      case 'refer':
        return this.refer();
      case 'end':
        if (a % 4 !== 0 || this.programme.endedAt !== null) return;
        await send('POST', `/v1/loyalty/programmes/${this.programmeId}/end`);
        this.programme.endedAt = now;
        return;
      case 'spend':
      case 'redeem':
      case 'adjust':
      case 'transfer':
        if (customer.member) await this.move(customer, customer.member, one);
        return;
      case 'byHand':
        return this.setTier(customer, one);
      case 'undo':
      case 'cancelRedemption':
        return this.undo(kind === 'cancelRedemption', a);
      case 'return':
        return this.sendBack(customer, order, one);
      case 'unreturn': {
        const back = customer.returns.pop();
        if (!back) return;
        await send('DELETE', `/v1/returns/${back.id}`);
        return this.changed(customer);
      }
      default:
        if (order) await this.change(order, one, c);
    }
  }

  /** Points of an order are spent, and then the order is reduced: a part of it, and later, perhaps after they expired, more. */
  async regret(one: Step): Promise<void> {
    const { a, b, c } = one;
    await this.act({ ...one, kind: 'order', a: 1 + 10 * (a % 7), b: 4 + (b % 3), c: 7 });
    const order = this.orders.at(-1);
    now += (at([6, 15, 20], a) ?? 0) * day + 11;
    await this.act({ ...one, kind: 'spend', a: 5 * (b % 2) });
    if (b % 3 !== 0) await this.act({ ...one, kind: 'order', a: 1, b: 3, c: 7 });
    if (!order) return;
    for (const gap of [1, at([1, 11, 40, 210], c) ?? 0, 3]) {
      await this.change(order, { ...one, kind: 'refund', b: gap === 3 ? a : 1 }, c);
      now += gap * day + 13;
    }
    if (a % 2 === 0) await this.change(order, { ...one, kind: 'unrefund' }, c);
  }

  /** Referrals that orders have enqueued are due with whatever job runs. */
  async runJobs(): Promise<void> {
    await runJobs(api);
    const [first] = this.customers;
    for (const customer of this.referrals) {
      if (!customer.member) continue;
      recomputeReferral(customer.member, first?.member ?? null, customer.referrer !== null, now);
    }
    this.referrals.clear();
  }

  async batch(one: Step): Promise<void> {
    const made = [0, 1, 2].map((n) =>
      this.newOrder({ ...one, who: (one.who + n) % 2, a: one.a + n, b: one.b + n, c: one.c + n }),
    );
    for (const [n, order] of made.entries()) order.placedAt -= n;
    const again = at(this.orders, one.a);
    const orders = [...made, ...(again ? [again] : [])];
    if (again) this.replaceBy(again, one);
    const body = orders.map((order) => ({ source: 'shop', externalId: order.externalId, ...this.document(order) }));
    const { results } = await send('POST', '/v1/orders/batch', { orders: body });
    for (const [n, order] of orders.entries()) {
      if (results[n].status === 'refused') throw new Error(JSON.stringify(results[n]));
      order.id = results[n].id;
    }
    this.orders.push(...made);
    this.written(orders);
  }

  /** Another document for the order; what was refunded stays within its total. */
  replaceBy(order: Order, { a, b, c }: Step): void {
    const { items, shipping } = this.newOrder({ kind: '', gap: 0, who: 0, a: a + 1, b: b + 1, c });
    const changed = { ...order, items, shipping, fees: 0, discount: 0, tax: 0 };
    if (totalOf(changed) >= refundedOf(order)) Object.assign(order, changed);
    order.cancelled = false;
  }

  async change(order: Order, one: Step, c: number): Promise<void> {
    const path = `/v1/orders/${order.id}`;
    const patch = (body: object) => send('PATCH', path, body);
    const replace = () => send('PUT', `/v1/orders/external/shop/${order.externalId}`, this.document(order));
    switch (one.kind) {
      case 'repeat':
        order.cancelled = false;
        await replace();
        break;
      case 'replace':
        this.replaceBy(order, one);
        await replace();
        break;
      case 'pay':
        if (one.b % 2 === 0) order.paid = !order.paid;
        else order.fulfilled = !order.fulfilled;
        await patch(
          one.b % 2 === 0
            ? { paymentStatus: order.paid ? 'paid' : 'pending' }
            : { fulfillmentStatus: order.fulfilled ? 'fulfilled' : 'unfulfilled' },
        );
        break;
      case 'rate':
        if (!order.dollars) return;
        order.dollars.rate = 37 + (c % 60);
        await patch({ exchangeRate: `0.${order.dollars.rate}` });
        break;
      case 'cancel':
        order.cancelled = !order.cancelled;
        await patch({ cancelledAt: order.cancelled ? iso(now - 1) : null });
        break;
      case 'refund': {
        const most = totalOf(order) - refundedOf(order);
        const amount = one.b % 3 === 0 ? most : Math.ceil(most / (1 + (one.b % 5)));
        if (amount <= 0) return;
        const refund = {
          amount,
          ...(one.a % 4 === 1 && { shipping: Math.min(order.shipping, amount) }),
          items: this.someItems(one, order.items),
        };
        const { id } = await send('POST', `${path}/refunds`, { ...goodsDocument(refund), refundedAt: iso(now) });
        order.refunds.push({ id, ...refund });
        return this.written([order], true);
      }
      case 'unrefund': {
        const refund = order.refunds.pop();
        if (!refund) return;
        await send('DELETE', `/v1/refunds/${refund.id}`);
        return this.written([order], true);
      }
      case 'redate': {
        const date = iso(order.placedAt).slice(0, 10);
        order.placedAt = now - Math.round((at([0, 1, 15, 40], c) ?? 0) * day) - 2;
        await patch({ placedAt: iso(order.placedAt) });
        // A rate is one of its day.
        if (order.dollars && iso(order.placedAt).slice(0, 10) !== date) order.dollars.rate = null;
        break;
      }
      case 'move':
        order.who = 1 - order.who;
        await patch({ customer: { source: 'shop', externalId: this.customers[order.who]?.externalId } });
        break;
      case 'delete':
        await send('DELETE', path);
        this.orders.splice(this.orders.indexOf(order), 1);
        break;
      default:
        throw new Error(one.kind);
    }
    this.written([order]);
  }

  /** Goods that come back: by what they cost, or by how many. */
  someItems({ a, b, c }: Step, items: Order['items']): OracleReturn['items'] {
    const some = items.filter((_, n) => (b + n) % 3 !== 0).slice(0, 1 + (a % 2));
    return some.map(({ sku, quantity, total }) => ({
      sku,
      quantity: Math.max(1, Math.ceil(quantity / (1 + (c % 3)))),
      total: a % 3 === 0 ? null : Math.max(0, Math.ceil(total / (1 + (b % 2)))),
    }));
  }

  async sendBack(customer: Customer, order: Order | undefined, one: Step): Promise<void> {
    const { a, b, c } = one;
    const back = {
      name: fresh('return'),
      returnedAt: now - Math.round((at([0, 0, 1, 12], c) ?? 0) * day) - 3,
      currency: a % 5 === 0 ? 'USD' : 'EUR',
      total: at([300, 1_999, 9_000, 50_000], b) ?? 1,
      items: order && a % 2 === 0 ? this.someItems(one, order.items) : [],
    };
    const { id } = await send('POST', '/v1/returns', {
      source: 'shop',
      externalId: back.name,
      customer: { source: 'shop', externalId: customer.externalId },
      returnedAt: iso(back.returnedAt),
      currency: back.currency,
      total: back.total,
      items: goodsDocument(back).items ?? [],
    });
    customer.returns.push({ ...back, id });
    this.changed(customer);
  }

  async enrol(customer: Customer, ago: number): Promise<void> {
    const joinedAt = now - ago;
    const body = { programmeId: this.programmeId, joinedAt: iso(joinedAt) };
    const isRefused = customer.member !== null || this.programme.endedAt !== null;
    const answer = await send('POST', `/v1/customers/${customer.id}/loyalty`, body, isRefused ? [409, 422] : []);
    if (isRefused !== (answer === null)) throw new Error('enrolled twice or into a programme that has ended');
    if (isRefused) return;
    const { orders, returns, birthday } = customer;
    customer.member = enrol(this.programme, orders, returns, birthday, joinedAt, now);
    for (const other of this.customers) if (other.referrer === customer) this.referrals.add(other);
    if (isReferralDue(customer.member, customer.referrer?.member ?? null)) this.referrals.add(customer);
  }

  /** The second one was referred by the first one, or was not after all. */
  async refer(): Promise<void> {
    const [first, second] = this.customers;
    if (!first || !second) return;
    second.referrer = second.referrer ? null : first;
    await send('PATCH', `/v1/customers/${second.id}`, { referredBy: second.referrer?.id ?? null });
    this.referrals.add(second);
  }

  async publish(b: number): Promise<void> {
    const rules = this.later.shift();
    if (!rules || this.programme.endedAt !== null) return;
    // Keys that were published stay.
    const tiers =
      rules.tiers ?? this.programme.versions.findLast((version) => version.rules.tiers)?.rules.tiers ?? null;
    const last = this.programme.versions.at(-1)?.validFrom ?? 0;
    const validFrom = Math.max(now, last) + (b % 2) * 5 * day;
    await send('PATCH', `/v1/loyalty/programmes/${this.programmeId}`, { rules: rulesDocument({ ...rules, tiers }) });
    await send('POST', `/v1/loyalty/programmes/${this.programmeId}/publish`, { validFrom: iso(validFrom) });
    this.programme.versions.push({ validFrom, rules: { ...rules, tiers } });
  }

  async move(customer: Customer, member: OracleMember, { kind, a, b, c }: Step): Promise<void> {
    const other = this.customers[1 - this.customers.indexOf(customer)];
    const has = available(member, now);
    // Half of it, all of it, and once in a while more than there is.
    const points = Math.max(1, at([has, Math.ceil(has / 2), has, 1, has + 1], a) ?? 1);
    const path = '/v1/loyalty/transactions';
    if (kind === 'redeem') {
      const quantity = 1 + (b % 2);
      const taking = spend(member, quantity * this.rewardPoints, now);
      const body = { customerId: customer.id, rewardId: this.rewardId, quantity };
      const answer = await send('POST', '/v1/loyalty/redemptions', body, taking ? [] : [409, 422]);
      if ((taking === null) !== (answer === null)) throw new Error('redeemed more than there is');
      if (taking) this.spendings.push({ customer, id: answer.id, taking, isRedemption: true });
    } else if (kind === 'adjust' && a % 3 !== 0) {
      const expiresAt = b % 3 === 0 ? undefined : b % 3 === 1 ? null : now + (1 + (c % 40)) * day;
      const credited = 1 + (b % 500);
      const body = { kind, customerId: customer.id, points: credited, reason: 'kind' };
      await send('POST', path, { ...body, ...(expiresAt !== undefined && { expiresAt: expiresAt && iso(expiresAt) }) });
      adjust(member, credited, expiresAt, now);
    } else if (kind === 'transfer') {
      if (!other?.member) return;
      const isDone = transfer(member, other.member, points, now);
      const body = { kind, customerId: customer.id, toCustomerId: other.id, points };
      const answer = await send('POST', path, body, isDone ? [] : [422]);
      if (isDone !== (answer !== null)) throw new Error('transferred more than there is');
    } else {
      const taking = spend(member, points, now);
      const taken = kind === 'adjust' ? -points : points;
      const body = { kind, customerId: customer.id, points: taken, ...(kind === 'adjust' && { reason: 'mistake' }) };
      const answer = await send('POST', path, body, taking ? [] : [422]);
      if ((taking === null) !== (answer === null)) throw new Error(`took ${points} of ${has}`);
      if (taking && kind === 'spend') this.spendings.push({ customer, id: answer.id, taking, isRedemption: false });
    }
  }

  async setTier(customer: Customer, { a, b }: Step): Promise<void> {
    const { member, id } = customer;
    const levels = rulesIn(this.programme, now)?.tiers?.levels ?? [];
    if (!member) return;
    const tier = at(levels, a)?.key ?? 'gold';
    const until = b % 2 === 0 ? null : now + (1 + (b % 60)) * day;
    const isKnown = levels.length > 0;
    const body = { tier, reason: 'kind', ...(until && { until: iso(until) }) };
    await send('PUT', `/v1/customers/${id}/loyalty/tier`, body, isKnown ? [] : [422]);
    const last = stepsUntil(member, now).at(-1);
    const isInForce = last?.reason === 'manual' && last.tier === tier && (until === null || until === last.endsAt);
    if (!isKnown || isInForce) return;
    setTier(member, tier, until, now);
    this.changed(customer);
  }

  async undo(isRedemption: boolean, a: number): Promise<void> {
    const found = at(
      this.spendings.filter((one) => one.isRedemption === isRedemption),
      a,
    );
    if (!found?.customer.member) return;
    const { id, taking, customer } = found;
    this.spendings.splice(this.spendings.indexOf(found), 1);
    await send(
      'POST',
      isRedemption ? `/v1/loyalty/redemptions/${id}/cancel` : `/v1/loyalty/transactions/${id}/undo`,
      isRedemption ? {} : undefined,
    );
    giveBack(customer.member as OracleMember, taking, now); // looked at above
  }

  /** Instants at which something may be wrong: around everything that has a date, and anywhere. */
  instants(): number[] {
    const dates = this.members.flatMap((member) => [
      member.joinedAt,
      ...member.lots.flatMap(({ earnedAt, activeAt, expiresAt }) => [earnedAt, activeAt, expiresAt]),
      ...stepsUntil(member, now + 100 * day).flatMap(({ at: of, endsAt }) => [of, endsAt ?? now]),
    ]);
    const around = dates.filter(Number.isFinite).flatMap((date, n) => [date - (n % 2), date]);
    return [now, now, now + 30 * day, ...around];
  }

  /** @param isEnd the ledger only grows: what went wrong on the way shows in the past */
  async check(pick: number, isEnd: boolean): Promise<void> {
    const instants = this.instants();
    const chosen = [now, ...(isEnd ? [1, 2, 3, 4, 5, 6] : [1]).map((n) => at(instants, pick * 7 + n * 31) ?? now)];
    for (const { id, member } of this.customers) {
      for (const t of chosen) {
        const found = await send('GET', `/v1/customers/${id}/loyalty?asOf=${iso(t)}`, undefined, [404]);
        const standing = found && {
          active: found.active,
          pending: found.pending,
          debt: found.debt,
          tier: found.tier,
          tierEndsAt: micros(found.tierEndsAt),
          tierInGrace: found.tierInGrace,
        };
        this.same(
          `member ${this.customers.findIndex((one) => one.id === id)} at ${iso(t)}`,
          standing,
          member && standingAt(member, t),
        );
      }
      if (!member || !isEnd) continue;
      const { data } = await send('GET', `/v1/customers/${id}/loyalty/tier-changes?limit=100`);
      const steps = stepsUntil(member, now);
      // The last ones may not be written yet, where nothing but time has passed.
      if (data.length === 0 && steps.length > 0) throw new Error('no steps');
      const told = data.map((one: any) => ({
        at: micros(one.at),
        tier: one.tier,
        reason: one.reason,
        endsAt: micros(one.endsAt),
      }));
      const wanted = steps.map(({ at: of, tier, reason, endsAt }) => ({ at: of, tier, reason, endsAt }));
      this.same('steps', told, wanted.slice(0, told.length));
      const reversals = await send(
        'GET',
        `/v1/customers/${id}/loyalty/transactions?kind=reverse&sort=createdAt&limit=100`,
      );
      const taken = reversals.data.map(({ points, lapsed, waived, entitled }: any) => ({
        points,
        lapsed,
        waived,
        entitled,
      }));
      this.same('reversals', taken, member.reversals);
    }
    if (!isEnd) return;
    for (const t of chosen.slice(0, 2)) await this.checkLiability(t, pick);
  }

  async checkLiability(t: number, pick: number): Promise<void> {
    const groupBy = at(['tier', 'expiry_month', 'programme'] as const, pick);
    const question = `programmeId=${this.programmeId}&asOf=${iso(t)}&timeZone=UTC`;
    const answer = await send('GET', `/v1/metrics/loyalty-liability?${question}&groupBy=${groupBy}`);
    const { months, tiers, members, ...total } = liabilityOf(this.members, t);
    const pointValue = rulesIn(this.programme, t)?.pointValue ?? 0;
    const outstanding = total.active + total.pending;
    const { activePoints, pendingPoints, debtPoints, outstandingPoints, breakageRate } = answer.values;
    const rate = total.issued < 1_000 ? null : total.expired / total.issued;
    const close = (a: number | null, b: number | null) =>
      a === null || b === null ? a === b : Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));
    if (!close(breakageRate, rate) || !close(answer.value, outstanding * pointValue)) {
      throw new Error(`${breakageRate} is not ${rate}, or ${answer.value} not ${outstanding} × ${pointValue}`);
    }
    const points = { active: activePoints, pending: pendingPoints, debt: debtPoints, outstanding: outstandingPoints };
    const { active, pending, debt } = total;
    this.same(`liability at ${iso(t)}`, points, { active, pending, debt, outstanding });
    const groups = Object.fromEntries(
      answer.groups.flatMap(({ key, values }: any) =>
        values.outstandingPoints === 0 ? [] : [[key, values.outstandingPoints]],
      ),
    );
    const wanted =
      groupBy === 'tier'
        ? tiers
        : groupBy === 'expiry_month'
          ? months
          : outstanding === 0
            ? {}
            : { [this.programmeId]: outstanding };
    this.same(`groups at ${iso(t)}`, sorted(groups), sorted(wanted));
    const { data } = await send('GET', `/v1/metrics/loyalty-liability/members?${question}&sort=points`);
    const told = data.map((one: any) => one.outstandingPoints);
    this.same(
      `members at ${iso(t)}`,
      told,
      members.filter((own) => own > 0).sort((x, y) => x - y),
    );
  }

  same(what: string, found: unknown, wanted: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}\n  found  ${a}\n  oracle ${b}\n${this.log.join('\n')}`);
  }
}

const sorted = (record: Record<string, number>) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

let histories = 0;
let steps = 0;

async function hunt(seed: number, count: number, limit: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(history, async ({ rules, later, birthday, steps: all }) => {
      histories += 1;
      now = start + 40 * day;
      const story = new Story([...later]);
      await story.begin(rules, birthday);
      const [first] = story.customers;
      if (first && all.length % 5 !== 0) await story.enrol(first, 0);
      for (const [n, one] of all.entries()) {
        steps += 1;
        await story.run(one);
        const isEnd = n === all.length - 1;
        if (n % 8 === 7 || isEnd) await story.check(n + all.length, isEnd);
      }
    }),
    {
      numRuns: count,
      seed,
      interruptAfterTimeLimit: limit,
      endOnFailure,
    },
  );
}

t.test('after any history members have what a replay of it comes to', async (t) => {
  const until = Date.now() + seconds * 1_000;
  let next = seed;
  do {
    await hunt(next, runs, seconds > 0 ? Math.max(1_000, until - Date.now()) : 60_000);
    next += 1;
  } while (Date.now() < until);
  t.comment(`${histories} histories, ${steps} steps, seeds ${seed} to ${next - 1}`);
  const pool = openPool(api.connection, { size: 1, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  const db = poolDb(pool);
  t.same(await rollupDifferences(db, 'UTC', 10), []);
  t.same(await ledgerDifferences(db, 10), []);
  t.same(await earningDifferences(db, 'EUR', 10), []);
  t.same(await rewardDifferences(db, 10), []);
});
