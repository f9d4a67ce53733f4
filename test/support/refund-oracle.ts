interface Amounts {
  total: number;
  tax: number;
}

/**
 * What is left of an order's net value after refunds, in the order in which they were given: worked out from the
 * documentation, with fractions of whole numbers.
 */
export function netLeft({ total, tax }: Amounts, refunds: readonly { amount: number; tax?: number | null }[]): number {
  let gross = total;
  let taxes = tax;
  for (const refund of refunds) {
    const doubled = 2n * BigInt(taxes) * BigInt(refund.amount);
    const estimate = gross > 0 ? Number((doubled + BigInt(gross)) / (2n * BigInt(gross))) : taxes;
    let counted = refund.tax ?? estimate;
    if (counted > taxes) counted = taxes;
    if (counted > refund.amount) counted = refund.amount;
    const net = gross - taxes;
    if (refund.amount - counted > net) counted = Math.min(refund.amount, refund.amount - net);
    if (counted < 0) counted = 0;
    gross -= refund.amount;
    taxes -= counted;
  }
  return gross - taxes;
}
