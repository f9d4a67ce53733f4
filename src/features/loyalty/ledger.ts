import { type SQL, sql } from 'drizzle-orm';
import type { LotDates } from '../../domain/loyalty-earning.ts';
import {
  balanceNow,
  credit,
  expireDue,
  isActive,
  isExpired,
  type Lot,
  type NewLot,
  nextChange,
  type Posting,
  returnLots,
  type Taken,
  takeBack,
  takeFifo,
} from '../../domain/loyalty-ledger.ts';
import {
  amountIn,
  raise,
  runOn,
  type TierChange,
  type TierContribution,
  type TierState,
  withoutTier,
} from '../../domain/loyalty-tiers.ts';
import { isBefore } from '../../domain/period.ts';
import { fields, insertRows, param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { nextStamps } from '../../records/stamps.ts';
import { assignments, fromExcluded } from '../../records/table.ts';
import {
  type ProgrammeRules,
  type ProgrammeRulesJson,
  programmeRulesJson,
  rulesAt,
  toProgrammeRules,
} from '../loyalty-programmes/queries.ts';
import {
  insufficientPoints,
  type LoyaltyTransactionKind,
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from './record.ts';

/**
 * The one way in which points move. Under the locks of the customers: `openAccounts` reads accounts and rules and brings
 * them to the present in memory (what expired is posted, tier periods that ended are judged, with what was known before
 * the write); the planning functions change them in memory; `saveAccounts` writes everything in one statement.
 */

export type AccountRow = typeof loyaltyAccounts.$inferSelect;
export type TransactionRow = typeof loyaltyTransactions.$inferSelect;
export type EntryRow = typeof loyaltyEntries.$inferSelect;
export type EarningRow = typeof loyaltyEarnings.$inferSelect;
type LotRow = typeof loyaltyLots.$inferSelect;
/** Its `sequence` counts within the write: the statement adds what there was. */
type TierChangeRow = typeof loyaltyTierChanges.$inferSelect;

/** A lot in memory: `stored` is what the database has as its remaining points, null if it is new. */
interface OpenLot extends Lot {
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
  /**
   * What counted for tiers at `now`, `(now − windowDays, now]`, minor units and points; null unless asked for, or without
   * tiers. Follows `noteEarning`.
   */
  readonly qualifying: { spend: number; points: number } | null;
  /** Debt that no credit pays, the future ones included. */
  unpaid: number;
  /** What lots to come will pay of the debt. */
  readonly payments: { points: number; at: string }[];
  readonly draft: Draft;
}

interface Draft {
  isNew: boolean;
  changed: boolean;
  transactions: TransactionRow[];
  entries: EntryRow[];
  newLots: OpenLot[];
  earnings: EarningRow[];
  tierChanges: TierChangeRow[];
}

/** What `lotTuple` answers, for `toLot`. */
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

export function toLot([
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

interface Opened extends AccountRow {
  /** With the first account of each programme. */
  programme: ProgrammeRulesJson | null;
  /** Left out where nothing is due and no lots were asked for. */
  openLots?: LotTuple[] | null;
  withLots?: boolean;
  openPayments?: [points: number, at: string][] | null;
  contributions?: [placedAt: string, spend: number, entitled: number][] | null;
  spendInWindow: number | null;
  pointsInWindow: number | null;
}

/** The lots of `loyalty_accounts` that have points left. */
const openLots = sql`(select json_agg(${lotTuple(sql`l.remaining`)}) from loyalty_lots l where l.customer_id = loyalty_accounts.customer_id and l.remaining > 0)`;

const present = sql`greatest(${param('now')}::timestamptz, loyalty_accounts.settled_at)`;

/** `offset 0` keeps it at one look into the index per customer. */
const account = sql`json_to_recordset(${param('ids')}::json) as n("id" uuid)
    cross join lateral (select * from loyalty_accounts where loyalty_accounts.customer_id = n."id" offset 0) loyalty_accounts`;
const rulesOnce = sql`case when row_number() over (partition by loyalty_accounts.programme_id order by loyalty_accounts.customer_id) = 1
        then ${programmeRulesJson(sql`loyalty_accounts.programme_id`)} end as programme`;

/** What counts for tiers in the window that ends now, as `w`. */
function inWindow(now: SQL, wanted: SQL): SQL {
  return sql`lateral (
      select coalesce(sum(e.spend), 0)::bigint as spend, coalesce(sum(e.entitled), 0)::bigint as points
      from (select (v.rules->'tiers'->>'windowDays')::int as days from loyalty_programme_versions v
        where v.programme_id = loyalty_accounts.programme_id and v.valid_from <= ${now} order by v.number desc limit 1) t
      join loyalty_earnings e on ${wanted} and e.customer_id = loyalty_accounts.customer_id
        and e.placed_at > ${now} - t.days * interval '24 hours' and e.placed_at <= ${now}
    ) w`;
}

/**
 * What suffices for a new order while nothing is due: to set up the plan of `open` takes longer than to run it, and this
 * is read with every order that is pushed, whether its customer is a member or not.
 */
const openSettled = statement<Opened>(
  'open_settled_loyalty_accounts',
  sql`select ${fields(loyaltyAccounts)}, ${rulesOnce}, w.spend as "spendInWindow", w.points as "pointsInWindow"
    from ${account} cross join ${inWindow(present, sql`true`)}`,
);

const givenPresent = sql`greatest(given.now, loyalty_accounts.settled_at)`;

/*
 * The parameters come in a way the planner cannot look into: it would plan this anew for the values of each call, which takes three
 * times as long as to run it.
 */
const open = statement<Opened>(
  'open_loyalty_accounts',
  sql`with given as materialized (
      select ${param('now')}::timestamptz as now, ${param('lots')}::boolean as lots, ${param('earnings')}::boolean as earnings)
    select ${fields(loyaltyAccounts)}, ${rulesOnce},
      case when given.lots or next_at <= ${givenPresent} then ${openLots} end as "openLots",
      given.lots or coalesce(next_at <= ${givenPresent}, false) as "withLots",
      case when debt > 0 then (
        select json_agg(json_build_array(e.points, e.at::text)) from loyalty_entries e
        where e.customer_id = loyalty_accounts.customer_id and e.lot_id is null and e.at > settled_at) end as "openPayments",
      case when tier_ends_at <= ${givenPresent} then (
        select json_agg(json_build_array(e.placed_at::text, e.spend, e.entitled)) from loyalty_earnings e
        where e.customer_id = loyalty_accounts.customer_id) end as contributions,
      case when given.earnings then w.spend end as "spendInWindow", case when given.earnings then w.points end as "pointsInWindow"
    from ${account} cross join given cross join ${inWindow(givenPresent, sql`given.earnings`)}`,
);

/** What else is wanted of accounts, beside their row. */
export interface Wanted {
  /** Points are going to be taken: read the lots that have some left. */
  lots: boolean;
  /** What counts for tiers may change: sum it up. */
  earnings?: boolean;
}

/**
 * Those of these customers who are members, brought up to the present; one statement, and another one where
 * something is due. The customers are locked, in an earlier statement, and what the write changes is not changed yet.
 */
export async function openAccounts(
  tx: Transaction,
  context: Pick<Context, 'now'>,
  customerIds: Iterable<string>,
  { lots, earnings = false }: Wanted,
): Promise<Map<string, OpenAccount>> {
  const ids = [...new Set(customerIds)];
  const accounts = new Map<string, OpenAccount>();
  if (ids.length === 0) return accounts;
  const programmes = new Map<string, ProgrammeRules>();
  const asked = { ids: JSON.stringify(ids.map((id) => ({ id }))), now: context.now };
  const read = earnings && !lots ? await tx.all(openSettled, asked) : null;
  const rows = read?.every((row) => isSettled(row, context.now))
    ? read
    : await tx.all(open, { ...asked, lots, earnings });
  for (const { programmeId, programme } of rows) {
    if (programme) programmes.set(programmeId, toProgrammeRules(programmeId, programme));
  }
  for (const row of rows) {
    const programme = programmes.get(row.programmeId);
    if (programme) accounts.set(row.customerId, settled(row, programme, context.now));
  }
  return accounts;
}

/** Whether the stored row says all: nothing is due, and no debt that lots to come may pay. */
function isSettled(row: AccountRow, now: string): boolean {
  return row.debt === 0 && (row.nextAt === null || isBefore(presentOf(row, now), row.nextAt));
}

/** The clock of the last write may have been ahead. */
function presentOf({ settledAt }: AccountRow, now: string): string {
  return isBefore(now, settledAt) ? settledAt : now;
}

const liveLots = statement<{ openLots: LotTuple[] | null }>(
  'loyalty_live_lots',
  sql`select ${openLots} as "openLots" from loyalty_accounts where customer_id = ${param('customerId')}::uuid`,
);

/** Reads the lots of an account that was opened without them, when points turn out to be taken. */
export async function readLots(tx: Transaction, account: OpenAccount): Promise<void> {
  if (account.lots) return;
  const found = await tx.first(liveLots, { customerId: account.customerId });
  const lots = [...(found?.openLots ?? []).map(toOpenLot), ...account.draft.newLots];
  account.lots = new Map(lots.map((lot) => [lot.id, lot]));
}

/** The account of a customer who becomes a member now, with the tier it begins with. */
export function newAccount(
  context: Pick<Context, 'now'>,
  member: Pick<AccountRow, 'customerId' | 'joinedAt' | 'joinedOn'>,
  programme: ProgrammeRules,
): OpenAccount {
  const { now } = context;
  const row: AccountRow = {
    ...member,
    ...withoutTier,
    programmeId: programme.id,
    version: 0,
    active: 0,
    pending: 0,
    debt: 0,
    settledAt: now,
    nextAt: null,
    referralRewarded: false,
    createdAt: now,
    updatedAt: now,
  };
  const qualifying = { spend: 0, points: 0 };
  const account = {
    ...opened(row, programme, now),
    lots: new Map(),
    qualifying,
    draft: { ...emptyDraft(), isNew: true },
  };
  beginTier(account);
  return account;
}

function opened(row: AccountRow, programme: ProgrammeRules, now: string): OpenAccount {
  return {
    customerId: row.customerId,
    programme,
    now,
    row,
    lots: null,
    qualifying: null,
    unpaid: row.debt,
    payments: [],
    draft: emptyDraft(),
  };
}

function emptyDraft(): Draft {
  return { isNew: false, changed: false, transactions: [], entries: [], newLots: [], earnings: [], tierChanges: [] };
}

/** The stored account brought to the present with what is stored: what the job does, had it run in time. */
function settled(stored: Opened, programme: ProgrammeRules, contextNow: string): OpenAccount {
  const {
    programme: _,
    openLots,
    withLots,
    openPayments,
    contributions,
    spendInWindow,
    pointsInWindow,
    ...row
  } = stored;
  const now = presentOf(row, contextNow);
  const account: OpenAccount = {
    ...opened(row, programme, now),
    lots: withLots ? new Map((openLots ?? []).map((tuple) => [tuple[0], toOpenLot(tuple)])) : null,
    qualifying: spendInWindow === null ? null : { spend: spendInWindow, points: pointsInWindow ?? 0 },
    payments: (openPayments ?? []).map(([points, at]) => ({ points, at: canonicalInstant(at) })),
  };
  for (const { points } of account.payments) account.unpaid -= points;
  row.settledAt = now;
  if (row.nextAt !== null && !isBefore(now, row.nextAt)) {
    account.draft.changed = true;
    expire(account);
    judgeTier(
      account,
      (contributions ?? []).map(([placedAt, spend, entitled]) => ({
        placedAt: canonicalInstant(placedAt),
        spend,
        entitled,
      })),
    );
    recomputeBalance(account);
  }
  return account;
}

function toOpenLot(tuple: LotTuple): OpenLot {
  const lot = toLot(tuple);
  return { ...lot, stored: lot.remaining };
}

function expire(account: OpenAccount): void {
  for (const { lotId, at, points, entries } of expireDue([...lotsOf(account).values()], account.now)) {
    record(account, { kind: 'expire', by: 'expiry' }, { at, points, entries });
    const lot = lotsOf(account).get(lotId);
    if (lot) lot.remaining = 0;
  }
}

function judgeTier(account: OpenAccount, contributions: TierContribution[]): void {
  const { row, now, programme } = account;
  const { state, changes } = runOn(
    row,
    now,
    (t) => rulesAt(programme, t)?.tiers ?? null,
    (t, rules) => amountIn(contributions, rules, t),
  );
  noteTier(account, state, changes);
}

function noteTier(account: OpenAccount, state: TierState, changes: readonly TierChange[]): void {
  const { row, draft, customerId } = account;
  const { tier, tierSince, tierEndsAt, tierInGrace } = state;
  Object.assign(row, { tier, tierSince, tierEndsAt, tierInGrace });
  for (const change of changes) {
    draft.tierChanges.push({ ...change, customerId, sequence: draft.tierChanges.length + 1, createdAt: account.now });
  }
}

/** What a transaction says beside its points. */
export interface TransactionFacts {
  kind: LoyaltyTransactionKind;
  /** The client that requested it (`context.principal.client`), or the rule that made it. */
  by: string;
  orderId?: string | null;
  bonusKey?: string | null;
  /** What the order or bonus is entitled to after it. */
  entitled?: number;
  redemptionId?: string | null;
  relatedId?: string | null;
  relatedCustomerId?: string | null;
  reason?: string | null;
  externalId?: string | null;
}

/** Puts a transaction and its postings into the draft; the lots are the caller's to change. */
function record(
  account: OpenAccount,
  facts: TransactionFacts,
  posted: { at: string; points: number; entries: readonly Posting[]; id?: string; lapsed?: number; waived?: number },
): TransactionRow {
  const { customerId, draft } = account;
  const { id = newId(), at, points, entries, lapsed = 0, waived = 0 } = posted;
  const transaction: TransactionRow = {
    customerId,
    id,
    kind: facts.kind,
    points,
    at,
    orderId: facts.orderId ?? null,
    entitled: facts.entitled ?? null,
    lapsed,
    waived,
    bonusKey: facts.bonusKey ?? null,
    redemptionId: facts.redemptionId ?? null,
    relatedId: facts.relatedId ?? null,
    relatedCustomerId: facts.relatedCustomerId ?? null,
    reason: facts.reason ?? null,
    by: facts.by,
    externalId: facts.externalId ?? null,
    createdAt: account.now,
  };
  draft.changed = true;
  draft.transactions.push(transaction);
  for (const [index, entry] of entries.entries()) {
    draft.entries.push({ customerId, transactionId: id, line: index + 1, ...entry });
  }
  return transaction;
}

/**
 * Credits lots: one transaction at the `earnedAt` of the first. Debt is paid from them at once; what has expired already
 * is posted as such. No lots: the transaction says that the entitlement changed and nothing moved.
 */
export function creditLots(account: OpenAccount, facts: TransactionFacts, lots: readonly NewLot[]): TransactionRow {
  const { row, now, draft } = account;
  const transactionId = newId();
  const entries: Posting[] = [];
  const made: OpenLot[] = [];
  for (const lot of lots) {
    const id = newId();
    const done = credit({ ...lot, id }, account.unpaid, now);
    entries.push(...done.entries);
    account.unpaid = done.debt;
    const { orderId = null, bonusKey = null } = facts;
    made.push({ ...lot, id, remaining: done.remaining, transactionId, orderId, bonusKey, stored: null });
    if (done.paid > 0) {
      if (isBefore(now, lot.earnedAt)) account.payments.push({ points: done.paid, at: lot.earnedAt });
      else row.debt -= done.paid;
    }
  }
  const points = lots.reduce((sum, lot) => sum + lot.points, 0);
  const transaction = record(account, facts, { id: transactionId, at: lots[0]?.earnedAt ?? now, points, entries });
  for (const lot of made) {
    draft.newLots.push(lot);
    account.lots?.set(lot.id, lot);
    if (!account.lots) addToBalance(account, lot);
    if (lot.remaining > 0 && lot.expiresAt !== null && isExpired(lot, now)) {
      const posting = { lotId: lot.id, points: -lot.remaining, at: lot.expiresAt };
      record(
        account,
        { kind: 'expire', by: 'expiry' },
        { at: lot.expiresAt, points: -lot.remaining, entries: [posting] },
      );
      lot.remaining = 0;
    }
  }
  if (account.lots) recomputeBalance(account);
  return transaction;
}

/** Points that were taken from one lot. */
export interface TakenLot extends Taken {
  lotId: string;
}

/**
 * Takes points from active lots, first what expires first. The account was opened with its lots.
 * @param points > 0
 * @throws Problem insufficient_points, with what is available
 */
export function takePoints(
  account: OpenAccount,
  facts: TransactionFacts,
  points: number,
): { transaction: TransactionRow; taken: TakenLot[] } {
  const lots = lotsOf(account);
  const { available, entries } = takeFifo([...lots.values()], account.unpaid, points, account.now);
  if (!entries) {
    throw new Problem(insufficientPoints, `${points} points are more than the ${available} that are available.`, {
      extra: { available },
      errors: [{ pointer: '/points', code: insufficientPoints, message: `At most ${available}.` }],
    });
  }
  const taken = entries.flatMap(({ lotId, points: moved }) => {
    const lot = lotId === null ? undefined : lots.get(lotId);
    return lot ? [{ lotId: lot.id, points: -moved, activeAt: lot.activeAt, expiresAt: lot.expiresAt }] : [];
  });
  const transaction = record(account, facts, { at: account.now, points: -points, entries });
  post(account, entries);
  return { transaction, taken };
}

/** Undoes a taking: the points come back, to be spent from now on, for 30 days at least. */
export function givePointsBack(account: OpenAccount, facts: TransactionFacts, taken: readonly Taken[]): TransactionRow {
  return creditLots(account, facts, returnLots(taken, account.now));
}

/** The order or the bonus that points belong to. */
export type PointsSource = { orderId: string } | { bonusKey: string };

export interface Entitlement {
  /** Entitlement before and after; nothing happens when they are equal. */
  before: number;
  after: number;
  /** What was moved for this source so far (`sourceHistories`). */
  history: SourceHistory;
  /** Of the lot, should there be one. */
  dates: LotDates;
  by: string;
}

export interface SourceHistory {
  /** Σ points of its transactions of earning and taking back. */
  net: number;
  /** Points of its lots that have expired, ≥ 0. */
  expired: number;
}

/**
 * An order or a bonus is entitled to more or less than before: `earn` or `bonus` on the way up, `reverse` by the policy in
 * force on the way down, for which the account was opened with its lots.
 * @returns null when nothing changed
 */
export function recompute(account: OpenAccount, source: PointsSource, change: Entitlement): TransactionRow | null {
  const { before, after, history, dates, by } = change;
  if (before === after) return null;
  const kind = 'orderId' in source ? 'earn' : 'bonus';
  if (after > before) {
    const points = Math.max(0, after - history.net);
    return creditLots(account, { kind, by, ...source, entitled: after }, points > 0 ? [{ points, ...dates }] : []);
  }
  const lots = [...lotsOf(account).values()];
  const isOwn = (lot: OpenLot) =>
    'orderId' in source ? lot.orderId === source.orderId : lot.bonusKey === source.bonusKey;
  const { entries, lapsed, waived, debt } = takeBack({
    policy: rulesAt(account.programme, account.now)?.refundPolicy ?? 'only_pending',
    owed: before - after,
    net: history.net,
    entitledBefore: before,
    ownLots: lots.filter(isOwn),
    otherLots: lots.filter((lot) => !isOwn(lot)),
    ownExpired: history.expired,
    now: account.now,
  });
  const points = entries.reduce((sum, entry) => sum + entry.points, 0);
  const facts = { kind: 'reverse' as const, by, ...source, entitled: after };
  const transaction = record(account, facts, { at: account.now, points, entries, lapsed, waived });
  account.unpaid += debt;
  account.row.debt += debt;
  post(account, entries);
  return transaction;
}

/** Postings to lots, after which the balance is what it is then. */
function post(account: OpenAccount, entries: readonly Posting[]): void {
  for (const { lotId, points } of entries) {
    const lot = lotId === null ? undefined : lotsOf(account).get(lotId);
    if (lot) lot.remaining += points;
  }
  recomputeBalance(account);
}

/** The balance and the next change out of the lots. */
function recomputeBalance(account: OpenAccount): void {
  const { row, now, payments } = account;
  const lots = [...lotsOf(account).values()];
  row.debt = account.unpaid;
  for (const { points, at } of payments) if (isBefore(now, at)) row.debt += points;
  const { active, pending } = balanceNow(lots, row.debt, now);
  row.active = active;
  row.pending = pending;
  row.nextAt = nextChange(lots, row.tierEndsAt, now);
  for (const { at } of payments) if (isBefore(now, at)) considerNext(row, at);
}

/** A new lot on top of a balance whose lots are not known; its payment of debt is in `row.debt` already. */
function addToBalance({ row, now }: OpenAccount, lot: OpenLot): void {
  const paid = isBefore(now, lot.earnedAt) ? 0 : lot.points - lot.remaining;
  row.active += paid;
  if (isActive(lot, now)) row.active += lot.remaining;
  else if (!isBefore(now, lot.earnedAt) && isBefore(now, lot.activeAt)) row.pending += lot.remaining;
  const next = nextChange([lot], null, now);
  if (next !== null) considerNext(row, next);
}

function considerNext(row: AccountRow, at: string): void {
  if (row.nextAt === null || isBefore(at, row.nextAt)) row.nextAt = at;
}

function lotsOf({ lots, customerId }: OpenAccount): NonNullable<OpenAccount['lots']> {
  if (!lots) throw new Error(`The lots of ${customerId} were not asked for`);
  return lots;
}

/** What an order counts, in place of `before`; `raiseTier` looks at it. */
export function noteEarning(account: OpenAccount, before: EarningRow | null, after: EarningRow): void {
  const { draft, qualifying, now, programme } = account;
  draft.changed = true;
  draft.earnings = draft.earnings.filter(({ orderId }) => orderId !== after.orderId);
  draft.earnings.push(after);
  const tiers = rulesAt(programme, now)?.tiers;
  if (!qualifying || !tiers) return;
  for (const [sign, earning] of [
    [-1, before],
    [1, after],
  ] as const) {
    if (!earning) continue;
    const window = { windowDays: tiers.windowDays };
    qualifying.spend += sign * amountIn([earning], { ...window, basis: 'spend' }, now);
    qualifying.points += sign * amountIn([earning], { ...window, basis: 'points' }, now);
  }
}

/** The tier with which a member begins, held since joining. */
function beginTier(account: OpenAccount): void {
  const { row, programme, now } = account;
  const tiers = rulesAt(programme, now)?.tiers;
  if (!tiers) return;
  const { state, change } = raise(row, tiers, 0, row.joinedAt);
  if (change) noteTier(account, state, [change]);
}

/** Up at once: after all changes of what counts. The account was opened with `earnings`, or is new. */
export function raiseTier(account: OpenAccount): void {
  const { row, programme, now, qualifying } = account;
  const tiers = rulesAt(programme, now)?.tiers;
  if (!tiers || !qualifying) return;
  const { state, change } = raise(row, tiers, qualifying[tiers.basis], now);
  if (!change) return;
  account.draft.changed = true;
  noteTier(account, state, [change]);
  if (account.lots) recomputeBalance(account);
  else if (state.tierEndsAt !== null) considerNext(row, state.tierEndsAt);
}

const histories = statement<SourceHistory & { customerId: string; source: string }>(
  'loyalty_source_histories',
  sql`select n."customerId", n."source", coalesce(sum(t.points), 0)::bigint as net, coalesce(sum(x.expired), 0)::bigint as expired
    from json_to_recordset(${param('sources')}::json) as n("customerId" uuid, "source" text, "orderId" uuid, "bonusKey" text)
    join loyalty_transactions t on t.customer_id = n."customerId"
      and t.kind in ('earn', 'bonus', 'reverse') and (t.order_id = n."orderId" or t.bonus_key = n."bonusKey")
    left join lateral (
      select -sum(e.points) as expired from loyalty_entries credit
      join loyalty_entries e on e.customer_id = credit.customer_id and e.lot_id = credit.lot_id
      join loyalty_transactions et on et.customer_id = e.customer_id and et.id = e.transaction_id and et.kind = 'expire'
      where credit.customer_id = t.customer_id and credit.transaction_id = t.id and credit.points > 0 and credit.lot_id is not null
    ) x on true
    group by 1, 2`,
);

/** One key per source, for `sourceHistories`. */
export function sourceKey(customerId: string, source: PointsSource): string {
  return `${customerId} ${'orderId' in source ? source.orderId : source.bonusKey}`;
}

/**
 * What was moved for these orders and bonuses so far, by `sourceKey`, with what opening the accounts and planning have
 * added; a source without a transaction is not there. One statement.
 */
export async function sourceHistories(
  tx: Transaction,
  wanted: readonly { account: OpenAccount; source: PointsSource }[],
): Promise<Map<string, SourceHistory>> {
  const found = new Map<string, SourceHistory>();
  if (wanted.length === 0) return found;
  const sources = wanted.map(({ account: { customerId }, source }) => ({
    customerId,
    source: 'orderId' in source ? source.orderId : source.bonusKey,
    ...source,
  }));
  const rows = await tx.all(histories, { sources: JSON.stringify(sources) });
  for (const { customerId, source, net, expired } of rows) found.set(`${customerId} ${source}`, { net, expired });
  for (const { account, source } of wanted) {
    const drafted = draftedHistory(account, source);
    if (!drafted) continue;
    const key = sourceKey(account.customerId, source);
    const { net = 0, expired = 0 } = found.get(key) ?? {};
    found.set(key, { net: net + drafted.net, expired: expired + drafted.expired });
  }
  return found;
}

function draftedHistory({ draft, lots }: OpenAccount, source: PointsSource): SourceHistory | null {
  const isOwn = (of: { orderId: string | null; bonusKey: string | null }) =>
    'orderId' in source ? of.orderId === source.orderId : of.bonusKey === source.bonusKey;
  let found = false;
  let net = 0;
  let expired = 0;
  for (const { id, kind, points, ...of } of draft.transactions) {
    if (kind === 'expire') {
      const lotId = draft.entries.find(({ transactionId }) => transactionId === id)?.lotId;
      const lot = draft.newLots.find((made) => made.id === lotId) ?? (lotId ? lots?.get(lotId) : undefined);
      if (!lot || !isOwn(lot)) continue;
      expired -= points;
    } else {
      if (!isOwn(of) || (kind !== 'earn' && kind !== 'bonus' && kind !== 'reverse')) continue;
      net += points;
    }
    found = true;
  }
  return found ? { net, expired } : null;
}

const takenLots = statement<{ lotId: string; points: number; activeAt: string; expiresAt: string | null }>(
  'loyalty_taken_lots',
  sql`select e.lot_id as "lotId", -e.points as points, l.active_at as "activeAt", l.expires_at as "expiresAt"
    from loyalty_entries e join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
    where e.customer_id = ${param('customerId')}::uuid and e.transaction_id = ${param('transactionId')}::uuid and e.points < 0
    order by e.line`,
);

/** What a transaction took, lot by lot, for `givePointsBack`. */
export function lotsTakenBy(tx: Transaction, customerId: string, transactionId: string): Promise<TakenLot[]> {
  return tx.all(takenLots, { customerId, transactionId });
}

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
  }
  const wanted = (Object.keys(sets) as Part[]).filter((part) => sets[part].length > 0); // keys of a record of parts
  const values = Object.fromEntries(wanted.map((part) => [part, JSON.stringify(sets[part])]));
  tx.pipeline(saveStatement(wanted), values);
}

function lotRow(customerId: string, { stored: _, ...lot }: OpenLot): LotRow {
  return { ...lot, customerId };
}
