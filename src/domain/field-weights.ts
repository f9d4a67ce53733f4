import type { LeadModel } from './lead-features.ts';

/**
 * How much each field moves the scores of the leads that the model was fitted to: the square root of
 * Σ coefficient² × share × (1 − share) over its columns, which is the standard deviation of its log-odds if its columns
 * went their own ways. Largest first.
 */
export function fieldWeights({ encoder, coefficients }: LeadModel): { field: string; weight: number }[] {
  const variances = new Map<string, number>();
  for (const [index, { field, share }] of encoder.columns.entries()) {
    const variance = (coefficients[index] ?? 0) ** 2 * share * (1 - share);
    variances.set(field, (variances.get(field) ?? 0) + variance);
  }
  return [...variances]
    .map(([field, variance]) => ({ field, weight: Math.sqrt(variance) }))
    .sort((a, b) => b.weight - a.weight || (a.field < b.field ? -1 : 1));
}
