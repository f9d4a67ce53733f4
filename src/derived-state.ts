import type pg from 'pg';
import { consentDifferences, recountConsents } from './features/consents/queries.ts';
import { refreshBounds, wrongBounds } from './features/lead-scores/bounds.ts';
import { leadDifferences, recountLeads } from './features/leads/comparison.ts';
import { leadsAmong, restateConversions } from './features/leads/conversion.ts';
import { ledgerDifferences, recountLedger } from './features/loyalty/comparison.ts';
import { earningDifferences, repairEarnings } from './features/loyalty/earning-comparison.ts';
import { repairShares, shareDifferences } from './features/partners/sharing.ts';
import { recountRewards, rewardDifferences } from './features/rewards/comparison.ts';
import { type Difference, recountCustomers, recountRefunds, rollupDifferences } from './features/rollups/queries.ts';
import { answerDifferences, clearAnonymousAnswers, recountAnswers } from './features/survey-responses/queries.ts';
import { type Db, type Transaction, transaction } from './platform/db/client.ts';
import type { Context } from './platform/operation.ts';

export type RecomputeContext = Pick<Context, 'now' | 'principal' | 'baseCurrency' | 'reportingTimeZone'>;

/** Something that is worked out from facts and kept, how it is compared with them, and how it is made anew. */
interface DerivedState {
  /** For people. */
  name: string;
  /** Tables that are nothing but this. */
  tables: readonly string[];
  /** Where it disagrees with the facts, at most `limit` of each table. */
  compare(db: Db, context: RecomputeContext, limit: number): Promise<Difference[]>;
  /** Makes it anew for these customers, whose locks are held. */
  ofCustomers?(tx: Transaction, context: RecomputeContext, ids: string[]): Promise<void>;
  /** Makes anew what is of no customer. */
  ofNobody?(pool: pg.Pool): Promise<void>;
}

/**
 * All of it, in the order in which it is made anew: what is worked out from other derived state comes after it. A test
 * compares the tables with the definitions.
 */
export const derivedState: readonly DerivedState[] = [
  {
    name: 'the statistics of customers and the refunds of orders',
    tables: ['customer_stats', 'customer_month'],
    compare: (db, { reportingTimeZone }, limit) => rollupDifferences(db, reportingTimeZone, limit),
    async ofCustomers(tx, { reportingTimeZone }, ids) {
      await recountRefunds(tx, ids);
      await recountCustomers(tx, ids, reportingTimeZone);
    },
  },
  {
    name: 'the stages of leads',
    tables: [],
    compare: (db, _context, limit) => leadDifferences(db, limit),
    async ofCustomers(tx, context, ids) {
      await recountLeads(tx, ids);
      restateConversions(tx, context, await leadsAmong(tx, ids));
    },
  },
  {
    name: 'what supersedes survey answers',
    tables: [],
    compare: (db, _context, limit) => answerDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recountAnswers(tx, ids),
    ofNobody: (pool) => transaction(pool, clearAnonymousAnswers),
  },
  {
    name: 'the points of members',
    tables: [],
    async compare(db, { baseCurrency }, limit) {
      return [...(await ledgerDifferences(db, limit)), ...(await earningDifferences(db, baseCurrency, limit))];
    },
    async ofCustomers(tx, context, ids) {
      await recountLedger(tx, ids);
      await repairEarnings(tx, context, ids);
    },
  },
  {
    name: 'the pieces of rewards',
    tables: [],
    compare: (db, _context, limit) => rewardDifferences(db, limit),
    async ofNobody(pool) {
      let after: string | null = '00000000-0000-0000-0000-000000000000';
      while (after !== null) {
        const from: string = after;
        after = await transaction(pool, (tx) => recountRewards(tx, from));
      }
    },
  },
  {
    name: 'the consents in force',
    tables: ['consents'],
    compare: (db, _context, limit) => consentDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recountConsents(tx, ids),
  },
  {
    name: 'the bounds of the scores of leads',
    tables: ['lead_score_bounds'],
    async compare(db, { now }, limit) {
      // A bound may be above the score, not below.
      return (await wrongBounds(db, now, limit)).map(({ customerId, stored, score }) => ({
        table: 'lead_score_bounds',
        customerId,
        key: customerId,
        stored: stored === null ? null : String(stored),
        counted: `${score} or more`,
      }));
    },
    ofCustomers: refreshBounds,
  },
  {
    name: 'what is shared with partners',
    tables: ['partner_customers'],
    compare: (db, _context, limit) => shareDifferences(db, limit),
    ofNobody: (pool) => transaction(pool, repairShares),
  },
];
