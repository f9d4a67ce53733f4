import { sql } from 'drizzle-orm';
import { getTableConfig } from 'drizzle-orm/pg-core';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { Problem, problemType } from '../../platform/errors.ts';
import { lazily } from '../../records/lazily.ts';
import { storedTables } from '../../records/table.ts';
import { campaigns } from './record.ts';

export const campaignHasRecords = problemType('campaign_has_records', 409, 'The campaign has records');

const keep = statement<{ id: string }>(
  'keep_campaigns',
  sql`select ${campaigns.id} as id from ${campaigns} where ${campaigns.id} = any(${param('ids')}::uuid[]) order by ${campaigns.id} for key share`,
);

/**
 * Which of these ids are no campaign's. The others cannot be deleted before the transaction ends: the facts that name
 * them can be written. For sets of facts; one statement, and none without ids.
 */
export async function unknownCampaigns(tx: Transaction, ids: readonly string[]): Promise<Set<string>> {
  const unknown = new Set(ids);
  if (unknown.size === 0) return unknown;
  const kept = await tx.asService((service) => service.all(keep, { ids: [...unknown] }));
  for (const { id } of kept) unknown.delete(id);
  return unknown;
}

const lockWhole = statement(
  'lock_campaign',
  sql`select from ${campaigns} where ${campaigns.id} = ${param('id')}::uuid for update`,
);

/** Whether rows of each table that refers to campaigns name this one. */
const holders = lazily(() => {
  const found = storedTables().flatMap(({ name, table }) =>
    getTableConfig(table).foreignKeys.flatMap((key) => {
      const { columns, foreignTable } = key.reference();
      const [column] = columns;
      if (foreignTable !== campaigns || column === undefined) return [];
      return [
        sql`select ${sql.raw(`'${name}'`)} as name where exists (
        select from ${table} where ${column} = ${param('id')}::uuid)`,
      ];
    }),
  );
  return statement<{ name: string }>('campaign_holders', sql.join(found, sql` union all `));
});

/**
 * Locks a campaign against everything, records that are about to name it included (see `unknownCampaigns`).
 *
 * @throws Problem campaign_has_records, when something names it
 */
export async function refuseNamed(tx: Transaction, id: string): Promise<void> {
  await tx.all(lockWhole, { id });
  const named = (await tx.all(holders(), { id })).map(({ name }) => name).sort();
  if (named.length === 0) return;
  throw new Problem(campaignHasRecords, `${named.join(' and ')} refer to the campaign: delete or change them first.`);
}
