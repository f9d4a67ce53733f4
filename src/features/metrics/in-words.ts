import { minorUnits } from '../../domain/currencies.ts';
import type { MetricAnswer } from './model.ts';

/** A metric in words: for people who see a picture of it, and for those who do not. */

type Worded = Pick<MetricAnswer, 'unit' | 'currency'>;

/** A value with its unit: `31.2 %`, `EUR 12.50`, `46.4 days`. */
export function valueText({ unit, currency }: Worded, value: number | null, digits = 1): string {
  if (value === null) return 'none';
  if (unit === 'ratio') return `${amountText(value * 100, digits)} %`;
  if (unit === 'money' && currency !== null) {
    const decimals = minorUnits(currency);
    return `${currency} ${amountText(value / 10 ** decimals, decimals, decimals)}`;
  }
  const shown = amountText(value, unit === 'count' ? 0 : digits);
  return unit === 'days' ? `${shown} days` : shown;
}

/** A number with separators of thousands. */
export function amountText(value: number | null, most = 0, least = 0): string {
  if (value === null) return 'none';
  return new Intl.NumberFormat('en-GB', { maximumFractionDigits: most, minimumFractionDigits: least }).format(value);
}

export interface Words {
  /** The metric and its value. */
  title: string;
  /** What it rests on. */
  subtitle: string;
  /** All of it, with each interval and group. */
  text: string;
}

export function described(name: string, answer: MetricAnswer): Words {
  const { period, value, numerator, denominator, interval, reason, excluded, series, groups, complete } = answer;
  const title = value === null ? name : `${name}: ${valueText(answer, value)}`;
  const range = `${period.from?.slice(0, 10) ?? 'the beginning'} to ${period.to.slice(0, 10)}, ${period.timeZone}`;
  const facts = [
    ...(value === null ? [reason?.message ?? 'no value'] : []),
    range,
    // Of proportions. Otherwise these may be amounts.
    ...(interval && numerator !== null && denominator !== null && answer.unit === 'ratio'
      ? [`${amountText(numerator)} of ${amountText(denominator)}`]
      : []),
    ...(interval
      ? [`${interval.level * 100} % interval ${valueText(answer, interval.low)} to ${valueText(answer, interval.high)}`]
      : []),
    ...(excluded.length > 0
      ? [
          `left out: ${excluded.map(({ reason, count }) => `${amountText(count)} ${reason.replaceAll('_', ' ')}`).join(', ')}`,
        ]
      : []),
    ...(complete ? [] : ['still running']),
  ];
  const rows = [
    ...series.map((point) => `${point.start}${point.complete ? '' : ' (running)'}: ${valueText(answer, point.value)}`),
    ...groups.flatMap((group) => [
      `${group.key}: ${valueText(answer, group.value)}`,
      ...group.series.map((point) => `${group.key}, ${point.start}: ${valueText(answer, point.value)}`),
    ]),
  ];
  const text = [...facts, ...rows].join('. ');
  return { title, subtitle: facts.join('  ·  '), text };
}
