import type { TableAccess } from '../platform/db/access.ts';
import { deploymentSettings } from '../platform/db/settings.ts';
import { idempotencyKeys } from '../platform/idempotency.ts';
import { feedTriggers } from './feed.ts';
import { columnNamed, storedTables } from './table.ts';

/** Tables of the machinery, which hold no records. A test compares them and the definitions with the catalog. */
export const technicalTables: readonly TableAccess[] = [
  { table: deploymentSettings, access: 'service' },
  { table: idempotencyKeys, access: 'service' },
];

/**
 * Who may touch which table, below the operations and for both doors: by row-level security and grants
 * (platform/db/access.ts). Nobody may touch a table that is not defined. With it go the triggers that note who touched it.
 */
export function tablePolicies(): TableAccess[] {
  return [
    ...storedTables().map((stored): TableAccess => {
      const { table, access, owner } = stored;
      const triggers = feedTriggers(stored);
      if (access !== 'owner' && access !== 'shares') return { table, access, triggers };
      return { table, access, triggers, owner: columnNamed(table, owner ?? '').name };
    }),
    ...technicalTables,
  ];
}
