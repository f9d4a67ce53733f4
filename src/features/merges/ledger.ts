import { sql } from 'drizzle-orm';
import { mergeHistories } from '../../domain/merged-history.ts';
import { isBefore } from '../../domain/period.ts';
import { fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { type Columns, columnsIn } from '../../records/catalog.ts';
import { keptRows, restoreRows } from '../../records/kept-rows.ts';
import { insertUnder, type Move } from '../../records/merge.ts';
import { jointStamps, raisedColumn, raiseStamps } from '../../records/stamps.ts';
import { updateRows } from '../../records/table.ts';
import { recomputeLedger } from '../loyalty/comparison.ts';
import { recomputeAllEarnings } from '../loyalty/earning-comparison.ts';
import { openAccounts } from '../loyalty/open-accounts.ts';
import {
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from '../loyalty/record.ts';
import { saveAccounts } from '../loyalty/save-accounts.ts';
import { rulesAt } from '../loyalty-programmes/queries.ts';
import { redemptions } from '../rewards/record.ts';
import { type AccountRow, type TierRow, tiersOf } from './queries.ts';
import { customerMerges, type KeptRecords } from './record.ts';

/*
 * Two accounts of one programme become one: since the earlier of the two, with the lots and postings of both, so that
 * points add up; a debt of one is paid from what the account earns next. Bonuses that both have are kept (the person was
 * told so) and not given again. Of the tiers the higher one goes on, with its dates; the steps of the other are put
 * between its steps (domain/merged-history.ts). Then the orders of both are recomputed as those of one member, which may
 * add points for orders between the two beginnings, bonuses for purchases, and a higher tier.
 */

const moving = (columns: Columns) =>
  statement<{ moved: number }>(
    'merge_ledger',
    sql`with account as materialized (select * from loyalty_accounts where customer_id = ${param('from')}::uuid),
      opened as (${insertUnder(loyaltyAccounts, 'account', columns)} on conflict (customer_id) do nothing),
      transactions as (delete from loyalty_transactions where customer_id = ${param('from')}::uuid returning *),
      -- What a client has called the same with both is done; repeated, it finds the survivor's.
      put_transactions as (${insertUnder(loyaltyTransactions, 'transactions', columns)}),
      lots as (delete from loyalty_lots where customer_id = ${param('from')}::uuid returning *),
      put_lots as (${insertUnder(loyaltyLots, 'lots', columns)}),
      entries as (delete from loyalty_entries where customer_id = ${param('from')}::uuid returning *),
      put_entries as (${insertUnder(loyaltyEntries, 'entries', columns)}),
      earnings as (delete from loyalty_earnings where customer_id = ${param('from')}::uuid returning *),
      -- Of an order that went from one to the other both have a row, and one of them is entitled to nothing.
      put_earnings as (${insertUnder(loyaltyEarnings, 'earnings', columns)} on conflict (customer_id, order_id) do update
        set entitled = loyalty_earnings.entitled + excluded.entitled, spend = loyalty_earnings.spend + excluded.spend,
          tier_points = loyalty_earnings.tier_points + excluded.tier_points)
      select count(*) as moved from transactions`,
    { unprepared: true },
  );

const clearTiers = statement(
  'clear_merged_tiers',
  sql`delete from loyalty_tier_changes where customer_id = any(${param('ids')}::uuid[])`,
);
const saveTiers = statement('save_merged_tiers', insertRows(loyaltyTierChanges, param('rows')));

const join = statement('join_accounts', updateRows(loyaltyAccounts, param('rows'), { createdAt: true }));

/** Points of both under the survivor. Both are locked; the merge is begun. @returns postings moved */
export async function moveLedger(
  tx: Transaction,
  context: Context,
  { from, to, now }: Move,
  columns: Columns,
): Promise<number> {
  const accounts = await openAccounts(tx, context, [from, to], { lots: true });
  if (accounts.size === 0) return 0;
  // What was due is posted with each of them, so that one balance can be told of both.
  for (const { draft } of accounts.values()) draft.changed = true;
  saveAccounts(tx, accounts.values());
  const other = accounts.get(from);
  if (!other) return 0;
  const own = accounts.get(to);
  const tiers = await tx.all(tiersOf, { ids: [from, to] });
  const moved = await tx.first(moving(columns), { from, to, now });
  const levels = rulesAt(other.programme, other.now)?.tiers?.levels ?? [];
  const rank = ({ tier }: AccountRow) => levels.findIndex(({ key }) => key === tier);
  const [main, side] = own && rank(own.row) >= rank(other.row) ? [to, from] : [from, to];
  await writeTiers(tx, [from, to], mergeTiers(tiers, main, side, to));
  await joinAccounts(tx, context, to, own ? [own.row, other.row] : [other.row]);
  await recomputeLedger(tx, [to]);
  return moved?.moved ?? 0;
}

function mergeTiers(tiers: TierRow[], main: string, side: string, to: string): TierRow[] {
  const steps = tiers.filter(({ customerId }) => customerId === main);
  // Since when a tier is held is said by the step that reached it: nothing may come behind that one.
  const tail = steps.findLastIndex(({ reason }) => reason !== 'renewal' && reason !== 'grace');
  const others = tiers.filter(({ customerId }) => customerId === side);
  const merged = mergeHistories(steps, others, tail, () => false);
  return merged.map((step, index) => ({
    ...step,
    customerId: to,
    sequence: index + 1,
    previous: merged[index - 1]?.tier ?? null,
  }));
}

async function writeTiers(tx: Transaction, ids: string[], rows: TierRow[]): Promise<void> {
  await tx.all(clearTiers, { ids });
  if (rows.length > 0) await tx.all(saveTiers, { rows: JSON.stringify(rows) });
}

/** What the ledger says of the account, e.g. its points, is recomputed after it. */
async function joinAccounts(
  tx: Transaction,
  { now }: Context,
  to: string,
  rows: readonly [AccountRow, ...AccountRow[]],
): Promise<void> {
  const [first] = rows;
  const { joinedAt, joinedOn } = rows.reduce((a, b) => (isBefore(b.joinedAt, a.joinedAt) ? b : a));
  const joined: AccountRow = {
    ...first,
    customerId: to,
    joinedAt,
    joinedOn,
    settledAt: rows.reduce((latest, row) => (isBefore(latest, row.settledAt) ? row.settledAt : latest), now),
    referralRewarded: rows.some(({ referralRewarded }) => referralRewarded),
    ...jointStamps(rows, now),
  };
  await tx.all(join, { rows: JSON.stringify([joined]) });
}

/** What the orders of both are entitled to as those of one member, after they have moved. */
export function recomputeMember(tx: Transaction, context: Context, ids: string[]): Promise<void> {
  return recomputeAllEarnings(tx, context, ids);
}

const ledger = [loyaltyTransactions, loyaltyLots, loyaltyEntries, loyaltyEarnings, loyaltyTierChanges];
const clear = statement(
  'clear_merged_ledger',
  sql`with entries as (delete from loyalty_entries where customer_id = ${param('from')}::uuid),
    lots as (delete from loyalty_lots where customer_id = ${param('from')}::uuid),
    earnings as (delete from loyalty_earnings where customer_id = ${param('from')}::uuid),
    tiers as (delete from loyalty_tier_changes where customer_id = ${param('from')}::uuid)
    delete from loyalty_transactions where customer_id = ${param('from')}::uuid`,
);
async function restoreAccount(tx: Transaction, { mergeId, from, now }: Move, columns: Columns): Promise<void> {
  const sets = columnsIn(columns, loyaltyAccounts)
    .filter((name) => name !== 'customer_id' && raisedColumn(name, 'a') === null)
    .map((name) => sql`${sql.identifier(name)} = k.${sql.identifier(name)}`);
  const query = statement(
    'restore_merged_account',
    sql`with kept as materialized (
        select x.* from customer_merges m, jsonb_populate_recordset(null::loyalty_accounts, m.before -> 'loyaltyAccount') x
        where m.id = ${param('mergeId')}::uuid and x.customer_id = ${param('from')}::uuid
      ), gone as (
        delete from loyalty_accounts a where a.customer_id = ${param('from')}::uuid and not exists (select from kept)
      )
      update loyalty_accounts a set ${raiseStamps('a')}, ${sql.join(sets, sql`, `)}
      from kept k where a.customer_id = k.customer_id`,
    { unprepared: true },
  );
  await tx.all(query, { mergeId, from, now });
}

/** The account of the customer that is back, for redemptions to belong to. */
export async function reopenAccount(
  tx: Transaction,
  { mergeId, to, now }: Move,
  columns: Columns,
  above: number | undefined,
): Promise<void> {
  await restoreRows(tx, customerMerges, loyaltyAccounts, { mergeId, ids: [to], columns, now, above });
}

/** The ledgers of both as they were before the merge, which nothing has changed since. */
export async function restoreLedgers(tx: Transaction, move: Move, columns: Columns): Promise<void> {
  const { mergeId, from, to, now } = move;
  await tx.all(clear, { from });
  await restoreAccount(tx, move, columns);
  await Promise.all(
    ledger.map((table) => restoreRows(tx, customerMerges, table, { mergeId, ids: [from, to], columns, now })),
  );
}

type TransactionRow = typeof loyaltyTransactions.$inferSelect;
type LotRow = typeof loyaltyLots.$inferSelect;
type EntryRow = typeof loyaltyEntries.$inferSelect;
type EarningRow = typeof loyaltyEarnings.$inferSelect;

const keptAccounts = keptRows<AccountRow>(customerMerges, loyaltyAccounts);
const keptTransactions = keptRows<TransactionRow>(customerMerges, loyaltyTransactions);
const keptLots = keptRows<LotRow>(customerMerges, loyaltyLots);
const keptTiers = keptRows<TierRow>(customerMerges, loyaltyTierChanges);
const rowsOf = <Row>(
  table: typeof loyaltyTransactions | typeof loyaltyLots | typeof loyaltyEntries | typeof loyaltyEarnings,
) =>
  statement<Row>(
    'ledger_of_merged',
    sql`select ${fields(table)} from ${table} where customer_id = ${param('from')}::uuid`,
  );
const transactionRows = rowsOf<TransactionRow>(loyaltyTransactions);
const lotRows = rowsOf<LotRow>(loyaltyLots);
const entryRows = rowsOf<EntryRow>(loyaltyEntries);
const earningRows = rowsOf<EarningRow>(loyaltyEarnings);
const movedRecords = statement<{ id: string }>(
  'moved_records_with_points',
  sql`select record_id as id from customer_merge_records where merge_id = ${param('mergeId')}::uuid and kind in ('orders', 'redemptions')`,
);
const saveLedger = statement(
  'save_split_ledger',
  sql`with transactions as (${insertRows(loyaltyTransactions, param('transactions'))}),
    lots as (${insertRows(loyaltyLots, param('lots'))}),
    entries as (${insertRows(loyaltyEntries, param('entries'))}),
    earnings as (${insertRows(loyaltyEarnings, param('earnings'))})
    ${insertRows(loyaltyTierChanges, param('tiers'))}`,
);
const keepSettled = statement(
  'settle_split_accounts',
  sql`update loyalty_accounts set settled_at = ${param('settledAt')}::timestamptz where customer_id = any(${param('ids')}::uuid[])`,
);

/**
 * The same where points have moved since the merge. What happened before it, and since then to orders, redemptions, lots
 * and transactions of the other, is the other's; all else the survivor's. Where points of one were spent by the other
 * they become a transfer at that moment, so that each ledger adds up by itself, and so does the sum of both. Where only
 * one had an account, all of it is that one's. What orders are entitled to is recomputed after it, and with it what the
 * merge had added.
 */
export async function splitLedgers(
  tx: Transaction,
  { principal }: Context,
  move: Move,
  columns: Columns,
): Promise<KeptRecords[]> {
  const { mergeId, from, to } = move;
  const values = { mergeId, from };
  const [accounts, before, beforeLots, beforeTiers, transactions, lots, entries, earnings, records, tiers] =
    await Promise.all([
      tx.all(keptAccounts, values),
      tx.all(keptTransactions, values),
      tx.all(keptLots, values),
      tx.all(keptTiers, values),
      tx.all(transactionRows, values),
      tx.all(lotRows, values),
      tx.all(entryRows, values),
      tx.all(earningRows, values),
      tx.all(movedRecords, values),
      tx.all(tiersOf, { ids: [from] }),
    ]);
  const had = (id: string) => accounts.some(({ customerId }) => customerId === id);
  // Begun since: it is the survivor's.
  if (!had(from) && !had(to)) return [];
  const settledAt = await settledOf(tx, from);
  const usual = had(from) ? from : to;
  const both = had(from) && had(to);
  const others = new Set(records.map(({ id }) => id));
  const ownerBefore = new Map(before.map(({ id, customerId }) => [id, customerId]));
  const ownerOfLotBefore = new Map(beforeLots.map(({ id, customerId }) => [id, customerId]));
  const firstLot = new Map(
    entries.flatMap(({ transactionId, lotId }) => (lotId === null ? [] : [[transactionId, lotId]])),
  );
  const ownerOf = (row: TransactionRow): string => {
    if (!both) return usual;
    const known = ownerBefore.get(row.id) ?? (row.relatedId === null ? undefined : ownerBefore.get(row.relatedId));
    if (known !== undefined) return known;
    if ([row.orderId, row.redemptionId].some((id) => id !== null && others.has(id))) return to;
    const lot = row.kind === 'expire' ? firstLot.get(row.id) : undefined;
    return (lot === undefined ? undefined : ownerOfLotBefore.get(lot)) ?? usual;
  };
  const owners = new Map(transactions.map((row) => [row.id, ownerOf(row)]));
  const ownerOfLot = new Map(
    lots.map(({ id, transactionId }) => [
      id,
      (both ? ownerOfLotBefore.get(id) : undefined) ?? owners.get(transactionId) ?? usual,
    ]),
  );
  // An expiry of a lot that was made since goes with that lot.
  for (const { id, kind } of transactions) {
    const lot = kind === 'expire' ? firstLot.get(id) : undefined;
    const owner = lot === undefined ? undefined : ownerOfLot.get(lot);
    if (owner !== undefined) owners.set(id, owner);
  }
  const split = new Split(
    lots.map((row) => ({ ...row, customerId: ownerOfLot.get(row.id) ?? usual })),
    { by: principal.client, usual, other: usual === from ? to : from },
  );
  for (const row of transactions) split.transactions.push({ ...row, customerId: owners.get(row.id) ?? usual });
  for (const entry of entries) split.post(entry, owners.get(entry.transactionId) ?? usual);
  split.settleDebts();

  await tx.all(clear, { from });
  if (!had(from)) await moveRedemptions(tx, move, columns);
  await restoreAccount(tx, move, columns);
  const known = beforeTiers.length;
  const later = tiers.slice(known);
  const tierRows = [from, to].filter(had).flatMap((customerId) => {
    const steps = beforeTiers.filter((row) => row.customerId === customerId).sort((a, b) => a.sequence - b.sequence);
    return [...steps, ...(customerId === usual ? later : [])].map((step, index, all) => ({
      ...step,
      customerId,
      sequence: index + 1,
      previous: all[index - 1]?.tier ?? null,
    }));
  });
  await tx.all(saveLedger, {
    transactions: JSON.stringify(split.transactions),
    lots: JSON.stringify(split.lots),
    entries: JSON.stringify(split.entries),
    earnings: JSON.stringify(
      earnings.map((row) => ({ ...row, customerId: both && others.has(row.orderId) ? to : usual })),
    ),
    tiers: JSON.stringify(tierRows),
  });
  await tx.all(keepSettled, { ids: [from, to], settledAt });
  await recomputeLedger(tx, [from, to]);
  const stay = split.transactions.filter(
    ({ id, customerId }) => customerId === from && id > mergeId && !split.made.has(id),
  );
  return [
    ...(stay.length > 0
      ? [{ kind: 'loyaltyTransactions', count: stay.length, why: 'points that moved since the merge' }]
      : []),
    ...(split.made.size > 0
      ? [
          {
            kind: 'loyaltyTransactions',
            count: split.made.size,
            why: 'transfers: points of one that the other has spent since the merge',
          },
        ]
      : []),
  ];
}

/** Those since the merge as well: their account goes back. */
async function moveRedemptions(tx: Transaction, { from, to, now }: Move, columns: Columns): Promise<void> {
  const query = statement(
    'redemptions_with_account',
    sql`with gone as (delete from redemptions where customer_id = ${param('from')}::uuid returning *)
      ${insertUnder(redemptions, 'gone', columns)}`,
    { unprepared: true },
  );
  await tx.all(query, { from, to, now });
}

const settled = statement<{ settledAt: string }>(
  'settled_of_merged',
  sql`select settled_at as "settledAt" from loyalty_accounts where customer_id = ${param('from')}::uuid`,
);

async function settledOf(tx: Transaction, from: string): Promise<string> {
  const found = await tx.first(settled, { from });
  if (!found) throw new Error('An account that was merged is not there');
  return found.settledAt;
}

/** A ledger on its way to being two. */
class Split {
  readonly transactions: TransactionRow[] = [];
  readonly entries: EntryRow[] = [];
  readonly lots: LotRow[];
  /** Ids of transfers between the two. */
  readonly made = new Set<string>();
  readonly #lots: ReadonlyMap<string, LotRow>;
  readonly #by: string;
  readonly #sides: readonly [string, string];
  readonly #owed = new Map<string, { points: number; at: string }>();

  constructor(lots: LotRow[], { by, usual, other }: { by: string; usual: string; other: string }) {
    this.lots = [...lots];
    this.#lots = new Map(lots.map((lot) => [lot.id, lot]));
    this.#by = by;
    this.#sides = [usual, other];
  }

  /** A posting of a transaction of this owner; on a lot of the other one it becomes a transfer and a posting on what came. */
  post(entry: EntryRow, owner: string): void {
    const lot = entry.lotId === null ? undefined : this.#lots.get(entry.lotId);
    if (!lot) this.#owe(owner, entry.points, entry.at);
    if (!lot || lot.customerId === owner) {
      this.entries.push({ ...entry, customerId: owner });
      return;
    }
    const points = -entry.points;
    const [sent, received] = this.#transfer(lot.customerId, owner, points, entry.at);
    const copy: LotRow = {
      ...lot,
      id: newId(),
      customerId: owner,
      transactionId: received,
      points,
      remaining: 0,
      orderId: null,
      bonusKey: null,
    };
    this.lots.push(copy);
    this.entries.push(
      { customerId: lot.customerId, transactionId: sent, line: 1, lotId: lot.id, points: -points, at: entry.at },
      { customerId: owner, transactionId: received, line: 1, lotId: copy.id, points, at: entry.at },
      { ...entry, customerId: owner, lotId: copy.id },
    );
  }

  #owe(owner: string, points: number, at: string): void {
    const known = this.#owed.get(owner);
    this.#owed.set(owner, {
      points: (known?.points ?? 0) + points,
      at: known && isBefore(at, known.at) ? known.at : at,
    });
  }

  /** Who has paid a debt of the other one has given it these points. */
  settleDebts(): void {
    for (const payer of this.#sides) {
      const paid = this.#owed.get(payer);
      if (!paid || paid.points <= 0) continue;
      const owing = payer === this.#sides[0] ? this.#sides[1] : this.#sides[0];
      const [sent, received] = this.#transfer(payer, owing, paid.points, paid.at);
      this.entries.push(
        { customerId: payer, transactionId: sent, line: 1, lotId: null, points: -paid.points, at: paid.at },
        { customerId: owing, transactionId: received, line: 1, lotId: null, points: paid.points, at: paid.at },
      );
    }
  }

  #transfer(sender: string, receiver: string, points: number, at: string): [sent: string, received: string] {
    const [sent, received] = [newId(), newId()];
    const common = {
      at,
      orderId: null,
      entitled: null,
      lapsed: 0,
      waived: 0,
      bonusKey: null,
      redemptionId: null,
      reason: null,
      by: this.#by,
      externalId: null,
      createdAt: at,
    };
    this.transactions.push(
      {
        ...common,
        kind: 'transfer_out',
        customerId: sender,
        id: sent,
        points: -points,
        relatedId: null,
        relatedCustomerId: receiver,
      },
      {
        ...common,
        kind: 'transfer_in',
        customerId: receiver,
        id: received,
        points,
        relatedId: sent,
        relatedCustomerId: sender,
      },
    );
    this.made.add(sent).add(received);
    return [sent, received];
  }
}
