import { divideRounded } from './money.ts';
import { isBefore } from './period.ts';

/** A refund as it was sent, minor units of the order's currency. */
export interface RefundAmounts {
  /** Gross, ≥ 0. */
  amount: number;
  /** The tax in the amount, if it was stated. */
  tax: number | null;
}

/** What decides in which order the refunds of an order count. */
export interface RefundPlace {
  id: string;
  refundedAt: string;
  source: string | null;
  externalId: string | null;
}

/** Sorts refunds into the order in which they count: by (refundedAt, source, externalId, id); without a reference first. */
export function byPlace(a: RefundPlace, b: RefundPlace): number {
  if (a.refundedAt !== b.refundedAt) return isBefore(a.refundedAt, b.refundedAt) ? -1 : 1;
  const [one, other] = [a, b].map(({ source, externalId, id }) => [source ?? '', externalId ?? '', id]);
  const at = one?.findIndex((part, index) => part !== other?.[index]) ?? -1;
  return at < 0 ? 0 : (one?.[at] ?? '') < (other?.[at] ?? '') ? -1 : 1;
}

/** What a refund takes from the net value of its order. */
export interface RefundNet {
  /** amount − tax, minor units. */
  net: number;
  /** The net value of the order that earlier refunds have left. */
  netBefore: number;
}

/**
 * How much of each refund of an order is net. Each counts the tax that it states, or its share of the tax that earlier
 * refunds have left: tax left × amount ÷ total left, halves away from zero. It is clamped to what the order has left, so that
 * refunding everything leaves exactly 0 and no refund leaves less. A refund does not depend on later ones.
 *
 * @param order `total` with tax, and `tax`; minor units
 * @param refunds in the order in which they count (`byPlace`)
 */
export function netsOfRefunds(order: { total: number; tax: number }, refunds: readonly RefundAmounts[]): RefundNet[] {
  let totalLeft = BigInt(order.total);
  let taxLeft = BigInt(order.tax);
  return refunds.map((refund) => {
    const amount = BigInt(refund.amount);
    const netLeft = totalLeft - taxLeft;
    const share = totalLeft > 0n ? divideRounded(taxLeft * amount, totalLeft) : taxLeft;
    const stated = refund.tax === null ? share : BigInt(refund.tax);
    const tax = least(amount, greatest(greatest(0n, amount - netLeft), least(stated, least(amount, taxLeft))));
    totalLeft -= amount;
    taxLeft -= tax;
    return { net: Number(amount - tax), netBefore: Number(netLeft) };
  });
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const greatest = (a: bigint, b: bigint): bigint => (a > b ? a : b);
