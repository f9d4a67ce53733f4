import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import type { LoyaltyRules } from '../../domain/loyalty-earning.ts';
import { compareFifo } from '../../domain/loyalty-ledger.ts';
import { Contributions, progress, type TierState, withoutTier } from '../../domain/loyalty-tiers.ts';
import { formatDecimal, parseDecimal } from '../../domain/money.ts';
import { isBefore } from '../../domain/period.ts';
import { type Db, fields, param, type Statement, statement } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { answered, answeredMembers } from '../../records/table.ts';
import {
  type ProgrammeRules,
  type ProgrammeRulesJson,
  programmeRulesJson,
  readProgrammeRules,
  rulesAt,
} from '../loyalty-programmes/queries.ts';
import { type LotTuple, lotTuple, readLot, type TransactionRow } from './account.ts';
import { type ContributionTuple, contributionTuple, readContribution, tierAfter } from './open-accounts.ts';
import {
  type CustomerLoyalty,
  customerLoyalty,
  type LoyaltyBalance,
  type LoyaltyMember,
  type LoyaltyTransaction,
  loyaltyAccounts,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
  type TierProgress,
  transactionFields,
} from './record.ts';

/** The tier that a customer held at an instant, as far as it was settled (the job is minutes late); null: none. */
export function tierAtSql(customer: SQL, at: SQL): SQL {
  return sql`(select tc.tier from loyalty_tier_changes tc where tc.customer_id = ${customer} and tc.at <= ${at}
    order by tc.sequence desc limit 1)`;
}

/** A stored balance. `current`: it is that of the instant asked for, with the tier. */
type BalanceRow = Omit<CustomerLoyalty, 'asOf' | 'details'> & { current: boolean };

/** A stored account, of which the same holds. */
export type MemberRow = LoyaltyMember & { current: boolean };

/** Members of an account that no balance has. */
const beyondBalance = Object.keys(getTableColumns(loyaltyAccounts)).filter(
  (member) => !(member in customerLoyalty.shape),
);

/** What of it is read for a balance: every column costs. */
function balanceColumns(asOf: SQL): SQL {
  return sql`${fields(loyaltyAccounts, beyondBalance)}, ${isCurrent(asOf)}`;
}

/** The columns of a `MemberRow` at an instant. */
export function memberColumns(asOf: SQL): SQL {
  return sql`${answered(loyaltyAccounts)}, ${isCurrent(asOf)}`;
}

function isCurrent(asOf: SQL): SQL {
  return sql`(settled_at <= ${asOf}::timestamptz and coalesce(next_at > ${asOf}::timestamptz, true)) as current`;
}

const t = sql`${param('asOf')}::timestamptz`;

/** What counts for tiers, as far back as a window reaches from then, or from the end of the period. */
function contributionsOf(account: SQL): SQL {
  return sql`(select json_agg(${contributionTuple}) from loyalty_earnings e
    where e.customer_id = ${account}.customer_id and (e.spend <> 0 or e.tier_points <> 0)
      and e.placed_at > least(${t}, ${account}.tier_ends_at) - interval '24 hours' * (
        select max((v.rules->'tiers'->>'windowDays')::int) from loyalty_programme_versions v where v.programme_id = ${account}.programme_id))`;
}

const standing = statement<BalanceRow>(
  'loyalty_standing',
  sql`select ${balanceColumns(param('asOf'))} from loyalty_accounts where customer_id = ${param('customerId')}::uuid`,
  { lookup: true },
);

const standings = statement<BalanceRow>(
  'loyalty_standings',
  sql`select ${balanceColumns(param('asOf'))} from loyalty_accounts where customer_id = any(${param('ids')}::uuid[])`,
);

interface Asked {
  asOf: string;
  /** Also the way to the next tier, what expires next, and the lots. */
  details?: boolean | undefined;
}

/**
 * What a customer has in the programme at any instant; null: no member then. One statement for what the stored row
 * answers, which is anything between the last change and the next one; another one where the ledger has to.
 */
export async function loyaltyOf(db: Db, customerId: string, asked: Asked): Promise<CustomerLoyalty | null> {
  const row = await db.first(standing, { customerId, asOf: asked.asOf });
  if (!row || isBefore(asked.asOf, row.joinedAt)) return null;
  if (row.current && !asked.details) return balanceAsOf(row, asked.asOf, null);
  return (await loyaltyOfRows(db, [row], asked)).get(customerId) ?? null;
}

/** The same for a set of customers, in as many statements; who was no member then is not there. */
export async function loyaltyOfCustomers(db: Db, ids: string[], asked: Asked): Promise<Map<string, CustomerLoyalty>> {
  if (ids.length === 0) return new Map();
  return loyaltyOfRows(db, await db.all(standings, { ids, asOf: asked.asOf }), asked);
}

interface Rules {
  programmeId: string;
  /** With the first account of each programme. */
  programme: ProgrammeRulesJson | null;
}

type ProgressRow = BalanceRow & Rules & { contributions: ContributionTuple[] | null };

const standingsWithProgress = statement<ProgressRow>(
  'loyalty_standings_with_progress',
  sql`select ${balanceColumns(param('asOf'))},
      case when row_number() over (partition by programme_id order by customer_id) = 1
        then ${programmeRulesJson(sql`loyalty_accounts.programme_id`)} end as programme,
      ${contributionsOf(sql`loyalty_accounts`)} as contributions
    from loyalty_accounts where customer_id = any(${param('ids')}::uuid[])`,
);

/** What customers have, with the way to the next tier: one statement, and another one for accounts where something is due. */
export async function progressOfCustomers(
  db: Db,
  ids: string[],
  asOf: string,
): Promise<Map<string, CustomerLoyalty & { progress: TierProgress | null }>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(standingsWithProgress, { ids, asOf });
  const members = rows.filter(({ joinedAt }) => !isBefore(asOf, joinedAt));
  const due = members.filter(({ current }) => !current).map(({ customerId }) => customerId);
  const computed = await computedStandings(db, due, asOf);
  const programmes = programmesOf(rows);
  return new Map(
    members.map(({ programme: _, contributions, ...row }) => {
      const found = computed.get(row.customerId);
      const programme = programmes.get(row.programmeId);
      const progress = found
        ? found.details.progress
        : wayUp(row, programme ? rulesAt(programme, asOf) : null, asOf, amountsOf(contributions));
      return [row.customerId, { ...balanceAsOf({ ...row, ...found?.state }, asOf, null), progress }];
    }),
  );
}

/** The same of stored accounts that were read for `asOf`. */
async function loyaltyOfRows(
  db: Db,
  rows: readonly BalanceRow[],
  { asOf, details = false }: Asked,
): Promise<Map<string, CustomerLoyalty>> {
  const members = rows.filter(({ joinedAt }) => !isBefore(asOf, joinedAt));
  const unsettled = members.filter(({ current }) => details || !current).map(({ customerId }) => customerId);
  const computed = await computedStandings(db, unsettled, asOf);
  return new Map(
    members.map((row) => {
      const found = computed.get(row.customerId);
      return [row.customerId, balanceAsOf({ ...row, ...found?.state }, asOf, (details && found?.details) || null)];
    }),
  );
}

/** Balance and tier of those of these accounts whose stored ones are not those of `asOf`. */
export async function statesOfRows(db: Db, rows: readonly MemberRow[], asOf: string): Promise<Map<string, State>> {
  const due = rows.filter(({ current, joinedAt }) => !current && !isBefore(asOf, joinedAt));
  const computed = await computedStandings(
    db,
    due.map(({ customerId }) => customerId),
    asOf,
  );
  return new Map([...computed].map(([customerId, { state }]) => [customerId, state]));
}

function balanceAsOf(
  { current: _, ...balance }: BalanceRow,
  asOf: string,
  details: CustomerLoyalty['details'],
): CustomerLoyalty {
  return { ...balance, asOf, details };
}

/** Exact but for the last step: the product of 0.1 and 3 is 0.3. */
function worthOf(active: number, pointValue: number | undefined): number {
  if (active <= 0 || pointValue === undefined) return 0;
  const { digits, scale } = parseDecimal(String(pointValue));
  return Number(formatDecimal({ digits: digits * BigInt(active), scale }));
}

type HeldTier = Omit<TierState, 'tierByHand'>;
type State = LoyaltyBalance & HeldTier;

interface ComputedRow extends TierState, Rules {
  customerId: string;
  programmeName: string;
  settledAt: string;
  active: number;
  pending: number;
  debt: number;
  /** Whether `asOf` lies before what is settled: then the tier is that of the changes, else the stored one, to be run on. */
  past: boolean;
  lastChange: [tier: string, endsAt: string | null, reason: string, since: string] | null;
  contributions: ContributionTuple[] | null;
  lots: LotTuple[] | null;
  nextExpiry: [at: string, points: number] | null;
}

/** Lots that are pending or active then, with what they have then. What is settled has it in the row. */
const lotsThen = sql`select l.*, case when a.settled_at <= ${t} then l.remaining
      else (select coalesce(sum(e.points), 0) from loyalty_entries e
        where e.customer_id = l.customer_id and e.lot_id = l.id and e.at <= ${t})::bigint end as remains
    from loyalty_accounts a join ${loyaltyLots} l on l.customer_id = a.customer_id
    where a.customer_id = any(${param('ids')}::uuid[]) and l.earned_at <= ${t} and coalesce(l.expires_at > ${t}, true)`;

const compute = statement<ComputedRow>(
  'loyalty_computed',
  sql`with lots as materialized (select * from (${lotsThen}) l where l.remains <> 0)
    select a.customer_id as "customerId", a.programme_id as "programmeId", a.tier, a.tier_since as "tierSince",
      a.tier_ends_at as "tierEndsAt", a.tier_in_grace as "tierInGrace", a.tier_by_hand as "tierByHand", a.settled_at as "settledAt",
      a.settled_at > ${t} as past,
      case when row_number() over (partition by a.programme_id order by a.customer_id) = 1
        then ${programmeRulesJson(sql`a.programme_id`)} end as programme,
      (select p.name from loyalty_programmes p where p.id = a.programme_id) as "programmeName",
      coalesce(held.active, 0)::bigint - coalesce(owed.points, 0)::bigint as active, coalesce(held.pending, 0)::bigint as pending,
      coalesce(owed.points, 0)::bigint as debt,
      case when a.settled_at > ${t} then (
        select json_build_array(c.tier, c.ends_at::text, c.reason, (
          select s.at::text from loyalty_tier_changes s where s.customer_id = a.customer_id and s.sequence <= c.sequence
            and s.tier is distinct from s.previous order by s.sequence desc limit 1))
        from loyalty_tier_changes c where c.customer_id = a.customer_id and c.at <= ${t} order by c.sequence desc limit 1) end as "lastChange",
      ${contributionsOf(sql`a`)} as contributions,
      (select json_agg(${lotTuple(sql`l.remains`)}) from (select * from lots where lots.customer_id = a.customer_id
          order by expires_at nulls last, earned_at, id limit 100) l) as lots,
      (select json_build_array(l.expires_at::text, sum(l.remains)) from lots l
        where l.customer_id = a.customer_id and l.expires_at is not null group by l.expires_at order by l.expires_at limit 1) as "nextExpiry"
    from loyalty_accounts a
    left join (
      select customer_id, sum(remains) filter (where active_at <= ${t}) as active, sum(remains) filter (where active_at > ${t}) as pending
      from lots group by 1) held on held.customer_id = a.customer_id
    left join (
      select e.customer_id, -sum(e.points) as points from loyalty_entries e
      where e.customer_id = any(${param('ids')}::uuid[]) and e.lot_id is null and e.at <= ${t} group by 1) owed on owed.customer_id = a.customer_id
    where a.customer_id = any(${param('ids')}::uuid[])`,
);

interface Computed {
  state: State;
  details: NonNullable<CustomerLoyalty['details']>;
}

/** Balance and tier out of the ledger, at any instant. */
async function computedStandings(db: Db, ids: string[], asOf: string): Promise<Map<string, Computed>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(compute, { ids, asOf });
  const programmes = programmesOf(rows);
  return new Map(
    rows.flatMap((row) => {
      const programme = programmes.get(row.programmeId);
      return programme ? [[row.customerId, computed(row, programme, asOf)]] : [];
    }),
  );
}

function programmesOf(rows: readonly Rules[]): Map<string, ProgrammeRules> {
  return new Map(
    rows.flatMap(({ programmeId, programme }) =>
      programme ? [[programmeId, readProgrammeRules(programmeId, programme)]] : [],
    ),
  );
}

type AmountAt = Parameters<typeof progress>[3];

function amountsOf(tuples: ContributionTuple[] | null): AmountAt {
  const counted = new Contributions((tuples ?? []).map(readContribution));
  return (at, rules) => counted.in(rules, at);
}

function wayUp(tier: HeldTier, rules: LoyaltyRules | null, asOf: string, amountAt: AmountAt): TierProgress | null {
  if (!rules?.tiers) return null;
  const { basis, windowDays, amount, next, missingToKeep } = progress(tier, rules.tiers, asOf, amountAt);
  return { basis, windowDays, amount, next, missingToKeep };
}

function computed(row: ComputedRow, programme: ProgrammeRules, asOf: string): Computed {
  const { active, pending, debt } = row;
  const amountAt = amountsOf(row.contributions);
  const tierRulesAt = (at: string) => rulesAt(programme, at)?.tiers ?? null;
  const contributions = (row.contributions ?? []).map(readContribution);
  const tier = row.past
    ? pastTier(row.lastChange)
    : tierAfter(row, row.settledAt, asOf, contributions, tierRulesAt).state;
  const rules = rulesAt(programme, asOf);
  const lots = (row.lots ?? []).map(readLot).sort(compareFifo);
  const { tier: key, tierSince, tierEndsAt, tierInGrace } = tier;
  return {
    state: { active, pending, debt, tier: key, tierSince, tierEndsAt, tierInGrace },
    details: {
      programmeName: row.programmeName,
      worth: worthOf(active, rules?.pointValue),
      progress: wayUp(tier, rules, asOf, amountAt),
      nextExpiry: row.nextExpiry && { at: canonicalInstant(row.nextExpiry[0]), points: row.nextExpiry[1] },
      lots,
    },
  };
}

function pastTier(change: ComputedRow['lastChange']): HeldTier {
  if (!change) return withoutTier;
  const [tier, endsAt, reason, since] = change;
  return {
    tier,
    tierSince: canonicalInstant(since),
    tierEndsAt: endsAt === null ? null : canonicalInstant(endsAt),
    tierInGrace: reason === 'grace',
  };
}

export const transactionColumns = fields(loyaltyTransactions);

/** As it is answered in lists: without its postings. */
export function withoutEntries(row: TransactionRow): LoyaltyTransaction {
  return { ...answeredMembers(transactionFields, row), entries: null, balance: null };
}

/** lot, points, at. */
type EntryTuple = [lotId: string | null, points: number, at: string];

export interface TransactionRecord extends TransactionRow {
  entryTuples: EntryTuple[] | null;
  /** The `return` that undid it. */
  undoneBy: string | null;
}

const entriesAndUndoing = sql`(select json_agg(json_build_array(e.lot_id, e.points, e.at::text) order by e.line) from loyalty_entries e
      where e.customer_id = ${loyaltyTransactions.customerId} and e.transaction_id = ${loyaltyTransactions.id}) as "entryTuples",
    (select r.id from loyalty_transactions r where r.customer_id = ${loyaltyTransactions.customerId} and r.kind = 'return'
      and r.related_id = ${loyaltyTransactions.id}) as "undoneBy"`;

function transactionsWhere(name: string, condition: SQL): Statement<TransactionRecord> {
  return statement(
    name,
    sql`select ${transactionColumns}, ${entriesAndUndoing} from loyalty_transactions where ${condition}`,
  );
}

const byId = transactionsWhere('loyalty_transaction', sql`${loyaltyTransactions.id} = ${param('id')}::uuid`);

export function transactionById(db: Db, id: string): Promise<TransactionRecord | null> {
  return db.first(byId, { id });
}

const byNames = transactionsWhere(
  'loyalty_transactions_by_name',
  sql`(${loyaltyTransactions.customerId}, ${loyaltyTransactions.externalId}) in (
      select n."customerId", n."externalId" from json_to_recordset(${param('names')}::json) as n("customerId" uuid, "externalId" text))
    and ${loyaltyTransactions.by} = ${param('by')}`,
);

export interface TransactionName {
  customerId: string;
  externalId: string;
}

export function transactionNameKey({ customerId, externalId }: TransactionName): string {
  return `${customerId} ${externalId}`;
}

/** What a client has done under these names, by `transactionNameKey`. */
export async function transactionsByNames(
  db: Db,
  by: string,
  names: TransactionName[],
): Promise<Map<string, TransactionRecord>> {
  if (names.length === 0) return new Map();
  const rows = await db.all(byNames, { by, names: JSON.stringify(names) });
  return new Map(
    rows.flatMap((row) => {
      const { customerId, externalId } = row;
      return externalId === null ? [] : [[transactionNameKey({ customerId, externalId }), row]];
    }),
  );
}

/** With its postings. */
export function withEntries({ entryTuples, ...row }: TransactionRecord): LoyaltyTransaction {
  const entries = (entryTuples ?? []).map(([lotId, points, at]) => ({ lotId, points, at: canonicalInstant(at) }));
  return { ...withoutEntries(row), entries };
}

export const tierChangeColumns = answered(loyaltyTierChanges);
