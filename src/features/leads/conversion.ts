import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';

/** Restates the conversion of these locked customers, as far as they are leads, after their orders have changed. */
export async function restateConversions(_tx: Transaction, _context: Context, _customerIds: string[]): Promise<void> {}
