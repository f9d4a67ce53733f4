import type pg from 'pg';
import { consentDifferences, recomputeConsents } from './features/consents/queries.ts';
import { markTermsFilled, termDifferences } from './features/customers/fill-terms.ts';
import { compareStored, normalizeStored } from './features/customers/stored-identities.ts';
import { recomputeTerms } from './features/customers/terms.ts';
import { recomputeBounds, wrongBounds } from './features/lead-scores/bounds.ts';
import { leadDifferences, recomputeLeads } from './features/leads/comparison.ts';
import { leadsAmong, recomputeConversions } from './features/leads/conversion.ts';
import { ledgerDifferences, recomputeLedger } from './features/loyalty/comparison.ts';
import { earningDifferences, recomputeAllEarnings } from './features/loyalty/earning-comparison.ts';
import { recomputeRefunds, refundDifferences } from './features/orders/refund-nets.ts';
import { recomputeAllShares, recomputeShares, shareDifferences } from './features/partners/sharing.ts';
import { recomputeRewards, rewardDifferences } from './features/rewards/comparison.ts';
import { markFilled } from './features/rollups/fill.ts';
import { type Difference, recomputeCustomers, rollupDifferences } from './features/rollups/queries.ts';
import { answerDifferences, clearAnonymousAnswers, recomputeAnswers } from './features/survey-responses/queries.ts';
import { type Db, transaction } from './platform/db/client.ts';
import { type Recompute, type RecomputeContext, recomputeWhenMoved } from './records/derived.ts';

/** Something that is worked out from facts and kept, how it is compared with them, and how it is made anew. */
interface DerivedState {
  /** For people. */
  name: string;
  /** Tables that are nothing but this. */
  tables: readonly string[];
  /** Where it disagrees with the facts, at most `limit` of each table. */
  compare(db: Db, context: RecomputeContext, limit: number): Promise<Difference[]>;
  /** Makes it anew for these customers, whose locks are held. */
  ofCustomers?: Recompute;
  /** A merge makes it of what both have, and undoes that exactly: it recomputes it by itself. */
  mergedByItself?: true;
  /** Makes anew what is of no customer. */
  ofNobody?(pool: pg.Pool): Promise<unknown>;
}

export const pointsOfMembers: DerivedState = {
  name: 'the points of members',
  tables: [],
  mergedByItself: true,
  async compare(db, { baseCurrency }, limit) {
    return [...(await ledgerDifferences(db, limit)), ...(await earningDifferences(db, baseCurrency, limit))];
  },
  async ofCustomers(tx, context, ids) {
    await recomputeLedger(tx, ids);
    await recomputeAllEarnings(tx, context, ids);
  },
};

/**
 * All of it, in the order in which it is made anew: what is worked out from other derived state comes after it. A test
 * compares the tables with the definitions.
 */
export const derivedState: readonly DerivedState[] = [
  {
    name: 'what refunds take from orders',
    tables: [],
    compare: (db, _context, limit) => refundDifferences(db, limit),
    ofCustomers: (tx, { now }, ids) => recomputeRefunds(tx, now, ids),
  },
  {
    name: 'the normal form of e-mails, phones and handles',
    tables: [],
    async compare(db, _context, limit) {
      const { wrong } = await compareStored(db);
      // Without the values: they are personal.
      return wrong.slice(0, limit).map(({ customerId, kind }) => ({
        table: 'customer_identities',
        customerId,
        key: kind,
        stored: 'a former spelling',
        counted: 'the normal form',
      }));
    },
    ofNobody: normalizeStored,
  },
  {
    name: 'the words by which customers are searched',
    tables: ['customer_terms'],
    compare: (db, _context, limit) => termDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recomputeTerms(tx, ids),
    // By then all customers have theirs.
    ofNobody: markTermsFilled,
  },
  {
    name: 'the statistics of customers',
    tables: ['customer_stats', 'customer_month', 'customer_purchases'],
    compare: (db, { reportingTimeZone }, limit) => rollupDifferences(db, reportingTimeZone, limit),
    ofCustomers: (tx, { reportingTimeZone }, ids) => recomputeCustomers(tx, ids, reportingTimeZone),
    // By then all customers have theirs.
    ofNobody: markFilled,
  },
  {
    name: 'the stages of leads',
    tables: [],
    compare: (db, _context, limit) => leadDifferences(db, limit),
    async ofCustomers(tx, context, ids) {
      await recomputeLeads(tx, ids);
      recomputeConversions(tx, context, await leadsAmong(tx, ids));
    },
  },
  {
    name: 'what supersedes survey answers',
    tables: [],
    compare: (db, _context, limit) => answerDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recomputeAnswers(tx, ids),
    ofNobody: (pool) => transaction(pool, clearAnonymousAnswers),
  },
  pointsOfMembers,
  {
    name: 'the pieces of rewards',
    tables: [],
    compare: (db, _context, limit) => rewardDifferences(db, limit),
    async ofNobody(pool) {
      let after: string | null = '00000000-0000-0000-0000-000000000000';
      while (after !== null) {
        const from: string = after;
        after = await transaction(pool, (tx) => recomputeRewards(tx, from));
      }
    },
  },
  {
    name: 'the consents in force',
    tables: ['consents'],
    compare: (db, _context, limit) => consentDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recomputeConsents(tx, ids),
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
    ofCustomers: recomputeBounds,
  },
  {
    name: 'what is shared with partners',
    tables: ['partner_customers'],
    compare: (db, _context, limit) => shareDifferences(db, limit),
    ofCustomers: (tx, _context, ids) => recomputeShares(tx, ids),
    ofNobody: (pool) => transaction(pool, recomputeAllShares),
  },
];

recomputeWhenMoved(
  ...derivedState.flatMap(({ ofCustomers, mergedByItself }) => (ofCustomers && !mergedByItself ? [ofCustomers] : [])),
);
