import { sql } from 'drizzle-orm';
import type { TierRules } from '../../domain/loyalty-earning.ts';
import {
  Contributions,
  replay,
  type TierChange,
  type TierContribution,
  type TierState,
  withoutTier,
} from '../../domain/loyalty-tiers.ts';
import { isBefore } from '../../domain/period.ts';
import { fields, param, statement, type Transaction } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import type { Context } from '../../platform/operation.ts';
import {
  type ProgrammeRules,
  type ProgrammeRulesJson,
  programmeRulesJson,
  readProgrammeRules,
  rulesAt,
} from '../loyalty-programmes/queries.ts';
import { type AccountRow, emptyDraft, type LotTuple, lotTuple, type OpenAccount, readOpenLot } from './account.ts';
import { expire, recomputeBalance } from './ledger.ts';
import { loyaltyAccounts } from './record.ts';

interface Opened extends AccountRow {
  /** With the first account of each programme. */
  programme: ProgrammeRulesJson | null;
  /** Left out where nothing is due and no lots were asked for. */
  openLots?: LotTuple[] | null;
  withLots?: boolean;
  openPayments?: [points: number, at: string][] | null;
  contributions?: ContributionTuple[] | null;
  windows: [spend: number, points: number][] | null;
}

export type ContributionTuple = [placedAt: string, spend: number, points: number];

/** `e` of `loyalty_earnings` as what it counts for tiers. */
export const contributionTuple = sql`json_build_array(e.placed_at::text, e.spend, e.tier_points)`;

export function readContribution([placedAt, spend, points]: ContributionTuple): TierContribution {
  return { placedAt: canonicalInstant(placedAt), spend, points };
}

/** The lots of `loyalty_accounts` that have points left. */
const openLots = sql`(select json_agg(${lotTuple(sql`l.remaining`)}) from loyalty_lots l where l.customer_id = loyalty_accounts.customer_id and l.remaining > 0)`;

/** `offset 0` keeps it at one look into the index per customer. */
const account = sql`json_to_recordset(${param('ids')}::json) as n("id" uuid, "ats" timestamptz[])
    cross join lateral (select * from loyalty_accounts where loyalty_accounts.customer_id = n."id" offset 0) loyalty_accounts`;
const rulesOnce = sql`case when row_number() over (partition by loyalty_accounts.programme_id order by loyalty_accounts.customer_id) = 1
        then ${programmeRulesJson(sql`loyalty_accounts.programme_id`)} end as programme`;

/** What counts for tiers in the windows that end at `n."ats"`, in their order. */
const windows = sql`(select json_agg(json_build_array(w.spend, w.points) order by a.n)
      from unnest(n."ats") with ordinality a(at, n) cross join lateral (
        select coalesce(sum(e.spend), 0)::bigint as spend, coalesce(sum(e.tier_points), 0)::bigint as points
        from (select (v.rules->'tiers'->>'windowDays')::int as days from loyalty_programme_versions v
          where v.programme_id = loyalty_accounts.programme_id and v.valid_from <= a.at order by v.number desc limit 1) t
        join loyalty_earnings e on e.customer_id = loyalty_accounts.customer_id
          and e.placed_at > a.at - t.days * interval '24 hours' and e.placed_at <= a.at) w) as windows`;

/**
 * What suffices for a new order while nothing is due: to set up the plan of `open` takes longer than to run it, and this
 * is read with every order that is pushed, whether its customer is a member or not.
 */
const openSettled = statement<Opened>(
  'open_settled_loyalty_accounts',
  sql`select ${fields(loyaltyAccounts)}, ${rulesOnce}, ${windows} from ${account}`,
);

const givenPresent = sql`greatest(given.now, loyalty_accounts.settled_at)`;

/*
 * The parameters come in a way the planner cannot look into: it would plan this anew for the values of each call, which takes three
 * times as long as to run it.
 */
const open = statement<Opened>(
  'open_loyalty_accounts',
  sql`with given as materialized (
      select ${param('now')}::timestamptz as now, ${param('lots')}::boolean as lots)
    select ${fields(loyaltyAccounts)}, ${rulesOnce},
      case when given.lots or next_at <= ${givenPresent} then ${openLots} end as "openLots",
      given.lots or coalesce(next_at <= ${givenPresent}, false) as "withLots",
      case when debt > 0 then (
        select json_agg(json_build_array(e.points, e.at::text)) from loyalty_entries e
        where e.customer_id = loyalty_accounts.customer_id and e.lot_id is null and e.at > settled_at) end as "openPayments",
      case when tier_ends_at <= ${givenPresent} or next_at <= ${givenPresent} and exists (
          select from loyalty_earnings e where e.customer_id = loyalty_accounts.customer_id
            and e.placed_at > settled_at and e.placed_at <= ${givenPresent}) then (
        select json_agg(${contributionTuple}) from loyalty_earnings e
        where e.customer_id = loyalty_accounts.customer_id) end as contributions,
      ${windows}
    from ${account} cross join given`,
);

/** What else is wanted of accounts, beside their row. */
export interface Wanted {
  /** Points are going to be taken: read the lots that have some left. */
  lots: boolean;
  /** New orders: sum up what counts for tiers in the windows that end when they were placed, by customer. */
  windows?: ReadonlyMap<string, readonly string[]>;
}

/**
 * Those of these customers who are members, brought up to the present; one statement, and another one where
 * something is due. The customers are locked, in an earlier statement, and what the write changes is not changed yet.
 */
export async function openAccounts(
  tx: Transaction,
  context: Pick<Context, 'now'>,
  customerIds: Iterable<string>,
  { lots, windows: ends }: Wanted,
): Promise<Map<string, OpenAccount>> {
  const ids = [...new Set(customerIds)];
  const accounts = new Map<string, OpenAccount>();
  if (ids.length === 0) return accounts;
  const programmes = new Map<string, ProgrammeRules>();
  const asked = { ids: JSON.stringify(ids.map((id) => ({ id, ats: ends?.get(id) }))), now: context.now };
  const read = ends && !lots ? await tx.all(openSettled, asked) : null;
  const rows = read?.every((row) => isSettled(row, context.now)) ? read : await tx.all(open, { ...asked, lots });
  for (const { programmeId, programme } of rows) {
    if (programme) programmes.set(programmeId, readProgrammeRules(programmeId, programme));
  }
  for (const row of rows) {
    const programme = programmes.get(row.programmeId);
    if (programme) accounts.set(row.customerId, settled(row, programme, context.now, ends?.get(row.customerId) ?? []));
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
  const lots = [...(found?.openLots ?? []).map(readOpenLot), ...account.draft.newLots];
  account.lots = new Map(lots.map((lot) => [lot.id, lot]));
}

/** The account of a customer who becomes a member now; its tier is for the replay of the orders. */
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
    replayedTo: null,
    nextAt: null,
    referralRewarded: false,
    createdAt: now,
    updatedAt: now,
  };
  return { ...opened(row, programme, now), lots: new Map(), draft: { ...emptyDraft(), isNew: true } };
}

function opened(row: AccountRow, programme: ProgrammeRules, now: string): OpenAccount {
  return {
    customerId: row.customerId,
    programme,
    now,
    row,
    lots: null,
    windows: new Map(),
    unpaid: row.debt,
    payments: [],
    draft: emptyDraft(),
  };
}

/** The stored account brought to the present with what is stored: what the job does, had it run in time. */
function settled(stored: Opened, programme: ProgrammeRules, contextNow: string, ends: readonly string[]): OpenAccount {
  const { programme: _, openLots, withLots, openPayments, contributions, windows: sums, ...row } = stored;
  const now = presentOf(row, contextNow);
  const account: OpenAccount = {
    ...opened(row, programme, now),
    lots: withLots ? new Map((openLots ?? []).map((tuple) => [tuple[0], readOpenLot(tuple)])) : null,
    windows: new Map((sums ?? []).map(([spend, points], index) => [ends[index] ?? '', { spend, points }])),
    payments: (openPayments ?? []).map(([points, at]) => ({ points, at: canonicalInstant(at) })),
  };
  for (const { points } of account.payments) account.unpaid -= points;
  if (row.nextAt !== null && !isBefore(now, row.nextAt)) {
    account.draft.changed = true;
    expire(account);
    const tierRulesAt = (t: string) => rulesAt(programme, t)?.tiers ?? null;
    const { state, changes } = tierAfter(
      row,
      row.settledAt,
      now,
      (contributions ?? []).map(readContribution),
      tierRulesAt,
    );
    noteTier(account, state, changes);
    recomputeBalance(account);
  }
  row.settledAt = now;
  return account;
}

/**
 * The tier at `t` of one that was kept at `settledAt`, if nothing more becomes known: periods end, and orders of a clock that
 * was ahead count when their time has come.
 */
export function tierAfter(
  state: TierState,
  settledAt: string,
  t: string,
  contributions: readonly TierContribution[],
  rulesAt: (t: string) => TierRules | null,
): { state: TierState; changes: TierChange[] } {
  const counted = new Contributions(contributions.filter(({ placedAt }) => !isBefore(settledAt, placedAt)));
  const orders = contributions
    .filter(({ placedAt }) => isBefore(settledAt, placedAt) && !isBefore(t, placedAt))
    .sort((a, b) => (isBefore(a.placedAt, b.placedAt) ? -1 : 1))
    .map((contribution) => ({ placedAt: contribution.placedAt, earn: () => contribution }));
  return replay(state, t, { orders, settings: [] }, counted, rulesAt);
}

/** The account has this tier now, after changes that come behind those that are stored. */
export function noteTier(account: OpenAccount, state: TierState, changes: readonly TierChange[]): void {
  const { row, draft, customerId } = account;
  setTier(row, state);
  for (const change of changes) {
    const sequence = draft.tierChanges.length + 1;
    draft.tierChanges.push({ ...change, customerId, sequence, note: null, by: null, createdAt: account.now });
    if (row.replayedTo !== null && isBefore(row.replayedTo, change.at)) row.replayedTo = change.at;
  }
}

export function setTier(row: AccountRow, { tier, tierSince, tierEndsAt, tierInGrace, tierByHand }: TierState): void {
  Object.assign(row, { tier, tierSince, tierEndsAt, tierInGrace, tierByHand });
}
