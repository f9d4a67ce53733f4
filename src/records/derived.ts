import type { Transaction } from '../platform/db/client.ts';
import type { Context } from '../platform/operation.ts';

/** What recomputing needs to know. */
export type RecomputeContext = Pick<Context, 'now' | 'principal' | 'baseCurrency' | 'reportingTimeZone'>;

/** Recomputes some of what is derived from the facts of customers, whose locks are held. */
export type Recompute = (tx: Transaction, context: RecomputeContext, ids: string[]) => void | Promise<void>;

const steps: Recompute[] = [];

/** Says what is derived from the facts of customers, in order (src/derived-state.ts). */
export function recomputeWhenMoved(...recomputes: readonly Recompute[]): void {
  steps.push(...recomputes);
}

/** Recomputes what is derived from the facts of these locked customers, after facts have moved between them. */
export async function recomputeMoved(tx: Transaction, context: RecomputeContext, ids: string[]): Promise<void> {
  if (steps.length === 0) throw new Error('Nobody has said what is derived from facts (src/derived-state.ts)');
  for (const recompute of steps) await recompute(tx, context, ids);
}
