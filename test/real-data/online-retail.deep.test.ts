import { spawn } from 'node:child_process';
import { createReadStream, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip, gzipSync } from 'node:zlib';
import { parse } from 'csv-parse';
import pg from 'pg';
import t from 'tap';
import { FileError, type Found, readInvoices, survey, toRecord } from '../../scripts/online-retail/read.ts';
import { packageRoot } from '../../src/config.ts';
import { ratio } from '../../src/domain/money.ts';
import { metricResult } from '../../src/features/metrics/model.ts';
import { orderRecord } from '../../src/features/orders/record.ts';
import { returnRecord } from '../../src/features/returns/record.ts';
import { type TestApp, testApp } from '../support/app.ts';

/**
 * A year of a real shop through `npm run import:online-retail`, run as the command it is, and compared with values
 * that this file computes from the CSV by itself: whole thousandths of pence, no float.
 */
const data = join(packageRoot, '../shared/data');
const file = join(data, 'online-retail/online_retail_II_2009-2010.csv.gz');
const header = 'Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country';

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The command as people start it; `during` runs beside it and may send a signal. */
async function runImport(
  app: Pick<TestApp, 'origin' | 'token'>,
  args: string[],
  during?: (kill: (signal: NodeJS.Signals) => void, isRunning: () => boolean) => Promise<void>,
): Promise<Run> {
  const child = spawn(process.execPath, ['--import=tsx', 'scripts/import-online-retail.ts', ...args], {
    cwd: packageRoot,
    env: {
      ...process.env,
      RAPPORT_URL: app.origin,
      RAPPORT_TOKEN: app.token('orders:write returns:write', 'importer'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Run = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text;
  });
  let running = true;
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', reject).on('close', (code) => {
      running = false;
      run.code = code;
      resolve();
    });
  });
  await Promise.all([
    ended,
    during?.(
      (signal) => child.kill(signal),
      () => running,
    ),
  ]);
  return run;
}

async function read(path: string): Promise<Found[]> {
  const found: Found[] = [];
  for await (const one of readInvoices(await survey(path))) found.push(one);
  return found;
}

async function total(app: TestApp, kind: string): Promise<number> {
  const { body } = await app.request('GET', `/v1/${kind}?limit=1&count=true`);
  return body.page.total;
}

async function metric(app: TestApp, path: string) {
  const { status, body } = await app.request('GET', `/v1/metrics/${path}`);
  if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
  return metricResult.parse(body);
}

t.test('an invoice becomes one order, whatever its lines look like', async (t) => {
  const directory = t.testdir({});
  const write = (name: string, lines: string[]) => {
    const path = join(directory, name);
    writeFileSync(path, name.endsWith('.gz') ? gzipSync(lines.join('\n')) : lines.join('\n'));
    return path;
  };

  const path = write('made-up.csv.gz', [
    header,
    // Shuffled with its neighbour; the earliest line is not the first; one line twice; prices finer than a penny.
    '500001,A1, Blue cup ,2,2010-03-28 00:59:00,0.125,111,Somewhere',
    '500002,B1,"Frame 7"" long",1,2010-03-28 00:58:00,2.1,222,Somewhere',
    '500001,A1, Blue cup ,2,2010-03-28 00:59:00,0.125,111,Somewhere',
    '500001,M,Manual,1,2010-03-28 00:57:00,0.005,111,Somewhere',
    '500003,C1,,5,2010-03-28 02:30:00,0.07,,Somewhere',
    'C500004,A1,Blue cup,-1,2010-10-31 01:30:00,0.125,111,Somewhere',
    'A500005,B,Adjust bad debt,1,2010-11-01 10:00:00,-11062.06,333,Somewhere',
    'C500006,A1,Blue cup,-1,2010-11-01 10:01:00,0,111,Somewhere',
    '500007,Z,Free,10,2010-11-01 10:02:00,0,111.0,Somewhere',
    '500007,Z,Free,1,2010-11-01 10:02:00,3,999,Somewhere',
    '',
  ]);
  const found = await read(path);
  t.match(found, [
    {
      kind: 'order',
      line: 2,
      document: {
        externalId: '500002',
        placedAt: '2010-03-28T00:58:00Z',
        total: 210,
        items: [{ name: 'Frame 7" long', unitPrice: '2.1' }],
      },
    },
    {
      kind: 'order',
      line: 4,
      lines: 3,
      document: {
        externalId: '500001',
        customer: { source: 'online-retail', externalId: '111' },
        placedAt: '2010-03-28T00:57:00Z',
        // 0.25 + 0.25 + 0.005 = 0.505, halves away from zero; the lines alone are 25, 25 and 1.
        total: 51,
        items: [
          { sku: 'A1', name: 'Blue cup', quantity: 2, total: 25, unitPrice: '0.125' },
          { sku: 'A1', name: 'Blue cup', quantity: 2, total: 25, unitPrice: '0.125' },
          { sku: 'M', name: 'Manual', quantity: 1, total: 1, unitPrice: '0.005' },
        ],
      },
    },
    { kind: 'skipped', line: 5, lines: 1, reason: 'no_customer' },
    // An hour that comes twice: the first, in summer time.
    {
      kind: 'return',
      line: 6,
      document: {
        externalId: 'C500004',
        returnedAt: '2010-10-31T00:30:00Z',
        total: 13,
        items: [{ sku: 'A1', quantity: 1, total: 13 }],
      },
    },
    { kind: 'skipped', line: 7, reason: 'negative_order' },
    { kind: 'skipped', line: 8, reason: 'return_of_nothing' },
    { kind: 'skipped', line: 10, lines: 1, reason: 'other_customer' },
    {
      kind: 'order',
      line: 10,
      document: { externalId: '500007', customer: { externalId: '111' }, total: 0, items: [{ total: 0 }] },
    },
  ]);
  for (const one of found) {
    if (one.kind === 'order') t.ok(orderRecord.input.safeParse(one.document).success, one.document.externalId);
    if (one.kind === 'return') t.ok(returnRecord.input.safeParse(one.document).success, one.document.externalId);
  }

  t.test('going on from a line brings the invoices that end there or later, whole', async (t) => {
    const rest: Found[] = [];
    for await (const one of readInvoices(await survey(path), { fromLine: 4 })) rest.push(one);
    t.strictSame(rest, found.slice(1));
  });

  t.test('the older edition names its columns otherwise and writes dates with slashes', async (t) => {
    const older = write('older.csv', [
      'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country',
      '536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom',
      '581587,22138,BAKING SET,3,12/19/2010 12:50,4.95,12680,France',
    ]);
    t.match(await read(older), [
      { kind: 'order', document: { placedAt: '2010-12-01T08:26:00Z', total: 1530 } },
      { kind: 'order', document: { placedAt: '2010-12-19T12:50:00Z', total: 1485 } },
    ]);
    const otherWay = write('day-first.csv', [
      'CustomerID,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,Country',
      '12680.0,536365,85123A,WHITE HANGING HEART,6,1/12/2010 8:26,2.55,United Kingdom',
      '12680.0,581587,22138,BAKING SET,3,19/12/2010 12:50,4.95,France',
    ]);
    t.match(await read(otherWay), [
      { kind: 'order', document: { placedAt: '2010-12-01T08:26:00Z', customer: { externalId: '12680' } } },
      { kind: 'order' },
    ]);
  });

  t.test('what cannot be read is refused before anything is sent, with its line', async (t) => {
    const refused = (lines: string[], message: RegExp) =>
      t.rejects(survey(write('odd.csv', lines)), { constructor: FileError, message }, String(message));
    await refused(
      [header, '1,A,a,1,2010-01-01 10:00:00,1.0,5,X', '2,A,a,one,2010-01-01 10:00:00,1.0,5,X'],
      /^Line 2 .*quantity/,
    );
    await refused([header, '1,A,a,1,2010-01-01 10:00:00,abc,5,X'], /^Line 1 .*price/);
    await refused([header, '1,A,a,1,yesterday,1,5,X'], /^Line 1 .*date/);
    await refused([header, '1,A,a,1,3/4/2010 10:00,1,5,X'], /March or in April/);
    await refused(['a,b,c', '1,2,3'], /no column invoice/);
    await refused([header, '1,A,a,1'], /cannot be read/);
    await refused([''], /empty/);
    await t.rejects(survey(join(directory, 'none.csv')), FileError);
  });

  t.test('sums never pass a float, and more lines than an order holds keep their sum', async (t) => {
    const line = { invoice: '1', sku: 'A', name: '', quantity: '35', time: '2010-01-01T10:00:00', customer: '5' };
    const one = toRecord([{ ...line, number: 1, price: '0.015' }], 1);
    t.match(one, { document: { total: 53 } }, '0.525 is 53 pence; as a float it is 0.5249… and 52');
    const many = toRecord(
      Array.from({ length: 1203 }, (_, index) => ({ ...line, number: index, quantity: '1', price: '0.015' })),
      1203,
    );
    if (many.kind !== 'order') throw new Error('an order');
    // 18.045; its lines, each rounded up to 2 pence, and the rest come to more.
    t.equal(many.document.total, 1805);
    t.equal(many.document.items.length, 1000);
    t.equal(
      many.document.items.reduce((sum, item) => sum + item.total, many.document.rounding ?? 0),
      1805,
    );
    t.ok(orderRecord.input.safeParse(many.document).success);
  });
});

t.test('a service that cannot value pounds refuses up front, and takes them once it has the rates', async (t) => {
  const app = await testApp(t, { env: { BASE_CURRENCY: 'EUR' } });
  const path = join(t.testdir({}), 'two.csv');
  writeFileSync(
    path,
    [header, '1,A,a,1,2010-01-02 10:00:00,1.5,5,X', 'C2,A,a,-1,2010-01-20 10:00:00,1,5,X'].join('\n'),
  );
  const refused = await runImport(app, [path]);
  t.equal(refused.code, 1);
  t.match(
    refused.stderr,
    /no rate of GBP for 2 of 2 days \(2010-01-02 to 2010-01-20\)[\s\S]*exchange-rates[\s\S]*BASE_CURRENCY=GBP/,
  );
  t.strictSame([await total(app, 'orders'), await total(app, 'customers')], [0, 0], 'nothing was sent');
  const rates = [
    { date: '2010-01-01', currency: 'GBP', rate: '1.12' },
    { date: '2010-01-18', currency: 'GBP', rate: '1.14' },
  ];
  t.equal((await app.request('PUT', '/v1/exchange-rates', { body: { rates } })).status, 200);
  const taken = await runImport(app, [path]);
  t.equal(taken.code, 0, taken.stderr);
  t.strictSame([await total(app, 'orders'), await total(app, 'returns')], [1, 1]);
  t.equal((await metric(app, 'revenue-per-customer')).value, 168 - 114);

  const stranger = await runImport({ origin: app.origin, token: () => app.token('orders:write') }, [path]);
  t.equal(stranger.code, 1);
  t.match(stranger.stderr, /returns:write/, 'a token that could only do half of it is refused before anything is sent');
});

t.test(
  'Online Retail II, 2009-2010',
  { skip: existsSync(file) ? false : `${data} is not there: real data is not tested` },
  async (t) => {
    const app = await testApp(t, { env: { BASE_CURRENCY: 'GBP', REPORTING_TIME_ZONE: 'Europe/London' } });

    await t.test('interrupted, it says where it stopped, and run again it makes no doubles', async (t) => {
      const cut = await runImport(app, [file], async (kill, isRunning) => {
        while (isRunning() && (await total(app, 'orders')) < 4_000) await sleep(300);
        kill('SIGINT');
      });
      t.equal(cut.code, 130, cut.stderr);
      t.match(cut.stdout, /--from-line \d+/);
      const [before, returnsBefore] = [await total(app, 'orders'), await total(app, 'returns')];
      t.ok(before >= 4_000 && before < 19_215);

      const whole = await runImport(app, [file]);
      t.equal(whole.code, 0, whole.stderr);
      t.match(whole.stderr, /525461 lines/);
      const columns = (name: string) =>
        new RegExp(`^${name} +(.*)$`, 'm').exec(whole.stdout)?.[1]?.replaceAll(',', '').split(/ +/).map(Number);
      t.strictSame(columns('orders'), [19_215, 19_215 - before, 0, before, 0]);
      t.strictSame(columns('returns'), [4_372, 4_372 - returnsBefore, 0, returnsBefore, 0]);
      t.match(whole.stdout, /107,927 lines: the line has no customer id/);

      const from = /--from-line (\d+)/.exec(cut.stdout)?.[1] ?? '';
      t.ok(Number(from) > 50_000);
      t.strictSame([await total(app, 'orders'), await total(app, 'returns')], [19_215, 4_372]);
    });

    const shop = await readShop();
    const buyers = [...shop.customers.values()].filter(({ orders }) => orders.length > 0);

    await t.test('customers, orders and lines: equal lines are kept, those without a customer counted', async (t) => {
      t.strictSame([buyers.length, shop.orders, shop.returns, shop.withoutCustomer], [4_314, 19_215, 4_372, 107_927]);
      t.equal(shop.equalOrderLines, 6_748);
      t.equal(await total(app, 'customers'), shop.customers.size);
      const client = new pg.Client(app.connection);
      await client.connect();
      const { rows } = await client.query(
        'SELECT (SELECT count(*)::int FROM order_items) AS "orderLines", (SELECT count(*)::int FROM return_items) AS "returnLines", (SELECT count(*)::int FROM orders WHERE test) AS "test"',
      );
      await client.end();
      t.strictSame(rows[0], { orderLines: shop.orderLines, returnLines: shop.returnLines, test: 0 });
    });

    // Where all orders are paid, `payment=paid` says the same and is answered from the facts instead of the rollups.
    for (const [from, more] of [
      ['rollups', ''],
      ['facts', '&payment=paid'],
    ] as const) {
      await t.test(`revenue, order values and value per customer, from ${from}`, async (t) => {
        const revenue = sum(buyers.flatMap(({ orders }) => orders.map(({ pence }) => pence)));
        const orderValue = await metric(app, `average-order-value?${more}`);
        t.equal(orderValue.numerator, Number(revenue));
        t.equal(orderValue.value, ratio(revenue, BigInt(shop.orders)));
        for (const [key, group] of [
          ['returning', buyers.filter(({ orders }) => orders.length > 1)],
          ['one_time', buyers.filter(({ orders }) => orders.length === 1)],
        ] as const) {
          const orders = group.flatMap((customer) => customer.orders);
          const answer = orderValue.groups.find((candidate) => candidate.key === key);
          t.match(answer?.values, { orders: orders.length, customers: group.length }, key);
          t.equal(answer?.value, ratio(sum(orders.map(({ pence }) => pence)), BigInt(orders.length)), key);
        }

        const net = buyers.map(({ orders, returned }) => sum(orders.map(({ pence }) => pence)) - returned);
        const perCustomer = await metric(app, `revenue-per-customer?${more}`);
        t.equal(perCustomer.numerator, Number(sum(net)));
        t.equal(perCustomer.value, ratio(sum(net), BigInt(buyers.length)));
        const others = [...shop.customers.values()].filter(({ orders }) => orders.length === 0);
        const [apart] = perCustomer.excluded;
        t.match(apart, {
          reason: 'returns_of_non_buyers',
          amount: Number(sum(others.map(({ returned }) => returned))),
        });

        const { value, values } = await metric(app, `lifetime-value?${more}`);
        const sorted = net.map(Number).sort((a, b) => a - b);
        t.equal(value, ratio(sum(net), BigInt(buyers.length)));
        t.strictSame(
          [values.min, values.max, values.p50, values.p90],
          [sorted[0], sorted.at(-1), quantile(sorted, 1, 2), quantile(sorted, 9, 10)],
        );
        const repeat = await metric(app, `repeat-purchase-rate?minOrders=3${more}`);
        t.equal(repeat.numerator, buyers.filter(({ orders }) => orders.length >= 3).length);
      });

      await t.test(`retention of every month, from ${from}`, async (t) => {
        const months = [...new Set(buyers.flatMap(({ orders }) => orders.map(({ day }) => day.slice(0, 7))))].sort();
        t.equal(months.length, 13);
        for (const [index, month] of months.entries()) {
          const previous = months[index - 1];
          if (previous === undefined) continue;
          const ranges = `previousFrom=${previous}-01&previousTo=${month}-01&from=${month}-01&to=${after(month)}-01${more}`;
          for (const minOrders of [1, 3]) {
            const bought = buyers.filter(
              ({ orders }) =>
                orders.some(({ day }) => day.startsWith(previous)) &&
                orders.filter(({ day }) => day < `${month}-01`).length >= minOrders,
            );
            const kept = bought.filter(({ orders }) => orders.some(({ day }) => day.startsWith(month)));
            const query = minOrders === 1 ? ranges : `${ranges}&minOrders=${minOrders}`;
            const { numerator, denominator, value } = await metric(app, `retention-rate?${query}`);
            t.strictSame(
              [numerator, denominator, value],
              [kept.length, bought.length, kept.length / bought.length],
              `${month}, ${minOrders} orders`,
            );
          }
        }
      });

      await t.test(`gaps between purchases, from ${from}`, async (t) => {
        for (const sameDay of ['merge', 'count'] as const) {
          const gaps = buyers.map(({ orders }) => {
            const days = orders.map(({ day }) => Date.parse(day) / 86_400_000).sort((a, b) => a - b);
            const visits = sameDay === 'merge' ? [...new Set(days)] : days;
            return visits.slice(1).map((day, index) => day - (visits[index] ?? 0));
          });
          const all = gaps.flat().sort((a, b) => a - b);
          const { numerator, denominator, value, values } = await metric(
            app,
            `purchase-gaps?sameDay=${sameDay}${more}`,
          );
          const days = all.reduce((sum, gap) => sum + gap, 0);
          t.strictSame(
            [numerator, denominator, value, values.median, values.p75, values.customers],
            [
              days,
              all.length,
              days / all.length,
              quantile(all, 1, 2),
              quantile(all, 3, 4),
              gaps.filter((own) => own.length > 0).length,
            ],
            sameDay,
          );
        }
      });
    }
  },
);

interface Shop {
  customers: Map<string, { orders: { day: string; pence: bigint }[]; returned: bigint }>;
  orders: number;
  returns: number;
  orderLines: number;
  returnLines: number;
  withoutCustomer: number;
  /** Lines of orders that repeat another one in all columns. */
  equalOrderLines: number;
}

/** The CSV once more, by other means than the importer's: whole in memory, in millionths of a pound. */
async function readShop(): Promise<Shop> {
  const invoices = new Map<string, { customer: string; first: string; millionths: bigint; lines: number }>();
  const distinct = new Set<string>();
  let withoutCustomer = 0;
  let orderLines = 0;
  let lines = 0;
  const rows = createReadStream(file)
    .pipe(createGunzip())
    .pipe(parse({ from_line: 2 })) as AsyncIterable<string[]>;
  for await (const row of rows) {
    const [invoice = '', , , quantity = '', time = '', price = '', customer = ''] = row;
    if (customer === '') {
      withoutCustomer += 1;
      continue;
    }
    lines += 1;
    if (!invoice.startsWith('C')) {
      orderLines += 1;
      distinct.add(row.join('\u001f'));
    }
    const [whole = '', fraction = ''] = price.split('.');
    const millionths = BigInt(quantity) * BigInt(whole + fraction.padEnd(6, '0'));
    const known = invoices.get(invoice);
    if (!known) invoices.set(invoice, { customer, first: time, millionths, lines: 1 });
    else {
      known.millionths += millionths;
      known.lines += 1;
      if (time < known.first) known.first = time;
    }
  }
  const shop: Shop = {
    customers: new Map(),
    orders: 0,
    returns: 0,
    orderLines,
    returnLines: lines - orderLines,
    withoutCustomer,
    equalOrderLines: orderLines - distinct.size,
  };
  for (const [invoice, { customer, first, millionths }] of invoices) {
    const owner = shop.customers.get(customer) ?? { orders: [], returned: 0n };
    shop.customers.set(customer, owner);
    const magnitude = millionths < 0n ? -millionths : millionths;
    const pence = (magnitude + 5_000n) / 10_000n;
    if (invoice.startsWith('C')) {
      shop.returns += 1;
      owner.returned += pence;
    } else {
      shop.orders += 1;
      owner.orders.push({ day: first.slice(0, 10), pence });
    }
  }
  return shop;
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}

/** Linear interpolation at `numerator` ÷ `denominator` of the way. */
function quantile(sorted: readonly number[], numerator: number, denominator: number): number {
  const steps = (sorted.length - 1) * numerator;
  const [low, high] = [sorted[Math.floor(steps / denominator)] ?? 0, sorted[Math.ceil(steps / denominator)] ?? 0];
  return low + ((high - low) * (steps % denominator)) / denominator;
}

/** The month after `2010-12`. */
function after(month: string): string {
  const [year = 0, number = 0] = month.split('-').map(Number);
  return number === 12 ? `${year + 1}-01` : `${year}-${String(number + 1).padStart(2, '0')}`;
}
