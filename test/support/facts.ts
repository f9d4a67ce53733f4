import { sql } from 'drizzle-orm';
import type pg from 'pg';
import type { Test } from 'tap';
import { recomputeCustomers } from '../../src/features/rollups/queries.ts';
import { noAudit } from '../../src/platform/audit.ts';
import { fixedDirectory } from '../../src/platform/auth/directory.ts';
import { storedSecrets } from '../../src/platform/auth/stored-secrets.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { openPool, poolDb, statement, transaction } from '../../src/platform/db/client.ts';
import { openFeed } from '../../src/platform/feed.ts';
import { keyedHash } from '../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../src/platform/link-token.ts';
import { type Context, call, createContext, type Operation, type Services } from '../../src/platform/operation.ts';
import { openOutgoing } from '../../src/platform/outgoing.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { nobodyOf } from '../../src/records/nobody.ts';
import { testDatabase } from './database.ts';
import { netLeft } from './refund-oracle.ts';

/** Facts written straight into the tables, for tests of what is counted rather than of how it got there. */

export interface OrderFact {
  customer: number;
  at: string;
  /** Minor units. Default: 1000. */
  total?: number;
  tax?: number;
  currency?: string;
  /** Base minor units per minor unit of the currency; null: no rate yet. Default: 1. */
  factor?: string | null;
  /** Amounts of its refunds. */
  refunds?: number[];
  cancelled?: boolean;
  test?: boolean;
  pending?: boolean;
  /** Cost per line; null: a line without one. Default: no lines. */
  costs?: (number | null)[];
  /** Of its lines. Default: A. */
  sku?: string;
  channel?: string | null;
}

export interface ReturnFact {
  customer: number;
  at: string;
  total: number;
  currency?: string;
  factor?: string | null;
}

export interface CustomerFact {
  customer: number;
  acquisitionCost?: number | null;
  acquiredOn?: string | null;
  /** Default: ads. */
  acquisitionSource?: string | null;
  tags?: string[];
}

export interface Facts {
  customers?: CustomerFact[];
  orders?: OrderFact[];
  returns?: ReturnFact[];
}

/** The id of the n-th customer; other kinds of record have a digit of their own. */
export function idOf(n: number, kind = 0): string {
  return `0193a6c2-8f00-7${kind}00-8000-${String(n).padStart(12, '0')}`;
}

/** Its refunds, given at once, and what they take from it. */
function refundRows({
  total = 1000,
  tax = 0,
  refunds = [],
}: OrderFact): { amount: number; net: number; before: number }[] {
  return refunds.map((amount, index) => {
    const left = (count: number) =>
      netLeft(
        { total, tax },
        refunds.slice(0, count).map((one) => ({ amount: one })),
      );
    return { amount, net: left(index) - left(index + 1), before: left(index) };
  });
}

function refundedNet({ total = 1000, tax = 0, refunds = [] }: OrderFact): number {
  const left = netLeft(
    { total, tax },
    refunds.map((amount) => ({ amount })),
  );
  return total - tax - left;
}

/** The customer of an order of nobody known. */
export const nobody = 0;

export async function insertFacts(pool: pg.Pool, { customers = [], orders = [], returns = [] }: Facts): Promise<void> {
  const known = new Map(customers.map((c) => [idOf(c.customer), c]));
  const base = await pool.query<{ n: number }>(
    'select (select count(*) from orders)::int + (select count(*) from returns)::int as n',
  );
  const offset = base.rows[0]?.n ?? 0;
  const ownerAt = ({ customer }: OrderFact, i: number) =>
    customer === nobody ? nobodyOf(idOf(offset + i, 1)) : idOf(customer);
  const owners = new Set([...known.keys(), ...orders.map(ownerAt), ...returns.map((r) => idOf(r.customer))]);
  await pool.query(
    `insert into customers (id, version, kind, name, acquisition_source, acquisition_cost, acquired_on, tags, created_at, updated_at)
     select id, 1, 'person', 'Ada', source, cost, "on", tags, now(), now()
     from json_to_recordset($1) as n(id uuid, cost bigint, "on" date, source text, tags text[])
     on conflict do nothing`,
    [
      JSON.stringify(
        [...owners].map((id) => ({
          id,
          cost: known.get(id)?.acquisitionCost ?? null,
          on: known.get(id)?.acquiredOn ?? null,
          source: known.get(id)?.acquisitionSource === undefined ? 'ads' : known.get(id)?.acquisitionSource,
          tags: known.get(id)?.tags ?? null,
        })),
      ),
    ],
  );
  await pool.query(
    `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax, tax_included,
       rounding, payment_status, fulfillment_status, cancelled_at, test, exchange_rate, base_factor, refunds, refunded, refunded_net, channel, created_at, updated_at)
     select customer, id, 1, 'shop', id::text, "at", currency, total, 0, 0, 0, tax, true, 0, payment, 'unfulfilled',
       case when cancelled then "at" end, test, factor, factor, refunds, refunded, "refundedNet", channel, now(), now()
     from json_to_recordset($1) as n(customer uuid, id uuid, "at" timestamptz, currency char(3), total bigint, tax bigint, payment text, cancelled boolean,
       test boolean, factor numeric, refunds int, refunded bigint, "refundedNet" bigint, channel text)`,
    [
      JSON.stringify(
        orders.map((o, i) => ({
          customer: ownerAt(o, i),
          id: idOf(offset + i, 1),
          at: o.at,
          currency: o.currency ?? 'EUR',
          total: o.total ?? 1000,
          tax: o.tax ?? 0,
          payment: o.pending ? 'pending' : 'paid',
          cancelled: o.cancelled ?? false,
          test: o.test ?? false,
          factor: o.factor === undefined ? '1' : o.factor,
          refunds: o.refunds?.length ?? 0,
          refunded: (o.refunds ?? []).reduce((sum, amount) => sum + amount, 0),
          refundedNet: refundedNet(o),
          channel: o.channel ?? null,
        })),
      ),
    ],
  );
  await pool.query(
    `insert into refunds (customer_id, id, version, order_id, amount, net, net_before, refunded_at, created_at, updated_at)
     select customer, gen_random_uuid(), 1, "order", amount, net, before, "at", now(), now()
     from json_to_recordset($1) as n(customer uuid, "order" uuid, amount bigint, net bigint, before bigint, "at" timestamptz)`,
    [
      JSON.stringify(
        orders.flatMap((o, i) =>
          refundRows(o).map((row) => ({ ...row, customer: ownerAt(o, i), order: idOf(offset + i, 1), at: o.at })),
        ),
      ),
    ],
  );
  await pool.query(
    `insert into order_items (customer_id, order_id, line, sku, quantity, total, cost)
     select customer, "order", line, sku, 1, 0, cost from json_to_recordset($1) as n(customer uuid, "order" uuid, line int, sku text, cost bigint)`,
    [
      JSON.stringify(
        orders.flatMap((o, i) =>
          (o.costs ?? []).map((cost, line) => ({
            customer: ownerAt(o, i),
            order: idOf(offset + i, 1),
            line,
            sku: o.sku ?? 'A',
            cost,
          })),
        ),
      ),
    ],
  );
  await pool.query(
    `insert into returns (customer_id, id, version, source, external_id, returned_at, currency, total, exchange_rate, base_factor, created_at, updated_at)
     select customer, id, 1, 'shop', id::text, "at", currency, total, factor, factor, now(), now()
     from json_to_recordset($1) as n(customer uuid, id uuid, "at" timestamptz, currency char(3), total bigint, factor numeric)`,
    [
      JSON.stringify(
        returns.map((r, i) => ({
          customer: idOf(r.customer),
          id: idOf(offset + orders.length + i, 2),
          at: r.at,
          currency: r.currency ?? 'EUR',
          total: r.total,
          factor: r.factor === undefined ? '1' : r.factor,
        })),
      ),
    ],
  );
}

export async function clearFacts(pool: pg.Pool): Promise<void> {
  await pool.query('truncate customer_month, customer_stats, order_items, returns, orders, customers cascade');
}

const allCustomers = statement<{ id: string }>(
  'all_customers',
  sql`select id from customers order by id for no key update`,
);

/** Brings the rollups in line with facts that were written past the operations. */
export async function rollUp(pool: pg.Pool, reportingTimeZone: string): Promise<void> {
  await transaction(pool, async (tx) => {
    const customers = await tx.all(allCustomers);
    await recomputeCustomers(
      tx,
      customers.map(({ id }) => id),
      reportingTimeZone,
    );
  });
}

export interface World {
  pool: pg.Pool;
  /** Runs an operation and answers its output. */
  ask: (operation: Operation, input?: object, more?: Partial<Context> & { scopes?: string[] }) => Promise<unknown>;
}

/** A migrated database of its own, with these facts, rolled up; the clock stands still. */
export async function world(
  t: Pick<Test, 'teardown'>,
  facts: Facts,
  settings: { now: string; baseCurrency?: string; reportingTimeZone?: string },
): Promise<World> {
  const { connection } = await testDatabase(t);
  const pool = openPool(connection, { size: 4, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  const services: Services = {
    db: poolDb(pool),
    pool,
    baseCurrency: settings.baseCurrency ?? 'EUR',
    reportingTimeZone: settings.reportingTimeZone ?? 'UTC',
    cursors: cursorCodec(Buffer.alloc(32)),
    links: linkTokens(Buffer.alloc(32)),
    tombstones: keyedHash(Buffer.alloc(32)),
    directory: fixedDirectory(),
    issuer: null,
    audit: noAudit,
    feed: openFeed(poolDb(pool), 90),
    secrets: storedSecrets(Buffer.alloc(32)),
    outgoing: openOutgoing({ allow: [], production: false }),
    redirects: async () => new Map(),
    clock: () => settings.now,
  };
  // Tests clear tables, which the service may not.
  const store = openPool(connection, { size: 4, statementTimeout: 60_000, as: 'login' });
  t.teardown(() => store.end());
  await insertFacts(store, facts);
  await rollUp(store, services.reportingTimeZone);
  return {
    pool: store,
    async ask(operation, input = {}, { scopes = ['*'], ...more } = {}) {
      const context = { ...createContext(services, createPrincipal('test', scopes), 'request'), ...more };
      const { output } = await call(operation, context, input);
      return output;
    },
  };
}
