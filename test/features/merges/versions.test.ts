import pg from 'pg';
import t, { type Test } from 'tap';
import { type Answer, testApp } from '../../support/app.ts';
import { type Person, stockHouse, stockPerson } from '../../support/people.ts';
import { newKey, orderOf } from '../../support/shop.ts';
import { guardStamps } from '../../support/stamps.ts';

/* Whoever keeps copies of records learns of a merge: by versions and ETags, and by lists of what has changed since. */

let now = '2026-06-10T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
await guardStamps(api.connection);
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

async function make(path: string, body: unknown): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

function wait(): string {
  now = new Date(Date.parse(now) + 3_600_000).toISOString();
  return now;
}

interface Row {
  table: string;
  version: number;
  updatedAt: string | null;
  content: Record<string, unknown>;
}

/** Every row that has a version, of whatever table the database has, by its table and id. */
async function versioned(): Promise<Map<string, Row>> {
  const { rows: tables } = await database.query<{ name: string }>(
    `select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'version'`,
  );
  const found = new Map<string, Row>();
  for (const { name } of tables) {
    const { rows } = await database.query<{ row: any }>(`select to_jsonb(x) as row from ${name} x`);
    for (const { row } of rows) {
      const { version, updated_at: updatedAt = null, ...content } = row;
      found.set(`${name} ${row.id ?? row.customer_id}`, { table: name, version, updatedAt, content });
    }
  }
  return found;
}

/** What reads different has a higher version, and has changed at the moment. @returns tables of what has changed */
function compare(t: Test, before: Map<string, Row>, after: Map<string, Row>): string[] {
  const changed = [...after].filter(([key, { content }]) => {
    const old = before.get(key);
    return old && JSON.stringify(old.content) !== JSON.stringify(content);
  });
  for (const [key, { version, updatedAt }] of changed) {
    t.ok(version > (before.get(key)?.version ?? 0), `${key} has a next version`);
    if (updatedAt !== null) t.equal(Date.parse(updatedAt), Date.parse(now), `${key} was updated`);
  }
  return [...new Set(changed.map(([, { table }]) => table))].sort();
}

const paths = (person: Person) => [
  `/v1/orders/${person.order}`,
  `/v1/refunds/${person.refund}`,
  `/v1/returns/${person.return}`,
  `/v1/interactions/${person.interaction}`,
  `/v1/survey-responses/${person.response}`,
  `/v1/survey-invitations/${person.invitation}`,
  `/v1/follow-ups/${person.followUp}`,
  `/v1/loyalty/redemptions/${person.redemption}`,
];

async function readAll(addresses: string[]): Promise<Map<string, Answer>> {
  return new Map(await Promise.all(addresses.map(async (path) => [path, await request('GET', path)] as const)));
}

async function checkUnseen(t: Test, seen: Map<string, Answer>): Promise<void> {
  for (const [path, { headers }] of seen) {
    const again = await request('GET', path, { headers: { 'If-None-Match': headers.get('etag') ?? '' } });
    t.equal(again.status, 200, `${path} is not what it was`);
  }
}

const house = await stockHouse(api);
const rewritten = [
  'customers',
  'follow_ups',
  'interactions',
  'loyalty_accounts',
  'orders',
  'redemptions',
  'refunds',
  'returns',
  'survey_invitations',
  'survey_responses',
];

t.test('what moves or is rewritten gets a next version, and again when the merge is undone', async (t) => {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  const friend = await make('/v1/customers', { name: 'Friend', referredBy: b.customer });
  const addresses = [...paths(b), `/v1/customers/${friend.id}`];
  const before = await versioned();
  const seen = await readAll(addresses);

  const merged = wait();
  const { id: mergeId } = await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer });
  const between = await versioned();
  t.strictSame(compare(t, before, between), rewritten);
  await checkUnseen(t, seen);
  const seenMerged = await readAll([...addresses, `/v1/customers/${a.customer}`]);
  for (const list of ['orders', 'returns']) {
    const { body } = await request('GET', `/v1/${list}?limit=100&updatedFrom=${encodeURIComponent(merged)}`);
    const ids = body.data.map(({ id }: { id: string }) => id);
    t.ok(ids.includes(list === 'orders' ? b.order : b.return), list);
  }
  const { data } = (
    await graphql(
      `query ($id: ID!, $from: DateTime) { order(id: $id) { version updatedAt } orders(updatedFrom: $from) { nodes { id } } }`,
      {
        id: b.order,
        from: merged,
      },
    )
  ).body;
  t.match(data.order, { version: 1 + seen.get(`/v1/orders/${b.order}`)?.body.version, updatedAt: merged });
  t.ok(data.orders.nodes.some(({ id }: { id: string }) => id === b.order));

  const undone = wait();
  await make(`/v1/customers/${a.customer}/unmerge`, { mergeId });
  const after = await versioned();
  t.strictSame(compare(t, between, after), rewritten);
  await checkUnseen(t, seen);
  await checkUnseen(t, seenMerged);
  const { body } = await request('GET', `/v1/customers?limit=100&updatedFrom=${encodeURIComponent(undone)}`);
  const ids = body.data.map(({ id }: { id: string }) => id);
  for (const id of [a.customer, b.customer, friend.id]) t.ok(ids.includes(id), 'both are back, and who names them');
  for (const [key, { content }] of after) {
    if (before.has(key)) t.strictSame(content, before.get(key)?.content, `${key} is as it was, but for its stamps`);
  }
});

t.test('the former id leads to no copy that somebody has of it', async (t) => {
  const ofPerson = (id: string) => [`/v1/customers/${id}`, `/v1/customers/${id}/loyalty`, `/v1/leads/${id}`];
  for (const lag of [0, 1, 2]) {
    const a = await stockPerson(api, house);
    const b = await stockPerson(api, house);
    // The version that the survivor gets must be none that the other has had, whichever of them has changed more often.
    for (let i = 0; i < lag; i += 1) {
      const headers = { 'If-Match': '*' };
      await request('PATCH', `/v1/customers/${b.customer}`, { body: { locale: `en-A${i}` }, headers });
      await request('PATCH', `/v1/leads/${b.customer}`, { body: { owner: `owner-${i}` }, headers });
      const adjustment = { points: 1, reason: 'Sorry' };
      await make('/v1/loyalty/transactions', { kind: 'adjust', customerId: b.customer, ...adjustment });
    }
    const seen = await readAll(ofPerson(b.customer));
    const { id: mergeId } = await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer });
    const follow = async (path: string, etag: string) =>
      (
        await fetch(api.origin + path, {
          headers: { Authorization: `Bearer ${api.token('*')}`, 'If-None-Match': etag },
        })
      ).status;
    for (const [path, { headers }] of seen) t.equal(await follow(path, headers.get('etag') ?? ''), 200, path);
    const merged = await readAll(ofPerson(a.customer));
    await make(`/v1/customers/${a.customer}/unmerge`, { mergeId });
    for (const [path, { headers }] of merged) {
      t.equal(await follow(path.replace(a.customer, b.customer), headers.get('etag') ?? ''), 200, `${path} parted`);
    }
  }
});

t.test('a refund follows its order to another customer in a next version', async (t) => {
  const [from, to] = [await make('/v1/customers', { name: 'From' }), await make('/v1/customers', { name: 'To' })];
  const order = await make('/v1/orders', orderOf({ customerId: from.id }));
  const refund = await make(`/v1/orders/${order.id}/refunds`, { amount: 1, refundedAt: now });
  const path = `/v1/refunds/${refund.id}`;
  const seen = await readAll([path]);
  const moved = await request('PATCH', `/v1/orders/${order.id}`, {
    body: { customerId: to.id },
    headers: { 'If-Match': '*' },
  });
  t.equal(moved.body.customerId, to.id, JSON.stringify(moved.body));
  await checkUnseen(t, seen);
  t.match((await request('GET', path)).body, { customerId: to.id, version: refund.version + 1 });
});
