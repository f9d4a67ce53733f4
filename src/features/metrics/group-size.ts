import type { z } from 'zod';
import { type OpenEdges, openEdges } from '../../domain/group-size.ts';
import { intervalAt, isBefore, previousBucket, resolveInstant } from '../../domain/period.ts';
import { Problem, problemType } from '../../platform/errors.ts';
import { type Context, type ReadOperation, readOperation } from '../../platform/operation.ts';
import type { Drawing } from './chart.ts';
import type { MetricName } from './definitions.ts';
import { type Family, monthsOf } from './group-queries.ts';
import type { MetricAnswer, metricResult } from './model.ts';
import { metricRepresentations } from './representations.ts';
import { earlier, forParameter, resolveZone } from './scope.ts';

const groupTooSmall = problemType('group_too_small', 403, 'The group is too small');

/**
 * What partners learn by metrics: numbers over the customers shared with them, none that rests on fewer customers than
 * the partner's `minimumGroupSize`, nor a difference of such numbers. Every metric goes through `metricOperation`.
 *
 * - Only whole calendar months of the reporting zone, up to the beginning of the present one, and only their edges that
 *   are open (domain/group-size.ts) for the facts that the metric counts.
 * - No filter or variant that would cut a group in another way: what is not in `open` is refused, so a new parameter is
 *   closed until somebody thinks about it.
 * - Of the companions of the value only those that rest on everybody it rests on, or count; no extremes, no parts.
 *
 * What stays: two answers with a change of the data or of the sharing between them can be compared. A count of a part
 * (three of forty were lost) says how many, not who. What was returned without naming an order is the difference of two
 * metrics of revenue, and may be of a few. Where one customer has nearly all of a sum, the sum tells about that one. And who
 * may read the records themselves knows them anyway.
 */
export interface Guard<I> {
  family: Family | ((input: I) => Family);
  /** Parameters that partners may give, beside the period; of some only these values. */
  open?: Record<string, readonly unknown[]>;
  /** How partners are answered, who cannot choose. */
  fixed?: Partial<I>;
  /** Companions of the value that partners are told. */
  values: RegExp;
  /** Which of the values count the customers it rests on; the first that there is. */
  bases?: readonly string[];
  /** Whether an answer rests on enough customers by what its values do not say. */
  rests?: (context: Context, answer: MetricAnswer, k: number) => Promise<boolean>;
}

type Shape = z.ZodObject<z.ZodRawShape>;
type Definition<I extends Shape> = Omit<
  ReadOperation<I, typeof metricResult>,
  'kind' | 'scope' | 'partners' | 'selfService' | 'output'
>;

const guarded = new WeakSet<object>();

const told = `

Partner tokens: over the customers shared with the partner, in whole calendar months of the reporting zone that have ended. Default: up to the latest month that can be answered. Other filters and groups are refused (403 \`not_shared\`). So is a number that rests on fewer customers than the partner's \`minimumGroupSize\`, directly or by subtraction (403 \`group_too_small\`).`;

/**
 * A metric: one definition for the organisation and, guarded, for partners; null: not for partners at all.
 *
 * @param definition.metric its name in addresses and in the catalogue
 * @param definition.drawing how its groups are drawn, when not as bars
 */
export function metricOperation<I extends Shape>(
  { metric, drawing, ...given }: Definition<I> & { metric: MetricName; output: typeof metricResult; drawing?: Drawing },
  guard: Guard<z.output<I>> | null,
): ReadOperation<I, typeof metricResult> {
  const definition = { ...given, representations: metricRepresentations(given.summary, drawing ?? null) };
  known.set(metric, given);
  const { run } = definition;
  if (guard === null)
    return readOperation({ ...definition, scope: 'metrics:read', partners: false, selfService: false });
  const operation = readOperation({
    ...definition,
    description: `${definition.description ?? ''}${told}`,
    scope: 'metrics:read',
    partners: true,
    selfService: false,
    problems: [...(definition.problems ?? []), 'not_shared', groupTooSmall],
    run: (context, input) =>
      context.principal.scopedTo === null ? run(context, input) : answerPartner(context, guard, input, run),
  });
  guarded.add(operation);
  return operation;
}

const known = new Map<MetricName, Pick<Definition<Shape>, 'summary' | 'description' | 'input'>>();

/** All metrics, as their operations are defined. */
export function knownMetrics(): ReadonlyMap<MetricName, Pick<Definition<Shape>, 'summary' | 'description' | 'input'>> {
  return known;
}

/** Whether an operation is a metric that partners are answered by the rules above. */
export function isGuarded(operation: object): boolean {
  return guarded.has(operation);
}

const moments = ['from', 'to', 'previousFrom', 'previousTo', 'asOf'];
const intervals: readonly unknown[] = ['month', 'quarter', 'year'];
/** Default of `minimumGroupSize`. */
const usualSize = 10;

async function answerPartner<I>(
  context: Context,
  guard: Guard<I>,
  input: I,
  run: (context: Context, input: I) => Promise<MetricAnswer>,
): Promise<MetricAnswer> {
  const { scopedTo } = context.principal;
  const settings = scopedTo && context.directory.partner(scopedTo.id);
  const k = Math.max(settings?.minimumGroupSize ?? usualSize, 2);
  const { timeZone } = resolveZone(context, {});
  const present = intervalAt('month', context.now, timeZone);
  const given = Object.entries(input as Record<string, unknown>).filter(([, value]) => value !== undefined); // a strict object
  refuseClosed(guard, given, { timeZone, present: present.from });

  const family = typeof guard.family === 'function' ? guard.family(input) : guard.family;
  const edges = openEdges(await monthsOf(context.db, family, timeZone, k), k);
  const asked = Object.fromEntries(given);
  // Who says where the period ends is not answered about a shorter one.
  const latest = asked['to'] === undefined ? resolveInstant(edges.latest(present.start), timeZone) : present.from;
  const asOf = typeof asked['asOf'] === 'string' ? asked['asOf'] : latest;
  const answer = await run(context, { ...input, ...guard.fixed, asOf });
  const hasFrom = asked['from'] !== undefined || answer.period.previous !== null;
  const enough =
    restsOnGroups(edges, answer, { hasFrom, timeZone, interval: asked['interval'] }) &&
    basesSuffice(guard, answer, k) &&
    (guard.rests === undefined || (await guard.rests(context, answer, k)));
  if (!enough) {
    throw new Problem(
      groupTooSmall,
      `What partners are told rests on at least ${k} customers, and so do the differences between answers. Ask for other months, or for more of them.`,
    );
  }
  return onlyOfGroups(guard, answer, hasFrom);
}

/** @throws Problem not_shared, naming the parameters */
function refuseClosed<I>(
  { open = {} }: Guard<I>,
  given: [string, unknown][],
  { timeZone, present }: { timeZone: string; present: string },
): void {
  const refused = given.flatMap(([name, value]) => {
    const message = refusal(name, value);
    return message === null ? [] : [{ parameter: name, code: 'not_shared', message }];
  });
  const [first] = refused;
  if (first) throw new Problem('not_shared', `${first.parameter}: ${first.message}`, { errors: refused });

  function refusal(name: string, value: unknown): string | null {
    if (moments.includes(name) && typeof value === 'string') {
      const at = forParameter(name, () => resolveInstant(value, timeZone));
      if (intervalAt('month', at, timeZone).from !== at) {
        return `Your token can only ask for whole calendar months in ${timeZone}: send the first day of a month.`;
      }
      return name === 'asOf' && isBefore(present, at) ? 'Your token can only ask for months that have ended.' : null;
    }
    if (name === 'timeZone')
      return value === timeZone ? null : `Your token can only ask in the reporting zone, ${timeZone}.`;
    const allowed = name === 'interval' && open[name] === undefined ? intervals : open[name];
    if (allowed === undefined || allowed.length === 0) return 'Not available to partner tokens.';
    return allowed.includes(value) ? null : `Partner tokens can only send ${allowed.join(', ')}.`;
  }
}

/** Whether all edges of the question are open, and there is somebody within them. */
function restsOnGroups(
  edges: OpenEdges,
  { period, asOf, series }: MetricAnswer,
  { hasFrom, timeZone, interval }: { hasFrom: boolean; timeZone: string; interval: unknown },
): boolean {
  const cut = (at: string) => earlier(at, asOf);
  const end = cut(period.to);
  const asked = [end, ...(hasFrom && period.from !== null ? [period.from] : [])];
  if (period.previous) asked.push(period.previous.from, cut(period.previous.to));
  for (const { from, to } of series) asked.push(cut(from), cut(to));
  const [first] = series;
  if (first && period.previous && (interval === 'month' || interval === 'quarter' || interval === 'year')) {
    // Each interval is compared with the whole one before it.
    const before = previousBucket(interval, first.start, timeZone);
    asked.push(before.from, before.to);
  }
  const starts = asked.map((at) => monthAt(at, timeZone));
  if (starts.some((start) => start === null || !edges.isOpen(start))) return false;
  const from = hasFrom && period.from !== null ? monthAt(period.from, timeZone) : null;
  const within = edges.hasFacts(from, monthAt(end, timeZone) ?? '');
  return within || (period.previous !== null && edges.hasFacts(monthAt(period.previous.from, timeZone), from ?? ''));
}

/** The first day of the month that begins then; null where none does. */
function monthAt(at: string, timeZone: string): string | null {
  const month = intervalAt('month', at, timeZone);
  return month.from === at ? month.start : null;
}

function basesSuffice<I>({ bases }: Guard<I>, { values, series }: MetricAnswer, k: number): boolean {
  if (!bases) return true;
  const baseOf = (of: MetricAnswer['values']) => of[bases.find((name) => of[name] !== undefined) ?? ''] ?? 0;
  return baseOf(values) >= k && series.every((point) => baseOf(point.values) === 0 || baseOf(point.values) >= k);
}

/** Warnings that say the same whatever the data are. */
const plainWarnings = new Set(['pause_is_not_loss', 'mixed_scales']);

/** The answer without what it says of parts of the group. */
function onlyOfGroups<I>(guard: Guard<I>, answer: MetricAnswer, hasFrom: boolean): MetricAnswer {
  const open = (values: MetricAnswer['values']) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => guard.values.test(name)));
  return {
    ...answer,
    // All time begins with the first fact of somebody.
    period: hasFrom ? answer.period : { ...answer.period, from: null },
    values: open(answer.values),
    series: answer.series.map((point) => ({ ...point, values: open(point.values), excluded: [] })),
    groups: [],
    excluded: [],
    warnings: answer.warnings.filter(({ code }) => plainWarnings.has(code)),
  };
}
