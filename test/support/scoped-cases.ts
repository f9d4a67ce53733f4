import {
  type GraphQLField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { routes } from '../../src/features.ts';
import type { Operation } from '../../src/platform/operation.ts';
import type { Json } from './contract.ts';
import { type Field, guardedFields } from './doors.ts';
import type { House, Person } from './people.ts';
import type { RawRequest } from './raw-http.ts';

/** What each operation that scoped tokens may call is asked, about one's own records, others' and none. */
export interface Case {
  /** The operation's input about somebody's records. `turn` is another one each time, for what may be sent only once. */
  input: (of: Person, house: House, turn: string) => Json;
  /** How its own are answered. */
  own: 200 | 201 | 204;
  /**
   * How others' are, exactly as what is not there: `not_found`, an empty list (`nothing`), `invalid_input` where the body
   * names them. `anyway`: the question names nobody. `taken`: a name that somebody has, whoever that is.
   */
  others: 'not_found' | 'nothing' | 'invalid_input' | 'anyway' | 'taken';
  /** Whose self-service token asks, where it is not that of the customer with all records. */
  as?: 'newcomer';
}

type Cases = Record<string, Case>;

const record = (member: keyof Person): Case => ({ input: (of) => ({ id: of[member] }), own: 200, others: 'not_found' });
const ofCustomer: Case = record('customer');
const filtered: Case = { input: (of) => ({ customerId: of.customer }), own: 200, others: 'nothing' };
const everything: Case = { input: () => ({}), own: 200, others: 'anyway' };
const changed = (member: keyof Person, body: Json): Case => ({
  input: (of) => ({ id: of[member], expectedVersion: '*', body }),
  own: 200,
  others: 'not_found',
});
const ofDelivery = (of: Person): Json => ({ id: of.webhook, deliveryId: of.delivery });
const house = (member: keyof House): Case => ({
  input: (_of, all) => ({ id: all[member] }),
  own: 200,
  others: 'anyway',
});

const order = { placedAt: '2026-05-21T00:00:00Z', currency: 'EUR', total: 100, paymentStatus: 'pending' };

/** By operation. A new one that is open to partners or self-service needs an entry (test/contract/access-policies.test.ts). */
export const cases: Cases = {
  listCustomers: { input: (of) => ({ email: of.email }), own: 200, others: 'nothing' },
  createCustomer: {
    input: (of, _house, turn) => ({
      body: {
        name: 'Brought',
        identities: [{ kind: 'email', value: turn.startsWith('own') ? `${turn}@example.org` : of.email }],
      },
    }),
    own: 201,
    others: 'taken',
  },
  getCustomer: ofCustomer,
  updateCustomer: changed('customer', { locale: 'en' }),
  getCustomerTimeline: ofCustomer,
  listEvents: everything,
  getEventPosition: everything,
  createWebhook: {
    input: () => ({ dryRun: true, body: { url: 'https://hooks.example/', kinds: ['order'] } }),
    own: 201,
    others: 'anyway',
  },
  listWebhooks: everything,
  getWebhook: record('webhook'),
  updateWebhook: changed('webhook', { description: 'Ours' }),
  deleteWebhook: {
    input: (of) => ({ id: of.webhook, expectedVersion: '*', dryRun: true }),
    own: 204,
    others: 'not_found',
  },
  rotateWebhookSecret: { ...record('webhook'), own: 201 },
  testWebhook: { ...record('webhook'), own: 201 },
  listWebhookDeliveries: record('webhook'),
  getWebhookDelivery: { input: ofDelivery, own: 200, others: 'not_found' },
  resendWebhookDelivery: { input: ofDelivery, own: 200, others: 'not_found' },
  getCustomerSummary: ofCustomer,

  exportCustomer: ofCustomer,
  exportCustomers: { input: (of) => ({ email: of.email }), own: 200, others: 'nothing' },
  exportOrders: filtered,
  exportRefunds: filtered,
  exportReturns: filtered,
  exportInteractions: filtered,

  listConsents: filtered,
  getCustomerConsents: ofCustomer,
  listCustomerConsentHistory: ofCustomer,
  recordConsent: {
    input: (of) => ({ id: of.customer, body: { purpose: 'newsletter', channel: 'sms', status: 'withdrawn' } }),
    own: 201,
    others: 'not_found',
  },

  listOrders: filtered,
  createOrder: {
    input: (of, _house, turn) => ({
      body: {
        ...order,
        source: 'web',
        externalId: turn,
        customerId: of.customer,
        items: [{ sku: 'A', quantity: 1, total: 100 }],
      },
    }),
    own: 201,
    others: 'invalid_input',
  },
  getOrder: record('order'),
  updateOrder: changed('order', { channel: 'app' }),
  listRefunds: record('order'),
  listAllRefunds: filtered,
  getRefund: record('refund'),
  listCustomerOrders: ofCustomer,
  listReturns: filtered,
  getReturn: record('return'),

  listInteractions: filtered,
  createInteraction: {
    input: (of) => ({
      body: { customerId: of.customer, kind: 'phone', occurredAt: '2026-05-21T00:00:00Z', text: 'Good morning' },
    }),
    own: 201,
    others: 'invalid_input',
  },
  getInteraction: record('interaction'),
  updateInteraction: changed('interaction', { outcome: 'solved' }),
  listCustomerInteractions: ofCustomer,

  createLead: {
    input: (of) => ({ dryRun: true, body: { customerId: of.newcomer, source: 'fair' } }),
    own: 201,
    others: 'invalid_input',
  },
  getLead: ofCustomer,
  updateLead: changed('customer', { source: 'fair' }),
  changeLeadStage: {
    input: (of) => ({ id: of.customer, dryRun: true, body: { to: 'former', lossReason: 'price' } }),
    own: 200,
    others: 'not_found',
  },
  listLeads: everything,
  listLeadStages: ofCustomer,
  listLeadStageChanges: everything,

  listSurveys: everything,
  getSurvey: house('survey'),
  createSurveyResponse: {
    input: (of, { survey }, turn) => ({
      id: survey,
      body: {
        submissionId: turn,
        answeredAt: '2026-05-29T00:00:00Z',
        customerId: of.customer,
        answers: [{ question: 'recommend', score: 9 }],
      },
    }),
    own: 201,
    others: 'invalid_input',
  },
  listResponsesOfSurvey: {
    input: (of, { survey }) => ({ id: survey, customerId: of.customer }),
    own: 200,
    others: 'nothing',
  },
  listSurveyResponses: filtered,
  getSurveyResponse: record('response'),
  updateSurveyResponse: changed('response', { channel: 'web' }),
  listCustomerSurveyResponses: ofCustomer,
  listSurveyInvitations: filtered,
  getSurveyInvitation: record('invitation'),

  getCustomerLoyalty: ofCustomer,
  enrolCustomer: {
    input: (of, { programme }) => ({ id: of.newcomer, dryRun: true, body: { programmeId: programme } }),
    own: 201,
    others: 'not_found',
    as: 'newcomer',
  },
  listTierChanges: ofCustomer,
  listCustomerLoyaltyTransactions: ofCustomer,
  listLoyaltyMembers: { input: (_of, { programme }) => ({ programmeId: programme }), own: 200, others: 'anyway' },
  listLoyaltyTransactions: filtered,
  getLoyaltyTransaction: record('transaction'),
  listLoyaltyProgrammes: everything,
  getLoyaltyProgramme: house('programme'),
  listRewards: everything,
  getReward: house('reward'),
  listRedemptions: filtered,
  createRedemption: {
    input: (of, { reward }) => ({ body: { customerId: of.customer, rewardId: reward } }),
    own: 201,
    others: 'invalid_input',
  },
  getRedemption: record('redemption'),
  listCustomerRedemptions: ofCustomer,

  getRetentionRate: everything,
  getRepeatPurchaseRate: everything,
  getChurnRate: everything,
  getPurchaseGaps: everything,
  getAverageOrderValue: everything,
  getNewAndReturning: everything,
  getRevenuePerCustomer: everything,
  getLifetimeValue: everything,
  getLeadFunnel: everything,
  getClosedLoop: everything,
  getNetPromoterScore: everything,
  getCustomerSatisfaction: everything,
  getCustomerEffort: everything,
  getLoyaltyLiability: everything,
};

export type Ask = Omit<RawRequest, 'headers'> & { headers: Record<string, string>; door: string };

/** The requests of REST for an input: one per address of the operation, by id and by name. */
export function restRequests(operation: Operation, input: Json, of: Person): Ask[] {
  return routes
    .filter((route) => route.operation === operation)
    .flatMap(({ method, url, parameters }): Ask[] => {
      const { body, expectedVersion, id, deliveryId, ...query } =
        parameters === 'body' ? { body: input } : (input as Json);
      // Newcomers have no name.
      if (url.includes(':externalId') && id === of.newcomer) return [];
      const path = url
        .replace(':id', encodeURIComponent(String(id)))
        .replace(':source', 'shop')
        .replace(':externalId', of.name)
        .replace(':deliveryId', String(deliveryId))
        .replace(/:\w+/g, of.customer);
      const search = new URLSearchParams(
        Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
      ).toString();
      const key = operation.kind === 'write' && 'idempotencyKey' in operation.input.shape;
      return [
        {
          door: `${method} ${url}`,
          method,
          path: search === '' ? path : `${path}?${search}`,
          headers: {
            ...(body !== undefined && { 'Content-Type': 'application/json' }),
            ...(operation.kind === 'write' && operation.upload && { 'Content-Type': 'application/x-ndjson' }),
            ...(expectedVersion !== undefined && { 'If-Match': String(expectedVersion) }),
            ...(key && { 'Idempotency-Key': crypto.randomUUID() }),
          },
          body: body === undefined ? undefined : JSON.stringify(body),
        },
      ];
    });
}

const fields = guardedFields();
const roots = ['Query', 'Mutation', 'Metrics'];

/** The fields of roots that go through the operation. */
export function rootFields(operation: Operation): Field[] {
  return fields.filter(({ type, operations }) => roots.includes(type) && operations.includes(operation));
}

/** Fields of records, which are asked below the root that leads to them. */
export function childFields(): Field[] {
  return fields.filter(({ type }) => !roots.includes(type));
}

/** A request for a field, with the input of the operation at the root of its path. */
export function graphqlRequest(field: Field, input: Json, first = 5): Ask {
  const argued = field.path.findIndex((step) => step.args.length > 0);
  const names: string[] = [];
  const variables: Json = {};
  const steps = field.path.map((step, index) => {
    if (index === argued) {
      const given = step.args.flatMap(({ name, type }) => {
        const value = argumentOf(name, input, type);
        if (value === undefined) return [];
        variables[name] = spelt(type, value);
        names.push(`$${name}: ${type}`);
        return [`${name}: $${name}`];
      });
      return `${step.name}${given.length > 0 ? `(${given.join(', ')})` : ''}`;
    }
    return `${step.name}${step.args.some(({ name }) => name === 'first') ? `(first: ${first})` : ''}`;
  });
  const open = `${steps.join(' { ')} ${plainSelection(field.field)}${' }'.repeat(steps.length - 1)}`;
  const query = `${field.kind}${names.length > 0 ? `(${names.join(', ')})` : ''} { ${open} }`;
  return {
    door: field.name,
    method: 'POST',
    path: '/graphql',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  };
}

/** An argument by its name: `input` is the body, or all parameters of a metric; `orderId` may be the `id`. */
function argumentOf(name: string, input: Json, type: GraphQLInputType): unknown {
  if (name === 'input') return known(type, (input.body ?? input) as Json);
  if (name === 'first') return input.limit;
  if (name in input) return input[name];
  const body = (input.body ?? {}) as Json;
  if (name in body) return body[name];
  if (/^(order|survey|customer)Id$/.test(name) && isNonNullType(type)) return input.id;
  return /^(order|survey)Id$/.test(name) ? input.id : undefined;
}

/** The members that the type has. */
function known(type: GraphQLInputType, value: Json): Json {
  const plain = isNonNullType(type) ? type.ofType : type;
  if (!isInputObjectType(plain)) return value;
  const members = plain.getFields();
  return Object.fromEntries(Object.entries(value).filter(([name]) => members[name] !== undefined));
}

/** A value of the operation's input as a variable: enum values have names of their own here. */
function spelt(type: GraphQLInputType, value: unknown): unknown {
  if (isNonNullType(type)) return spelt(type.ofType, value);
  if (isListType(type)) return Array.isArray(value) ? value.map((item) => spelt(type.ofType, item)) : value;
  if (isEnumType(type)) return type.getValues().find((one) => one.value === value)?.name ?? value;
  if (!isInputObjectType(type) || typeof value !== 'object' || value === null) return value;
  const members = type.getFields();
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, members[name] ? spelt(members[name].type, member) : member]),
  );
}

const guarded = new Set(fields.map(({ name }) => name));

/** The members of an answer and of the records in it, without those that are asked of other operations. */
function plainSelection({ type: given }: GraphQLField<unknown, unknown>, depth = 3): string {
  const type = getNamedType(given);
  if (!isObjectType(type)) return isLeafType(type) ? '' : '{ __typename }';
  const members = Object.values(type.getFields()).flatMap((member) => {
    if (member.args.length > 0 || guarded.has(`${type.name}.${member.name}`)) return [];
    if (isLeafType(getNamedType(member.type))) return [member.name];
    return depth > 0 ? [`${member.name} ${plainSelection(member, depth - 1)}`] : [];
  });
  return `{ ${['__typename', ...members].join(' ')} }`;
}
