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

export interface LiabilityStatistics {
  /** Share out all outstanding points. */
  groups: readonly (OutstandingPoints & { key: string })[];
  /** What a point is worth, minor units of the base currency. */
  pointValue: number;
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
 * What members could claim, in minor units of the base currency: outstanding points (active + pending) × value of a
 * point; unrounded, from exact sums. `values`, in all and of each group:
 * - `outstandingPoints, activePoints, pendingPoints, debtPoints` (null beyond 2^53 − 1)
 * - `breakageRate`: expired ÷ issued points of all lots whose expiry date has passed, points taken back not counted as
 *   issued. Null, with the warning `too_few_matured_points`, below 1,000 such points
 * - `expectedBreakage`: breakageRate × value of the outstanding points that can expire
 * - `netLiability`: value − expectedBreakage
 *
 * Null with the rate: `expectedBreakage`, `netLiability`. The value itself is never null: no points are worth 0. It is
 * no share of a sample, so it has no denominator and is never `lowSample`.
 * @throws RangeError when more points never expire, or have expired, than there are
 */
export function loyaltyLiability({ groups, pointValue, matured }: LiabilityStatistics): MetricResult {
  if (matured.expired < 0n || matured.expired > matured.issued) throw new RangeError('more expired than issued');
  const breakage = matured.issued < fewestMaturedPoints ? null : matured;
  const total = { active: 0n, pending: 0n, debt: 0n, neverExpiring: 0n };
  for (const group of groups) {
    if (group.neverExpiring > group.active + group.pending) throw new RangeError('more never expire than there are');
    total.active += group.active;
    total.pending += group.pending;
    total.debt += group.debt;
    total.neverExpiring += group.neverExpiring;
  }
  const warnings: Notice[] = [];
  if (!breakage) {
    warnings.push({
      code: 'too_few_matured_points',
      message: `Breakage is estimated from ${fewestMaturedPoints} points whose expiry date has passed; there are ${matured.issued}.`,
    });
  }
  const outstanding = total.active + total.pending;
  if (safeNumber(outstanding) === null) warnings.push(beyondSafeInteger('outstandingPoints', outstanding));
  return {
    ...metricResult({ ...liabilityOf(total, pointValue, breakage), warnings, groups: groups.map(groupOf) }),
    lowSample: false,
  };

  function groupOf(group: OutstandingPoints & { key: string }): MetricGroup {
    return {
      key: group.key,
      ...liabilityOf(group, pointValue, breakage),
      numerator: null,
      denominator: null,
      interval: null,
      lowSample: false,
      reason: null,
    };
  }
}

function liabilityOf(points: OutstandingPoints, pointValue: number, breakage: Breakage | null) {
  const { digits, scale } = parseDecimal(String(pointValue));
  const unit = 10n ** BigInt(scale);
  const outstanding = points.active + points.pending;
  const worth = outstanding * digits;
  const canBreak = (outstanding - points.neverExpiring) * digits;
  return {
    value: ratio(worth, unit),
    values: {
      outstandingPoints: safeNumber(outstanding),
      activePoints: safeNumber(points.active),
      pendingPoints: safeNumber(points.pending),
      debtPoints: safeNumber(points.debt),
      breakageRate: breakage && ratio(breakage.expired, breakage.issued),
      expectedBreakage: breakage && ratio(canBreak * breakage.expired, unit * breakage.issued),
      netLiability: breakage && ratio(worth * breakage.issued - canBreak * breakage.expired, unit * breakage.issued),
    },
  };
}
