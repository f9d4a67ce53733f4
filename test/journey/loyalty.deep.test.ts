import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { ledgerDifferences } from '../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../src/features/loyalty/earning-comparison.ts';
import { rewardDifferences } from '../../src/features/rewards/comparison.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { serviceProcess } from '../support/service-process.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

const service = await serviceProcess(t);
const { origin, token } = service;

interface Answer {
  status: number;
  body: any;
}

async function post(path: string, body: object, key = newKey()): Promise<Answer | null> {
  try {
    const response = await fetch(origin + path, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...key, 'If-Match': '*' },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return null; // the connection died: nobody knows whether it was done
  }
}

/** Sent with one key again and again, until the answer is final. */
async function insist(path: string, body: object): Promise<{ answer: Answer; lost: number }> {
  const key = newKey();
  for (let lost = 0; ; await sleep(20)) {
    const answer = await post(path, body, key);
    if (answer === null) lost += 1;
    else if (answer.status !== 503 && answer.body.code !== 'idempotency_key_in_flight') return { answer, lost };
  }
}

async function get(path: string): Promise<any> {
  const response = await fetch(origin + path, { headers: { Authorization: `Bearer ${token}` } });
  return response.json();
}

const gift = 600;
const price = 35;
const stock = 12;

t.test('sixteen spend the points of two members in a service that is killed again and again', async (t) => {
  await service.start();
  const rules = { pointsPerUnit: 1, pointValue: 1 };
  const made = await post('/v1/loyalty/programmes', { name: 'Friends', rules });
  const programmeId: string = made?.body.id;
  await post(`/v1/loyalty/programmes/${programmeId}/publish`, { validFrom: '2026-01-01T00:00:00Z' });
  const reward = await post('/v1/loyalty/rewards', { programmeId, name: 'Cup', points: price, stock });
  const members: { id: string; externalId: string }[] = [];
  for (const externalId of ['ada', 'ben']) {
    const customer = await post('/v1/customers', {
      kind: 'person',
      name: externalId,
      references: [{ source: 'shop', externalId }],
    });
    const id: string = customer?.body.id;
    members.push({ id, externalId });
    t.equal(
      (await post(`/v1/customers/${id}/loyalty`, { programmeId, joinedAt: '2026-01-01T00:00:00Z' }))?.status,
      201,
    );
    const body = { kind: 'adjust', customerId: id, points: gift, reason: 'to begin with' };
    t.equal((await post('/v1/loyalty/transactions', body))?.status, 201);
  }

  /** Of what was acknowledged. */
  const balance = new Map(members.map(({ id }) => [id, gift]));
  const change = (id: string, points: number) => balance.set(id, (balance.get(id) ?? 0) + points);
  const acknowledged = new Map<string, string[]>([
    ['spend', []],
    ['redeem', []],
    ['transfer_out', []],
    ['earn', []],
  ]);
  const undone: string[] = [];
  const refused = new Map<string, number>();
  const odd: string[] = [];
  let lost = 0;
  let stop = false;

  const done = () => [...acknowledged.values()].reduce((sum, { length }) => sum + length, 0);

  const one = async (n: number, turn: number): Promise<void> => {
    const member = members[(n + turn) % 2];
    const other = members[(n + turn + 1) % 2];
    if (!member || !other) return;
    const customerId = member.id;
    const points = 1 + ((n * 7 + turn) % 23);
    const [kind, path, body] = (
      [
        ['spend', '/v1/loyalty/transactions', { kind: 'spend', customerId, points }],
        ['redeem', '/v1/loyalty/redemptions', { customerId, rewardId: reward?.body.id }],
        ['transfer_out', '/v1/loyalty/transactions', { kind: 'transfer', customerId, toCustomerId: other.id, points }],
        ['earn', '/v1/orders', order(member.externalId, fresh(`order-${n}`), points)],
        ['spend', '/v1/loyalty/transactions', { kind: 'spend', customerId, points: points + 20 }],
      ] as const
    )[(n + turn) % 5] ?? ['spend', '', {}];
    const { answer, lost: unanswered } = await insist(path, body);
    lost += unanswered;
    if (answer.status !== 201) {
      const code = answer.body.code === 'invalid_input' ? answer.body.errors[0].code : answer.body.code;
      const known = ['insufficient_points', 'out_of_stock', 'not_redeemable'].includes(code);
      if (!known) odd.push(`${kind} ${answer.status} ${JSON.stringify(answer.body)}`);
      refused.set(code, (refused.get(code) ?? 0) + 1);
      return;
    }
    acknowledged.get(kind)?.push(kind === 'redeem' ? answer.body.transactionId : answer.body.id);
    if (kind === 'spend') change(customerId, answer.body.points);
    if (kind === 'redeem') change(customerId, -price);
    if (kind === 'earn') change(customerId, points);
    if (kind === 'transfer_out') {
      change(customerId, -points);
      change(other.id, points);
    }
    if (kind !== 'spend' || turn % 4 !== 0) return;
    const back = await insist(`/v1/loyalty/transactions/${answer.body.id}/undo`, {});
    lost += back.lost;
    if (back.answer.status === 201) {
      undone.push(back.answer.body.id);
      change(customerId, -answer.body.points);
    } else odd.push(`undo ${back.answer.status} ${JSON.stringify(back.answer.body)}`);
  };
  const spenders = Array.from({ length: 16 }, async (_, n) => {
    for (let turn = 0; !stop; turn += 1) await one(n, turn);
  });
  for (let kill = 1; kill <= 3; kill += 1) {
    const before = done();
    for (let waited = 0; done() < before + 60 && waited < 3_000; waited += 1) await sleep(5);
    await service.kill();
    await service.start();
  }
  const before = done();
  for (let waited = 0; done() < before + 30 && waited < 3_000; waited += 1) await sleep(5);
  stop = true;
  await Promise.all(spenders);

  t.comment(`${done()} acknowledged, ${lost} without an answer, refused ${JSON.stringify([...refused])}`);
  t.ok(lost > 0, 'requests were under way when it died');
  t.ok((refused.get('insufficient_points') ?? 0) > 0, 'there was not enough for all');
  t.same(odd, []);
  for (const { id } of members) {
    t.match(await get(`/v1/customers/${id}/loyalty`), { active: balance.get(id), pending: 0, debt: 0 });
  }
  t.equal((await get(`/v1/loyalty/rewards/${reward?.body.id}`)).redeemed, acknowledged.get('redeem')?.length);

  const connection = await service.connection();
  const database = new pg.Client(connection);
  await database.connect();
  const { rows } = await database.query<{ kind: string; ids: string[] }>(
    `select kind, array_agg(case kind when 'earn' then order_id else id end::text) as ids from loyalty_transactions
     where kind not in ('adjust', 'transfer_in') group by kind`,
  );
  const stored = new Map(rows.map(({ kind, ids }) => [kind, ids]));
  for (const [kind, ids] of [...acknowledged, ['return', undone] as const]) {
    t.same((stored.get(kind) ?? []).sort(), [...ids].sort(), `each ${kind} once, and no other`);
  }
  // No instant at which a lot, or all of them together, had less than nothing.
  const { rows: overdrawn } = await database.query(
    `select * from (
       select customer_id, lot_id, sum(points) over (partition by lot_id order by at, points desc, transaction_id) as left,
         sum(points) over (partition by customer_id order by at, points desc, transaction_id) as balance
       from loyalty_entries) e where e.left < 0 or e.balance < 0`,
  );
  await database.end();
  t.same(overdrawn, [], 'never overdrawn');
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  const db = poolDb(pool);
  t.same(await ledgerDifferences(db, 10), []);
  t.same(await earningDifferences(db, 'EUR', 10), []);
  t.same(await rewardDifferences(db, 10), []);
  t.same(await rollupDifferences(db, 'UTC', 10), []);
});

/** Paid today, worth so many points. */
function order(externalId: string, name: string, points: number) {
  const placedAt = new Date(Date.now() - 60_000).toISOString();
  return orderOf({ customer: { externalId }, externalId: name, total: points * 100, placedAt });
}
