import pg from 'pg';
import t from 'tap';
import { derivedState } from '../../src/derived-state.ts';
import { recomputeCustomers } from '../../src/features/rollups/queries.ts';
import { tablePolicies } from '../../src/features.ts';
import { openPool, poolDb, transaction } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { upgradesFor } from '../../src/upgrades.ts';
import { emptyDatabase } from '../support/database.ts';
import { migrationsFolder } from '../support/server.ts';
import { migrationsUpTo, upgradeAs } from '../support/upgrade.ts';

/** Before points followed the goods: rules, and points of what the revenue of an order was. */
const rules = {
  ...{ pointsPerUnit: 1, rounding: 'down', earnOn: 'paid', pendingDays: 0, expiryDays: 365, pointValue: 1 },
  ...{ refundPolicy: 'allow_negative', categories: [{ category: 'books', multiplier: 3 }], campaigns: [], bonuses: {} },
  tiers: {
    ...{ basis: 'spend', windowDays: 3_650, periodDays: 3_650, graceDays: 0 },
    levels: [
      { key: 'bronze', name: 'Bronze', threshold: 0, multiplier: 1 },
      { key: 'gold', name: 'Gold', threshold: 20_000, multiplier: 2 },
    ],
  },
};

const idOf = (n: number) => `0193a6c2-8f00-7c3e-9b1a-${String(n).padStart(12, '0')}`;
const programmeId = idOf(1);
const started = Date.now();
const ago = (days: number) => new Date(started - days * 86_400_000).toISOString();

/** Writes what a store of the version before issue 12 (migration 0005) holds. */
class FormerStore {
  readonly client: pg.Client;
  made = 1_000;

  constructor(client: pg.Client) {
    this.client = client;
  }

  next(): string {
    this.made += 1;
    return idOf(this.made);
  }

  insert(table: string, row: Record<string, unknown>) {
    const names = Object.keys(row);
    const text = `insert into ${table} (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')})`;
    return this.client.query(text, Object.values(row));
  }

  async programme(): Promise<void> {
    const dates = { created_at: ago(900), updated_at: ago(900) };
    const json = JSON.stringify(rules);
    await this.insert('loyalty_programmes', {
      ...{ id: programmeId, version: 1, name: 'Club', status: 'active', rules: json },
      ...dates,
    });
    await this.insert('loyalty_programme_versions', {
      ...{ programme_id: programmeId, number: 1, rules: json, published_by: 'test' },
      ...{ valid_from: ago(900), published_at: ago(900) },
    });
  }

  /** @param steps of the tier, as they were noted: at, tier, what counted */
  async member(tier: string, ...steps: [number, string, number][]): Promise<string> {
    const id = this.next();
    const dates = { created_at: ago(800), updated_at: ago(800) };
    await this.insert('customers', { id, version: 1, kind: 'person', ...dates });
    await this.insert('loyalty_accounts', {
      ...{ customer_id: id, programme_id: programmeId, version: 1, joined_at: ago(800), joined_on: ago(800), tier },
      ...{ tier_since: ago(steps.at(-1)?.[0] ?? 800), tier_ends_at: null, tier_in_grace: false },
      ...{ active: 0, pending: 0, debt: 0, settled_at: ago(1), referral_rewarded: false, ...dates },
    });
    const all: [number, string, number][] = [[800, 'bronze', 0], ...steps];
    for (const [n, [days, to, amount]] of all.entries()) {
      await this.insert('loyalty_tier_changes', {
        ...{ customer_id: id, sequence: n + 1, at: ago(days), previous: n === 0 ? null : 'bronze', tier: to, amount },
        ...{ reason: n === 0 ? 'enrolment' : 'upgrade', created_at: ago(days) },
        ends_at: to === 'gold' ? ago(days - 3_650) : null,
      });
    }
    const endsAt = tier === 'gold' ? ago((steps.at(-1)?.[0] ?? 0) - 3_650) : null;
    await this.client.query('update loyalty_accounts set tier_ends_at = $2 where customer_id = $1', [id, endsAt]);
    return id;
  }

  /** @param earned what the order is entitled to, and with which tier */
  async order(
    customerId: string,
    days: number,
    items: [sku: string, category: string, total: number][],
    earned: { entitled: number; spend: number; tier?: string },
    refund?: { days: number; amount: number; sku?: string },
  ): Promise<string> {
    const id = this.next();
    const total = items.reduce((sum, [, , one]) => sum + one, 0);
    await this.insert('orders', {
      ...{ customer_id: customerId, id, version: 1, source: 'shop', external_id: id, placed_at: ago(days) },
      ...{ currency: 'EUR', total, discount: 0, shipping: 0, fees: 0, tax: 0, tax_included: true, rounding: 0 },
      ...{ payment_status: 'paid', fulfillment_status: 'unfulfilled', test: false, exchange_rate: 1, base_factor: 1 },
      ...{ refunds: refund ? 1 : 0, refunded: refund?.amount ?? 0, created_at: ago(days), updated_at: ago(days) },
    });
    for (const [line, [sku, category, one]] of items.entries()) {
      const of = { customer_id: customerId, order_id: id, line };
      await this.insert('order_items', { ...of, sku, category, quantity: 1, total: one });
    }
    if (refund) {
      const refundId = this.next();
      const at = ago(refund.days);
      await this.insert('refunds', {
        ...{ customer_id: customerId, id: refundId, order_id: id, version: 1, amount: refund.amount },
        ...{ refunded_at: at, created_at: at },
      });
      const of = { customer_id: customerId, refund_id: refundId, line: 0 };
      if (refund.sku) await this.insert('refund_items', { ...of, sku: refund.sku, quantity: 1, total: refund.amount });
    }
    const { entitled, spend, tier = 'bronze' } = earned;
    const of = { customer_id: customerId, order_id: id };
    await this.insert('loyalty_earnings', { ...of, placed_at: ago(days), entitled, spend, tier });
    return id;
  }

  /** A transaction of one entry; a lot of its own when it is one of earning. */
  async moved(
    customerId: string,
    kind: string,
    points: number,
    days: number,
    { lot, orderId, ...more }: { lot?: string; orderId?: string; entitled?: number; lapsed?: number } = {},
  ): Promise<string> {
    const id = this.next();
    await this.insert('loyalty_transactions', {
      ...{ customer_id: customerId, id, kind, points, at: ago(days), order_id: orderId ?? null, lapsed: 0, waived: 0 },
      ...{ by: 'shop', created_at: ago(days), ...more },
    });
    const lotId = lot ?? this.next();
    if (lot === undefined) {
      await this.insert('loyalty_lots', {
        ...{ customer_id: customerId, id: lotId, transaction_id: id, points, remaining: 0, order_id: orderId ?? null },
        ...{ earned_at: ago(days), active_at: ago(days), expires_at: ago(days - 365) },
      });
    }
    if (points !== 0) {
      const of = { customer_id: customerId, transaction_id: id, line: 1 };
      await this.insert('loyalty_entries', { ...of, lot_id: lotId, points, at: ago(days) });
    }
    return lotId;
  }

  /** Lots and accounts add up their entries. */
  async addUp(): Promise<void> {
    await this.client.query(`update loyalty_lots l set remaining = coalesce((
        select sum(e.points) from loyalty_entries e where e.customer_id = l.customer_id and e.lot_id = l.id), 0);
      update loyalty_accounts a set active = coalesce((
          select sum(l.remaining) from loyalty_lots l where l.customer_id = a.customer_id), 0),
        next_at = (select min(l.expires_at) from loyalty_lots l where l.customer_id = a.customer_id and l.remaining > 0)`);
  }
}

t.test('points that members have are brought to those of the goods; what was spent or expired stays', async (t) => {
  const { connection } = await emptyDatabase(t);
  await migrate(connection, { folder: migrationsUpTo(t, '0005') });
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  const store = new FormerStore(client);
  await store.programme();

  // 60.00 of books × 3 and 40.00 of food: 220 points. The books came back; as a share of all that were 132 of them, of
  // the goods 180. 80 were spent, so 8 are left, and 40 of the 48 become debt.
  const both: [string, string, number][] = [
    ['B', 'books', 6_000],
    ['F', 'food', 4_000],
  ];
  const booksBack = { entitled: 88, spend: 4_000 };
  const spender = await store.member('bronze');
  const back = await store.order(spender, 100, both, booksBack, { days: 20, amount: 6_000, sku: 'B' });
  const lot = await store.moved(spender, 'earn', 220, 100, { orderId: back, entitled: 220 });
  await store.moved(spender, 'spend', -80, 50, { lot });
  await store.moved(spender, 'reverse', -132, 20, { lot, orderId: back, entitled: 88 });

  // The same of long ago: the points had expired before, so nothing is owed.
  const idle = await store.member('bronze');
  const old = await store.order(idle, 400, both, booksBack, { days: 20, amount: 6_000, sku: 'B' });
  const expired = await store.moved(idle, 'earn', 220, 400, { orderId: old, entitled: 220 });
  await store.moved(idle, 'expire', -220, 35, { lot: expired });
  await store.moved(idle, 'reverse', 0, 20, { lot: expired, orderId: old, entitled: 88, lapsed: 132 });

  // 250.00 of 90 days ago came 10 days ago: gold as of then. What was bought 50 days ago is worth twice as much now.
  const late = await store.member('gold', [10, 'gold', 28_000]);
  const known = await store.order(late, 50, [['F', 'food', 3_000]], { entitled: 30, spend: 3_000 });
  await store.moved(late, 'earn', 30, 50, { orderId: known, entitled: 30 });
  const came = await store.order(late, 90, [['F', 'food', 25_000]], { entitled: 250, spend: 25_000 });
  await store.moved(late, 'earn', 250, 90, { orderId: came, entitled: 250 });

  // Gold by 250.00, of which 100.00 were refunded: the tier stayed, and what was bought with it counted twice.
  const fallen = await store.member('gold', [90, 'gold', 25_000]);
  const reduced = { days: 60, amount: 10_000 };
  const big = await store.order(fallen, 90, [['F', 'food', 25_000]], { entitled: 150, spend: 15_000 }, reduced);
  const bigLot = await store.moved(fallen, 'earn', 250, 90, { orderId: big, entitled: 250 });
  await store.moved(fallen, 'reverse', -100, 60, { lot: bigLot, orderId: big, entitled: 150 });
  const twice = { entitled: 20, spend: 1_000, tier: 'gold' };
  const small = await store.order(fallen, 30, [['F', 'food', 1_000]], twice);
  await store.moved(fallen, 'earn', 20, 30, { orderId: small, entitled: 20 });

  const steady = await store.member('bronze');
  const same = await store.order(steady, 30, [['F', 'food', 1_000]], { entitled: 10, spend: 1_000 });
  await store.moved(steady, 'earn', 10, 30, { orderId: same, entitled: 10 });
  await store.addUp();
  const members = [spender, idle, late, fallen, steady];
  const ledger = async () =>
    (await client.query('select to_json(t) as row from loyalty_transactions t order by id')).rows.map(({ row }) => row);
  const before = await ledger();

  await migrate(connection, { folder: migrationsFolder, access: tablePolicies() });
  const pool = openPool(connection, { size: 3, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  const config = { baseCurrency: 'EUR', reportingTimeZone: 'UTC' };
  await transaction(pool, (tx) => recomputeCustomers(tx, members, 'UTC'));
  const notes: string[] = [];
  const start = () => upgradeAs(connection, upgradesFor(config), (message) => notes.push(message));
  await Promise.all([start(), start(), start()]);

  const after = await ledger();
  t.same(
    after.filter(({ id }) => before.some((row) => row.id === id)),
    before,
    'what was posted stays as it was',
  );
  const moved = after.filter(({ id }) => !before.some((row) => row.id === id));
  t.same(
    moved.map((row) => [row.customer_id, row.kind, row.order_id, row.points, row.lapsed, row.entitled]).sort(),
    [
      [spender, 'reverse', back, -48, 0, 40],
      [idle, 'reverse', old, 0, 48, 40],
      [late, 'earn', known, 30, 0, 60],
      [fallen, 'reverse', small, -10, 0, 10],
    ].sort(),
  );
  const { rows: lots } = await client.query(
    `select points::int, earned_at, expires_at from loyalty_lots where order_id = $1 order by points`,
    [known],
  );
  t.equal(lots.length, 2, 'more is a lot');
  for (const { earned_at, expires_at } of lots) {
    t.same(
      [earned_at.toISOString(), expires_at.toISOString()],
      [ago(50), ago(50 - 365)],
      'with the dates of its order',
    );
  }
  const { rows: accounts } = await client.query(
    'select customer_id, active::int, debt::int, tier, tier_since from loyalty_accounts order by customer_id',
  );
  t.same(
    accounts.map((row) => [row.customer_id, row.active, row.debt, row.tier, row.tier_since.toISOString()]),
    [
      [spender, -40, 40, 'bronze', ago(800)],
      [idle, 0, 0, 'bronze', ago(800)],
      [late, 310, 0, 'gold', ago(90)],
      [fallen, 160, 0, 'bronze', ago(800)],
      [steady, 10, 0, 'bronze', ago(800)],
    ],
  );
  t.equal(
    notes.at(-1),
    'points follow the goods and the tier at the time of the order now, whatever came first: orders of 4 members are entitled to 30 points more and 106 less, and 1 of them have another tier; what was spent stays',
  );
  const context = { ...config, now: new Date().toISOString(), principal: createPrincipal('test', []) };
  for (const { name, compare } of derivedState) t.same(await compare(poolDb(pool), context, 10), [], name);

  const told = notes.length;
  const accountsOf = async () => (await client.query('select * from loyalty_accounts order by customer_id')).rows;
  const settled = await accountsOf();
  await start();
  t.equal(notes.length, told, 'the next start does nothing');
  t.same([await ledger(), await accountsOf()], [after, settled]);
});
