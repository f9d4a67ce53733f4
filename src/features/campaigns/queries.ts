import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { Problem, problemType } from '../../platform/errors.ts';
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
  const kept = await tx.elevated((service) => service.all(keep, { ids: [...unknown] }));
  for (const { id } of kept) unknown.delete(id);
  return unknown;
}

const lockWhole = statement(
  'lock_campaign',
  sql`select from ${campaigns} where ${campaigns.id} = ${param('id')}::uuid for update`,
);

const holders = statement<{ interactions: boolean; orders: boolean }>(
  'campaign_holders',
  sql`select exists (select from interactions where campaign_id = ${param('id')}::uuid) as interactions,
    exists (select from orders where campaign_id = ${param('id')}::uuid) as orders`,
);

/**
 * Locks a campaign against everything, records that are about to name it included (see `unknownCampaigns`).
 *
 * @throws Problem campaign_has_records, when something names it
 */
export async function refuseNamed(tx: Transaction, id: string): Promise<void> {
  await tx.all(lockWhole, { id });
  const found = await tx.first(holders, { id });
  const named = Object.entries(found ?? {}).flatMap(([name, held]) => (held ? [name] : []));
  if (named.length === 0) return;
  throw new Problem(campaignHasRecords, `${named.join(' and ')} refer to the campaign: delete or change them first.`);
}
