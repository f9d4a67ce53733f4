import { metricResult } from '../../src/features/metrics/model.ts';
import { customerSummary } from '../../src/features/metrics/summary.ts';
import type { ServiceClient } from '../service-client.ts';

/** The demo's numbers as text: the same for the same store, on every machine. */

type Metric = ReturnType<typeof metricResult.parse>;
type Cells = [name: string, value: string, of: string];

/** Periods are told, so that the table says what it shows; the clock stands on 1 July 2026. */
const june = 'from=2026-06-01&to=2026-07-01&previousFrom=2026-05-01&previousTo=2026-06-01';
const secondQuarter = 'from=2026-04-01&to=2026-07-01&previousFrom=2026-01-01&previousTo=2026-04-01';
const lastYear = 'from=2025-07-01&to=2026-07-01';

export async function metricsTable(client: ServiceClient): Promise<string> {
  const metric = async (path: string) => metricResult.parse(await client.request('GET', `/v1/metrics/${path}`));
  const [orderValue, gaps, historic] = await Promise.all([
    metric('average-order-value'),
    metric('purchase-gaps'),
    metric('lifetime-value'),
  ]);
  const rate = async (name: string, path: string): Promise<Cells> => {
    const answer = await metric(path);
    const { low, high } = answer.interval ?? {};
    const sure = low === undefined || high === undefined ? '' : `   95 %: ${percent(low)} to ${percent(high)}`;
    return [name, headline(answer), reasonOf(answer) ?? `${answer.numerator} of ${answer.denominator}${sure}`];
  };
  const money = async (name: string, path: string): Promise<Cells> => {
    const answer = await metric(path);
    return [name, headline(answer), reasonOf(answer) ?? moneyOf(answer)];
  };
  const sayings: readonly [string, string][] = [
    ['Net promoter score, after a purchase', 'net-promoter-score'],
    ['Customer satisfaction', 'customer-satisfaction'],
    ['Customer effort, after a call for help', 'customer-effort'],
  ];
  const scores = await Promise.all(
    sayings.map(async ([name, path]): Promise<Cells> => scoreCells(name, await metric(`${path}?${lastYear}`))),
  );
  const group = (key: string) => orderValue.groups.find((candidate) => candidate.key === key);
  const [returning, oneTime] = [group('returning'), group('one_time')];
  const amounts = (value: number | null | undefined) => amount(value ?? null, orderValue.currency);

  const rows: (Cells | null)[] = [
    await rate('Retention, June on May 2026', `retention-rate?${june}`),
    await rate('  of customers with three orders by then', `retention-rate?${june}&minOrders=3`),
    await rate('Retention, second quarter on first', `retention-rate?${secondQuarter}`),
    await rate(
      'Retention, July on June 2024',
      'retention-rate?from=2024-07-01&to=2024-08-01&previousFrom=2024-06-01&previousTo=2024-07-01',
    ),
    await rate('Repeat buyers (two orders or more)', 'repeat-purchase-rate'),
    await rate('  three orders or more', 'repeat-purchase-rate?minOrders=3'),
    null,
    await rate('Churn, June on May 2026', `churn-rate?${june}`),
    await rate('  silent for 90 days', 'churn-rate?variant=silence'),
    await rate('  silent for twice their own mean gap', 'churn-rate?variant=gap'),
    null,
    ['Days between purchases, mean', headline(gaps), `${gaps.denominator} gaps of ${gaps.values.customers} customers`],
    [
      '  median · 90th percentile',
      `${gaps.values.median} · ${gaps.values.p90}`,
      `${gaps.values.openGaps} open gaps are left out`,
    ],
    null,
    ['Average order value', headline(orderValue), moneyOf(orderValue)],
    [
      '  of returning customers',
      amounts(returning?.value),
      `${returning?.values.orders} orders of ${returning?.values.customers} customers`,
    ],
    ['  of one-time customers', amounts(oneTime?.value), `${oneTime?.values.orders} orders`],
    await money('  of orders in CHF', 'average-order-value?currency=CHF'),
    await money('Revenue per customer, last twelve months', `revenue-per-customer?${lastYear}`),
    null,
    ['Lifetime value, historic', headline(historic), moneyOf(historic)],
    [
      '  median · 90th percentile',
      `${amounts(historic.values.p50)} · ${amounts(historic.values.p90)}`,
      `most: ${amounts(historic.values.max)}`,
    ],
    await money('Lifetime value, simple (less acquisition)', 'lifetime-value?variant=simple'),
    await money('Lifetime value, four factors, cost of lines', `lifetime-value?variant=four_factor&${lastYear}`),
    await money(
      'Lifetime value, four factors, margin 45 %',
      `lifetime-value?variant=four_factor&${lastYear}&margin=0.45`,
    ),
    null,
    ...scores,
    await rate('Unhappy customers called back in time', `closed-loop?${lastYear}`),
    null,
    liabilityCells(await metric('loyalty-liability')),
  ];
  const left = orderValue.excluded.map(({ reason, count }) => `${count} ${reason}`).join(', ');
  return [
    ...layOut(rows),
    `Left out of the order values: ${left || 'nothing'}. A dash is an honest "not known", with its reason.`,
  ].join('\n');
}

function scoreCells(name: string, { value, interval, numerator, denominator, reason, values }: Metric): Cells {
  if (value === null || interval === null) return [name, '—', reason?.message ?? ''];
  const sure = `95 %: ${interval.low.toFixed(1)} to ${interval.high.toFixed(1)}`;
  const { promoters, passives, detractors } = values;
  const of =
    promoters === undefined
      ? `${numerator} of ${denominator}`
      : `${promoters} promoters, ${passives} passives, ${detractors} detractors`;
  return [name, value.toFixed(1), `${of}   ${sure}`];
}

function liabilityCells(answer: Metric): Cells {
  const { outstandingPoints, pendingPoints, breakageRate } = answer.values;
  const lost =
    breakageRate === null || breakageRate === undefined ? '' : `; ${percent(breakageRate)} of earlier ones expired`;
  return [
    'Loyalty liability',
    headline(answer),
    `${outstandingPoints} points, ${pendingPoints} of them not active yet${lost}`,
  ];
}

/** One customer, as support would look at them. */
export async function customerView(client: ServiceClient, externalId: string): Promise<string> {
  const path = `/v1/customers/external/shop/${externalId}/summary`;
  const summary = customerSummary.parse(await client.request('GET', path));
  const { customer, base, lastOrders, perCurrency, loyalty } = summary;
  const yes = (flag: boolean | null) => (flag === null ? 'not known' : flag ? 'yes' : 'no');
  const mean = summary.meanGapDays === null ? '—' : `${summary.meanGapDays.toFixed(1)} days`;
  return [
    `${customer.name} (${externalId}), ${customer.email ?? 'no e-mail'}, ${customer.address?.country ?? ''}`,
    `  ${summary.orders} orders on ${summary.purchaseDays} days, every ${mean}; the last ${summary.daysSinceLastOrder} days ago`,
    `  lifetime value ${amount(base.lifetimeValue, base.currency)}, average order ${amount(base.averageOrderValue, base.currency)}`,
    ...perCurrency
      .filter(({ currency }) => currency !== base.currency)
      .map(({ currency, orders, revenue }) => `  of it ${orders} orders in ${currency}: ${amount(revenue, currency)}`),
    ...(loyalty ? [`  ${loyalty.tier ?? 'member'}: ${loyalty.active} points, ${loyalty.pending} to come`] : []),
    `  silent: ${yes(summary.isSilent)}   overdue by their own habit: ${yes(summary.isOverdue)}`,
    ...lastOrders.map(
      ({ placedAt, total, currency, status }) =>
        `  ${placedAt.slice(0, 10)}  ${amount(total, currency).padStart(12)}  ${status}`,
    ),
  ].join('\n');
}

function layOut(rows: readonly (Cells | null)[]): string[] {
  const cells = rows.filter((row) => row !== null);
  const widths = [0, 1].map((column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const [first = 0, second = 0] = widths;
  const rule = '─'.repeat(first + second + 44);
  const body = rows.map((row) =>
    row ? `${row[0].padEnd(first)}  ${row[1].padStart(second)}   ${row[2]}`.trimEnd() : '',
  );
  return [rule, ...body, rule];
}

function headline({ value, unit, currency }: Metric): string {
  if (value === null) return '—';
  if (unit === 'ratio') return percent(value);
  if (unit === 'money') return amount(value, currency);
  return value.toFixed(1);
}

function reasonOf({ value, reason, missingInputs }: Metric): string | null {
  if (value !== null) return null;
  return missingInputs.length > 0
    ? `${reason?.message} Missing: ${missingInputs.join(', ')}.`
    : (reason?.message ?? '');
}

function moneyOf({ numerator, denominator, currency, values }: Metric): string {
  if (numerator !== null && denominator !== null) return `${amount(numerator, currency)} over ${denominator}`;
  const { averageOrderValue, purchaseFrequency, lifetimeMonths, margin } = values;
  const factors = [
    amount(averageOrderValue ?? null, currency),
    `${purchaseFrequency?.toFixed(3)} a month`,
    `${lifetimeMonths?.toFixed(1)} months`,
    `${margin}`,
  ];
  return averageOrderValue === undefined ? '' : factors.join(' × ');
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`;
}

/** Both currencies of the demo have two decimals. */
function amount(minor: number | null, currency: string | null): string {
  return minor === null ? '—' : `${(minor / 100).toFixed(2)} ${currency}`;
}
