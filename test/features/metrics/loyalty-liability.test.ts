import t from 'tap';
import { type TestApp, testApp } from '../../support/app.ts';
import { newKey, orderOf } from '../../support/shop.ts';

/* The metric and its members on both doors. That they are what the ledger says: features/loyalty/loyalty.property.test.ts. */

let now = '2026-01-01T00:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const url = '/v1/metrics/loyalty-liability';

async function send(path: string, body: object, key = newKey()): Promise<any> {
  const answer = await api.request('POST', path, { body, headers: { ...key, 'If-Match': '*' } });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function programme(name: string, rules: object): Promise<string> {
  const { id } = await send('/v1/loyalty/programmes', { name, rules });
  await send(`/v1/loyalty/programmes/${id}/publish`, { validFrom: now });
  return id;
}

async function member(programmeId: string, externalId: string): Promise<string> {
  const { id } = await send('/v1/customers', {
    kind: 'person',
    name: 'Ada',
    references: [{ source: 'shop', externalId }],
  });
  await send(`/v1/customers/${id}/loyalty`, { programmeId });
  return id;
}

const buy = (externalId: string, total: number) =>
  send('/v1/orders', orderOf({ customer: { externalId }, total, placedAt: now }));

const ask = async (query = '', of: Pick<TestApp, 'request'> = api) => (await of.request('GET', `${url}?${query}`)).body;

const levels = [
  { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
  { key: 'gold', name: 'Gold', threshold: 150_000, multiplier: 1 },
];
const tiers = { basis: 'spend', windowDays: 90, periodDays: 90, graceDays: 0, levels };

// A year in two programmes: points of the first live for 180 days after 10 pending ones, those of the second for ever.
const first = await programme('First', { pointsPerUnit: 1, pendingDays: 10, expiryDays: 180, pointValue: 0.5, tiers });
const second = await programme('Second', { pointsPerUnit: 1, pointValue: 2 });
const ada = await member(first, 'ada');
const ben = await member(first, 'ben');
const cleo = await member(second, 'cleo');
now = '2026-01-15T12:00:00.000Z';
await buy('ada', 200_000); // 2000 points, gold for 90 days
await buy('ben', 50_000); // 500 points
now = '2026-02-10T00:00:00.000Z';
await buy('cleo', 10_000); // 100 points, for ever
const spent = { kind: 'spend', customerId: ben, points: 200 };
await send('/v1/loyalty/transactions', spent);
now = '2026-06-01T00:00:00.000Z';
await send(`/v1/loyalty/programmes/${second}/publish`, {}); // the same rules: nothing changes

t.test('the liability is points × their value, at any instant', async (t) => {
  const points = async (asOf: string) => {
    const { value, values, groups } = await ask(`asOf=${asOf}&groupBy=programme`);
    const of = (id: string) => groups.find(({ key }: { key: string }) => key === id)?.value ?? 0;
    return [value, values.activePoints, values.pendingPoints, of(first), of(second)];
  };
  t.same(await points('2026-01-15T11:59:59.999999Z'), [0, 0, 0, 0, 0], 'nothing was earned yet');
  t.same(await points('2026-01-15T12:00:00Z'), [1_250, 0, 2_500, 1_250, 0]);
  t.same(await points('2026-01-25T12:00:00Z'), [1_250, 2_500, 0, 1_250, 0], 'active after ten days');
  t.same(await points('2026-02-10T00:00:00Z'), [1_350, 2_400, 0, 1_150, 200], 'ben spent, cleo earned');
  t.same(await points('2026-07-14T11:59:59.999999Z'), [1_350, 2_400, 0, 1_150, 200]);
  t.same(
    await points('2026-07-14T12:00:00Z'),
    [200, 100, 0, 0, 200],
    'expired after 180 days, which nobody has written',
  );
});

t.test('what expired unused is the breakage to be expected', async (t) => {
  t.match(await ask(), {
    metric: 'loyalty-liability',
    definition: 'loyalty-liability@1',
    unit: 'money',
    currency: 'EUR',
    value: 1_350,
    values: { breakageRate: null, expectedBreakage: null, netLiability: null, debtPoints: 0 },
    lowSample: false,
    excluded: [],
    warnings: [{ code: 'too_few_matured_points' }],
  });
  const rate = 2_300 / 2_500;
  const later = await ask('asOf=2026-08-01');
  t.match(later, { value: 200, values: { breakageRate: rate, expectedBreakage: 0, netLiability: 200 }, warnings: [] });
  t.equal(later.warnings.length, 0);
});

t.test('points that change hands or come back count once in the breakage', async (t) => {
  const { request } = await testApp(t, { clock: () => now });
  const before = now;
  const write = async (path: string, body?: object) => {
    const answer = await request('POST', path, { body, headers: { ...newKey(), 'If-Match': '*' } });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const { id: programmeId } = await write('/v1/loyalty/programmes', {
    name: 'Third',
    rules: { pointsPerUnit: 1, expiryDays: 180, pointValue: 1 },
  });
  await write(`/v1/loyalty/programmes/${programmeId}/publish`, {});
  const [giver, taker] = [
    (await write('/v1/customers', { name: 'Dan' })).id,
    (await write('/v1/customers', { name: 'Eve' })).id,
  ];
  for (const id of [giver, taker]) await write(`/v1/customers/${id}/loyalty`, { programmeId });
  const transactions = '/v1/loyalty/transactions';
  await write(transactions, { kind: 'adjust', customerId: giver, points: 2_000, reason: 'won' });
  await write(transactions, { kind: 'transfer', customerId: giver, points: 1_200, toCustomerId: taker });
  const spend = await write(transactions, { kind: 'spend', customerId: giver, points: 500 });
  await write(`${transactions}/${spend.id}/undo`);
  await write(transactions, { kind: 'spend', customerId: taker, points: 200 });
  now = '2026-12-31T00:00:00.000Z';
  const { values } = (await request('GET', url)).body;
  t.equal(values.breakageRate, 0.9, '1800 of 2000');
  now = before;
});

t.test('groups share out the whole', async (t) => {
  const groups = async (query: string) =>
    (await ask(query)).groups.map(({ key, value, values }: any) => [key, value, values.outstandingPoints]);
  t.same(await groups('groupBy=expiry_month&timeZone=UTC'), [
    ['2026-07', 1_150, 2_300],
    ['never', 200, 100],
  ]);
  t.same(
    await groups(`groupBy=tier&asOf=2026-04-15T11:59:59Z&programmeId=${first}`),
    [
      ['gold', 1_000, 2_000],
      ['basic', 150, 300],
    ],
    'the tier held then',
  );
  t.same(
    await groups(`groupBy=tier&asOf=2026-04-15T12:00:00Z&programmeId=${first}`),
    [['basic', 1_150, 2_300]],
    'it ended, unwritten',
  );
  t.same(await groups('groupBy=tier&asOf=2026-05-01'), [
    ['basic', 1_150, 2_300],
    ['', 200, 100],
  ]);
});

t.test('a series has the liability at the end of each interval', async (t) => {
  const { series, period, value } = await ask('interval=month&timeZone=UTC&asOf=2026-08-01');
  t.equal(period.from, '2026-01-01T00:00:00.000Z', 'when the first member joined');
  t.equal(value, 200);
  t.same(
    series.map((point: any) => [point.start, point.value, point.values.outstandingPoints]),
    [
      ['2026-01-01', 1_250, 2_500],
      ['2026-02-01', 1_350, 2_400],
      ['2026-03-01', 1_350, 2_400],
      ['2026-04-01', 1_350, 2_400],
      ['2026-05-01', 1_350, 2_400],
      ['2026-06-01', 1_350, 2_400],
      ['2026-07-01', 200, 100],
    ],
  );
  const days = await ask('interval=day&from=2026-01-14&to=2026-01-27&timeZone=UTC');
  t.same(
    days.series.map(({ values }: any) => [values.activePoints, values.pendingPoints].join()),
    [...['0,0'], ...Array(10).fill('0,2500'), ...Array(2).fill('2500,0')],
  );
  t.equal(days.value, 1_250, 'as of the end of the period');
});

t.test('members add up to the metric', async (t) => {
  const list = async (query: string) => (await api.request('GET', `${url}/members?${query}`)).body;
  const { data, page } = await list('count=true');
  t.same(data, [
    row(ada, first, 'basic', 2_000, 1_000),
    row(ben, first, 'basic', 300, 150),
    row(cleo, second, null, 100, 200),
  ]);
  t.equal(page.total, 3);
  for (const sort of ['-points', 'points', 'id', '-id']) {
    const seen: string[] = [];
    let after = '';
    do {
      const got = await list(`sort=${sort}&limit=1${after && `&after=${encodeURIComponent(after)}`}`);
      seen.push(...got.data.map((one: any) => one.customerId));
      after = got.page.next ?? '';
    } while (after !== '');
    const byPoints = [ada, ben, cleo];
    const wanted = sort.endsWith('id') ? [...byPoints].sort() : byPoints;
    t.same(seen, sort === '-points' || sort === 'id' ? wanted : wanted.reverse(), sort);
  }
  const gold = 'groupBy=tier&group=gold&asOf=2026-03-01';
  t.same((await list(gold)).data, [row(ada, first, 'gold', 2_000, 1_000)]);
  t.same((await list(`${gold}&sort=id`)).data, [row(ada, first, 'gold', 2_000, 1_000)]);
  t.same((await list('groupBy=expiry_month&group=never&count=true')).page.total, 1);
  t.same((await list('groupBy=expiry_month&group=2026-07&sort=id')).data.length, 2);
  t.same((await list(`groupBy=programme&group=${second}`)).data.length, 1);
  t.same((await list(`programmeId=${first}&asOf=2026-01-20`)).data[0].pendingPoints, 2_000);

  function row(customerId: string, programmeId: string, tier: string | null, points: number, liability: number) {
    return {
      customerId,
      programmeId,
      tier,
      outstandingPoints: points,
      activePoints: points,
      pendingPoints: 0,
      debtPoints: 0,
      liability,
    };
  }
});

t.test('the month of expiry is that of the zone', async (t) => {
  const third = await programme('Third', { pointsPerUnit: 1, pointValue: 0.1 });
  const customerId = await member(third, 'dora');
  const gift = { kind: 'adjust', customerId, points: 3, reason: 'gift', expiresAt: '2026-08-31T22:30:00Z' };
  await send('/v1/loyalty/transactions', gift);
  for (const [zone, month] of [
    ['UTC', '2026-08'],
    ['Europe/Berlin', '2026-09'],
  ]) {
    const { groups, value } = await ask(`groupBy=expiry_month&programmeId=${third}&timeZone=${zone}`);
    t.equal(value, 0.3, 'exact');
    t.match(groups, [{ key: month, values: { outstandingPoints: 3 } }]);
    const members = `${url}/members?groupBy=expiry_month&group=${month}&programmeId=${third}&timeZone=${zone}`;
    t.equal((await api.request('GET', members)).body.data.length, 1);
  }
});

t.test('both doors, and what is refused', async (t) => {
  const { body } = await api.graphql(
    `{ metrics { loyaltyLiability(input: { groupBy: PROGRAMME, asOf: "2026-03-01" }) { value currency groups { key value } }
        loyaltyLiabilityMembers(first: 1, groupBy: TIER, group: "gold", asOf: "2026-03-01") { totalCount nodes { liability tier customer { id } } } } }`,
  );
  t.same(body.data?.metrics, {
    loyaltyLiability: {
      value: 1_350,
      currency: 'EUR',
      groups: [
        { key: first, value: 1_150 },
        { key: second, value: 200 },
      ],
    },
    loyaltyLiabilityMembers: { totalCount: 1, nodes: [{ liability: 1_000, tier: 'gold', customer: { id: ada } }] },
  });
  const refused = async (path: string, scope = '*') => (await api.request('GET', path, { scope })).body.code;
  t.equal(await refused(`${url}?programmeId=${ada}`), 'not_found');
  t.equal(await refused(`${url}?interval=day&from=1900-01-01`), 'invalid_input');
  t.equal(await refused(`${url}/members?group=gold`), 'invalid_input');
  t.equal(await refused(`${url}/members?groupBy=tier`), 'invalid_input');
  t.equal(await refused(url, 'loyalty:read'), 'insufficient_scope');
  t.equal(await refused(`${url}/members`, 'metrics:read'), 'insufficient_scope');
});
