import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { type FeedEvent, follow, position } from '../../support/feed.ts';
import { newKey } from '../../support/shop.ts';

/** Readers of the feed miss nothing and double nothing, whatever is written while they read. */

const api = await testApp(t);
const order = (externalId: string, customer: string, more: object = {}) => ({
  source: 'shop',
  externalId,
  customer: { externalId: customer },
  placedAt: '2026-03-01T08:26:00Z',
  currency: 'EUR',
  total: 1530,
  paymentStatus: 'paid',
  items: [{ sku: 'A', quantity: 1, total: 1530 }],
  ...more,
});
const post = async (path: string, body: object) => {
  const answer = await api.request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
};

t.test('what began earlier and is committed later holds the feed back, and is then told in its order', async (t) => {
  const campaign = (name: string) => post('/v1/campaigns', { name, channel: 'email', startsOn: '2026-03-01' });
  const [slow, quick] = [await campaign('slow'), await campaign('quick')];
  const from = await position(api);
  const client = new pg.Client(api.connection);
  await client.connect();
  await client.query('begin');
  await client.query('update campaigns set version = version + 1 where id = $1', [slow.id]);
  await api.request('PATCH', `/v1/campaigns/${quick.id}`, { headers: { 'If-Match': '*' }, body: { name: 'other' } });
  t.strictSame((await follow(api, from)).events, [], 'the later one is not told before the earlier one has ended');
  const between = await position(api);
  t.equal(between, from, 'nor is there a position beyond it');
  await client.query('commit');
  await client.end();
  const { events } = await follow(api, from);
  t.strictSame(
    events.map(({ record }) => record.id),
    [slow.id, quick.id],
  );
});

t.test('what is undone holds nothing back, nor does a part of a transaction that is undone', async (t) => {
  const campaign = await post('/v1/campaigns', { name: 'undone', channel: 'email', startsOn: '2026-03-01' });
  const from = await position(api);
  const client = new pg.Client(api.connection);
  await client.connect();
  const change = () => client.query('update campaigns set version = version + 1 where id = $1', [campaign.id]);
  await client.query('begin; savepoint s');
  await change();
  await client.query('rollback to s');
  await change();
  const held = await position(api);
  await client.query('rollback');
  t.not(await position(api), held, 'until then it was held back by what was done since');
  await client.end();
  t.strictSame((await follow(api, from)).events, []);
});

t.test('16 writers, batches among them, and readers that are slow or killed', async (t) => {
  const rounds = draws({ quick: 12, deep: 100 });
  const from = await position(api);
  const made: string[] = [];
  const hot = await post('/v1/orders', order('hot', 'hot'));
  let writing = true;
  const writers = Array.from({ length: 16 }, async (_, writer) => {
    for (let round = 0; round < rounds; round += 1) {
      const name = `${writer}-${round}`;
      if (writer < 2) {
        const orders = Array.from({ length: 60 }, (_, at) => order(`b-${name}-${at}`, `b-${at % 9}`));
        const { results } = await post('/v1/orders/batch', { orders });
        made.push(...results.map(({ id }: { id: string }) => id));
      } else if (writer < 5) {
        await api.request('PATCH', `/v1/orders/${hot.id}`, { headers: { 'If-Match': '*' }, body: { channel: name } });
      } else {
        made.push((await post('/v1/orders', order(`o-${name}`, `c-${round % 3}`))).id);
      }
    }
  });
  /** Follows until all is written, and then to the end. @param pace what happens between pages; false: the page is lost */
  const reader = async (limit: number, pace: () => Promise<boolean>): Promise<FeedEvent[]> => {
    const seen: FeedEvent[] = [];
    for (let cursor = from; ; ) {
      const last = !writing;
      const wait = last ? 0 : 1;
      const { body } = await api.request(
        'GET',
        `/v1/events?limit=${limit}&wait=${wait}&after=${encodeURIComponent(cursor)}`,
      );
      if (!(await pace())) continue;
      seen.push(...body.data);
      cursor = body.page.next;
      if (last && !body.page.hasMore) return seen;
    }
  };
  let turn = 0;
  const readers = Promise.all([
    reader(100, async () => true),
    reader(7, async () => true),
    reader(50, async () => {
      await sleep(40);
      return true;
    }),
    reader(25, async () => {
      turn += 1;
      return turn % 3 !== 0;
    }),
  ]);
  await Promise.all(writers);
  writing = false;
  const [first = [], ...others] = await readers;
  for (const [index, other] of others.entries()) {
    t.strictSame(
      other.map(({ id }) => id),
      first.map(({ id }) => id),
      `reader ${index + 1} has read the same in the same order`,
    );
  }
  t.equal(new Set(first.map(({ id }) => id)).size, first.length, 'nothing twice');
  const created = first.filter(({ type }) => type === 'order.created').map(({ record }) => record.id);
  t.strictSame([...created].sort(), [...made, hot.id].sort(), 'every order that was acknowledged, once');
  const versions = new Map<string, number>();
  for (const { record } of first) {
    const before = versions.get(`${record.kind} ${record.id}`) ?? 0;
    t.ok((record.version ?? 0) > before, 'versions of a record come in their order');
    versions.set(`${record.kind} ${record.id}`, record.version ?? 0);
  }
  const { body: stored } = await api.request('GET', `/v1/orders/${hot.id}`);
  t.equal(versions.get(`order ${hot.id}`), stored.version);
});

t.test('a position, the lists, and what follows: nothing is missing and nothing is old', async (t) => {
  const rounds = draws({ quick: 20, deep: 200 });
  await Promise.all(Array.from({ length: 30 }, (_, at) => post('/v1/orders', order(`s-${at}`, `s-${at % 4}`))));
  const known = new Map<string, Record<string, any>>();
  const keep = (record: Record<string, any>) => {
    if ((known.get(record['id'])?.['version'] ?? 0) <= record['version']) known.set(record['id'], record);
  };
  let writing = true;
  const ids = (await follow(api, null, '&type=order.created')).events.map(({ record }) => record.id);
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let round = 0; round < rounds; round += 1) {
      const id = ids[(writer * 7 + round * 3) % ids.length];
      if (round % 5 === 4) await api.request('DELETE', `/v1/orders/${id}`, { headers: { 'If-Match': '*' } });
      else if (round % 2 === 0) await post('/v1/orders', order(`t-${writer}-${round}`, `s-${round % 4}`));
      else
        await api.request('PATCH', `/v1/orders/${id}`, { headers: { 'If-Match': '*' }, body: { channel: `${round}` } });
    }
  });
  const done = Promise.all(writers).then(() => {
    writing = false;
  });
  let cursor = await position(api);
  for (let after = ''; ; ) {
    const { body } = await api.request('GET', `/v1/orders?limit=50&sort=placedAt${after}`);
    body.data.forEach(keep);
    if (!body.page.hasMore) break;
    after = `&after=${encodeURIComponent(body.page.next)}`;
  }
  for (let last = false; !last; ) {
    last = !writing;
    const { events, next } = await follow(api, cursor, '&kind=order&include=record');
    for (const { type, record, current } of events) {
      if (type === 'order.deleted') known.delete(record.id);
      else if (current) keep(current);
    }
    cursor = next;
  }
  await done;
  const stored: Record<string, any>[] = [];
  for (let after = ''; ; ) {
    const { body } = await api.request('GET', `/v1/orders?limit=100${after}`);
    stored.push(...body.data);
    if (!body.page.hasMore) break;
    after = `&after=${encodeURIComponent(body.page.next)}`;
  }
  const byId = (list: Iterable<Record<string, any>>) => [...list].sort((a, b) => (a['id'] < b['id'] ? -1 : 1));
  t.strictSame(byId(known.values()), byId(stored));
});
