import { type SQL, sql } from 'drizzle-orm';
import type { Lot } from '../../domain/loyalty-ledger.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import type { ProgrammeRules } from '../loyalty-programmes/queries.ts';
import type {
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from './record.ts';

/*
 * An account at work. Under the locks of the customers: `openAccounts` reads accounts and rules and brings them to the
 * present in memory (what expired is posted, tier periods that ended are judged); ledger.ts moves points in memory;
 * `saveAccounts` writes everything in one statement.
 */

export type AccountRow = typeof loyaltyAccounts.$inferSelect;
export type TransactionRow = typeof loyaltyTransactions.$inferSelect;
export type EntryRow = typeof loyaltyEntries.$inferSelect;
export type EarningRow = typeof loyaltyEarnings.$inferSelect;
export type LotRow = typeof loyaltyLots.$inferSelect;
export type TierChangeRow = typeof loyaltyTierChanges.$inferSelect;

/** A lot in memory: `stored` is what the database has as its remaining points, null if it is new. */
export interface OpenLot extends Lot {
  transactionId: string;
  orderId: string | null;
  bonusKey: string | null;
  stored: number | null;
}

/** An account at work, brought up to `now`. */
export interface OpenAccount {
  readonly customerId: string;
  readonly programme: ProgrammeRules;
  /** The present of this account: `context.now`, or the time of its last write if that clock was ahead. */
  readonly now: string;
  /** As it is at `now` with all that was planned; the balances and `nextAt` too. */
  readonly row: AccountRow;
  /** Lots with points left and those of this write, by id; null when they were neither asked for nor due. */
  lots: Map<string, OpenLot> | null;
  /** What counts for tiers, as it is stored, in the windows that end at the instants that were asked for. */
  readonly windows: ReadonlyMap<string, { spend: number; points: number }>;
  /** Debt that no credit pays, the future ones included. */
  unpaid: number;
  /** What lots to come will pay of the debt. */
  readonly payments: { points: number; at: string }[];
  readonly draft: Draft;
}

export interface Draft {
  isNew: boolean;
  changed: boolean;
  transactions: TransactionRow[];
  entries: EntryRow[];
  newLots: OpenLot[];
  earnings: EarningRow[];
  /** Changes that come after those that are stored; their `sequence` is counted by the statement. */
  tierChanges: TierChangeRow[];
  /** What takes the place of stored changes, from some `sequence` on; there are `count` of them afterwards. */
  restatedTiers: { rows: TierChangeRow[]; count: number } | null;
}

export function emptyDraft(): Draft {
  return {
    isNew: false,
    changed: false,
    transactions: [],
    entries: [],
    newLots: [],
    earnings: [],
    tierChanges: [],
    restatedTiers: null,
  };
}

/** What `lotTuple` answers, for `readLot`. */
export type LotTuple = [
  id: string,
  transactionId: string,
  points: number,
  remaining: number,
  earnedAt: string,
  activeAt: string,
  expiresAt: string | null,
  orderId: string | null,
  bonusKey: string | null,
];

/** The lot `l` as one JSON value, to be read beside something else. */
export function lotTuple(remaining: SQL): SQL {
  return sql`json_build_array(l.id, l.transaction_id, l.points, ${remaining}, l.earned_at::text, l.active_at::text,
    l.expires_at::text, l.order_id, l.bonus_key)`;
}

export function readLot([
  id,
  transactionId,
  points,
  remaining,
  earnedAt,
  activeAt,
  expiresAt,
  orderId,
  bonusKey,
]: LotTuple): Omit<OpenLot, 'stored'> {
  return {
    id,
    transactionId,
    points,
    remaining,
    earnedAt: canonicalInstant(earnedAt),
    activeAt: canonicalInstant(activeAt),
    expiresAt: expiresAt === null ? null : canonicalInstant(expiresAt),
    orderId,
    bonusKey,
  };
}

export function readOpenLot(tuple: LotTuple): OpenLot {
  const lot = readLot(tuple);
  return { ...lot, stored: lot.remaining };
}
