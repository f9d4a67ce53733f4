import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { runJobs, testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { type House, type Json, matching, worked } from '../../support/segment-oracle.ts';

/**
 * Random trees over everything that the service says conditions may name, against a naive evaluation of what its lists
 * answer; over both doors.
 */

t.setTimeout(300_000);
const now = '2024-02-27T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });

/** Answered by no list in this test: segments.test.ts has them. */
const elsewhere = /^(sharedWith|consent|loyalty\.|nps\.|csat\.|ces\.|lead\.score$)/;

/** A small generator of its own, so that a tree is one number. */
function chance(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number) => Math.floor(next() * n);
  const of = <T>(all: readonly T[]): T => all[below(all.length)] as T;
  return { below, of, yes: (p: number) => next() < p };
}
type Chance = ReturnType<typeof chance>;

async function send(method: string, path: string, body: Json, status: number[] = [200, 201]): Promise<Json> {
  const answer = await api.request(method, path, { body, headers: { 'Idempotency-Key': `${method}${path}${keys++}` } });
  assert.ok(status.includes(answer.status), `${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
let keys = 0;

async function all(path: string): Promise<Json[]> {
  const found: Json[] = [];
  for (let after = ''; ; ) {
    const { body } = await api.request('GET', `${path}?limit=100${after}`);
    found.push(...body.data);
    if (!body.page.next) return found;
    after = `&after=${encodeURIComponent(body.page.next)}`;
  }
}

async function stock(): Promise<House> {
  const { below, of, yes } = chance(firstSeed(7));
  const day = () => new Date(Date.parse(now) - below(900 * 24) * 3_600_000).toISOString();
  await send('PUT', '/v1/exchange-rates', { rates: [{ date: '2021-01-01', currency: 'USD', rate: 0.5 }] });
  const { id: campaignId } = await send('POST', '/v1/campaigns', { name: 'Spring' });
  for (let n = 0; n < 24; n += 1) {
    const { id: customerId } = await send('POST', '/v1/customers', {
      ...(yes(0.2) && { kind: 'company' }),
      ...(yes(0.8) && { name: of(['Ada Lovelace', 'Novák', 'ŽOFIE', 'Анна', '100%_\\', 'ada']) }),
      ...(yes(0.5) && { familyName: of(['Lee', 'lee', 'Kim']) }),
      ...(yes(0.6) && {
        birthday: of(['1990-02-28', '1992-02-29', '--02-29', '--03-05', '1980-12-31', '2000-02-27', '1999-03-01']),
      }),
      ...(yes(0.5) && { address: { city: of(['Praha', 'London']), country: of(['CZ', 'GB']) } }),
      ...(yes(0.5) && { attributes: { color: of(['red', 'blue', 5, true, null]), size: of([1, 2.5, '2', -3]) } }),
      ...(yes(0.4) && { tags: of([['vip'], ['vip', 'gift'], ['gift']]) }),
      ...(yes(0.4) && { preferredChannel: of(['email', 'phone']) }),
      ...(yes(0.4) && { acquisition: { source: of(['ads', 'fair']), cost: 5 } }),
      references: [{ source: of(['shop', 'erp']), externalId: `C-${n}` }],
      identities: yes(0.5) ? [{ kind: 'email', value: `p${n}@example.org` }] : [],
    });
    for (let k = below(6); k > 0; k -= 1) {
      const total = of([0, 100, 1000, 2500]);
      const order = await send('POST', '/v1/orders', {
        source: 'shop',
        externalId: `O-${n}-${k}`,
        customerId,
        placedAt: yes(0.1) ? '2023-05-05T05:05:05.000Z' : yes(0.1) ? '2022-02-28T10:00:00Z' : day(),
        currency: of(['EUR', 'EUR', 'USD', 'JPY']),
        total,
        tax: total > 0 ? 10 : 0,
        taxIncluded: true,
        paymentStatus: of(['paid', 'pending']),
        ...(yes(0.6) && { channel: of(['web', 'shop']) }),
        ...(yes(0.15) && { cancelledAt: now }),
        ...(yes(0.1) && { test: true }),
        ...(yes(0.3) && { campaignId, note: 'Ring twice' }),
        items: [
          { sku: of(['A', 'B']), category: of(['tea', 'pots']), quantity: of([1, 2]), total: total - 0 },
          ...(yes(0.3) ? [{ sku: 'C', quantity: 1, total: 0 }] : []),
        ],
      });
      if (total > 0 && yes(0.3)) {
        await send('POST', `/v1/orders/${order.id}/refunds`, {
          amount: of([total, 50]),
          refundedAt: now,
          reason: 'late',
        });
      }
    }
    for (let k = below(4); k > 0; k -= 1) {
      await send('POST', '/v1/interactions', {
        customerId,
        kind: of(['phone', 'email_sent', 'form']),
        occurredAt: day(),
        ...(yes(0.5) && {
          direction: of(['inbound', 'outbound']),
          topic: of(['delivery', 'Price']),
          cost: of([5, 10]),
        }),
        ...(yes(0.4) && { campaignId, seconds: of([30, 60]) }),
      });
    }
    if (yes(0.3)) {
      await send('POST', '/v1/returns', {
        source: 'shop',
        externalId: `R-${n}`,
        customerId,
        returnedAt: day(),
        currency: 'EUR',
        total: 30,
      });
    }
    if (yes(0.5))
      await send('POST', '/v1/leads', {
        customerId,
        source: of(['fair', 'web']),
        segment: of(['smb', 'big']),
        enteredAt: day(),
      });
  }
  await runJobs(api);
  const byOwner = (records: readonly Json[], owner: (record: Json) => string = ({ customerId }) => customerId) => {
    const found = new Map<string, Json[]>();
    for (const record of records) found.set(owner(record), [...(found.get(owner(record)) ?? []), record]);
    return found;
  };
  const customers = await all('/v1/customers');
  const own = (member: string) =>
    new Map(customers.map((customer) => [customer.id as string, customer[member] as Json[]]));
  return {
    now,
    customers,
    records: {
      orders: byOwner(await all('/v1/orders')),
      refunds: byOwner(await all('/v1/refunds')),
      returns: byOwner(await all('/v1/returns')),
      interactions: byOwner(await all('/v1/interactions')),
      leads: byOwner(await all('/v1/leads'), ({ id }) => id),
      identities: own('identities'),
      references: own('references'),
    },
  };
}

interface Field {
  name: string;
  type: string;
  operators: string[];
  values: string[] | null;
  open: boolean;
}

/** A set of records to draw conditions on. */
interface Place {
  fields: readonly Field[];
  records: readonly Json[];
  related: readonly { name: string; place: Place; isTimed: boolean; sums: readonly string[] }[];
}

const house = await stock();
const { body: vocabulary } = await api.request('GET', '/v1/segments/fields');

const flat = (records: House['records'], name: string) => [...(records[name]?.values() ?? [])].flat();
const root: Place = {
  fields: vocabulary.fields.filter(({ name }: Field) => !elsewhere.test(name)),
  records: house.customers,
  related: vocabulary.related
    .filter(({ name }: Json) => house.records[name])
    .map(({ name, fields, parts }: Json) => placeOf(name, fields, flat(house.records, name), parts))
    .filter(({ place }: Place['related'][number]) => place.fields.length > 0),
};

function placeOf(name: string, fields: Field[], records: Json[], parts: Json[]): Place['related'][number] {
  // Columns that the lists do not answer are not compared here.
  const known = fields.filter(
    (field) => field.open || records.some((record) => (field.name.split('.')[0] as string) in record),
  );
  return {
    name,
    isTimed: ['orders', 'interactions', 'returns'].includes(name),
    // Costs of lines are in the currency of the order, which is refused.
    sums: ['baseRevenue', ...(name === 'items' ? [] : ['cost']), 'seconds', 'baseNet'].filter((member) =>
      fields.some((one) => one.name === member),
    ),
    place: {
      fields: known,
      records,
      related: parts
        .map((part) =>
          placeOf(
            part.name,
            part.fields,
            part.name === 'refunds'
              ? flat(house.records, 'refunds')
              : records.flatMap((record) => record[part.name] ?? []),
            [],
          ),
        )
        .filter(({ place }) => place.fields.length > 0),
    },
  };
}

function drawTree(by: Chance, place: Place, depth: number): Json {
  const { below, of, yes } = by;
  if (depth > 0 && yes(0.5)) {
    if (yes(0.3)) return { not: drawTree(by, place, depth - 1) };
    return { [of(['and', 'or'])]: Array.from({ length: 1 + below(3) }, () => drawTree(by, place, depth - 1)) };
  }
  if (depth > 0 && place.related.length > 0 && yes(0.4)) return drawHas(by, of(place.related), depth);
  return drawLeaf(by, place);
}

function drawHas(by: Chance, { name, place, isTimed, sums }: Place['related'][number], depth: number): Json {
  const { below, of, yes } = by;
  const bounds = (n: number) => of<Json>([{ atLeast: n }, { atMost: n }, { atLeast: n, atMost: n + 1 }]);
  const where = yes(0.7) ? { where: drawTree(by, place, depth - 1) } : {};
  if (yes(0.4)) return { has: name, ...where };
  if (sums.length > 0 && yes(0.3))
    return { has: name, ...where, sum: { field: of(sums), ...bounds(of([0, 10, 100, 1000])) } };
  if (isTimed && yes(0.5)) {
    return {
      has: name,
      ...where,
      nth: { n: of([1, 2, 3, -1, -2]), ...(yes(0.7) && { where: drawTree(by, place, 0) }) },
    };
  }
  return { has: name, ...where, count: bounds(below(4)) };
}

function drawLeaf(by: Chance, { fields, records }: Place): Json {
  const { of, yes } = by;
  const field = of(fields);
  const name = field.open ? `${field.name}.${of(['color', 'size', 'none'])}` : field.name;
  const op = of(field.operators);
  if (op === 'exists') return { field: name, op, value: yes(0.5) };
  const values = records.flatMap((record) => {
    const value =
      name in worked ? worked[name]?.(house, record) : name.split('.').reduce<any>((at, step) => at?.[step], record);
    return value === undefined || value === null ? [] : [value].flat();
  });
  const value = () => drawValue(by, field, values, op);
  if (op === 'in') return { field: name, op, value: [value(), value()] };
  return { field: name, op, value: value() };
}

function drawValue(
  { below, of, yes }: Chance,
  { name, type, values: words }: Field,
  values: readonly unknown[],
  op: string,
): unknown {
  if (type === 'word' && words) return of(words);
  // What is no currency is refused.
  if (name === 'currency' && ['eq', 'in'].includes(op)) return of(['EUR', 'USD', 'JPY']);
  const ordered = ['lt', 'lte', 'gt', 'gte'].includes(op);
  if (type === 'attributes' && ordered) return of([1, 2, 2.5, -3]);
  if ((type === 'instant' || type === 'date') && yes(0.3))
    return yes(0.8) ? { daysAgo: below(900) } : { daysAhead: below(30) };
  const known = values.length > 0 && yes(0.85) ? of(values) : undefined;
  switch (type) {
    case 'number':
      return typeof known === 'number' ? known + of([0, 0, 1, -1, 0.5]) : of([0, 1, 2, 100]);
    case 'boolean':
      return yes(0.5);
    case 'instant':
      return known ?? '2023-05-05T05:05:05.000Z';
    case 'date':
      return typeof known === 'string' && !known.startsWith('--') ? known : '2022-02-28';
    case 'id':
      return known ?? '0193a6c2-8f00-7000-8000-000000000000';
    case 'attributes':
      return known ?? of(['red', 5, true]);
    default: {
      const text = typeof known === 'string' ? known : 'nobody';
      if (op !== 'starts_with' && !(op === 'contains' && type === 'text')) return text;
      const start = op === 'contains' ? below(text.length) : 0;
      const part = text.slice(start, start + 1 + below(text.length - start));
      return yes(0.3) ? part.toUpperCase() : part;
    }
  }
}

async function found(tree: Json): Promise<string[]> {
  const ids: string[] = [];
  for (let after: string | undefined; ; ) {
    const { status, body } = await api.request('POST', '/v1/customers/search', {
      body: { filter: tree, limit: 10, ...(after && { after }) },
    });
    assert.equal(status, 200, JSON.stringify(body));
    ids.push(...body.data.map(({ id }: Json) => id));
    if (!body.page.next) return ids;
    after = body.page.next;
  }
}

t.test('every field that conditions may name is checked here or in segments.test.ts', async (t) => {
  const [first] = house.customers;
  const unknown = root.fields.filter(
    ({ name, open }) => !(open || name in worked || (first && (name.split('.')[0] ?? '') in first)),
  );
  t.same(
    unknown.map(({ name }) => name),
    [],
  );
});

t.test('random trees find exactly those who match', async (t) => {
  const sizes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      const tree = drawTree(chance(seed), root, 3);
      const expected = matching(house, tree).sort();
      const ids = await found(tree);
      assert.deepEqual([...ids].sort(), expected, JSON.stringify(tree));
      const size = expected.length === 0 ? 'none' : expected.length === house.customers.length ? 'all' : 'some';
      sizes.set(size, (sizes.get(size) ?? 0) + 1);
    }),
    { numRuns: draws({ quick: 160, deep: 4000 }), seed: firstSeed(11), endOnFailure },
  );
  t.ok((sizes.get('some') ?? 0) > 40, `trees that tell customers apart: ${JSON.stringify([...sizes])}`);
});

t.test('GraphQL answers the same', async (t) => {
  for (let seed = 0; seed < 20; seed += 1) {
    const tree = drawTree(chance(seed), root, 3);
    const { body } = await api.graphql(
      'query($tree: JSON) { customers(first: 100, where: $tree) { totalCount nodes { id } } }',
      { tree },
    );
    const ids = body.data.customers.nodes.map(({ id }: Json) => id).sort();
    t.same(ids, matching(house, tree).sort(), JSON.stringify(tree));
    t.equal(body.data.customers.totalCount, ids.length);
  }
});
