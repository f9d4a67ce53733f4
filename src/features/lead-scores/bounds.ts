import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';

/** Brings the score bounds of these locked customers, as far as they are leads, up to date with their facts. */
export async function refreshBounds(_tx: Transaction, _context: Context, _customerIds: string[]): Promise<void> {}
