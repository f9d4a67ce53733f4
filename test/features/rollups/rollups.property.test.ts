import fc from 'fast-check';
import pg from 'pg';
import t, { type Test } from 'tap';
import { Temporal } from 'temporal-polyfill';
import { isCurrency, minorUnits } from '../../../src/domain/currencies.ts';
import { rollupDifferences } from '../../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { nobodyOf } from '../../../src/records/nobody.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { netLeft } from '../../support/refund-oracle.ts';
import { fresh, newKey } from '../../support/shop.ts';

/**
 * Random histories through the API, and after every second step: the stored derived state is what a plain loop over the facts comes to, and
 * the facts are what was sent. The loop is written without a look at the SQL of rollups/queries.ts.
 */

/** Zones, and local dates where something happens to a clock or a month in them: few, so that purchases share days. */
const zones: Record<string, string[]> = {
  UTC: ['2025-01-31', '2024-02-29'],
  'Europe/London': ['2025-03-30', '2025-10-26', '2025-03-31'],
  'America/New_York': ['2025-03-09', '2025-11-02'],
  'Asia/Kathmandu': ['2025-01-31', '1986-01-01'],
  'Africa/Cairo': ['2025-04-25', '2025-10-31'],
  'Pacific/Apia': ['2011-12-30', '2025-01-31'],
};
const foreignCurrencies = Intl.supportedValuesOf('currency').filter((code) => isCurrency(code) && code !== 'EUR');

interface Order {
  customer: string;
  placedAt: string;
  currency: string;
  total: number;
  tax: number;
  test: boolean;
  cancelled: boolean;
  rate: string | null;
  id: string;
  refunds: { id: string; amount: number }[];
}

interface Return {
  customer: string;
  returnedAt: string;
  currency: string;
  total: number;
  rate: string | null;
  id: string;
}

/** Instants around local midnights, ends of months and changes of the clock, with microseconds. */
const instantsAround = (dates: string[]) =>
  fc
    .tuple(
      fc.constantFrom(...dates),
      fc.constantFrom(-840, -345, -60, 0, 1, 240, 300, 600, 1095, 1439),
      fc.constantFrom('000', '000001', '999999'),
    )
    .map(([date, minutes, fraction]) =>
      new Date(Date.parse(`${date}T00:00:00Z`) + minutes * 60_000).toISOString().replace('.000Z', `.${fraction}Z`),
    );

const index = fc.nat({ max: 30 });
const customer = fc.nat({ max: 2 });
/** Of an order it may be nobody. */
const buyer = fc.nat({ max: 3 });
const amount = fc.constantFrom(0, 1, 5, 999, 1000, 123_457);
function stepsAround(dates: string[]) {
  const instants = instantsAround(dates);
  const sale = {
    customer: buyer,
    at: instants,
    foreign: fc.boolean(),
    total: amount,
    tax: fc.constantFrom(0, 0, 0, 1, 190),
    test: fc.constantFrom(false, false, false, true),
  };
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert'), ...sale }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('replace'), order: index, ...sale }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('batch'),
        order: index,
        sales: fc.array(fc.record(sale), { minLength: 1, maxLength: 5 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('redate'), order: index, at: instants }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('exchange'), order: index, foreign: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('try'), order: index, test: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel'), order: index, cancelled: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('refund'), order: index, full: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('unrefund'), order: index }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('move'), order: index, customer: buyer }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete'), order: index }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('return'),
        customer,
        at: instants,
        foreign: fc.boolean(),
        total: fc.constantFrom(1, 300, 5000),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('changeReturn'), return: index, customer, at: instants }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteReturn'), return: index }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('rate'),
        at: instants,
        rate: fc.constantFrom('0.5', '1.1534', '0.000123'),
      }),
    },
  );
}
type Step = ReturnType<typeof stepsAround> extends fc.Arbitrary<infer S> ? S : never;

const localDate = (at: string, zone: string) => Temporal.Instant.from(at).toZonedDateTimeISO(zone).toPlainDate();

/** Some lines have a cost. */
const lineCost = 37;
const costs = ({ total }: { total: number }) => total > 5;

/** One history on customers and a currency of its own. */
class History {
  readonly orders = new Map<string, Order>();
  readonly returns = new Map<string, Return>();
  readonly rates = new Map<string, string>();
  readonly names = [fresh('customer'), fresh('customer'), fresh('customer')];
  /** Owners that orders of nobody have or had. */
  readonly nobodies = new Set<string>();
  readonly api: TestApp;
  readonly foreign: string;
  readonly zone: string;

  constructor(api: TestApp, foreign: string) {
    this.api = api;
    this.foreign = foreign;
    this.zone = api.config.reportingTimeZone;
  }

  /** The rate a fact of that instant gets now. */
  rateAt(currency: string, at: string): string | null {
    if (currency === 'EUR') return '1';
    const date = localDate(at, this.zone);
    for (let back = 0; back <= 7; back += 1) {
      const rate = this.rates.get(date.subtract({ days: back }).toString());
      if (rate !== undefined) return rate;
    }
    return null;
  }

  pick<T>(map: Map<string, T>, n: number): [string, T] | null {
    const all = [...map];
    return all[n % Math.max(1, all.length)] ?? null;
  }

  async send(method: string, path: string, body?: unknown): Promise<any> {
    const answer = await this.api.request(method, path, {
      ...(body !== undefined && { body }),
      headers: method === 'POST' ? newKey() : { 'If-Match': '*' },
    });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  named(n: number): { source: string; externalId: string } | null {
    const externalId = this.names[n];
    return externalId === undefined ? null : { source: 'shop', externalId };
  }

  /** Who has the order; of nobody known, the row that is its own. */
  ownerOf(id: string, customer: { externalId: string } | null): string {
    if (customer) return customer.externalId;
    this.nobodies.add(nobodyOf(id));
    return nobodyOf(id);
  }

  document(sold: { customer: number; at: string; foreign: boolean; total: number; tax: number; test: boolean }) {
    return {
      customer: this.named(sold.customer),
      placedAt: sold.at,
      currency: sold.foreign ? this.foreign : 'EUR',
      total: sold.total,
      items: [{ sku: 'A', quantity: 1, total: sold.total, ...(costs(sold) && { cost: lineCost }) }],
      tax: sold.tax,
      taxIncluded: true,
      paymentStatus: 'paid',
      test: sold.test,
    };
  }

  /** What a document does to the order it names. */
  note(id: string, before: Order | undefined, document: ReturnType<History['document']>): Order {
    const { placedAt, currency, total, tax, test } = document;
    const order = {
      ...(before ?? { refunds: [], rate: null }),
      id,
      placedAt,
      currency,
      total,
      tax,
      test,
      cancelled: false,
      customer: this.ownerOf(id, document.customer),
    };
    return { ...order, rate: this.frozen(before && { ...before, at: before.placedAt }, currency, placedAt) };
  }

  frozen(
    before: { rate: string | null; currency: string; at: string } | undefined,
    currency: string,
    at: string,
  ): string | null {
    const same = before?.currency === currency && localDate(before.at, this.zone).equals(localDate(at, this.zone));
    return (same ? before.rate : null) ?? this.rateAt(currency, at);
  }

  async run(one: Step): Promise<void> {
    if (one.kind === 'insert') {
      const document = this.document(one);
      const externalId = fresh('order');
      const { id } = await this.send('POST', '/v1/orders', { source: 'shop', externalId, ...document });
      this.orders.set(externalId, this.note(id, undefined, document));
    } else if (one.kind === 'batch') {
      const changed = this.pick(this.orders, one.order);
      const orders = one.sales.map((sold, i) => ({
        source: 'shop',
        externalId: i === 1 && changed ? changed[0] : fresh('order'),
        ...this.document(sold),
      }));
      const { results } = await this.send('POST', '/v1/orders/batch', { orders });
      for (const [i, document] of orders.entries()) {
        const { status, id } = results[i];
        const before = this.orders.get(document.externalId);
        if (status === 'refused') throw new Error(`${status} ${JSON.stringify(document)}`);
        this.orders.set(document.externalId, this.note(id, before, document));
      }
    } else if (one.kind === 'return') {
      const externalId = fresh('return');
      const customer = this.names[one.customer] ?? '';
      const currency = one.foreign ? this.foreign : 'EUR';
      const body = {
        source: 'shop',
        externalId,
        customer: { externalId: customer },
        returnedAt: one.at,
        currency,
        total: one.total,
      };
      const { id } = await this.send('POST', '/v1/returns', body);
      this.returns.set(externalId, {
        id,
        customer,
        returnedAt: one.at,
        currency,
        total: one.total,
        rate: this.rateAt(currency, one.at),
      });
    } else if (one.kind === 'rate') {
      const date = localDate(one.at, this.zone).toString();
      await this.send('PUT', '/v1/exchange-rates', { rates: [{ currency: this.foreign, date, rate: one.rate }] });
      this.rates.set(date, one.rate);
      for (const order of this.orders.values()) order.rate ??= this.rateAt(order.currency, order.placedAt);
      for (const back of this.returns.values()) back.rate ??= this.rateAt(back.currency, back.returnedAt);
    } else if (one.kind === 'changeReturn' || one.kind === 'deleteReturn') {
      const [externalId, back] = this.pick(this.returns, one.return) ?? [];
      if (!externalId || !back) return;
      if (one.kind === 'deleteReturn') {
        await this.send('DELETE', `/v1/returns/${back.id}`);
        this.returns.delete(externalId);
        return;
      }
      const customer = this.names[one.customer] ?? '';
      await this.send('PATCH', `/v1/returns/${back.id}`, { returnedAt: one.at, customer: { externalId: customer } });
      const rate = this.frozen({ ...back, at: back.returnedAt }, back.currency, one.at);
      this.returns.set(externalId, { ...back, returnedAt: one.at, customer, rate });
    } else {
      const [externalId, order] = this.pick(this.orders, one.order) ?? [];
      if (externalId && order) await this.change(one, externalId, order);
    }
  }

  async change(
    one: Exclude<Step, { kind: 'insert' | 'batch' | 'return' | 'rate' | 'changeReturn' | 'deleteReturn' }>,
    externalId: string,
    order: Order,
  ): Promise<void> {
    const path = `/v1/orders/${order.id}`;
    const patch = (body: object) => this.send('PATCH', path, body);
    switch (one.kind) {
      case 'replace': {
        const document = this.document({ ...one, total: Math.max(one.total, sum(order.refunds)) });
        await this.send('PUT', `/v1/orders/external/shop/${externalId}`, document);
        this.orders.set(externalId, this.note(order.id, order, document));
        return;
      }
      case 'redate':
        await patch({ placedAt: one.at });
        order.rate = this.frozen({ ...order, at: order.placedAt }, order.currency, one.at);
        order.placedAt = one.at;
        return;
      case 'exchange': {
        const currency = one.foreign ? this.foreign : 'EUR';
        await patch({ currency });
        order.rate = this.frozen({ ...order, at: order.placedAt }, currency, order.placedAt);
        order.currency = currency;
        return;
      }
      case 'try':
        await patch({ test: one.test });
        order.test = one.test;
        return;
      case 'cancel':
        await patch({ cancelledAt: one.cancelled ? '2026-11-01T00:00:00Z' : null });
        order.cancelled = one.cancelled;
        return;
      case 'refund': {
        const left = Math.max(0, order.total - sum(order.refunds));
        const refunded = one.full ? left : Math.floor(left / 2);
        const { id } = await this.send('POST', `${path}/refunds`, { amount: refunded, refundedAt: order.placedAt });
        order.refunds.push({ id, amount: refunded });
        return;
      }
      case 'unrefund': {
        const refund = order.refunds.pop();
        if (refund) await this.send('DELETE', `/v1/refunds/${refund.id}`);
        return;
      }
      case 'move':
        order.customer = this.ownerOf(order.id, this.named(one.customer));
        await patch({ customer: this.named(one.customer) });
        return;
      case 'delete':
        await this.send('DELETE', path);
        this.orders.delete(externalId);
    }
  }

  /** The derived state as a plain loop over what was sent. */
  expected(): Record<string, unknown> {
    const rows: Record<string, Counters> = {};
    const at = (key: string): Counters => {
      rows[key] ??= {
        orders: 0,
        revenue: 0,
        base_orders: 0,
        base_revenue: 0,
        returns: 0,
        returned: 0,
        base_returns: 0,
        base_returned: 0,
      };
      return rows[key];
    };
    const days = new Map<string, Set<string>>();
    const times = new Map<string, string[]>();
    const bought = new Map<string, { day: string; base: number | null }[]>();
    for (const order of this.orders.values()) {
      const refunded = sum(order.refunds);
      const whole = refunded > 0 && refunded >= order.total;
      if (order.cancelled || order.test || whole) continue;
      const date = localDate(order.placedAt, this.zone);
      const stats = `${order.customer} ${order.currency}`;
      const revenue = netLeft(order, order.refunds);
      const base = order.rate === null ? null : toBase(revenue, order.rate, order.currency);
      bought.set(order.customer, [...(bought.get(order.customer) ?? []), { day: date.toString(), base }]);
      for (const row of [at(stats), at(`${stats} ${date.with({ day: 1 })}`)]) {
        row.orders += 1;
        row.revenue += revenue;
        if (order.rate !== null) {
          row.base_orders += 1;
          row.base_revenue += toBase(revenue, order.rate, order.currency);
        }
      }
      const month = at(`${stats} ${date.with({ day: 1 })}`);
      if (order.rate !== null) {
        month.lines = Number(month.lines ?? 0) + 1;
        if (costs(order)) {
          month.costed = Number(month.costed ?? 0) + 1;
          month.cost = Number(month.cost ?? 0) + toBase(lineCost, order.rate, order.currency);
        }
      }
      days.set(stats, (days.get(stats) ?? new Set()).add(date.toString()));
      times.set(stats, [...(times.get(stats) ?? []), order.placedAt]);
    }
    for (const back of this.returns.values()) {
      const stats = `${back.customer} ${back.currency}`;
      for (const row of [at(stats), at(`${stats} ${localDate(back.returnedAt, this.zone).with({ day: 1 })}`)]) {
        row.returns += 1;
        row.returned += back.total;
        if (back.rate !== null) {
          row.base_returns += 1;
          row.base_returned += toBase(back.total, back.rate, back.currency);
        }
      }
    }
    for (const [key, row] of Object.entries(rows)) {
      if (key.split(' ').length > 2) {
        rows[key] = { ...row, lines: row.lines ?? 0, costed: row.costed ?? 0, cost: row.cost ?? 0 };
        continue;
      }
      const sorted = (times.get(key) ?? []).sort((a, b) => Temporal.Instant.compare(a, b));
      row.purchase_days = days.get(key)?.size ?? 0;
      row.first = micros(sorted[0]);
      row.last = micros(sorted.at(-1));
    }
    const purchases: Record<string, unknown> = {};
    for (const [customer, orders] of bought) {
      const by = [...new Set(orders.map(({ day }) => day))].sort();
      const upTo = by.map((last) => orders.filter(({ day }) => day <= last));
      purchases[`${customer} purchases`] = {
        days: by,
        orders: upTo.map((all) => all.length),
        revenue: upTo.map((all) => all.reduce((total, { base }) => total + (base ?? 0), 0)),
        unvalued: orders.filter(({ base }) => base === null).length,
      };
    }
    return { ...rows, ...purchases };
  }
}

type Counters = Record<string, number | string | null> & {
  orders: number;
  revenue: number;
  base_orders: number;
  base_revenue: number;
  returns: number;
  returned: number;
  base_returns: number;
  base_returned: number;
};

const sum = (refunds: { amount: number }[] | undefined) =>
  (refunds ?? []).reduce((total, { amount: one }) => total + one, 0);
const micros = (at: string | undefined) =>
  at === undefined ? null : String(Temporal.Instant.from(at).epochNanoseconds / 1000n);

/** Minor units of EUR, half away from zero. */
function toBase(minor: number, rate: string, currency: string): number {
  const [whole = '', fraction = ''] = rate.split('.');
  const numerator = BigInt(minor) * BigInt(whole + fraction) * 10n ** 2n;
  const denominator = 10n ** BigInt(fraction.length + minorUnits(currency));
  const doubled = 2n * (numerator < 0n ? -numerator : numerator);
  const rounded = Number((doubled + denominator) / (2n * denominator));
  return numerator < 0n ? -rounded : rounded;
}

const columns =
  'orders, revenue::float8, base_orders, base_revenue::float8, returns, returned::float8, base_returns, base_returned::float8';

async function stored(database: pg.Client, names: string[]): Promise<Record<string, unknown>> {
  const owner = `left join external_refs r on r.kind = 'customer' and r.source = 'shop' and r.record_id = s.customer_id where coalesce(r.external_id, s.customer_id::text) = any($1)`;
  const name = `coalesce(r.external_id, s.customer_id::text)`;
  const epoch = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint::text`;
  const { rows: stats } = await database.query(
    `select ${name} || ' ' || currency as key, ${columns}, purchase_days, ${epoch('first_order_at')} as first, ${epoch('last_order_at')} as last from customer_stats s ${owner}`,
    [names],
  );
  const { rows: months } = await database.query(
    `select ${name} || ' ' || currency || ' ' || month as key, ${columns}, base_lines as lines, base_costed_lines as costed, base_cost::float8 as cost from customer_month s ${owner}`,
    [names],
  );
  const { rows: purchases } = await database.query(
    `select ${name} || ' purchases' as key, days::text[], orders, revenue::float8[], unvalued from customer_purchases s ${owner}`,
    [names],
  );
  return Object.fromEntries([...stats, ...months, ...purchases].map(({ key, ...row }) => [key, row]));
}

let used = 0;

async function holdsIn(t: Test, zone: string, runs: number): Promise<void> {
  const api = await testApp(t, { env: { REPORTING_TIME_ZONE: zone } });
  const database = new pg.Client(api.connection);
  await database.connect();
  const pool = openPool(api.connection, { size: 1, statementTimeout: 30_000 });
  t.teardown(async () => {
    await database.end();
    await pool.end();
  });
  await fc.assert(
    fc.asyncProperty(fc.array(stepsAround(zones[zone] ?? []), { minLength: 3, maxLength: 25 }), async (steps) => {
      used += 1;
      const history = new History(api, foreignCurrencies[used % foreignCurrencies.length] ?? 'USD');
      for (const [n, one] of steps.entries()) {
        await history.run(one);
        // Not only at the end: a change recomputes its customer, and would hide what an insert before it got wrong.
        if (n % 2 === 1 || n === steps.length - 1) {
          compare(history.expected(), await stored(database, [...history.names, ...history.nobodies]));
        }
      }
    }),
    { numRuns: runs, interruptAfterTimeLimit: 20_000 },
  );
  t.same(await rollupDifferences(poolDb(pool), zone, 10), [], 'verify-rollups agrees');
  const left = await database.query(
    `select id from customers c where id >= 'ffffffff-0000-0000-0000-000000000000'
     and not exists (select from orders o where o.customer_id = c.id)`,
  );
  t.same(left.rows, [], 'no owner of nothing is left behind');
}

function compare(expected: Record<string, unknown>, found: Record<string, unknown>): void {
  const keys = [...new Set([...Object.keys(expected), ...Object.keys(found)])];
  const text = (rows: Record<string, unknown>, key: string) => JSON.stringify(sorted(rows[key]));
  const wrong = keys.filter((key) => text(expected, key) !== text(found, key));
  if (wrong.length === 0) return;
  throw new Error(
    wrong.map((key) => `${key}\n  counted ${text(expected, key)}\n  stored  ${text(found, key)}`).join('\n'),
  );
}

const sorted = (row: unknown) => row && Object.entries(row).sort(([a], [b]) => a.localeCompare(b));

for (const zone of Object.keys(zones)) {
  t.test(`after any history the derived state is what the facts come to: ${zone}`, (t) =>
    holdsIn(t, zone, draws({ quick: 4, deep: 10 })),
  );
}
