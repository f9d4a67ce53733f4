import { type SQLWrapper, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { interactions } from '../interactions/record.ts';
import { leadStageChanges } from '../leads/model.ts';
import { loyaltyTransactions } from '../loyalty/model.ts';
import { orders, refunds } from '../orders/record.ts';
import { returns } from '../returns/record.ts';
import { surveyResponses } from '../survey-responses/record.ts';
import type { TimelineEntry, TimelineKind } from './model.ts';

/** Where one kind of entry comes from. */
export interface Source {
  /** What a token needs to see it. */
  scope: string;
  /** A table keyed by customer; an index on (customer, at, id) or (customer, at) keeps its pages at a constant cost. */
  table: PgTable;
  customerId: SQLWrapper;
  at: SQLWrapper;
  id: SQLWrapper;
  /** Members of the entry's own object. */
  glance: Record<string, SQLWrapper>;
}

type Glance<Member extends keyof TimelineEntry> = Record<keyof NonNullable<TimelineEntry[Member]>, SQLWrapper>;

const interaction = {
  kind: interactions.kind,
  direction: interactions.direction,
  channel: interactions.channel,
  topic: interactions.topic,
  outcome: interactions.outcome,
  staff: interactions.staff,
  seconds: interactions.seconds,
  campaignId: interactions.campaignId,
  orderId: interactions.orderId,
  text: interactions.text,
} satisfies Glance<'interaction'>;

const order = {
  status: orders.status,
  currency: orders.currency,
  total: orders.total,
  source: orders.source,
  externalId: orders.externalId,
  channel: orders.channel,
  campaignId: orders.campaignId,
} satisfies Glance<'order'>;

const refund = {
  orderId: refunds.orderId,
  amount: refunds.amount,
  currency: sql`(select o.currency from orders o where o.customer_id = ${refunds.customerId} and o.id = ${refunds.orderId})`,
  reason: refunds.reason,
} satisfies Glance<'refund'>;

const productReturn = {
  total: returns.total,
  currency: returns.currency,
  reason: returns.reason,
} satisfies Glance<'return'>;

const stageChange = {
  from: leadStageChanges.from,
  to: leadStageChanges.to,
  by: leadStageChanges.by,
  rule: leadStageChanges.rule,
  lossReason: leadStageChanges.lossReason,
} satisfies Glance<'stageChange'>;

const loyaltyTransaction = {
  kind: loyaltyTransactions.kind,
  points: loyaltyTransactions.points,
  orderId: loyaltyTransactions.orderId,
  redemptionId: loyaltyTransactions.redemptionId,
  bonusKey: loyaltyTransactions.bonusKey,
  reason: loyaltyTransactions.reason,
} satisfies Glance<'loyaltyTransaction'>;

const surveyResponse = {
  surveyId: surveyResponses.surveyId,
  surveyName: sql`(select s.name from surveys s where s.id = ${surveyResponses.surveyId})`,
  status: surveyResponses.status,
  scores: sql`(select coalesce(json_agg(json_build_object('question', a.question, 'type', a.type, 'score', a.score) order by a.question), '[]'::json)
    from survey_answers a where a.response_id = ${surveyResponses.id} and a.score is not null)`,
  channel: surveyResponses.channel,
  orderId: surveyResponses.orderId,
  interactionId: surveyResponses.interactionId,
} satisfies Glance<'surveyResponse'>;

/**
 * Everything that a timeline merges. Another one is a kind and a member in model.ts, an entry here, its place in
 * `toEntry`, and its type in schema/timeline.graphql; ids are unique over all tables, so (at, id) orders them together.
 */
export const sources: Record<TimelineKind, Source> = {
  interaction: {
    scope: 'interactions:read',
    table: interactions,
    customerId: interactions.customerId,
    at: interactions.occurredAt,
    id: interactions.id,
    glance: interaction,
  },
  order: {
    scope: 'orders:read',
    table: orders,
    customerId: orders.customerId,
    at: orders.placedAt,
    id: orders.id,
    glance: order,
  },
  refund: {
    scope: 'orders:read',
    table: refunds,
    customerId: refunds.customerId,
    at: refunds.refundedAt,
    id: refunds.id,
    glance: refund,
  },
  return: {
    scope: 'returns:read',
    table: returns,
    customerId: returns.customerId,
    at: returns.returnedAt,
    id: returns.id,
    glance: productReturn,
  },
  stage_change: {
    scope: 'leads:read',
    table: leadStageChanges,
    customerId: leadStageChanges.customerId,
    at: leadStageChanges.at,
    id: leadStageChanges.id,
    glance: stageChange,
  },
  loyalty_transaction: {
    scope: 'loyalty:read',
    table: loyaltyTransactions,
    customerId: loyaltyTransactions.customerId,
    at: loyaltyTransactions.at,
    id: loyaltyTransactions.id,
    glance: loyaltyTransaction,
  },
  survey_response: {
    scope: 'survey-responses:read',
    table: surveyResponses,
    customerId: surveyResponses.customerId,
    at: surveyResponses.answeredAt,
    id: surveyResponses.id,
    glance: surveyResponse,
  },
};

/** A row as the statements answer it; `glance` is the object of its kind. */
export interface EntryRow {
  id: string;
  kind: TimelineKind;
  at: string;
  // A member per kind; the strict schema of the entry says which.
  glance: NonNullable<TimelineEntry[Exclude<keyof TimelineEntry, 'id' | 'kind' | 'at'>]>;
}

export function toEntry({ id, kind, at, glance }: EntryRow): TimelineEntry {
  const own = (of: TimelineKind) => (kind === of ? (glance as never) : null); // built by the source of this kind
  return {
    id,
    kind,
    at,
    interaction: own('interaction'),
    order: own('order'),
    refund: own('refund'),
    return: own('return'),
    stageChange: own('stage_change'),
    loyaltyTransaction: own('loyalty_transaction'),
    surveyResponse: own('survey_response'),
  };
}
