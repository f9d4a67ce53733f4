import t, { type Test } from 'tap';
import { leadDifferences } from '../../src/features/leads/comparison.ts';
import { ledgerDifferences } from '../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../src/features/loyalty/earning-comparison.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { testApp } from '../support/app.ts';
import { newKey } from '../support/shop.ts';
import type { Connector } from '../support/shops/connector.ts';
import { magento } from '../support/shops/magento.ts';
import { connectMagento } from '../support/shops/magento-connector.ts';
import type { Message } from '../support/shops/message.ts';
import { shopify } from '../support/shops/shopify.ts';
import { connectShopify } from '../support/shops/shopify-connector.ts';
import { woocommerce } from '../support/shops/woocommerce.ts';
import { connectWooCommerce } from '../support/shops/woocommerce-connector.ts';

/**
 * Three shops push what shops really push (test/support/shops), and all numbers equal a table that was made by hand.
 *
 * Revenue = (total − tax) − Σ (refund − its tax), in cents of the order's currency. Rates: GBP 1.20, JPY 0.006 (a yen has no cents:
 * × 0.6), USD 0.90; 301 brings 1 ÷ 1.25 = 0.8, 107 brings 0.1327; CHF has none.
 *
 *   order  who     placed  cur  total    tax    net    refunds                                     revenue    in EUR
 *   5001   Ada     01-05   EUR  120.00  20.00  100.00  6.00 with 1.00 tax → 5.00                     95.00     95.00
 *   5002   Bruno   01-07   EUR   60.00   0.00   60.00                                                60.00     60.00
 *   5004   Chloe   01-10   EUR   48.00   8.00   40.00                                                40.00     40.00
 *   5006   nobody  01-12   EUR   15.00   2.50   12.50                                                12.50     12.50
 *   5009   Diego   01-20   EUR    0.00   0.00    0.00                                                 0.00      0.00
 *   5012   Diego   01-24   EUR  120.00  20.00  100.00  30.00 with 5.00 tax → 25.00                   75.00     75.00
 *   101    Erin    01-06   GBP   54.00   9.00   45.00  12.00 with 2.00 tax → 10.00                   35.00     42.00
 *   103    Farid   01-08   EUR   27.60   4.60   23.00                                                23.00     23.00
 *   105    Greta   01-14   EUR   30.00   5.00   25.00                                                25.00     25.00
 *   108    Hana    01-28   EUR   30.00   5.21   24.79                                                24.79     24.79
 *   301    Ines    01-09   USD   90.00  14.00   76.00  7.60 with 0.00 tax → 7.60 (02-02)             68.40     54.72
 *   302    Jonas   01-11   EUR   48.00   8.00   40.00                                                40.00     40.00
 *   304    Kenji   01-13   JPY    5500    500    5000  1100 with 100 tax → 1000                       4000     24.00
 *   306    Kenji   01-30   CHF  100.00   0.00  100.00                                               100.00      none
 *   311    Lea     01-17   EUR   12.00   2.00   10.00                                                10.00     10.00
 *   January: 15 orders (14 with a value), 12 buyers (15 − nobody − Diego's and Kenji's second)                526.01
 *   5003   Ada     02-03   EUR   30.00   5.00   25.00  0.00                                          25.00     25.00
 *   5005   Chloe   02-10   EUR   24.00   4.00   20.00                                                20.00     20.00
 *   5007   Diego   02-14   EUR    6.00   1.00    5.00                                                 5.00      5.00
 *   5011   Bruno   02-05   EUR  240.00  40.00  200.00                                               200.00    200.00
 *   5013   Ada     02-20   EUR   54.00   9.00   45.00                                                45.00     45.00
 *   5014   Bruno   02-22   EUR   80.00   0.00   80.00                                                80.00     80.00
 *   5015   Diego   02-24   EUR   12.00   2.00   10.00                                                10.00     10.00
 *   102    Erin    02-09   GBP   54.00   9.00   45.00  10.80, tax 9.00 × 10.80 ÷ 54.00 = 1.80 → 9.00 36.00     43.20
 *   104    Farid   02-11   EUR   12.00   2.00   10.00                                                10.00     10.00
 *   106    Gustav  02-12   EUR   18.00   3.00   15.00                                                15.00     15.00
 *   109    Hana    02-13   EUR   48.00   8.00   40.00  (the payment failed)                          40.00     40.00
 *   111    Erin    02-16   EUR   72.00  12.00   60.00                                                60.00     60.00
 *   112    nobody  02-17   EUR    6.00   1.00    5.00                                                 5.00      5.00
 *   113    Greta   02-18   EUR   24.00   4.00   20.00                                                20.00     20.00
 *   303    Jonas   02-06   EUR   36.00   6.00   30.00                                                30.00     30.00
 *   305    Ada     02-08   EUR   24.00   4.00   20.00                                                20.00     20.00
 *   307    Ines    02-03   USD  120.00   0.00  120.00                                               120.00    108.00
 *   312    Ines    02-18   EUR   48.00   8.00   40.00                                                40.00     40.00
 *   313    Ines    02-19   EUR   12.00   2.00   10.00  (99.00 does not fit)                          10.00     10.00
 *   February: 19 orders, 11 buyers (19 − nobody − seconds and thirds: Ada 2, Bruno 1, Diego 1, Erin 1, Ines 2)  786.20
 *   107    Hana    2022    HRK  100.00  20.00   80.00  8000 × 0.1327 = 1061.6                        80.00     10.62
 *   All time: 35 orders (34 with a value), 13 buyers                             526.01 + 786.20 + 10.62 = 1322.83
 *
 * Left out: 5008 (test), 5010 and 114 (cancelled), 115 (refunded: 60.00 of 60.00). Deleted: the draft 7001, the checkout 110.
 */
const revenueByCustomer = {
  'shopify/9001': 18500, // Ada: 95.00 + 25.00 + 45.00 + 20.00
  'shopify/9002': 34000, // Bruno: 60.00 + 200.00 + 80.00
  'shopify/9004': 9000, // Diego: 0.00 + 75.00 + 5.00 + 10.00
  'woocommerce/31': 14520, // Erin: 42.00 + 43.20 + 60.00
  'woocommerce/41': 4500, // Greta: 25.00 + 20.00
  'woocommerce/42': 1500, // Gustav
  'woocommerce/35': 7541, // Hana: 10.62 + 24.79 + 40.00
  'magento/501': 21272, // Ines: 54.72 + 108.00 + 40.00 + 10.00
  'magento/502': 2400, // Kenji
  'magento/503': 1000, // Lea
};
/** Guests: Farid 23.00 + 10.00, Jonas 40.00 + 30.00. */
const revenueByContact = { 'phone=%2B442079460102': 3300, 'email=jonas.berg%40example.com': 7000 };
/** Of the erased customer: 40.00 + 20.00. All of them: 1305.33 = 1322.83 − 12.50 − 5.00 of nobody. */
const erased = 6000;

/** Orders and revenue by currency, in its minor units. */
const byCurrency = {
  EUR: [28, 104029], // Shopify 667.50 (13) + WooCommerce 222.79 (9) + Magento 150.00 (6)
  GBP: [2, 7100], // 35.00 + 36.00
  USD: [2, 18840], // 68.40 + 120.00
  JPY: [1, 4000],
  CHF: [1, 10000],
  HRK: [1, 8000],
};

const january = 'from=2026-01-01&to=2026-02-01';
const february = 'from=2026-02-01&to=2026-03-01';
const twoMonths = `${february}&previousFrom=2026-01-01&previousTo=2026-02-01`;

const numbers: [metric: string, query: string, numerator: number, denominator: number][] = [
  ['average-order-value', '', 132283, 34],
  ['average-order-value', january, 52601, 14],
  ['average-order-value', february, 78620, 19],
  // 5011 (200.00), 5015 (10.00) and 109 (40.00) are not paid: 1322.83 − 250.00.
  ['average-order-value', 'payment=paid', 107283, 31],
  // Without 5009.
  ['average-order-value', 'zeroValue=exclude', 132283, 33],
  // In January 301 still had the 7.60 × 0.8 = 6.08 that went back in February.
  ['average-order-value', `${january}&asOf=2026-02-01`, 53209, 14],
  // As placed, with the 50.00 of 115: 526.01 + 5.00 + 25.00 + 12.00 + 6.08 + 6.00 + 50.00; 786.20 + 10.80.
  ['average-order-value', `${january}&refunds=when_given`, 63009, 15],
  ['average-order-value', `${february}&refunds=when_given`, 79700, 19],
  ...Object.entries(byCurrency).map(([currency, [orders = 0, revenue = 0]]): (typeof numbers)[0] => [
    'average-order-value',
    `currency=${currency}`,
    revenue,
    orders,
  ]),
  ['revenue-per-customer', '', 132283, 13],
  ['revenue-per-customer', january, 52601, 12],
  ['revenue-per-customer', february, 78620, 11],
  // 630.09 − 5.00 − 25.00 − 12.00 − 6.00 − 50.00, and Gustav has bought; 797.00 − 6.08 − 10.80.
  ['revenue-per-customer', `${january}&refunds=when_given`, 53209, 13],
  ['revenue-per-customer', `${february}&refunds=when_given`, 78012, 11],
  // All but Kenji and Lea came again. Hana's second payment failed.
  ['retention-rate', twoMonths, 10, 12],
  ['retention-rate', `${twoMonths}&payment=paid`, 9, 12],
  // All but Gustav and Lea; Ada, Bruno, Diego, Erin, Hana and Ines bought three times.
  ['repeat-purchase-rate', '', 11, 13],
  ['repeat-purchase-rate', 'minOrders=3', 6, 13],
];
/** Orders of nobody are left out where buyers are counted, and not where orders are. */
const leftOut: [metric: string, query: string, counts: Record<string, number>][] = [
  ['average-order-value', '', { test: 1, cancelled: 2, refunded: 1, missing_rate: 1 }],
  ['average-order-value', january, { test: 1, cancelled: 2, refunded: 1, missing_rate: 1 }],
  ['average-order-value', february, {}],
  ['average-order-value', 'payment=paid', { test: 1, cancelled: 2, refunded: 1, unpaid: 3, missing_rate: 1 }],
  ['average-order-value', 'zeroValue=exclude', { test: 1, cancelled: 2, refunded: 1, zero_value: 1, missing_rate: 1 }],
  ['repeat-purchase-rate', '', { test: 1, cancelled: 2, refunded: 1, anonymous: 2 }],
];

/** A point for each euro, none for gift cards, paid orders only; each order rounded down. */
const points = {
  'shopify/9001': 185, // 95 + 25 + 45 + 20
  'shopify/9002': 90, // 10 (60.00 less the gift card of 50.00) + 80; the deposit earns nothing yet
  'shopify/9004': 80, // 75 + 5 + 0; what is only authorised earns nothing yet
  'woocommerce/31': 145, // 42 + 43 + 60
  'magento/501': 212, // 54 + 108 + 40 + 10
};

const api = await testApp(t);
const { request } = api;
const shops: [name: string, connect: Connector, messages: Message[]][] = [
  ['shopify', connectShopify, shopify],
  ['woocommerce', connectWooCommerce, woocommerce],
  ['magento', connectMagento, magento],
];

async function send(connect: Connector, { topic, payload }: Message) {
  const call = connect(topic, payload);
  if (call === null) return null;
  const [method, path, body] = call;
  const headers = method === 'POST' ? newKey() : method === 'DELETE' ? { 'If-Match': '*' } : undefined;
  return request(method, path, { body, ...(headers && { headers }) });
}

const get = async (path: string) => (await request('GET', path)).body;
const metric = (name: string, query = '') => get(`/v1/metrics/${name}?${query}`);
const codes = (list: { code: string }[] | undefined) => (list ?? []).map(({ code }) => code).sort();
async function enrol(programmeId: string, who: string) {
  const path = `/v1/customers/external/${who}/loyalty`;
  const { status, body } = await request('POST', path, {
    body: { programmeId, joinedAt: '2025-12-01T00:00:00Z' },
    headers: newKey(),
  });
  t.equal(status, 201, `${who} ${JSON.stringify(body)}`);
}

t.test('rates and a programme', async (t) => {
  const days = ['01', '08', '15', '22', '29'].map((day) => `2026-01-${day}`);
  days.push(...['05', '12', '19', '26'].map((day) => `2026-02-${day}`));
  const rates = days.flatMap((date) => [
    { date, currency: 'GBP', rate: '1.20' },
    { date, currency: 'JPY', rate: '0.006' },
    { date, currency: 'USD', rate: '0.90' },
  ]);
  t.equal((await request('PUT', '/v1/exchange-rates', { body: { rates } })).status, 200);
});

let programme = '';
t.test('a club', async (t) => {
  const rules = { pointsPerUnit: 1, pointValue: 1, categories: [{ category: 'Gift cards', multiplier: 0 }] };
  const made = await request('POST', '/v1/loyalty/programmes', { body: { name: 'Club', rules }, headers: newKey() });
  programme = made.body.id;
  const published = await request('POST', `/v1/loyalty/programmes/${programme}/publish`, {
    body: { validFrom: '2025-01-01T00:00:00Z' },
    headers: { ...newKey(), 'If-Match': '*' },
  });
  t.equal(published.status, 200, JSON.stringify(published.body));
});

for (const [shop, connect, messages] of shops) {
  t.test(`${shop}: nothing is refused but what contradicts itself`, async (t) => {
    for (const message of messages) {
      const answer = await send(connect, message);
      const { says, refused, answers, warns = [] } = message;
      if (answer === null) continue;
      if (refused) {
        const found = [answer.body.code, ...codes(answer.body.errors)];
        t.ok(answer.status === refused.status && found.includes(refused.code), `${says}: ${answer.status} ${found}`);
      } else {
        t.ok(
          answer.status < 300,
          `${says}: ${answer.status} ${JSON.stringify(answer.body.errors ?? answer.body.code)}`,
        );
        t.same(codes(answer.body.warnings), warns, says);
        if (answers?.status) t.equal(answer.status, answers.status, says);
        if (answers?.applied !== undefined) t.equal(answer.body.applied, answers.applied, says);
      }
      // Two of the members join before they have bought anything, and the others when all is over.
      if (message === shopify[1]) for (const who of ['shopify/9001', 'shopify/9002']) await enrol(programme, who);
    }
  });
}

t.test('the others join the club', async () => {
  for (const who of ['shopify/9004', 'woocommerce/31', 'magento/501']) await enrol(programme, who);
});

/** The table, read from the service. */
async function check(t: Test): Promise<void> {
  const people = await get('/v1/customers?count=true&limit=1');
  t.equal(people.page?.total, 13, 'customers');
  t.equal((await get('/v1/orders?count=true&limit=1')).page?.total, 39, 'orders: 35, and four that are left out');

  for (const [name, query, numerator, denominator] of numbers) {
    const answer = await metric(name, query);
    t.same([answer.numerator, answer.denominator], [numerator, denominator], `${name} ${query}`);
    t.equal(answer.value, numerator / denominator, `${name} ${query}`);
  }
  for (const [name, query, counts] of leftOut) {
    const { excluded = [] } = await metric(name, query);
    t.same(
      Object.fromEntries(excluded.map(({ reason, count }: any) => [reason, count])),
      counts,
      `left out: ${name} ${query}`,
    );
  }
  // One order each: Gustav 15.00 and Lea 10.00. The rest of 1305.33 is of those who return; nobody does not.
  const { groups = [] } = await metric('average-order-value');
  t.same(groups.map(({ key, numerator, denominator }: any) => [key, numerator, denominator]).sort(), [
    ['one_time', 2500, 2],
    ['returning', 128033, 30],
  ]);

  for (const [who, revenue] of Object.entries(revenueByCustomer)) {
    t.equal((await get(`/v1/customers/external/${who}/summary`)).base?.revenue, revenue, who);
  }
  for (const [contact, revenue] of Object.entries(revenueByContact)) {
    const { data } = await get(`/v1/customers?${contact}`);
    t.equal((await get(`/v1/customers/${data?.[0]?.id}/summary`)).base?.revenue, revenue, contact);
  }
  const chloe = (await get('/v1/orders/external/shopify/5005')).customerId;
  t.match(await get(`/v1/customers/${chloe}`), { name: null, email: null }, 'erased');
  t.equal((await get(`/v1/customers/${chloe}/summary`)).base?.revenue, erased, 'erased');

  for (const [who, balance] of Object.entries(points)) {
    t.equal((await get(`/v1/customers/external/${who}/loyalty`)).active, balance, `points of ${who}`);
  }
}

t.test('all numbers are those of the table', check);

t.test('who is who', async (t) => {
  const idOf = async (kind: string, name: string) => (await get(`/v1/${kind}/external/${name}`)).customerId;
  const [ada, bruno] = await Promise.all(['9001', '9002'].map((id) => get(`/v1/customers/external/shopify/${id}`)));
  t.equal(await idOf('orders', 'magento/305'), ada.id, 'an e-mail joins two shops');
  t.not(ada.id, bruno.id, 'a phone does not make one person of a household');
  t.equal(ada.phone, bruno.phone, 'and both have it');
  const erin = await get('/v1/customers/external/woocommerce/31');
  t.equal(await idOf('orders', 'woocommerce/101'), erin.id, 'a guest opens an account');
  t.equal(await idOf('orders', 'woocommerce/111'), erin.id, 'the checkout has an owner');
  t.not(
    await idOf('orders', 'woocommerce/105'),
    await idOf('orders', 'woocommerce/106'),
    'two accounts under an e-mail',
  );
  t.equal(
    await idOf('orders', 'woocommerce/103'),
    await idOf('orders', 'woocommerce/104'),
    'one phone in two spellings',
  );
  t.equal(await idOf('orders', 'shopify/5006'), null, 'nobody');
  t.equal(await idOf('orders', 'woocommerce/112'), null, 'nobody that could be known');
  const { data } = await get('/v1/customers/duplicates');
  t.match(JSON.stringify(data), (await get('/v1/customers/external/woocommerce/42')).id, 'a suggestion');
});

t.test('orders and refunds, as they are now', async (t) => {
  const order = (name: string) => get(`/v1/orders/external/${name}`);
  t.match(await order('shopify/5012'), { status: 'partially_refunded', total: 12000, refunded: 3000, revenue: 7500 });
  t.match(await order('shopify/5003'), { status: 'paid', refunded: 0 }, 'a refund of nothing changes no status');
  t.match(await order('shopify/5010'), { status: 'cancelled', paymentStatus: 'voided' });
  t.match(await order('shopify/5011'), { status: 'placed', paymentStatus: 'partially_paid' });
  t.match(await order('shopify/5015'), { status: 'placed', paymentStatus: 'authorized' });
  t.match(await order('woocommerce/109'), { status: 'placed', paymentStatus: 'failed' });
  t.match(await order('woocommerce/107'), { currency: 'HRK', exchangeRate: '0.1327', baseRevenue: 1062 });
  t.match(await order('magento/306'), { exchangeRate: null, baseRevenue: null });
  t.match(await get('/v1/refunds/external/woocommerce/202'), { amount: 1080, net: 900, taxEstimated: true });
  t.match(await get('/v1/refunds/external/magento/401'), { amount: 760, net: 760, taxEstimated: false });
  t.match(await get('/v1/refunds/external/magento/404'), { status: 'refused' }, 'what does not fit');
  t.equal((await request('GET', '/v1/refunds/external/magento/403')).status, 404);
  t.equal(
    (await request('GET', '/v1/customers/external/magento/504')).status,
    404,
    'a refused order leaves no customer',
  );
});

t.test('GraphQL says the same', async (t) => {
  const query = `query ($reference: ReferenceInput!) {
    order(reference: $reference) { status baseRevenue items { externalId sku total } refunds { amount net } customer { name } }
    metrics { averageOrderValue { numerator denominator excluded { reason count } }
      retentionRate(input: { from: "2026-02-01", to: "2026-03-01", previousFrom: "2026-01-01", previousTo: "2026-02-01" }) { numerator denominator } }
  }`;
  const { body } = await api.graphql(query, { reference: { source: 'shopify', externalId: '5012' } });
  t.match(body.data ?? body, {
    order: {
      status: 'PARTIALLY_REFUNDED',
      baseRevenue: 7500,
      items: [
        { externalId: '61', sku: 'SOCK', total: 3000 },
        { externalId: '62', sku: 'SOCK', total: 8400 },
      ],
      refunds: [{ amount: 3000, net: 2500 }],
      customer: { name: 'Diego Ruiz' },
    },
    metrics: {
      averageOrderValue: { numerator: 132283, denominator: 34 },
      retentionRate: { numerator: 10, denominator: 12 },
    },
  });
});

t.test('all of it comes a second time, and nothing changes', async (t) => {
  for (const [, connect, messages] of shops) {
    for (const message of messages) {
      const answer = await send(connect, message);
      // What was deleted or erased stays so; the credit memo that does not fit its order is told so now that it is there.
      const again = message.again ?? message.refused?.status ?? 200;
      if (answer !== null) t.equal(answer.status, again, `${message.says}: ${JSON.stringify(answer.body.errors)}`);
    }
  }
  await check(t);
});

t.test('what is kept agrees with the facts', async (t) => {
  const pool = openPool(api.connection, { size: 2, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  const db = poolDb(pool);
  t.strictSame(
    [
      ...(await rollupDifferences(db, 'UTC', 5)),
      ...(await leadDifferences(db, 5)),
      ...(await ledgerDifferences(db, 5)),
      ...(await earningDifferences(db, 'EUR', 5)),
    ],
    [],
  );
});
