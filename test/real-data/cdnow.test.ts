import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { Temporal } from 'temporal-polyfill';
import { packageRoot } from '../../src/config.ts';
import { ratio } from '../../src/domain/money.ts';
import { metricResult } from '../../src/features/metrics/model.ts';
import { type TestApp, testApp } from '../support/app.ts';

/**
 * The purchases of 2,357 customers of CDNOW against values that were computed elsewhere, equal to all digits given.
 * A row is an order under its row number; dollars are read as digits, not as a float. An order is placed at local
 * midnight of its day, the instant that is easiest to put into the wrong day, in the zone that is also the reporting
 * zone and whose clock changes four times in the data.
 */
const zone = 'America/New_York';
const data = join(packageRoot, '../shared/data');
const sample = join(data, 'cdnow/CDNOW_sample.txt.gz');

interface Row {
  number: number;
  text: string;
  customer: string;
  date: string;
  cents: number;
}

/** Blank-separated with padding: [id in the sample,] id, YYYYMMDD, CDs, dollars; the whole cohort has one id column. */
function readRows(text: string): Row[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line, index) => {
      const cells = line.split(/\s+/);
      const [customer = '', date = '', , dollars = ''] = cells.slice(-4);
      const [whole = '', fraction = ''] = dollars.split('.');
      return {
        number: index + 1,
        text: line,
        customer,
        date: `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`,
        cents: Number(`${whole}${fraction.padEnd(2, '0')}`),
      };
    });
}

function toOrder({ number, customer, date, cents }: Omit<Row, 'text'>) {
  return {
    source: 'cdnow',
    externalId: String(number),
    customer: { source: 'cdnow', externalId: customer },
    placedAt: Temporal.PlainDate.from(date).toZonedDateTime(zone).toInstant().toString(),
    currency: 'USD',
    total: cents,
    items: cents === 0 ? [] : [{ sku: 'CD', quantity: 1, total: cents }],
    paymentStatus: 'paid',
  };
}

async function push(app: TestApp, orders: unknown[], size = 1000): Promise<Map<string, number>> {
  const statuses = new Map<string, number>();
  for (let at = 0; at < orders.length; at += size) {
    const { status, body } = await app.request('POST', '/v1/orders/batch', {
      body: { orders: orders.slice(at, at + size) },
    });
    if (status !== 200) throw new Error(`batch answered ${status}: ${JSON.stringify(body).slice(0, 500)}`);
    for (const result of body.results) statuses.set(result.status, (statuses.get(result.status) ?? 0) + 1);
  }
  return statuses;
}

/** As the reference prints numbers: six decimals; amounts in dollars. */
const six = (value: number | null | undefined) => (typeof value === 'number' ? Number(value.toFixed(6)) : value);
const dollars = (minor: number | null | undefined) => six(typeof minor === 'number' ? minor / 100 : minor);

interface Pair {
  prev: string;
  cur: string;
  all: { prev: number; kept: number; rate: number };
  asof_prev_3plus: { prev: number; kept: number; rate: number };
}

interface Month {
  month: string;
  orders: number;
  buyers: number;
  revenue_gross: number;
}

t.test('CDNOW', { skip: existsSync(sample) ? false : `${data} is not there: real data is not tested` }, async (t) => {
  const rows = readRows(gunzipSync(readFileSync(sample)).toString('latin1'));
  const reference = JSON.parse(readFileSync(join(data, 'reference/cdnow_sample.json'), 'utf8'));
  const app = await testApp(t, { env: { BASE_CURRENCY: 'USD', REPORTING_TIME_ZONE: zone } });
  const get = async (path: string) => {
    const { status, body } = await app.request('GET', path);
    if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
    return body;
  };
  const metric = async (path: string) => metricResult.parse(await get(`/v1/metrics/${path}`));
  const total = async (kind: string) => (await get(`/v1/${kind}?limit=1&count=true`)).page.total;

  await t.test('every row becomes an order of its own, the 21 that repeat another one too', async (t) => {
    t.equal(rows.length, 6919);
    t.equal(rows.length - new Set(rows.map(({ text }) => text)).size, 21);
    t.strictSame(await push(app, rows.map(toOrder)), new Map([['created', 6919]]));
    t.equal(await total('orders'), reference.orders);
    t.equal(await total('customers'), reference.customers);
  });

  await t.test('pushing the file again makes no doubles', async (t) => {
    t.strictSame(await push(app, rows.slice(0, 1500).map(toOrder), 700), new Map([['updated', 1500]]));
    t.equal(await total('orders'), reference.orders);
    t.equal(await total('customers'), reference.customers);
  });

  // Where all orders are paid, `payment=paid` says the same and is answered from the facts instead of the rollups.
  for (const [from, more] of [
    ['rollups', ''],
    ['facts', '&payment=paid'],
  ] as const) {
    await t.test(
      `retention of every month and quarter, of all buyers and of those with three orders, from ${from}`,
      async (t) => {
        const pairs: Pair[] = [...reference.retention_monthly, ...reference.retention_quarterly];
        t.equal(pairs.length, 22);
        for (const { prev, cur, all, asof_prev_3plus } of pairs) {
          const [previous, current] = [rangeOf(prev), rangeOf(cur)];
          const query = `previousFrom=${previous.from}&previousTo=${previous.to}&from=${current.from}&to=${current.to}${more}`;
          t.strictSame(retention(await metric(`retention-rate?${query}`)), all, `${prev} → ${cur}`);
          t.strictSame(
            retention(await metric(`retention-rate?${query}&minOrders=3`)),
            asof_prev_3plus,
            `${prev} → ${cur}, three orders`,
          );
        }
      },
    );

    await t.test(`the series of months, from ${from}`, async (t) => {
      const period = `from=1997-01-01&to=1998-07-01&interval=month${more}`;
      const [retained, orderValue, perCustomer] = await Promise.all([
        metric(`retention-rate?${period}`),
        metric(`average-order-value?${period}`),
        metric(`revenue-per-customer?${period}`),
      ]);
      t.equal(retained.series.length, 18);
      const rates = retained.series.map(({ value }) => six(value));
      t.strictSame(rates, [null, ...reference.retention_monthly.map(({ all }: Pair) => all.rate)]);
      t.strictSame(
        orderValue.series.map(({ start, numerator, denominator }) => [
          start.slice(0, 7),
          denominator,
          dollars(numerator),
        ]),
        reference.months.map(({ month, orders, revenue_gross }: Month) => [month, orders, revenue_gross]),
      );
      t.strictSame(
        perCustomer.series.map(({ numerator, denominator }) => [denominator, dollars(numerator)]),
        reference.months.map(({ buyers, revenue_gross }: Month) => [buyers, revenue_gross]),
      );
    });

    await t.test(`gaps between purchases, same-day orders merged and counted, from ${from}`, async (t) => {
      for (const [sameDay, expected] of [
        ['merge', reference.gaps_same_day_merged],
        ['count', reference.gaps_same_day_counted],
      ]) {
        const { value, values, numerator, denominator } = await metric(`purchase-gaps?sameDay=${sameDay}${more}`);
        t.strictSame(
          {
            customers: values.customers,
            gaps: values.gaps,
            pooled_mean: six(value),
            pooled_median: values.median,
            per_customer_mean: six(values.customerMean),
            per_customer_median: six(values.customerMedian),
            zero_gaps: expected.zero_gaps,
          },
          expected,
        );
        t.equal(value, (numerator ?? 0) / (denominator ?? 0));
      }
    });

    await t.test(`repeat buyers, order values, revenue per customer and historic value, from ${from}`, async (t) => {
      const repeat = await metric(`repeat-purchase-rate?${more}`);
      t.equal(six(repeat.value), reference.repeat_customer_share);
      t.strictSame([repeat.numerator, repeat.denominator], [reference.returning.customers, reference.customers]);

      const orderValue = await metric(`average-order-value?${more}`);
      t.equal(dollars(orderValue.value), reference.aov);
      t.strictSame([orderValue.numerator, orderValue.denominator], [24409194, reference.orders]);
      for (const key of ['returning', 'one_time']) {
        const group = orderValue.groups.find((candidate) => candidate.key === key);
        t.match(
          { ...group?.values, aov: dollars(group?.value), revenue: dollars(group?.numerator) },
          {
            customers: reference[key].customers,
            orders: reference[key].orders,
            aov: reference[key].aov,
            revenue: reference[key].revenue_net,
          },
          key,
        );
      }

      const perCustomer = await metric(`revenue-per-customer?${more}`);
      t.equal(dollars(perCustomer.value), reference.revenue_net_per_customer);
      t.equal(perCustomer.value, ratio(24409194n, 2357n), 'the nearest double to the exact quotient');

      const { value, values } = await metric(`lifetime-value?variant=historic${more}`);
      const { percentiles } = reference.ltv_historic;
      t.strictSame(
        {
          mean: dollars(value),
          std: dollars(values.deviation),
          min: dollars(values.min),
          max: dollars(values.max),
          percentiles: Object.fromEntries(Object.keys(percentiles).map((p) => [p, dollars(values[`p${p}`])])),
        },
        reference.ltv_historic,
      );
    });

    await t.test(`Pareto, RFM and the triangle of cohorts, from ${from}`, async (t) => {
      const pareto = await metric(`revenue-concentration?${more}`);
      t.strictSame({ k: pareto.values['topCustomers'], share: six(pareto.value) }, reference.pareto_top20pct.ceil);
      t.strictSame(
        Object.fromEntries(pareto.groups.map(({ key, value }) => [key.replace('top_', ''), six(value)])),
        reference.pareto_share_by_top_pct,
      );
      t.equal(
        six(pareto.values['shareOfCustomersBringing80']),
        reference.smallest_customer_share_holding_80pct_revenue,
      );

      const rfm = await metric(`rfm?${more}`);
      t.equal(rfm.value, reference.customers);
      const { cells, ...scores } = reference.rfm.rank;
      for (const [letter, name] of [
        ['R', 'recency'],
        ['F', 'frequency'],
        ['M', 'monetary'],
      ] as const) {
        const counted = Object.fromEntries([1, 2, 3, 4, 5].map((step) => [step, rfm.values[`${name}${step}`]]));
        t.strictSame(counted, scores[letter], name);
      }
      const counts = rfm.groups.flatMap(({ values }) => Object.entries(values).filter(([key]) => /^\d{3}$/.test(key)));
      t.strictSame(Object.fromEntries(counts.sort()), cells);

      const cohorts = await metric(`cohorts?asOf=1998-07-01&${more}`);
      t.strictSame(
        cohorts.groups.slice(0, 3).map(({ key, denominator, series }) => ({
          cohort: key.slice(0, 7),
          size: denominator,
          active: series.map(({ numerator }) => numerator),
        })),
        reference.cohorts_monthly,
      );
    });
  }

  await t.test('single customers: orders, purchase days, first and last day, net revenue', async (t) => {
    const lines = gunzipSync(readFileSync(join(data, 'reference/cdnow_sample_customers.csv.gz')))
      .toString('utf8')
      .trim()
      .split('\n');
    const [header = '', ...customers] = lines;
    const columns = header.split(',');
    for (const line of customers.filter((_, index) => index % 40 === 0)) {
      const cells = line.split(',');
      const expected = Object.fromEntries(columns.map((column, at) => [column, cells[at] ?? '']));
      const reference = String(Number(expected.cust)).padStart(4, '0');
      const { data: orders } = await get(`/v1/customers/external/cdnow/${reference}/orders?limit=100&sort=placedAt`);
      const days = orders.map((order: { placedAt: string }) => localDate(order.placedAt));
      const net = await metric(`lifetime-value?customerId=${orders[0].customerId}`);
      t.strictSame(
        [orders.length, new Set(days).size, days[0], days.at(-1), dollars(net.value)],
        [Number(expected.orders), Number(expected.days), expected.first, expected.last, Number(expected.net)],
        `customer ${reference}`,
      );
    }
  });
});

t.test('sums beyond 2^53 are exact where numbers can say them and never a float on the way', async (t) => {
  const app = await testApp(t, { env: { BASE_CURRENCY: 'USD' } });
  const amounts = Array.from({ length: 9_300 }, (_, index) => 1_000_000_000_000 - (index % 7));
  const orders = amounts.map((cents, index) =>
    toOrder({ number: index, customer: String(index % 3), date: '1997-01-01', cents }),
  );
  t.strictSame(await push(app, orders), new Map([['created', amounts.length]]));
  const sum = amounts.reduce((total, amount) => total + BigInt(amount), 0n);
  t.ok(sum > 2n ** 53n);
  for (const more of ['', '?payment=paid']) {
    const { body } = await app.request('GET', `/v1/metrics/average-order-value${more}`);
    t.equal(body.value, ratio(sum, BigInt(amounts.length)));
    t.equal(body.numerator, null, 'no number says it');
    const perCustomer = await app.request('GET', `/v1/metrics/revenue-per-customer${more}`);
    t.equal(perCustomer.body.value, ratio(sum, 3n));
  }
});

/** `1997-04` or `1997Q2` as the dates of `[from, to)`. */
function rangeOf(name: string): { from: string; to: string } {
  const [year = '', quarter] = name.split('Q');
  const months = quarter === undefined ? 1 : 3;
  const start = Temporal.PlainYearMonth.from(
    quarter === undefined ? name : `${year}-${String(Number(quarter) * 3 - 2).padStart(2, '0')}`,
  );
  return { from: `${start}-01`, to: `${start.add({ months })}-01` };
}

function retention({ value, values }: { value: number | null; values: Record<string, number | null> }) {
  return { prev: values.previousBuyers, kept: values.retained, rate: six(value) };
}

function localDate(instant: string): string {
  return Temporal.Instant.from(instant).toZonedDateTimeISO(zone).toPlainDate().toString();
}
