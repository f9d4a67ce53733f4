import type { MetricDefinition, MetricName } from '../../src/features/metrics/definitions.ts';
import { metricDefinitions } from '../../src/features/metrics/definitions.ts';
import type { MetricAnswer } from '../../src/features/metrics/model.ts';

/** What the answer of a metric has and the catalogue does not tell of. */
export function untoldOf(answer: MetricAnswer): string[] {
  const { unit, version, values, excluded }: MetricDefinition = metricDefinitions[answer.metric as MetricName];
  const isTold = (name: string) =>
    Object.keys(values).some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one));
  const points = [
    ...answer.series,
    ...(answer.metric === 'cohorts' ? answer.groups.flatMap(({ series }) => series) : []),
  ];
  return [
    ...(answer.definition === `${answer.metric}@${version}` ? [] : [`definition ${answer.definition}`]),
    ...(answer.unit === unit ? [] : [`unit ${answer.unit}`]),
    ...[answer, ...points].flatMap((part) =>
      Object.keys(part.values)
        .filter((name) => !isTold(name))
        .map((name) => `value ${name}`),
    ),
    ...[answer, ...answer.series].flatMap((part) =>
      part.excluded.flatMap(({ reason }) => (excluded.includes(reason) ? [] : [`excluded ${reason}`])),
    ),
  ];
}
