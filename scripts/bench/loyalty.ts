import { randomUUID } from 'node:crypto';
import { orderOperations } from '../../src/features/orders/operations.ts';
import { call } from '../../src/platform/operation.ts';
import { fire, median, type Rate, type Shot } from './load.ts';
import { absent, connections, type Line, type Stand, sample, send, statementsOf, versus } from './stand.ts';
import { orderDocument } from './store.ts';

/** Customers of each kind: members, and others to compare them with. */
const most = 2_000;

/** Points on everything that is paid, two weeks later, for two years, and three tiers by what was spent in a year. */
const rules = {
  pointsPerUnit: 1,
  earnOn: 'paid',
  pendingDays: 14,
  expiryDays: 730,
  refundPolicy: 'within_balance',
  categories: [{ category: 'Category 3', multiplier: 2 }],
  campaigns: [],
  tiers: {
    basis: 'spend',
    windowDays: 365,
    periodDays: 365,
    graceDays: 30,
    levels: [
      { key: 'bronze', name: 'Bronze', threshold: 0, multiplier: 1 },
      { key: 'silver', name: 'Silver', threshold: 50_000, multiplier: 1.25 },
      { key: 'gold', name: 'Gold', threshold: 500_000, multiplier: 1.5 },
    ],
  },
  bonuses: { welcome: 100 },
  pointValue: 1,
};

/** What a programme with tiers costs the orders of its members, and what reading a balance costs. */
export async function loyalty(stand: Stand): Promise<Line[]> {
  const ids = await sample(
    stand,
    `select external_id from external_refs where kind = 'customer' and source = 'bench'
       and customer_id not in (select customer_id from loyalty_accounts) order by random() limit ${2 * most}`,
  );
  const half = Math.floor(ids.length / 2);
  const [members, others] = [ids.slice(0, half), ids.slice(half)];
  if (half === 0) return [absent('points of orders', '≥ 0.8', 'The store has no customers who are not members yet.')];
  await enrol(stand, members);
  const balances = await sample(stand, `select customer_id from loyalty_accounts order by random() limit ${most}`);
  const asOf = new Date(Date.now() + 60_000).toISOString();
  const shots = balances.map((id): Shot => ({ method: 'GET', path: `/v1/customers/${id}/loyalty?asOf=${asOf}` }));
  return [
    await versus(stand, 'balance by id', shots, 0.8),
    await pushes(stand, members, others),
    await statementsPerBatch(stand, members),
  ];
}

async function enrol(stand: Stand, members: string[]): Promise<void> {
  const post = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID(), 'if-match': '*' };
    const { status, text } = await send(stand.service, stand.token, {
      method: 'POST',
      path,
      headers,
      body: JSON.stringify(body),
    });
    if (status > 201) throw new Error(`${path} was answered with ${status} ${text}`);
    return JSON.parse(text);
  };
  const programme = await post('/v1/loyalty/programmes', { name: 'Bench', rules });
  await post(`/v1/loyalty/programmes/${programme.id}/publish`, { validFrom: '2020-01-01T00:00:00Z' });
  const joinedAt = new Date(Date.now() - 365 * 86_400_000).toISOString();
  const waiting = [...members];
  const worker = async () => {
    for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
      const path = `/v1/customers/external/bench/${encodeURIComponent(member)}/loyalty`;
      await post(path, { programmeId: programme.id, joinedAt });
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
}

let numbers = Math.floor(Date.now() / 1000) * 10_000;

/** An order placed now, of one of these customers. */
function orderOf(customers: string[]) {
  numbers += 1;
  const document = orderDocument({ customers: 1 }, `L${numbers}`, numbers);
  const externalId = customers[numbers % customers.length] ?? '';
  return { ...document, customer: { externalId }, placedAt: new Date().toISOString() };
}

function shotOf(customers: string[]): Shot {
  const document = orderOf(customers);
  return {
    method: 'POST',
    path: '/v1/orders',
    headers: { 'content-type': 'application/json', 'idempotency-key': document.externalId },
    body: JSON.stringify(document),
  };
}

/** Members and others in turn, on the same service, the order changing by the round. */
async function pushes({ service, token, effort }: Stand, members: string[], others: string[]): Promise<Line> {
  const { rounds, seconds } = effort;
  const run = (customers: string[], time: number) =>
    fire(service, token, { shots: () => shotOf(customers), connections, seconds: time });
  await run(others, 2 * seconds);
  await run(members, 2 * seconds);
  const pairs: { points: Rate; none: Rate }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const first = await run(round % 2 === 0 ? members : others, seconds);
    const second = await run(round % 2 === 0 ? others : members, seconds);
    pairs.push(round % 2 === 0 ? { points: first, none: second } : { points: second, none: first });
  }
  const ratio = median(pairs.map(({ points, none }) => points.perSecond / none.perSecond));
  const perSecond = (of: 'points' | 'none') => `${Math.round(median(pairs.map((pair) => pair[of].perSecond)))}/s`;
  const processor = (of: 'points' | 'none') => median(pairs.map((pair) => pair[of].processor ?? 0)).toFixed(3);
  return {
    measure: 'POST /v1/orders of members',
    service: perSecond('points'),
    floor: `of others ${perSecond('none')}`,
    ratio,
    target: '≥ 0.8',
    met: ratio >= 0.8,
    note: `processor time per answer: ${processor('points')} ms, of others ${processor('none')} ms`,
  };
}

async function statementsPerBatch(stand: Stand, members: string[]): Promise<Line> {
  const counts: number[] = [];
  for (const size of [10, 100, 1000]) {
    const orders = Array.from({ length: size }, () => orderOf(members));
    const push = (body: object) =>
      statementsOf(stand, (context) => call(orderOperations.batch, context, { body, idempotencyKey: randomUUID() }));
    counts.push(await push({ orders }));
  }
  return {
    measure: 'statements per batch of orders of members',
    service: counts.join(', '),
    floor: 'of 10, 100, 1,000',
    ratio: null,
    target: 'constant',
    met: new Set(counts).size === 1,
  };
}
