import { beyondSafeInteger, type MetricGroup, type MetricResult, metricResult, type Notice } from './metric-result.ts';
import { parseDecimal, ratio, safeNumber } from './money.ts';

/** Points outstanding in a part of the accounts or lots, as sums of the ledger. */
export interface OutstandingPoints {
  /** In active lots; debts are not taken off. */
  active: bigint;
  /** In pending lots. */
  pending: bigint;
  /** Points owed by members, ≥ 0. Nobody else's points are worth less for them. */
  debt: bigint;
  /** The part of active and pending that has no expiry date. */
  neverExpiring: bigint;
}

/** Points that are worth the same: those of a programme, or the part of them in a group. */
export interface LiabilityPart extends OutstandingPoints {
  /** Of the group; parts with the same key are one group. */
  key: string;
  /** What a point is worth, minor units of the base currency. */
  pointValue: number;
}

export interface LiabilityStatistics {
  /** Share out all outstanding points. */
  parts: readonly LiabilityPart[];
  /** Of the lots whose expiry date has passed: what was credited and not taken back, and what of it expired unused. */
  matured: { issued: bigint; expired: bigint };
}

/** Below this many matured points the share that expired says little about those to come. */
export const fewestMaturedPoints = 1_000n;

interface Breakage {
  expired: bigint;
  issued: bigint;
}

/**
 * What members could claim, in minor units of the base currency: Σ outstanding points (active + pending) × value of a
 * point; unrounded, from exact sums. `values`, in all and of each group (in the order of their first parts):
 * - `outstandingPoints, activePoints, pendingPoints, debtPoints` (null beyond 2^53 − 1)
 * - `breakageRate`: expired ÷ issued points of all lots whose expiry date has passed, points taken back not counted as
 *   issued. Null, with the warning `too_few_matured_points`, below 1,000 such points
 * - `expectedBreakage`: breakageRate × value of the outstanding points that can expire
 * - `netLiability`: value − expectedBreakage
 *
 * The rate is one for all groups. Null with it: `expectedBreakage`, `netLiability`. The value itself is never null: no points are worth 0. It is
 * no share of a sample, so it has no denominator and is never `lowSample`.
 * @throws RangeError when more points never expire, or have expired, than there are
 */
export function loyaltyLiability({ parts, matured }: LiabilityStatistics): MetricResult {
  if (matured.expired < 0n || matured.expired > matured.issued) throw new RangeError('more expired than issued');
  const breakage = matured.issued < fewestMaturedPoints ? null : matured;
  const groups = new Map<string, LiabilityPart[]>();
  for (const part of parts) {
    if (part.neverExpiring > part.active + part.pending) throw new RangeError('more never expire than there are');
    const group = groups.get(part.key);
    if (group) group.push(part);
    else groups.set(part.key, [part]);
  }
  const warnings: Notice[] = [];
  if (!breakage) {
    warnings.push({
      code: 'too_few_matured_points',
      message: `Breakage is estimated from ${fewestMaturedPoints} points whose expiry date has passed; there are ${matured.issued}.`,
    });
  }
  const outstanding = sumOf(parts, ({ active, pending }) => active + pending);
  if (safeNumber(outstanding) === null) warnings.push(beyondSafeInteger('outstandingPoints', outstanding));
  return {
    ...metricResult({
      ...liabilityOf(parts, breakage),
      warnings,
      groups: [...groups].map(
        ([key, group]): MetricGroup => ({
          key,
          ...liabilityOf(group, breakage),
          numerator: null,
          denominator: null,
          interval: null,
          lowSample: false,
          reason: null,
        }),
      ),
    }),
    lowSample: false,
  };
}

function liabilityOf(parts: readonly LiabilityPart[], breakage: Breakage | null) {
  const values = parts.map(({ pointValue }) => parseDecimal(String(pointValue)));
  const scale = values.reduce((widest, decimal) => Math.max(widest, decimal.scale), 0);
  const unit = 10n ** BigInt(scale);
  let worth = 0n;
  let canBreak = 0n;
  for (const [index, { active, pending, neverExpiring }] of parts.entries()) {
    const decimal = values[index];
    if (!decimal) continue;
    const pointValue = decimal.digits * 10n ** BigInt(scale - decimal.scale);
    worth += (active + pending) * pointValue;
    canBreak += (active + pending - neverExpiring) * pointValue;
  }
  return {
    value: ratio(worth, unit),
    values: {
      outstandingPoints: safeNumber(sumOf(parts, ({ active, pending }) => active + pending)),
      activePoints: safeNumber(sumOf(parts, ({ active }) => active)),
      pendingPoints: safeNumber(sumOf(parts, ({ pending }) => pending)),
      debtPoints: safeNumber(sumOf(parts, ({ debt }) => debt)),
      breakageRate: breakage && ratio(breakage.expired, breakage.issued),
      expectedBreakage: breakage && ratio(canBreak * breakage.expired, unit * breakage.issued),
      netLiability: breakage && ratio(worth * breakage.issued - canBreak * breakage.expired, unit * breakage.issued),
    },
  };
}

function sumOf(parts: readonly LiabilityPart[], points: (part: LiabilityPart) => bigint): bigint {
  return parts.reduce((sum, part) => sum + points(part), 0n);
}

/** What so many points are worth, minor units of the base currency; the float nearest to the exact product. */
export function liabilityValue(points: number, pointValue: number): number {
  const { digits, scale } = parseDecimal(String(pointValue));
  return ratio(BigInt(points) * digits, 10n ** BigInt(scale));
}
