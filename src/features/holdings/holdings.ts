import { getTableColumns, getTableName } from 'drizzle-orm';
import { getTableConfig, type PgColumn, type PgTable } from 'drizzle-orm/pg-core';
import { externalRefs } from '../../records/references/record.ts';
import { assignments } from '../assignments/record.ts';
import { consentChanges, consents } from '../consents/record.ts';
import { customerIdentities, customers } from '../customers/record.ts';
import { followUps } from '../follow-ups/record.ts';
import { interactions } from '../interactions/record.ts';
import { leadScoreBounds } from '../lead-scores/record.ts';
import { leadStageChanges, leads } from '../leads/record.ts';
import {
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from '../loyalty/record.ts';
import { customerAliases, customerMerges } from '../merges/record.ts';
import { orderItems, orders, refundItems, refunds } from '../orders/record.ts';
import { partnerCustomers, partnerShares } from '../partners/record.ts';
import { privacyTombstones } from '../privacy/record.ts';
import { returnItems, returns } from '../returns/record.ts';
import { redemptions } from '../rewards/record.ts';
import { customerMonth, customerStats } from '../rollups/record.ts';
import { surveyInvitations } from '../survey-invitations/record.ts';
import { surveyAnswers, surveyResponses } from '../survey-responses/record.ts';

/** What erasing makes of a personal column: `null` clears it, `row` takes the whole row away. */
export type Erasure = 'null' | 'row';

/** A table that holds something of a customer. Members are those of the Drizzle table. */
export interface Holding {
  /** Its name in exports. */
  name: string;
  /** Its heading in exports that people read. */
  label: string;
  table: PgTable;
  /** Whose row it is. */
  owner: string;
  /** profile: what the customer is. fact: what happened. derived: worked out from facts, and recounted instead of moved. */
  kind: 'profile' | 'fact' | 'derived';
  /** Members that name other customers, or a customer in another part than that of the owner. */
  customers: readonly string[];
  /** Ids of other records. */
  records: readonly string[];
  /** Members that tell something of the person, and what erasing makes of them. */
  personal: Readonly<Record<string, Erasure>>;
  /** Texts, documents and dates that tell nothing of the person: codes, names of staff, what is told of a product. */
  plain: readonly string[];
  /**
   * Set: its customer cannot be deleted while there is a row, which is called so in the refusal. Nothing that is evidence or
   * history is lost by a deletion, so facts have it. A profile is part of the customer and goes with it, unless it
   * has a history of its own (a lead, a loyalty account) or others rely on it (former ids). What is derived goes.
   */
  guard: string | null;
}

type Member<Table extends PgTable> = Extract<keyof Table['$inferSelect'], string> | 'orderId' | 'refundId' | 'returnId';

/** Facts have to say it. */
type Guarding = { kind: 'fact'; guard: string | null } | { kind: 'profile'; guard?: string } | { kind: 'derived' };

function holding<Table extends PgTable>(
  table: Table,
  of: {
    name: string;
    label: string;
    owner: Member<Table>;
    customers?: Member<Table>[];
    records?: Member<Table>[];
    personal?: Partial<Record<Member<Table>, Erasure>>;
    plain?: Member<Table>[];
  } & Guarding,
): Holding {
  const personal = of.personal ?? {};
  return {
    customers: [],
    records: [],
    plain: [],
    guard: null,
    ...of,
    // The type of a partial record allows undefined, which no entry says.
    personal: personal as Record<string, Erasure>,
    table,
  };
}

/**
 * Every table that holds something of a customer, parents before what belongs to them: the one list behind merging,
 * exporting and erasing. test/features/holdings/holdings.test.ts compares it with the catalog of the database: each column that
 * holds an id, a text, a document or a date is said to be one of these.
 */
export const holdings: readonly Holding[] = [
  holding(customers, {
    name: 'customer',
    label: 'Customer',
    kind: 'profile',
    owner: 'id',
    customers: ['companyId', 'referredBy'],
    records: ['acquiredBy'],
    personal: {
      name: 'null',
      givenName: 'null',
      familyName: 'null',
      birthday: 'null',
      address: 'null',
      attributes: 'null',
    },
    plain: ['kind', 'locale', 'preferredChannel', 'acquisitionSource', 'acquiredOn', 'erasedFields'],
  }),
  holding(customerIdentities, {
    name: 'identities',
    label: 'E-mail addresses, phone numbers and handles',
    kind: 'profile',
    owner: 'customerId',
    personal: { value: 'row' },
    plain: ['kind'],
  }),
  holding(consentChanges, {
    name: 'consentChanges',
    label: 'Consents given and taken back',
    kind: 'fact',
    guard: 'consent change',
    owner: 'customerId',
    records: ['id'],
    personal: { source: 'null', textVersion: 'null', wording: 'null', reference: 'null' },
    plain: ['purpose', 'channel', 'status', 'by'],
  }),
  holding(consents, {
    name: 'consents',
    label: 'Consents in force',
    kind: 'derived',
    owner: 'customerId',
    records: ['changeId'],
    plain: ['purpose', 'channel', 'status'],
  }),
  // Of the customer and of all its facts.
  holding(externalRefs, {
    name: 'references',
    label: 'Names in other systems',
    kind: 'profile',
    owner: 'customerId',
    records: ['recordId'],
    plain: ['kind', 'source', 'externalId', 'versionKind'],
  }),
  holding(orders, {
    name: 'orders',
    label: 'Orders',
    kind: 'fact',
    guard: 'order',
    owner: 'customerId',
    records: ['id', 'campaignId'],
    plain: ['source', 'externalId', 'currency', 'paymentStatus', 'fulfillmentStatus', 'channel', 'status'],
  }),
  holding(orderItems, {
    name: 'orderItems',
    label: 'Lines of orders',
    kind: 'fact',
    guard: 'order line',
    owner: 'customerId',
    records: ['orderId'],
    plain: ['sku', 'name', 'category', 'unitPrice'],
  }),
  holding(refunds, {
    name: 'refunds',
    label: 'Refunds',
    kind: 'fact',
    guard: 'refund',
    owner: 'customerId',
    records: ['id', 'orderId'],
    personal: { reason: 'null' },
  }),
  holding(refundItems, {
    name: 'refundItems',
    label: 'Lines of refunds',
    kind: 'fact',
    guard: 'refund line',
    owner: 'customerId',
    records: ['refundId'],
    plain: ['sku'],
  }),
  holding(returns, {
    name: 'returns',
    label: 'Returns',
    kind: 'fact',
    guard: 'return',
    owner: 'customerId',
    records: ['id'],
    personal: { reason: 'null' },
    plain: ['source', 'externalId', 'currency'],
  }),
  holding(returnItems, {
    name: 'returnItems',
    label: 'Lines of returns',
    kind: 'fact',
    guard: 'return line',
    owner: 'customerId',
    records: ['returnId'],
    plain: ['sku'],
  }),
  holding(interactions, {
    name: 'interactions',
    label: 'Contacts',
    kind: 'fact',
    guard: 'interaction',
    owner: 'customerId',
    records: ['id', 'campaignId', 'orderId'],
    personal: { topic: 'null', outcome: 'null', ticket: 'null', text: 'null' },
    plain: ['source', 'externalId', 'kind', 'direction', 'channel', 'staff'],
  }),
  holding(leads, {
    name: 'lead',
    label: 'Lead',
    kind: 'profile',
    guard: 'lead',
    owner: 'customerId',
    records: ['conversionOrderId'],
    plain: ['stage', 'lossReason', 'owner', 'source', 'segment'],
  }),
  holding(leadStageChanges, {
    name: 'stageChanges',
    label: 'Stages of the lead',
    kind: 'fact',
    guard: 'stage change',
    owner: 'customerId',
    records: ['id', 'orderId'],
    personal: { note: 'null' },
    plain: ['from', 'to', 'by', 'rule', 'lossReason'],
  }),
  holding(leadScoreBounds, {
    name: 'scoreBounds',
    label: 'Upper bounds of scores',
    kind: 'derived',
    owner: 'customerId',
    records: ['ruleSetId'],
  }),
  holding(assignments, {
    name: 'assignments',
    label: 'Who was to look after the customer',
    kind: 'fact',
    guard: 'assignment',
    owner: 'customerId',
    records: ['id', 'followUpId', 'ruleId'],
    personal: { keyValue: 'null' },
    plain: ['purpose', 'owner', 'previousOwner', 'method', 'by'],
  }),
  holding(followUps, {
    name: 'followUps',
    label: 'Follow-ups',
    kind: 'fact',
    guard: 'follow-up',
    owner: 'customerId',
    records: ['id', 'responseId'],
    personal: { reason: 'null', note: 'null' },
    plain: ['kind', 'owner', 'status', 'outcome'],
  }),
  holding(loyaltyAccounts, {
    name: 'loyaltyAccount',
    label: 'Loyalty account',
    kind: 'profile',
    guard: 'loyalty account',
    owner: 'customerId',
    records: ['programmeId'],
    plain: ['joinedOn', 'tier'],
  }),
  holding(loyaltyTransactions, {
    name: 'loyaltyTransactions',
    label: 'Points',
    kind: 'fact',
    guard: 'points transaction',
    owner: 'customerId',
    // The key of a bonus for a referral names the member who was referred.
    customers: ['relatedCustomerId', 'bonusKey'],
    records: ['id', 'orderId', 'redemptionId', 'relatedId'],
    personal: { reason: 'null' },
    plain: ['kind', 'by', 'externalId'],
  }),
  holding(loyaltyLots, {
    name: 'loyaltyLots',
    label: 'Lots of points',
    kind: 'fact',
    guard: 'points lot',
    owner: 'customerId',
    customers: ['bonusKey'],
    records: ['id', 'transactionId', 'orderId'],
  }),
  holding(loyaltyEntries, {
    name: 'loyaltyEntries',
    label: 'Postings of points',
    kind: 'fact',
    guard: 'points posting',
    owner: 'customerId',
    records: ['transactionId', 'lotId'],
  }),
  holding(loyaltyEarnings, {
    name: 'loyaltyEarnings',
    label: 'What orders are entitled to',
    kind: 'fact',
    guard: 'points entitlement',
    owner: 'customerId',
    records: ['orderId'],
    plain: ['tier'],
  }),
  holding(loyaltyTierChanges, {
    name: 'tierChanges',
    label: 'Tiers',
    kind: 'fact',
    guard: 'tier change',
    owner: 'customerId',
    plain: ['previous', 'tier', 'reason'],
  }),
  holding(redemptions, {
    name: 'redemptions',
    label: 'Rewards',
    kind: 'fact',
    guard: 'redemption',
    owner: 'customerId',
    records: ['id', 'rewardId', 'transactionId'],
    personal: { reason: 'null' },
    plain: ['status'],
  }),
  holding(surveyInvitations, {
    name: 'surveyInvitations',
    label: 'Invitations to surveys',
    kind: 'fact',
    guard: 'survey invitation',
    owner: 'customerId',
    // The occasion of a stage names the lead.
    customers: ['occasion'],
    records: ['id', 'surveyId', 'orderId', 'interactionId', 'responseId'],
    plain: ['status', 'trigger', 'sku', 'staff', 'department', 'process', 'channel'],
  }),
  holding(surveyResponses, {
    name: 'surveyResponses',
    label: 'Responses to surveys',
    kind: 'fact',
    guard: 'survey response',
    owner: 'customerId',
    records: ['id', 'surveyId', 'orderId', 'interactionId', 'invitationId'],
    plain: ['submissionId', 'status', 'sku', 'staff', 'department', 'process', 'channel', 'language', 'journeyStage'],
  }),
  holding(surveyAnswers, {
    name: 'surveyAnswers',
    label: 'Answers',
    kind: 'fact',
    guard: 'survey answer',
    owner: 'customerId',
    records: ['responseId', 'surveyId'],
    personal: { text: 'null' },
    plain: ['question', 'type', 'choices'],
  }),
  holding(customerStats, {
    name: 'orderStatistics',
    label: 'Sums of orders',
    kind: 'derived',
    owner: 'customerId',
    plain: ['currency'],
  }),
  holding(customerMonth, {
    name: 'orderMonths',
    label: 'Sums of orders by month',
    kind: 'derived',
    owner: 'customerId',
    plain: ['month', 'currency'],
  }),
  holding(partnerShares, {
    name: 'partnerShares',
    label: 'Partners with whom the customer is shared',
    kind: 'fact',
    // A right in force and no evidence: it ends with its customer, as it does when it is taken back.
    guard: null,
    owner: 'customerId',
    records: ['partnerId'],
    plain: ['by'],
  }),
  holding(partnerCustomers, {
    name: 'partners',
    label: 'Partners who see the customer',
    kind: 'derived',
    owner: 'customerId',
    records: ['partnerId'],
  }),
  holding(customerMerges, {
    name: 'merges',
    label: 'Records of the same person that were merged',
    kind: 'fact',
    guard: 'merge',
    owner: 'customerId',
    customers: ['survivorId', 'mergedId'],
    records: ['id'],
    personal: { before: 'null', after: 'null' },
    plain: ['by', 'take', 'undoneBy'],
  }),
  holding(customerAliases, {
    name: 'aliases',
    label: 'Former ids',
    kind: 'profile',
    guard: 'former id',
    owner: 'customerId',
    customers: ['oldId'],
  }),
  // Of persons who were erased: the one thing that is left of their names, and nobody can read it.
  holding(privacyTombstones, {
    name: 'tombstones',
    label: 'Keyed hashes of names that were erased',
    kind: 'profile',
    guard: 'erased name',
    owner: 'customerId',
    plain: ['hash'],
  }),
];

/** The entry of a table. */
export function holdingOf(table: PgTable): Holding {
  const found = holdings.find((holding) => holding.table === table);
  if (!found) throw new RangeError(`Nothing of a customer is in ${getTableName(table)}`);
  return found;
}

/** The columns of a holding's table, by member, in the order of the table. */
export function columnsOf({ table }: Pick<Holding, 'table'>): Map<string, PgColumn> {
  return new Map(Object.entries(getTableColumns(table)));
}

/** Members of its primary key, in the order of the key. */
export function keyOf({ table }: Pick<Holding, 'table'>): string[] {
  const { columns, primaryKeys } = getTableConfig(table);
  const key = primaryKeys[0]?.columns ?? columns.filter(({ primary }) => primary);
  const members = Object.entries(getTableColumns(table));
  return key.flatMap(({ name }) => members.flatMap(([member, column]) => (column.name === name ? [member] : [])));
}
