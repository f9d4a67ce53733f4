import type { Answer, ScopedToken, TestApp } from './app.ts';
import { fresh, newKey } from './shop.ts';

/** Customers with a record of every kind, for tests of who may see and change what. */

/** What is about nobody, and belongs to the organisation. */
export interface House {
  campaign: string;
  survey: string;
  programme: string;
  reward: string;
  assignmentRule: string;
  /** By conditions, and a list with the company in it. */
  segment: string;
  segmentList: string;
  leadRuleSet: string;
  leadModel: string;
  /** Customers that others name: their company, and who referred them. */
  company: string;
  referrer: string;
}

/** A customer and a record of every kind about it: ids, and the name that all its references have in source `shop`. */
export interface Person {
  /** The external id of the customer, order, return, interaction. */
  name: string;
  email: string;
  customer: string;
  order: string;
  return: string;
  refund: string;
  interaction: string;
  response: string;
  invitation: string;
  transaction: string;
  redemption: string;
  followUp: string;
  /** A webhook, and a delivery of it: the organisation's, or those of a partner. */
  webhook: string;
  delivery: string;
  /** Another customer, of whom there is nothing yet. */
  newcomer: string;
}

type Api = Pick<TestApp, 'request'>;

async function make(api: Api, path: string, body: unknown, status = 201, method = 'POST'): Promise<Answer['body']> {
  const headers = method === 'PATCH' ? { 'If-Match': '*' } : newKey();
  const answer = await api.request(method, path, { body, headers });
  if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const questions = [
  { key: 'recommend', type: 'nps', text: 'Would you recommend us?', required: true },
  { key: 'content', type: 'csat', text: 'Are you content?' },
  { key: 'effort', type: 'ces', text: 'Was it easy?' },
];
const answers = [
  { question: 'recommend', score: 3 },
  { question: 'content', score: 4 },
  { question: 'effort', score: 2 },
];

export async function stockHouse(api: Api): Promise<House> {
  const campaign = await make(api, '/v1/campaigns', { name: 'Spring', channel: 'email', startsOn: '2026-03-01' });
  const settings = { contactFrequencyDays: 0, followUp: { withinDays: 2, owner: 'jo' } };
  const survey = await make(api, '/v1/surveys', { name: 'Asked', status: 'open', questions, settings });
  const tiers = {
    basis: 'spend',
    windowDays: 365,
    periodDays: 365,
    graceDays: 0,
    levels: [{ key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 }],
  };
  const rules = { pointsPerUnit: 1, pointValue: 0.5, bonuses: { welcome: 100 }, tiers };
  const programme = await make(api, '/v1/loyalty/programmes', { name: 'Club', rules });
  const publish = { validFrom: '2026-01-01T00:00:00Z' };
  const published = await api.request('POST', `/v1/loyalty/programmes/${programme.id}/publish`, {
    body: publish,
    headers: { 'If-Match': '*', ...newKey() },
  });
  if (published.status !== 200) throw new Error(JSON.stringify(published.body));
  const reward = await make(api, '/v1/loyalty/rewards', {
    programmeId: programme.id,
    name: 'Watering can',
    points: 1,
    stock: 50,
  });
  const rule = await make(api, '/v1/assignment-rules', {
    name: 'Everybody',
    purpose: 'lead',
    method: 'round_robin',
    groups: [{ value: null, members: ['maria', 'jo'] }],
  });
  const document = {
    rules: [{ name: 'Fair', group: 'fit', points: 5, when: [{ field: 'source', oneOf: ['fair'] }] }],
    grades: { A: 40, B: 20, C: 5 },
  };
  const ruleSet = await make(api, '/v1/lead-rule-sets', { name: 'Fairs', document });
  const model = await make(api, '/v1/lead-models', {});
  const company = await make(api, '/v1/customers', { kind: 'company', name: 'Analytical Engines' });
  // Somebody has orders and is in no programme.
  await make(api, '/v1/orders', {
    source: 'shop',
    externalId: fresh('of-company'),
    customerId: company.id,
    placedAt: '2026-05-20T08:26:00Z',
    currency: 'EUR',
    total: 1000,
    items: [{ sku: 'A', quantity: 1, total: 1000 }],
    paymentStatus: 'paid',
  });
  const segment = await make(api, '/v1/segments', {
    name: 'Companies',
    filter: { field: 'kind', op: 'eq', value: 'company' },
  });
  const segmentList = await make(api, '/v1/segments', { name: 'Invited' });
  await make(api, `/v1/segments/${segmentList.id}/members`, { customerIds: [company.id] }, 200);
  const referrer = await make(api, '/v1/customers', { name: 'Who refers' });
  return {
    campaign: campaign.id,
    survey: survey.id,
    programme: programme.id,
    reward: reward.id,
    assignmentRule: rule.id,
    segment: segment.id,
    segmentList: segmentList.id,
    leadRuleSet: ruleSet.id,
    leadModel: model.id,
    company: company.id,
    referrer: referrer.id,
  };
}

/** A customer with a record of every kind; its texts hold its name, which nobody else's do. */
export async function stockPerson(api: Api, house: House, name = fresh('person')): Promise<Person> {
  const email = `${name}@example.org`;
  const reference = { source: 'shop', externalId: name };
  const customer = await make(api, '/v1/customers', {
    name: `Name ${name}`,
    companyId: house.company,
    referredBy: house.referrer,
    identities: [
      { kind: 'email', value: email },
      { kind: 'handle', value: `shared ${name}`, shared: true },
    ],
    references: [reference],
    attributes: { nick: `nick ${name}` },
    acquisition: { source: 'fair', cost: 250 },
  });
  await make(api, '/v1/customers/duplicates/dismiss', { customerId: customer.id, otherId: house.referrer }, 200);
  await make(api, '/v1/orders', {
    ...reference,
    externalId: `first ${name}`,
    customerId: customer.id,
    placedAt: '2026-04-20T08:26:00Z',
    currency: 'EUR',
    total: 700,
    items: [{ sku: `sku ${name}`, quantity: 1, total: 700 }],
    paymentStatus: 'paid',
  });
  const order = await make(api, '/v1/orders', {
    ...reference,
    customerId: customer.id,
    campaignId: house.campaign,
    placedAt: '2026-05-20T08:26:00Z',
    currency: 'EUR',
    total: 1530,
    items: [{ sku: `sku ${name}`, name: 'Holder', quantity: 6, total: 1530 }],
    paymentStatus: 'paid',
  });
  const refund = await make(api, `/v1/orders/${order.id}/refunds`, {
    ...reference,
    amount: 100,
    refundedAt: '2026-05-25T09:00:00Z',
    reason: `damaged ${name}`,
  });
  const returned = await make(api, '/v1/returns', {
    ...reference,
    customerId: customer.id,
    returnedAt: '2026-05-28T09:41:00Z',
    currency: 'EUR',
    total: 200,
    items: [{ sku: `sku ${name}`, quantity: 1, total: 200 }],
  });
  const interaction = await make(api, '/v1/interactions', {
    ...reference,
    customerId: customer.id,
    kind: 'phone',
    direction: 'inbound',
    occurredAt: '2026-05-28T09:41:00Z',
    orderId: order.id,
    campaignId: house.campaign,
    text: `Where is my parcel? ${name}`,
  });
  await make(api, '/v1/leads', { customerId: customer.id, source: 'fair', enteredAt: '2026-05-01T00:00:00Z' });
  await make(api, `/v1/leads/${customer.id}/assign`, {}, 200);
  const response = await make(api, `/v1/surveys/${house.survey}/responses`, {
    submissionId: `form ${name}`,
    answeredAt: '2026-05-28T09:41:00Z',
    customerId: customer.id,
    orderId: order.id,
    staff: 'maria',
    answers,
  });
  const invitation = await make(api, '/v1/survey-invitations', { surveyId: house.survey, customerId: customer.id });
  await make(api, `/v1/customers/${customer.id}/loyalty`, {
    programmeId: house.programme,
    joinedAt: '2026-05-02T00:00:00Z',
  });
  const tier = { tier: 'basic', reason: `for ${name}` };
  await make(api, `/v1/customers/${customer.id}/loyalty/tier`, tier, 200, 'PUT');
  const transaction = await make(api, '/v1/loyalty/transactions', {
    kind: 'spend',
    customerId: customer.id,
    points: 30,
    externalId: `spend ${name}`,
  });
  const redemption = await make(api, '/v1/loyalty/redemptions', { customerId: customer.id, rewardId: house.reward });
  const followUp = await make(api, '/v1/follow-ups', {
    customerId: customer.id,
    kind: 'retention',
    reason: `asked to cancel ${name}`,
    dueAt: '2026-06-03T17:00:00Z',
  });
  await make(api, `/v1/customers/${customer.id}/consents`, {
    purpose: 'newsletter',
    channel: 'email',
    status: 'granted',
    evidence: { source: 'shop', wording: `I agree ${name}` },
  });
  const newcomer = await make(api, '/v1/customers', { name: `Newcomer ${name}` });
  const hook = await stockWebhook(api);
  return {
    name,
    email,
    customer: customer.id,
    order: order.id,
    return: returned.id,
    refund: refund.id,
    interaction: interaction.id,
    response: response.id,
    invitation: invitation.id,
    transaction: transaction.id,
    redemption: redemption.id,
    followUp: followUp.id,
    ...hook,
    newcomer: newcomer.id,
  };
}

/** A webhook with a delivery that waits, as no test sends it. */
export async function stockWebhook(api: Api, who: ScopedToken = {}): Promise<Pick<Person, 'webhook' | 'delivery'>> {
  const post = async (path: string, body?: object) =>
    (await api.request('POST', path, { ...who, ...(body && { body }) })).body.id;
  const webhook = await post('/v1/webhooks', { url: 'https://hooks.example/', kinds: ['order'] });
  return { webhook, delivery: await post(`/v1/webhooks/${webhook}/test`) };
}

/** Ids and names that nobody has, where a person's would stand. */
export function nobody(seed = 0): Person {
  const id = (kind: number) =>
    `0193a6c2-8f00-7fff-8000-${String(kind).padStart(4, '0')}${String(seed).padStart(8, '0')}`;
  return {
    name: `nobody-${seed}`,
    email: `nobody-${seed}@example.org`,
    customer: id(1),
    order: id(2),
    return: id(3),
    refund: id(4),
    interaction: id(5),
    response: id(7),
    invitation: id(8),
    transaction: id(9),
    redemption: id(10),
    followUp: id(11),
    webhook: id(13),
    delivery: id(14),
    newcomer: id(12),
  };
}

/** Everything by which an answer could give the person away. */
export function tracesOf(person: Person): string[] {
  return Object.values(person);
}

/** A partner with whom the customers are shared, and that may see every member that may be seen. */
export async function stockPartner(
  api: Api & Pick<TestApp, 'connection'>,
  {
    customers,
    readOnly = [],
    fields,
  }: { customers: readonly string[]; readOnly?: readonly string[]; fields?: string[] },
): Promise<string> {
  const all = await api.request('GET', '/v1/partner-fields');
  const names = fields ?? all.body.fields.map((one: { name: string }) => one.name);
  const partner = await make(api, '/v1/partners', {
    name: fresh('Partner'),
    minimumGroupSize: 2,
    fields: names,
    rules: { acquired: true },
  });
  const shares = [
    ...customers.map((customerId) => ({ customerId, writable: true })),
    ...readOnly.map((customerId) => ({ customerId, writable: false })),
  ];
  const shared = await make(api, `/v1/partners/${partner.id}/customers/batch`, { customers: shares }, 200);
  const refused = shared.results.find((one: { status: string }) => one.status === 'refused');
  if (refused) throw new Error(JSON.stringify(refused));
  return partner.id;
}
