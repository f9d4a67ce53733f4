import type { Json } from './contract.ts';
import type { House, Person } from './people.ts';

/** What each operation is asked in the taint test, beside the cases of scoped tokens. */

export interface More {
  /** Another one each time. */
  turn: string;
  /** A customer with records that may be merged into the person once. */
  other: string;
  /** A merge of the person. */
  merge: string;
  partner: string;
  client: string;
  secret: string;
  retentionRule: string;
  retentionRun: string;
  draftRuleSet: string;
  draftProgramme: string;
  auditEntry: string;
  /** One that the service issued. */
  token: string;
  signingKey: string;
  link: string;
  import: string;
  importMapping: string;
}

export type TaintCase = (of: Person, house: House, more: More) => Json;

/** What is written into bodies: it must not come back either. */
export const typed = 'Taint_typed_by_the_caller';

const at = '2026-05-21T00:00:00Z';
const change = (id: string, body?: Json): Json => ({ id, expectedVersion: '*', ...(body && { body }) });
const named = (of: Person, body: Json): Json => ({ source: 'shop', externalId: of.name, expectedVersion: '*', body });
const nothing: TaintCase = () => ({});
const ofCustomer: TaintCase = (of) => ({ id: of.customer });
const period = { from: '2026-05-01', to: '2026-06-01' };

const order = (of: Person): Json => ({
  customerId: of.customer,
  placedAt: at,
  currency: 'EUR',
  total: 100,
  paymentStatus: 'pending',
  items: [{ sku: 'A', quantity: 1, total: 100 }],
});
const returned = (of: Person): Json => ({
  customerId: of.customer,
  returnedAt: at,
  currency: 'EUR',
  total: 50,
  reason: typed,
});
const contact = (of: Person): Json => ({
  customerId: of.customer,
  kind: 'phone',
  occurredAt: at,
  topic: typed,
  outcome: typed,
  ticket: typed,
  text: typed,
});
const response = (of: Person, turn: string): Json => ({
  submissionId: turn,
  answeredAt: '2026-05-29T00:00:00Z',
  customerId: of.customer,
  answers: [{ question: 'recommend', score: 9 }],
});
const questions = [{ key: 'recommend', type: 'nps', text: 'Would you?' }];
const rule = {
  name: 'By hand',
  purpose: 'retention',
  method: 'round_robin',
  groups: [{ value: null, members: ['jo'] }],
};
const scoreRules = {
  rules: [{ name: 'Fair', group: 'fit', points: 5, when: [{ field: 'source', oneOf: ['fair'] }] }],
  grades: { A: 40, B: 20, C: 5 },
};

const refund = (of: Person) => ({ orderId: of.order, amount: 1, refundedAt: at, reason: typed });

/** By operation. A new one needs an entry here or among the cases of scoped tokens. */
export const taintCases: Record<string, TaintCase> = {
  listCustomers: nothing,
  createCustomer: (_of, _house, { turn }) => ({
    body: {
      name: typed,
      givenName: typed,
      familyName: typed,
      address: { city: typed, country: 'GB' },
      attributes: { typed },
      identities: [{ kind: 'email', value: `${typed}.${turn}@example.org`.toLowerCase() }],
    },
  }),
  batchCustomers: (of) => ({
    body: { customers: [{ name: typed, identities: [{ kind: 'email', value: of.email }] }] },
  }),
  updateCustomer: (of) => change(of.customer, { familyName: typed }),
  upsertCustomer: (of) => named(of, { familyName: typed }),
  deleteCustomer: (of) => change(of.newcomer),
  listCustomerMerges: ofCustomer,
  listCustomerDuplicates: () => ({}),
  getCohorts: nothing,
  getRevenueConcentration: nothing,
  getRfm: nothing,
  listMetrics: nothing,
  dismissCustomerDuplicate: (of, _house, { other }) => ({ body: { customerId: of.customer, otherId: other } }),
  mergeCustomer: (of, _house, { other }) => ({ id: of.customer, body: { customerId: other } }),
  previewCustomerMerge: (of, _house, { other }) => ({ id: of.customer, body: { customerId: other } }),
  unmergeCustomer: (of, _house, { merge }) => ({ id: of.customer, body: { mergeId: merge } }),
  recordConsent: (of) => ({
    id: of.customer,
    body: { purpose: 'ads', channel: 'sms', status: 'granted', evidence: { source: typed, wording: typed } },
  }),
  batchConsents: (of) => ({
    body: {
      consents: [
        { customerId: of.customer, purpose: 'ads', channel: 'sms', status: 'withdrawn', evidence: { source: typed } },
      ],
    },
  }),

  exportCampaigns: nothing,
  createImport: () => ({ kind: 'orders', format: 'ndjson' }),
  listImports: nothing,
  getImport: (_of, _house, more) => ({ id: more.import }),
  cancelImport: (_of, _house, more) => ({ id: more.import }),
  exportImportErrors: (_of, _house, more) => ({ id: more.import }),
  createImportMapping: () => ({ body: { name: 'Shop', kind: 'orders', mapping: {} } }),
  listImportMappings: nothing,
  getImportMapping: (_of, _house, { importMapping }) => ({ id: importMapping }),
  updateImportMapping: (_of, _house, { importMapping }) => change(importMapping, { tags: ['a'] }),
  deleteImportMapping: (_of, _house, { importMapping }) => change(importMapping),

  listOrders: nothing,
  batchOrders: (of, _house, { turn }) => ({ body: { orders: [{ ...order(of), source: 'web', externalId: turn }] } }),
  deleteOrder: (of) => change(of.order),
  upsertOrder: (of) => named(of, order(of)),
  createRefund: (of) => ({ id: of.order, body: { amount: 1, refundedAt: at, reason: typed } }),
  batchRefunds: (of, _house, { turn }) => ({ body: { refunds: [{ ...refund(of), source: 'web', externalId: turn }] } }),
  updateRefund: (of) => change(of.refund, { reason: typed }),
  upsertRefund: (of, _house, { turn }) => ({ source: 'web', externalId: turn, body: refund(of) }),
  deleteRefund: (of) => change(of.refund),
  listReturns: nothing,
  createReturn: (of, _house, { turn }) => ({ body: { ...returned(of), source: 'web', externalId: turn } }),
  batchReturns: (of, _house, { turn }) => ({
    body: { returns: [{ ...returned(of), source: 'web', externalId: turn }] },
  }),
  updateReturn: (of) => change(of.return, { total: 60 }),
  deleteReturn: (of) => change(of.return),
  upsertReturn: (of) => named(of, returned(of)),

  listInteractions: nothing,
  createInteraction: (of) => ({ body: contact(of) }),
  batchInteractions: (of) => ({ body: { interactions: [contact(of)] } }),
  updateInteraction: (of) => change(of.interaction, { seconds: 5 }),
  deleteInteraction: (of) => change(of.interaction),
  upsertInteraction: (of) => named(of, contact(of)),

  listCampaigns: nothing,
  createCampaign: () => ({ body: { name: 'Autumn' } }),
  batchCampaigns: (_of, _house, { turn }) => ({
    body: { campaigns: [{ source: 'ads', externalId: turn, name: 'Autumn' }] },
  }),
  listCampaignResults: nothing,
  getCampaign: (_of, { campaign }) => ({ id: campaign }),
  updateCampaign: (_of, { campaign }) => change(campaign, { name: 'Winter' }),
  deleteCampaign: (_of, { campaign }) => change(campaign),
  getCampaignResults: (_of, { campaign }) => ({ id: campaign }),
  upsertCampaign: (_of, _house, { turn }) => ({ source: 'ads', externalId: turn, body: { name: 'Autumn' } }),

  batchLeads: (of) => ({ body: { leads: [{ customerId: of.newcomer, source: 'fair' }] } }),
  qualifyLeads: nothing,
  deleteLead: (of) => change(of.customer),
  assignLead: (of) => ({ id: of.customer, body: {} }),
  upsertLead: (of) => named(of, { source: 'fair' }),
  changeLeadStage: (of) => ({ id: of.customer, body: { to: 'former', lossReason: 'price', note: typed } }),
  getLeadScore: ofCustomer,
  listLeadRuleSets: nothing,
  createLeadRuleSet: () => ({ body: { name: 'Fairs', document: scoreRules } }),
  getLeadRuleSet: (_of, { leadRuleSet }) => ({ id: leadRuleSet }),
  updateLeadRuleSet: (_of, _house, { draftRuleSet }) => change(draftRuleSet, { name: 'Other' }),
  deleteLeadRuleSet: (_of, _house, { draftRuleSet }) => change(draftRuleSet),
  previewLeadRuleSet: (_of, _house, { draftRuleSet }) => ({ id: draftRuleSet }),
  publishLeadRuleSet: (_of, _house, { draftRuleSet }) => change(draftRuleSet),
  listLeadModels: nothing,
  createLeadModel: () => ({ body: {} }),
  getLeadModel: (_of, { leadModel }) => ({ id: leadModel }),
  deleteLeadModel: (_of, { leadModel }) => change(leadModel),
  listLeadModelScores: (_of, { leadModel }) => ({ id: leadModel }),
  listAssignmentRules: nothing,
  createAssignmentRule: () => ({ body: rule }),
  getAssignmentRule: (_of, { assignmentRule }) => ({ id: assignmentRule }),
  updateAssignmentRule: (_of, { assignmentRule }) => change(assignmentRule, { name: 'Other' }),
  deleteAssignmentRule: (_of, { assignmentRule }) => change(assignmentRule),
  listAssignments: nothing,
  listLeadAssignments: ofCustomer,
  listSegments: nothing,
  createSegment: () => ({ body: { name: 'Companies', filter: { field: 'kind', op: 'eq', value: 'company' } } }),
  getSegmentFields: nothing,
  previewSegment: () => ({ body: { filter: { field: 'kind', op: 'eq', value: 'person' } } }),
  getSegment: (_of, { segment }) => ({ id: segment }),
  updateSegment: (_of, { segment }) => change(segment, { name: 'Persons' }),
  deleteSegment: (_of, { segment }) => change(segment),
  listSegmentVersions: (_of, { segment }) => ({ id: segment }),
  listSegmentMembers: (_of, { segment }) => ({ id: segment }),
  addSegmentMembers: (of, { segmentList }) => ({ id: segmentList, body: { customerIds: [of.customer] } }),
  removeSegmentMember: (_of, { segmentList, company }) => ({ id: segmentList, customerId: company }),
  listSegmentChanges: (_of, { segmentList }) => ({ id: segmentList }),
  listFollowUps: nothing,
  createFollowUp: (of) => ({
    body: { customerId: of.customer, kind: 'retention', reason: typed, note: typed, dueAt: '2026-06-09T00:00:00Z' },
  }),
  getFollowUp: (of) => ({ id: of.followUp }),
  updateFollowUp: (of) => change(of.followUp, { owner: 'jo' }),
  deleteFollowUp: (of) => change(of.followUp),
  listCustomerFollowUps: ofCustomer,

  createSurvey: () => ({ body: { name: 'Short', questions } }),
  updateSurvey: (_of, { survey }) => change(survey, { name: 'Renamed' }),
  deleteSurvey: (_of, { survey }) => change(survey),
  listSurveyVersions: (_of, { survey }) => ({ id: survey }),
  createSurveyResponse: (of, { survey }, { turn }) => ({ id: survey, body: response(of, turn) }),
  batchSurveyResponses: (of, { survey }, { turn }) => ({ id: survey, body: { responses: [response(of, turn)] } }),
  listSurveyResponses: nothing,
  updateSurveyResponse: (of) => change(of.response, { staff: 'jo' }),
  deleteSurveyResponse: (of) => change(of.response),
  checkSurveyEligibility: (of, { survey }) => ({ id: survey, body: { customerId: of.customer } }),
  createSurveyInvitation: (of, { survey }) => ({ body: { surveyId: survey, customerId: of.newcomer } }),
  claimSurveyInvitations: () => ({ body: {} }),
  updateSurveyInvitation: (of) => change(of.invitation, { status: 'cancelled' }),
  getSurveyLink: (_of, _house, { link }) => ({ token: link }),
  answerSurveyLink: (_of, _house, { link }) => ({
    token: link,
    body: { answers: [{ question: 'recommend', score: 9 }] },
  }),

  createLoyaltyTransaction: (of) => ({ body: { kind: 'adjust', customerId: of.customer, points: 1, reason: typed } }),
  batchLoyaltyTransactions: (of) => ({
    body: { transactions: [{ kind: 'adjust', customerId: of.customer, points: 1, reason: typed }] },
  }),
  undoLoyaltyTransaction: (of) => ({ id: of.transaction }),
  setLoyaltyTier: (of) => ({ id: of.customer, body: { tier: 'basic', reason: typed } }),
  createLoyaltyProgramme: () => ({ body: { name: 'Other', rules: { pointsPerUnit: 1, pointValue: 1 } } }),
  updateLoyaltyProgramme: (_of, _house, { draftProgramme }) => change(draftProgramme, { name: 'Other' }),
  deleteLoyaltyProgramme: (_of, _house, { draftProgramme }) => change(draftProgramme),
  publishLoyaltyProgramme: (_of, _house, { draftProgramme }) =>
    change(draftProgramme, { validFrom: '2026-01-01T00:00:00Z' }),
  endLoyaltyProgramme: (_of, { programme }) => change(programme),
  listLoyaltyProgrammeVersions: (_of, { programme }) => ({ id: programme }),
  previewLoyaltyProgramme: (_of, { programme }) => ({
    id: programme,
    body: { from: '2026-05-01T00:00:00Z', to: '2026-06-01T00:00:00Z' },
  }),
  getLoyaltyTiers: (_of, { programme }) => ({ programmeId: programme }),
  listLoyaltyCandidates: (_of, { programme }) => ({ programmeId: programme }),
  listLoyaltyTransactions: nothing,
  createReward: (_of, { programme }) => ({ body: { programmeId: programme, name: 'Mug', points: 5 } }),
  updateReward: (_of, { reward }) => change(reward, { name: 'Cup' }),
  deleteReward: (_of, { reward }) => change(reward),
  listRedemptions: nothing,
  fulfilRedemption: (of) => change(of.redemption),
  cancelRedemption: (of) => change(of.redemption, { reason: typed }),

  listPartnerFields: nothing,
  listPartners: nothing,
  createPartner: () => ({ body: { name: 'Dealers' } }),
  getPartner: (_of, _house, { partner }) => ({ id: partner }),
  updatePartner: (_of, _house, { partner }) => change(partner, { name: 'Dealers' }),
  deletePartner: (_of, _house, { partner }) => change(partner),
  listPartnerCustomers: (_of, _house, { partner }) => ({ id: partner }),
  batchPartnerShares: (of, _house, { partner }) => ({
    id: partner,
    body: { customers: [{ customerId: of.customer, writable: true }] },
  }),
  shareCustomer: (of, _house, { partner }) => ({ id: partner, customerId: of.customer, body: { writable: true } }),
  unshareCustomer: (of, _house, { partner }) => ({ id: partner, customerId: of.customer }),
  listExchangeRates: nothing,
  putExchangeRates: () => ({ body: { rates: [{ date: '2026-03-01', currency: 'GBP', rate: '1.1534' }] } }),
  listClients: nothing,
  createClient: () => ({ body: { name: 'Shop backend', scopes: ['orders:read'] } }),
  getClient: (_of, _house, { client }) => ({ id: client }),
  updateClient: (_of, _house, { client }) => change(client, { name: 'Shop' }),
  deleteClient: (_of, _house, { client }) => change(client),
  createClientSecret: (_of, _house, { client }) => ({ id: client, body: {} }),
  deleteClientSecret: (_of, _house, { client, secret }) => ({ id: client, secretId: secret }),
  revokeClientTokens: (_of, _house, { client }) => ({ id: client }),
  revokeToken: (_of, _house, { token }) => ({ body: { token } }),
  listSigningKeys: nothing,
  rotateSigningKey: () => ({ body: {} }),
  revokeSigningKey: (_of, _house, { signingKey }) => ({ kid: signingKey }),
  eraseCustomer: (of) => ({ id: of.customer }),
  listRetentionRules: nothing,
  createRetentionRule: () => ({ body: { name: 'Former', kind: 'customer', after: 36, unit: 'months' } }),
  getRetentionRule: (_of, _house, { retentionRule }) => ({ id: retentionRule }),
  updateRetentionRule: (_of, _house, { retentionRule }) => change(retentionRule, { name: 'Gone' }),
  deleteRetentionRule: (_of, _house, { retentionRule }) => change(retentionRule),
  runRetentionRule: (_of, _house, { retentionRule }) => ({ id: retentionRule }),
  listRetentionRuns: nothing,
  getRetentionRun: (_of, _house, { retentionRun }) => ({ id: retentionRun }),

  listLeadFunnelMembers: () => ({ ...period, list: 'untouched' }),
  listNetPromoterScoreMembers: () => period,
  listNetPromoterScoreReasons: () => period,
  listCustomerSatisfactionMembers: () => period,
  listCustomerSatisfactionReasons: () => period,
  listCustomerEffortMembers: () => period,
  listCustomerEffortReasons: () => period,
  listLoyaltyLiabilityMembers: nothing,
  listEvents: () => ({ include: ['record'] }),
  getEventPosition: nothing,
  listAuditEntries: nothing,
  getAuditEntry: (_of, _house, { auditEntry }) => ({ id: auditEntry }),
  listCustomerAuditEntries: ofCustomer,
};
