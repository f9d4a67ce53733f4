import pg from 'pg';
import t from 'tap';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { type Answer, testApp } from '../support/app.ts';
import { soakSeconds } from '../support/draws.ts';
import { fresh, orderOf, pushOrder, pushRefund, pushReturn } from '../support/shop.ts';

/** Sixteen clients on a handful of customers; RAPPORT_TEST_SECONDS=60 for the long run. */
const seconds = soakSeconds(6);

interface Sent {
  id: string;
  externalId: string;
  /** Acknowledged changes: each adds one to the version. */
  changes: number;
  refunds: Set<string>;
  deleted: boolean;
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T; // never called on an empty list
const chance = (p: number) => Math.random() < p;

t.test(
  'after sixteen clients wrote at once, every acknowledged write is there once and the derived state is right',
  async (t) => {
    const api = await testApp(t, { env: { REPORTING_TIME_ZONE: 'Europe/London' } });
    const { request } = api;
    const days = Array.from({ length: 40 }, (_, i) =>
      new Date(Date.parse('2025-02-20T00:00:00Z') + i * 86_400_000).toISOString().slice(0, 10),
    );
    await request('PUT', '/v1/exchange-rates', {
      body: { rates: days.map((date) => ({ date, currency: 'USD', rate: '0.9' })) },
    });

    const customers = Array.from({ length: 6 }, () => fresh('few'));
    const sent: Sent[] = [];
    const returns = new Map<string, boolean>();
    const answers: Record<string, number> = {};
    const surprises: string[] = [];
    const tally = (what: string, { status, body }: Answer, expected: number[]) => {
      const line = `${what} ${status}${status >= 400 ? ` ${body.code}` : ''}`;
      answers[line] = (answers[line] ?? 0) + 1;
      if (!expected.includes(status) || body.code === 'conflict') surprises.push(line);
      return status < 300;
    };
    const placedAt = () => `${pick(days)}T${String(Math.floor(Math.random() * 24)).padStart(2, '0')}:30:00Z`;
    const claim = () => {
      if (chance(0.1)) customers.push(fresh('new'));
      const externalId = pick(chance(0.3) ? customers.slice(-3) : customers.slice(0, 6));
      return { externalId, ...(chance(0.3) && { email: `${externalId}@example.org` }) };
    };
    const sale = () => ({
      customer: claim(),
      placedAt: placedAt(),
      currency: pick(['EUR', 'USD']),
      total: Math.floor(Math.random() * 5000),
    });
    const anyVersion = { 'If-Match': '*' };

    async function insert(): Promise<void> {
      const answer = await pushOrder(api, sale());
      if (tally('insert', answer, [201, 410])) {
        sent.push({
          id: answer.body.id,
          externalId: answer.body.externalId,
          changes: 1,
          refunds: new Set(),
          deleted: false,
        });
      }
    }

    async function batch(): Promise<void> {
      const orders = Array.from({ length: 5 }, () => orderOf(sale()));
      const known = sent.length > 0 ? pick(sent) : null;
      if (known && orders[2]) orders[2].externalId = known.externalId;
      const answer = await request('POST', '/v1/orders/batch', { body: { orders } });
      if (!tally('batch', answer, [200])) return;
      for (const [i, { status, id }] of answer.body.results.entries()) {
        const externalId = orders[i]?.externalId ?? '';
        if (status === 'created') sent.push({ id, externalId, changes: 1, refunds: new Set(), deleted: false });
        else if (status === 'updated' && known) known.changes += 1;
      }
    }

    async function change(order: Sent): Promise<void> {
      const path = `/v1/orders/${order.id}`;
      const what = pick([
        'edit',
        'edit',
        'replace',
        'move',
        'cancel',
        'refund',
        'refund',
        'unrefund',
        'delete',
        'stale',
      ] as const);
      if (what === 'refund') {
        const answer = await pushRefund(api, order.id, { amount: Math.floor(Math.random() * 3000) });
        if (tally(what, answer, [201, 404, 422])) {
          order.changes += 1;
          order.refunds.add(answer.body.id);
        }
      } else if (what === 'unrefund') {
        const [refund] = order.refunds;
        if (
          refund &&
          tally(what, await request('DELETE', `/v1/refunds/${refund}`, { headers: anyVersion }), [204, 404])
        ) {
          order.changes += 1;
          order.refunds.delete(refund);
        }
      } else if (what === 'delete') {
        if (tally(what, await request('DELETE', path, { headers: anyVersion }), [204, 404])) order.deleted = true;
      } else if (what === 'replace') {
        const { source: _, externalId: __, ...body } = orderOf(sale());
        if (
          tally(what, await request('PUT', `/v1/orders/external/shop/${order.externalId}`, { body }), [200, 410, 422])
        )
          order.changes += 1;
      } else {
        const total = Math.floor(Math.random() * 5000);
        const bodies = {
          edit: pick<object>([
            { placedAt: placedAt() },
            { currency: pick(['EUR', 'USD']) },
            { total, items: [{ sku: 'B', quantity: 1, total }] },
          ]),
          move: { customer: claim() },
          cancel: { cancelledAt: pick([null, '2025-04-01T00:00:00Z']) },
          stale: { channel: 'x' },
        };
        const headers = what === 'stale' ? { 'If-Match': '"1"' } : anyVersion;
        if (tally(what, await request('PATCH', path, { body: bodies[what], headers }), [200, 404, 410, 412, 422]))
          order.changes += 1;
      }
    }

    async function giveBack(): Promise<void> {
      const answer = await pushReturn(api, {
        customer: claim(),
        returnedAt: placedAt(),
        currency: pick(['EUR', 'USD']),
      });
      if (tally('return', answer, [201, 410])) returns.set(answer.body.id, true);
      const [id] = pick([...returns]);
      if (!chance(0.5) || !returns.get(id)) return;
      if (chance(0.5))
        tally(
          'change return',
          await request('PATCH', `/v1/returns/${id}`, { body: { customer: claim(), total: 5 }, headers: anyVersion }),
          [200, 404, 410],
        );
      else if (
        tally('delete return', await request('DELETE', `/v1/returns/${id}`, { headers: anyVersion }), [204, 404])
      )
        returns.set(id, false);
    }

    async function customer(): Promise<void> {
      const externalId = pick(customers);
      const path = `/v1/customers/external/shop/${externalId}`;
      const p = Math.random();
      if (p < 0.5) {
        const body = { name: 'x', identities: [{ kind: 'email', value: `${externalId}@example.org` }] };
        tally('customer', await request('PUT', path, { body }), [200, 201, 409, 410]);
      } else if (p < 0.8) {
        // The newest ones are just getting their first orders, or have just lost them.
        const newest = `/v1/customers/external/shop/${pick(customers.slice(-3))}`;
        tally('delete customer', await request('DELETE', newest, { headers: anyVersion }), [204, 404, 409, 410]);
      } else {
        const rates = [{ date: pick(days), currency: 'USD', rate: '0.91' }];
        tally('rates', await request('PUT', '/v1/exchange-rates', { body: { rates } }), [200]);
      }
    }

    const end = Date.now() + seconds * 1000;
    const client = async () => {
      while (Date.now() < end && surprises.length < 20) {
        const p = Math.random();
        if (p < 0.35 || sent.length === 0) await insert();
        else if (p < 0.4) await batch();
        else if (p < 0.5) await giveBack();
        else if (p < 0.57) await customer();
        else await change(pick(chance(0.5) ? sent.slice(-10) : sent));
      }
    };
    await Promise.all(Array.from({ length: 16 }, client));
    t.comment(`${Object.values(answers).reduce((a, b) => a + b, 0)} answers in ${seconds} s`, answers);
    t.same(surprises, [], 'no 5xx, no deadlock that a client gets to see');

    const pool = openPool(api.connection, { size: 1, statementTimeout: 60_000 });
    t.teardown(() => pool.end());
    t.same(await rollupDifferences(poolDb(pool), 'Europe/London', 20), [], 'the derived state is that of the facts');
    const database = new pg.Client(api.connection);
    await database.connect();
    t.teardown(() => database.end());
    const { rows } = await database.query<{ id: string; version: number; refunds: string[] | null }>(
      `select o.id, o.version, (select array_agg(r.id::text order by r.id) from refunds r where r.order_id = o.id) as refunds from orders o`,
    );
    const stored = new Map<string, typeof rows>();
    for (const row of rows) stored.set(row.id, [...(stored.get(row.id) ?? []), row]);
    const wrong = sent.flatMap((order) => {
      const found = stored.get(order.id) ?? [];
      const [row] = found;
      if (order.deleted) return found.length === 0 ? [] : [`${order.id} was deleted`];
      if (found.length !== 1 || !row) return [`${order.id} is there ${found.length} times`];
      const refunds = [...order.refunds].sort().join();
      if ((row.refunds ?? []).join() !== refunds) return [`${order.id} has the refunds ${row.refunds}, not ${refunds}`];
      return row.version === order.changes ? [] : [`${order.id} has version ${row.version}, not ${order.changes}`];
    });
    t.same(wrong, []);
    t.equal(rows.length, sent.filter(({ deleted }) => !deleted).length, 'and nothing else is');
    const { rows: kept } = await database.query<{ id: string }>('select id from returns order by id');
    t.same(
      kept.map(({ id }) => id),
      [...returns]
        .filter(([, there]) => there)
        .map(([id]) => id)
        .sort(),
    );
    const { rows: twins } =
      await database.query(`select i.kind, i.value from customer_identities i group by 1, 2 having count(*) > 1
    union all select 'reference', external_id from external_refs r where kind = 'customer' and deleted_at is null and not exists (select from customers c where c.id = r.record_id)`);
    t.same(twins, []);
  },
);
