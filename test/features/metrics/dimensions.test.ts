import t from 'tap';
import { metricResult } from '../../../src/features/metrics/model.ts';
import { testApp } from '../../support/app.ts';

/** Metrics over a segment and by groups, over both doors, of a shop small enough to be counted on fingers. */

const app = await testApp(t, { clock: () => '2026-04-10T12:00:00.000Z' });

let calls = 0;
async function ok(method: string, path: string, body?: unknown) {
  calls += 1;
  const headers = { 'Idempotency-Key': `call-${calls}`, 'If-Match': '*' };
  const answer = await app.request(method, path, { body, headers });
  if (answer.status >= 300) throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const metric = async (path: string) => metricResult.parse(await ok('GET', `/v1/metrics/${path}`));
const groups = async (path: string) =>
  (await metric(path)).groups.map(({ key, numerator, denominator }) => `${key}: ${numerator}/${denominator}`);
const codes = async (path: string) => (await metric(path)).warnings.map(({ code }) => code);
const refused = async (path: string, scope?: string) => {
  const { status, body } = await app.request('GET', `/v1/metrics/${path}`, scope === undefined ? {} : { scope });
  const faults = body.errors?.map((e: { parameter: string; code: string }) => `${e.parameter} ${e.code}`);
  return [status, ...(faults ?? [body.code])];
};

const ids = new Map<string, string>();
const person = async (name: string, more: object = {}) => {
  const { id } = await ok('POST', '/v1/customers', {
    name,
    references: [{ source: 'shop', externalId: name }],
    ...more,
  });
  ids.set(name, id);
};
const order = (customer: string | null, day: string, total: number, more: object = {}) => {
  calls += 1;
  return {
    customer: customer === null ? null : { source: 'shop', externalId: customer },
    source: 'shop',
    externalId: `o${calls}`,
    placedAt: `${day}T10:00:00Z`,
    currency: 'EUR',
    total,
    items: [{ sku: 'a', category: 'tea', quantity: 1, total }],
    paymentStatus: 'paid',
    ...more,
  };
};

t.test('the shop', async () => {
  await person('ann', { acquisition: { source: 'ads' }, address: { country: 'AT' }, tags: ['vip', 'trade'] });
  await person('bob', { acquisition: { source: 'ads' }, address: { country: 'DE' }, attributes: { color: 'red' } });
  await person('cy', { acquisition: { source: 'fair' }, kind: 'company', tags: ['trade'] });
  await person('dee');
  await ok('POST', '/v1/orders/batch', {
    orders: [
      order('ann', '2026-01-05', 5000, { channel: 'web' }),
      order('ann', '2026-02-05', 3000, { channel: 'shop' }),
      order('bob', '2026-01-20', 4000, {
        channel: 'web',
        items: [
          { sku: 'a', category: 'tea', quantity: 1, total: 1000 },
          { sku: 'b', category: 'cups', quantity: 1, total: 3000 },
        ],
      }),
      order('bob', '2026-03-15', 2000, { channel: 'shop', tags: ['gift'] }),
      order('cy', '2026-02-10', 3000),
      order('cy', '2026-04-01', 1000, { channel: 'shop' }),
      order(null, '2026-02-11', 700, { channel: 'shop' }),
    ],
  });
});

const segment = async (name: string, filter: object | null = null): Promise<string> =>
  (await ok('POST', '/v1/segments', { name, ...(filter && { filter }) })).id;
let regulars = '';
let fromAds = '';
let listed = '';
let empty = '';

t.test('segments', async () => {
  regulars = await segment('Bought twice', { field: 'orderCount', op: 'gte', value: 2 });
  fromAds = await segment('From ads', { field: 'acquisitionSource', op: 'eq', value: 'ads' });
  empty = await segment('Empty');
  listed = await segment('Invited');
  await ok('POST', `/v1/segments/${listed}/members`, { customerIds: [ids.get('ann'), ids.get('dee')] });
});

t.test('segment: only its customers count, as they were in it when the period began', async (t) => {
  const all = await metric(`revenue-per-customer?segment=${regulars}`);
  t.match(all, { numerator: 18_000, denominator: 3, values: { buyers: 3 } });
  t.same(
    all.warnings.map(({ code }) => code),
    ['members_as_of_end'],
  );
  // On 1 March ann alone had bought twice, and she bought no more.
  t.match(await metric(`revenue-per-customer?segment=${regulars}&from=2026-03-01`), {
    value: null,
    denominator: 0,
    reason: { code: 'no_buyers' },
    warnings: [],
  });
  t.match(await metric(`revenue-per-customer?segment=${regulars}&from=2026-03-01&segmentAt=end`), {
    numerator: 3000,
    denominator: 2,
    warnings: [{ code: 'members_as_of_end' }],
  });
  // Of retention it is the end of the period before: by 1 March, ann; by 1 April, bob as well.
  const compared = 'retention-rate?previousFrom=2026-02-01&previousTo=2026-03-01&from=2026-03-01&to=2026-04-11';
  t.match(await metric(`${compared}&segment=${regulars}`), { numerator: 0, denominator: 1 });
  t.match(await metric(`${compared}&segment=${regulars}&segmentAt=end`), { numerator: 1, denominator: 2 });
  // ann alone had bought twice by 6 February, bob as well by 16 March.
  const apart = 'retention-rate?previousFrom=2026-01-01&previousTo=2026-02-06&from=2026-03-16&to=2026-04-11';
  t.match(await metric(`${apart}&segment=${regulars}`), { denominator: 1 }, 'not the start of the present period');
  t.match(await metric(`${apart.replace('retention', 'churn')}&segment=${regulars}`), { denominator: 1 });
  t.match(await metric(`average-order-value?segment=${listed}`), { numerator: 8000, denominator: 2 }, 'a list');
  t.same(await codes(`average-order-value?segment=${listed}&from=2026-02-01`), ['list_made_later']);
  t.match(await metric(`average-order-value?segment=${empty}`), { value: null, denominator: 0 });
  t.same(await codes(`average-order-value?segment=${fromAds}&from=2026-02-01`), ['profile_as_of_now']);
  t.match(await metric(`rfm?segment=${fromAds}`), { value: 2 });
  t.match(await metric(`cohorts?segment=${fromAds}`), { values: { customers: 2 } });
});

t.test('groupBy: customers by a field, who has none in the group without a key', async (t) => {
  t.same(await groups('average-order-value?groupBy=acquisitionSource'), ['ads: 14000/4', 'fair: 4000/2', ': 700/1']);
  t.same(await groups('repeat-purchase-rate?groupBy=acquisitionSource'), ['ads: 2/2', 'fair: 1/1', ': 0/0']);
  t.match((await metric('repeat-purchase-rate?groupBy=acquisitionSource')).groups[2], {
    value: null,
    reason: { code: 'no_buyers' },
  });
  t.same(await groups('average-order-value?groupBy=kind'), ['person: 14000/4', 'company: 4000/2', ': 700/1']);
  t.same(await groups('average-order-value?groupBy=country'), ['AT: 8000/2', 'DE: 6000/2', ': 4700/3']);
  t.same(await groups('average-order-value?groupBy=attributes.color'), ['red: 6000/2', ': 12700/5']);
  t.same(await groups('average-order-value?groupBy=tags'), ['trade: 12000/4', 'vip: 8000/2', ': 6700/3']);
  t.same(await codes('average-order-value?groupBy=tags'), ['groups_overlap']);
  t.same(await groups('average-order-value?groupBy=cohort'), ['2026-01-01: 14000/4', '2026-02-01: 4000/2', ': 700/1']);
  t.same(await groups('average-order-value?groupBy=tier'), [': 18700/7']);
  t.same(await groups('average-order-value?groupBy=partner'), [': 18700/7']);
  // R: ann 1, bob 2, cy 4; F: all alike; M: cy 1, bob 2, ann 4.
  const rfm = (await metric('rfm')).groups.filter(({ numerator }) => numerator !== 0);
  const byRfm = (await metric('revenue-per-customer?groupBy=rfm')).groups;
  t.same(
    byRfm
      .filter(({ key }) => key !== '')
      .map(({ key, denominator }) => [key, denominator])
      .sort(),
    rfm.map(({ key, numerator }) => [key, numerator]).sort(),
  );
});

t.test('groupBy=rfm as of the past: what was known then', async (t) => {
  const rfm = (await metric('rfm?asOf=2026-02-15')).groups.filter(({ numerator }) => numerator !== 0);
  const by = (await metric('revenue-per-customer?groupBy=rfm&asOf=2026-02-15')).groups.filter(({ key }) => key !== '');
  t.same(
    by.map(({ key, denominator }) => [key, denominator]).sort(),
    rfm.map(({ key, numerator }) => [key, numerator]).sort(),
  );
  t.same(await groups('average-order-value?groupBy=cohort&asOf=2026-02-01'), ['2026-01-01: 9000/2', ': 0/0']);
});

t.test('groupBy: segments, and a segment of groups', async (t) => {
  const by = `groupBy=segment&segments=${fromAds},${listed},${empty}`;
  t.same(await groups(`average-order-value?${by}`), [
    `${fromAds}: 14000/4`,
    `${listed}: 8000/2`,
    `${empty}: 0/0`,
    ': 4700/3',
  ]);
  t.same(await groups(`average-order-value?groupBy=acquisitionSource&segment=${listed}`), ['ads: 8000/2', ': 0/0']);
});

t.test('groupBy: orders', async (t) => {
  t.same(await groups('average-order-value?groupBy=channel'), ['shop: 6700/4', 'web: 9000/2', ': 3000/1']);
  t.same(await groups('average-order-value?groupBy=category'), ['tea: 18700/7', 'cups: 4000/1']);
  t.same(await groups('average-order-value?groupBy=sku'), ['a: 18700/7', 'b: 4000/1']);
  t.same(await groups('average-order-value?groupBy=currency'), ['EUR: 18700/7']);
  t.same(await groups('average-order-value?groupBy=campaign'), [': 18700/7']);
  t.same(await groups('average-order-value?groupBy=orders.tags'), ['gift: 2000/1', ': 16700/6']);
  t.same(await groups('retention-rate?groupBy=channel&from=2026-02-01&previousFrom=2026-01-01&previousTo=2026-02-01'), [
    'shop: 0/0',
    'web: 0/2',
    ': 0/0',
  ]);
  t.same(await codes('average-order-value?groupBy=channel'), ['groups_overlap', 'groups_of_orders']);
  t.same(await groups(`average-order-value?groupBy=channel&segment=${fromAds}`), ['shop: 5000/2', 'web: 9000/2']);
});

t.test('series of groups are of the intervals of the whole', async (t) => {
  const { series, groups: found } = await metric('average-order-value?groupBy=acquisitionSource&interval=month');
  for (const group of found) {
    t.same(
      group.series.map(({ start }) => start),
      series.map(({ start }) => start),
      group.key,
    );
  }
  t.same(
    found.map(({ series: own }) => own.map(({ numerator }) => numerator)),
    [
      [9000, 3000, 2000, 0],
      [0, 3000, 0, 1000],
      [0, 700, 0, 0],
    ],
  );
});

t.test('weekStart: weeks of the series, and of cohorts', async (t) => {
  const starts = async (query: string) =>
    (await metric(`average-order-value?from=2026-02-01&to=2026-02-17&interval=week${query}`)).series.map(
      ({ start, numerator }) => `${start}: ${numerator}`,
    );
  // 1 February is a Sunday; ann bought on the 5th, cy on the 10th, nobody known on the 11th.
  t.same(await starts(''), ['2026-01-26: 0', '2026-02-02: 3000', '2026-02-09: 3700', '2026-02-16: 0']);
  t.same(await starts('&weekStart=sunday'), ['2026-02-01: 3000', '2026-02-08: 3700', '2026-02-15: 0']);
  t.same(await starts('&weekStart=wednesday'), ['2026-01-28: 0', '2026-02-04: 6000', '2026-02-11: 700']);
  const weekly = await metric('cohorts?interval=week&weekStart=sunday&from=2026-02-08&to=2026-02-15');
  t.match(weekly.groups, [{ key: '2026-02-08', denominator: 1 }]);
  t.same(await refused('cohorts?interval=week&from=2026-02-08'), [422, 'from not_aligned']);
  t.same(await refused('rfm?weekStart=sunday'), [422, 'weekStart unsupported_parameter']);
  t.same(await refused('average-order-value?interval=month&weekStart=sunday'), [
    422,
    'weekStart unsupported_parameter',
  ]);
  const retention = 'retention-rate?from=2026-02-08&to=2026-02-15&interval=week&weekStart=sunday';
  t.match(
    (await metric(retention)).series,
    [{ start: '2026-02-08', denominator: 1, numerator: 0 }],
    'ann the week before',
  );
});

t.test('the closed loop takes groups of customers', async (t) => {
  t.match(await metric(`closed-loop?segment=${listed}&groupBy=acquisitionSource`), { value: null });
  t.same(await refused('closed-loop?groupBy=channel'), [422, 'groupBy unknown_dimension']);
});

t.test('GraphQL says the same', async (t) => {
  const { body } = await app.graphql(`{ metrics {
    averageOrderValue(input: { groupBy: "acquisitionSource", segment: "${listed}" }) { value groups { key numerator } warnings { code } }
    revenuePerCustomer(input: { groupBy: "segment", segments: ["${fromAds}"], segmentAt: END, from: "2026-02-01" }) { groups { key numerator } }
  } }`);
  const aov = await metric(`average-order-value?groupBy=acquisitionSource&segment=${listed}`);
  const revenue = await metric(
    `revenue-per-customer?groupBy=segment&segments=${fromAds}&segmentAt=end&from=2026-02-01`,
  );
  const short = (list: typeof aov.groups) => list.map(({ key, numerator }) => ({ key, numerator }));
  t.strictSame(body.data?.metrics, {
    averageOrderValue: {
      value: aov.value,
      groups: short(aov.groups),
      warnings: aov.warnings.map(({ code }) => ({ code })),
    },
    revenuePerCustomer: { groups: short(revenue.groups) },
  });
});

t.test('what is asked wrongly is refused with its parameter', async (t) => {
  const unknown = '0193a6c2-8f00-7000-8000-000000000000';
  t.same(await refused(`rfm?segment=${unknown}`), [422, 'segment unknown_segment']);
  t.same(await refused(`purchase-gaps?groupBy=segment&segments=${unknown}`), [422, 'segments unknown_segment']);
  t.same(await refused('purchase-gaps?groupBy=segment'), [422, 'segments required']);
  t.same(await refused('purchase-gaps?groupBy=shoeSize'), [422, 'groupBy unknown_dimension']);
  t.same(await refused('purchase-gaps?groupBy=birthday'), [422, 'groupBy unknown_dimension']);
  t.same(await refused('purchase-gaps?groupBy=orderCount'), [422, 'groupBy unknown_dimension']);
  t.same(await refused('purchase-gaps?segmentAt=end'), [422, 'segmentAt unsupported_parameter']);
  t.same(await refused(`purchase-gaps?segments=${listed}`), [422, 'segments unsupported_parameter']);
  t.same(await refused('cohorts?groupBy=kind'), [422, 'groupBy unsupported_parameter']);
  t.same(await refused(`lifetime-value?segment=${listed}&customerId=${ids.get('ann')}`), [
    422,
    'customerId unsupported_parameter',
  ]);
});

t.test('a segment and a group need what reads them', async (t) => {
  const personal = await segment('Red', { field: 'attributes.color', op: 'eq', value: 'red' });
  t.same(await refused(`rfm?segment=${regulars}`, 'metrics:read'), [403, 'segment insufficient_scope']);
  t.same(await refused(`rfm?segment=${regulars}`, 'metrics:read orders:read'), [200, undefined]);
  t.same(await refused(`rfm?segment=${personal}`, 'metrics:read customers:read'), [403, 'segment insufficient_scope']);
  t.same(await refused(`rfm?segment=${personal}`, 'metrics:read customers:read customers:pii'), [200, undefined]);
  const by = (groupBy: string) => `purchase-gaps?groupBy=${groupBy}`;
  t.same(await refused(by('country'), 'metrics:read customers:read'), [403, 'groupBy insufficient_scope']);
  t.same(await refused(by('attributes.color'), 'metrics:read customers:read'), [403, 'groupBy insufficient_scope']);
  t.same(await refused(by('kind'), 'metrics:read'), [403, 'groupBy insufficient_scope']);
  t.same(await refused(by('channel'), 'metrics:read orders:read'), [200, undefined]);
  t.same(await refused(`${by('segment')}&segments=${personal}`, 'metrics:read customers:read'), [
    403,
    'segments insufficient_scope',
  ]);
  const audited = async (operation: string) => {
    // Reads are written a little later.
    for (let tries = 0; tries < 100; tries += 1) {
      const { data } = await ok('GET', `/v1/audit-entries?operation=${operation}&limit=100`);
      if (data.length > 0) return data;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  t.match(
    await audited('getRfm'),
    [{ kind: 'read', members: ['attributes'] }],
    'what reads personal data is in the audit',
  );
  await metric('churn-rate?groupBy=attributes.color');
  t.match(await audited('getChurnRate'), [{ kind: 'read', members: ['attributes'] }], 'not what the client calls it');
});

t.test('at most 100 groups, the rest as one', async (t) => {
  const many = Array.from({ length: 104 }, (_, n) => `s${String(n).padStart(3, '0')}`);
  await ok('POST', '/v1/customers/batch', {
    customers: many.map((name, n) => ({
      references: [{ source: 'shop', externalId: name }],
      name,
      acquisition: { source: n === 0 ? 'other' : name },
    })),
  });
  await ok('POST', '/v1/orders/batch', { orders: many.map((name) => order(name, '2026-04-02', 100)) });
  const { groups: found, warnings, numerator } = await metric('average-order-value?groupBy=acquisitionSource');
  t.equal(found.length, 100);
  // Of 100 keys, other is one: it is a part of the rest.
  t.match(found.at(-1), { key: 'other' });
  t.equal(found.filter(({ key }) => key === 'other').length, 1);
  t.equal(
    found.reduce((sum, group) => sum + (group.numerator ?? 0), 0),
    numerator,
  );
  t.match(warnings, [{ code: 'groups_in_other' }]);
});
