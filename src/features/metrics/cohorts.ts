import { type Cohort, type CohortActivity, cohortCells, cohorts } from '../../domain/cohorts.ts';
import { asGroup } from '../../domain/metric-result.ts';
import { intervalAt, isBefore } from '../../domain/period.ts';
import type { Context } from '../../platform/operation.ts';
import { cohortSums } from './cohort-queries.ts';
import { excludedAmounts, factNotes, firstFact } from './excluded.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import type { MetricAnswer } from './model.ts';
import {
  beginningOfTime,
  boundsOf,
  type CommonInput,
  hasEnded,
  invalidParameter,
  resolveScope,
  type Scope,
  seriesOf,
} from './scope.ts';

/** Cohorts, and so intervals of each; the triangle has half the square of that. */
const mostIntervals = 100;

/** Customers by the interval of their first order ever: a group for each cohort, with a series of the time since. */
export async function answerCohorts(
  context: Context,
  { activity = 'on', interval = 'month', ...input }: CommonInput & { activity?: CohortActivity | undefined },
): Promise<MetricAnswer> {
  const asked = resolveScope(context, { ...input, interval });
  const { asOf } = asked;
  refuseCut('from', asked.from, asked);
  if (isBefore(asked.to, asOf)) refuseCut('to', asked.to, asked);
  const first = await firstFact(context.db, asked, { returns: false, buyersOnly: true });
  const until: Scope = { ...asked, to: asOf, end: asOf };
  const all = asked.from !== null && !isBefore(asked.from, asOf) ? [] : seriesOf(until, first.at);
  if (all.length > mostIntervals) {
    throw invalidParameter(
      'interval',
      'too_many_intervals',
      `there are ${all.length} of them up to asOf, more than ${mostIntervals}: send a later from, or a longer interval`,
    );
  }
  const bounds = boundsOf(all, asOf);
  const [from] = bounds;
  const [sums, notes] = await Promise.all([
    from === undefined ? null : cohortSums(context.db, context, until, bounds),
    factNotes(context.db, until, [{ from: from ?? beginningOfTime, to: asOf }], [], {
      returns: 'count',
      buyersOnly: true,
    }),
  ]);
  const wanted = all.filter((bucket) => isBefore(bucket.insideFrom, asked.end));
  const found: Cohort[] = wanted.map((_, index) => sums?.cohorts[index] ?? { cells: [] });
  const ended = wanted.map((_, index) => all.slice(index).filter(({ complete }) => complete).length);
  return metricResponse({
    metric: 'cohorts',
    currency: asked.currency ?? context.baseCurrency,
    scope: asked,
    firstFact: first.at,
    result: {
      ...cohorts(found, ended, activity),
      groups: wanted.map(({ start }, index) => {
        const only = [index, index + 1] as const;
        return asGroup(start, cohorts(found.slice(...only), ended.slice(...only), activity));
      }),
    },
    excluded: [...notes.excluded, ...(sums ? excludedAmounts(sums) : [])],
    warnings: notes.warnings,
    complete: hasEnded(asked.to, asOf),
    series: [],
    groupSeries: new Map(
      wanted.map(({ start }, index) => [
        start,
        seriesPoints(all.slice(index), cohortCells(found[index] ?? { cells: [] }, activity), []),
      ]),
    ),
  });
}

/** A cohort that is cut would be compared with whole ones. */
function refuseCut(parameter: string, at: string | null, { interval, timeZone }: Scope): void {
  if (at === null || interval === null || intervalAt(interval, at, timeZone).from === at) return;
  const name = interval.replaceAll('_', ' ');
  throw invalidParameter(parameter, 'not_aligned', `must be the beginning of a ${name} in ${timeZone}`);
}
