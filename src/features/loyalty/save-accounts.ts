import { sql } from 'drizzle-orm';
import { insertRows, param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import { nextStamps } from '../../records/stamps.ts';
import { assignments, fromExcluded } from '../../records/table.ts';
import type { LotRow, OpenAccount, OpenLot } from './account.ts';
import {
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from './record.ts';

/** The parts of a draft; a statement is compiled for each set of parts that occurs. */
const parts = {
  created: insertRows(loyaltyAccounts, param('created')),
  // Not an UPDATE with a join: for a set of unknown size the planner would read a small table as a whole.
  accounts: sql`${insertRows(loyaltyAccounts, param('accounts'))} on conflict (customer_id) do update
    set ${assignments(loyaltyAccounts, fromExcluded, ['programmeId', 'joinedAt', 'joinedOn'])}`,
  transactions: insertRows(loyaltyTransactions, param('transactions')),
  lots: insertRows(loyaltyLots, param('lots')),
  remaining: sql`update loyalty_lots l set remaining = n."remaining"
    from json_to_recordset(${param('remaining')}::json) as n("customerId" uuid, "id" uuid, "remaining" bigint)
    where l.customer_id = n."customerId" and l.id = n."id"`,
  entries: insertRows(loyaltyEntries, param('entries')),
  earnings: sql`${insertRows(loyaltyEarnings, param('earnings'))} on conflict (customer_id, order_id) do update
    set ${assignments(loyaltyEarnings, fromExcluded)}`,
  tierChanges: insertRows(loyaltyTierChanges, param('tierChanges'), {
    sequence: sql`n."sequence" + coalesce((select max(c.sequence) from loyalty_tier_changes c where c.customer_id = n."customerId"), 0)`,
  }),
  restatedTiers: sql`${insertRows(loyaltyTierChanges, param('restatedTiers'))} on conflict (customer_id, sequence) do update
    set ${assignments(loyaltyTierChanges, fromExcluded)}`,
  tierCounts: sql`delete from loyalty_tier_changes c using json_to_recordset(${param('tierCounts')}::json) as n("customerId" uuid, "count" int)
    where c.customer_id = n."customerId" and c.sequence > n."count"`,
};
type Part = keyof typeof parts;

const saves = new Map<string, Statement<unknown>>();

function saveStatement(wanted: readonly Part[]): Statement<unknown> {
  const key = wanted.join();
  const known = saves.get(key);
  if (known) return known;
  const ctes = wanted.map((part) => sql`${sql.identifier(`save_${part}`)} as (${parts[part]})`);
  const made = statement<unknown>('save_loyalty', sql`with ${sql.join(ctes, sql`, `)} select`);
  saves.set(key, made);
  return made;
}

/**
 * Writes what was planned on these accounts, in one statement that travels with the next one or with COMMIT. Nothing
 * planned and nothing due: no statement. An account is saved once; to plan on, open it again.
 */
export function saveAccounts(tx: Transaction, accounts: Iterable<OpenAccount>): void {
  const changed = [...accounts].filter(({ draft }) => draft.changed || draft.isNew);
  if (changed.length === 0) return;
  const sets: Record<Part, object[]> = {
    created: [],
    accounts: [],
    transactions: [],
    lots: [],
    remaining: [],
    entries: [],
    earnings: [],
    tierChanges: [],
    restatedTiers: [],
    tierCounts: [],
  };
  for (const { row, draft, lots, now, customerId } of changed) {
    Object.assign(row, nextStamps(row, now), { settledAt: now });
    sets[draft.isNew ? 'created' : 'accounts'].push(row);
    sets.transactions.push(...draft.transactions);
    sets.lots.push(...draft.newLots.map((lot): LotRow => lotRow(customerId, lot)));
    for (const { id, remaining, stored } of lots?.values() ?? []) {
      if (stored !== null && stored !== remaining) sets.remaining.push({ customerId, id, remaining });
    }
    sets.entries.push(...draft.entries);
    sets.earnings.push(...draft.earnings);
    sets.tierChanges.push(...draft.tierChanges);
    if (draft.restatedTiers) {
      const { rows, count } = draft.restatedTiers;
      sets.restatedTiers.push(...rows);
      sets.tierCounts.push({ customerId, count });
    }
  }
  const wanted = (Object.keys(sets) as Part[]).filter((part) => sets[part].length > 0); // keys of a record of parts
  const values = Object.fromEntries(wanted.map((part) => [part, JSON.stringify(sets[part])]));
  tx.pipeline(saveStatement(wanted), values);
}

function lotRow(customerId: string, { stored: _, ...lot }: OpenLot): LotRow {
  return { ...lot, customerId };
}
