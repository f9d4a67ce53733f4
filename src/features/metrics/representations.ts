import { csv } from '../../platform/csv.ts';
import type { Representation } from '../../platform/operation.ts';
import { chartOf, type Drawing } from './chart.ts';
import type { MetricAnswer } from './model.ts';

/** What a metric is besides JSON: a picture, and a table. */
export function metricRepresentations(name: string, drawing: Drawing | null): readonly Representation<MetricAnswer>[] {
  return [
    { media: 'image/svg+xml', suffix: 'svg', headers: pictureHeaders, of: (answer) => chartOf(name, answer, drawing) },
    { media: 'text/csv', suffix: 'csv', of: tableOf },
  ];
}

/** Nothing is loaded or run. */
const pictureHeaders = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
  'Referrer-Policy': 'no-referrer',
};

const columns = ['group', 'start', 'from', 'to', 'value', 'numerator', 'denominator', 'low', 'high'] as const;
const flags = ['complete', 'lowSample', 'reason'] as const;

interface Line extends Partial<Record<(typeof columns)[number] | (typeof flags)[number], unknown>> {
  values: MetricAnswer['values'];
}

/** A line for the whole, one for each interval of its series, for each group, and for each interval of a group. */
function tableOf(answer: MetricAnswer): string {
  const { unit, currency, period } = answer;
  const lines: Line[] = [
    lineOf({ ...answer, ...period }),
    ...answer.series.map((point) => lineOf(point)),
    ...answer.groups.flatMap((group) => [
      lineOf({ ...group, ...period, group: group.key }),
      ...group.series.map((point) => lineOf({ ...point, group: group.key })),
    ]),
  ];
  const names = [...new Set(lines.flatMap(({ values }) => Object.keys(values)))];
  return csv(
    [...columns, ...flags, 'unit', 'currency', ...names.map((name) => `values.${name}`)],
    lines.map((line) => [
      ...[...columns, ...flags].map((column) => line[column]),
      unit,
      currency,
      ...names.map((name) => line.values[name]),
    ]),
  );
}

function lineOf(
  part: Pick<MetricAnswer, 'value' | 'values' | 'numerator' | 'denominator' | 'lowSample' | 'reason'> & {
    group?: string;
    start?: string;
    from: string | null;
    to: string;
    complete?: boolean;
    interval?: MetricAnswer['interval'];
  },
): Line {
  const { interval, reason } = part;
  return { ...part, low: interval?.low, high: interval?.high, reason: reason?.code };
}
