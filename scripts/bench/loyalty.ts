import { randomUUID } from 'node:crypto';
import { compete, type Lane } from './compete.ts';
import { line, type Measure, rate } from './measure.ts';
import { ask, firing, get, postJson, type Stand, sample, type Version } from './stand.ts';
import { orderDocument } from './store.ts';

/** Customers of each kind: members, and others to compare them with. */
const most = 400;

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

let enrolled: string[] | null = null;

/** References of members; the first call makes them, in all versions the same. */
async function membersOf(stand: Stand): Promise<string[]> {
  if (enrolled) return enrolled;
  const all = await sample(
    stand,
    `select external_id from external_refs where kind = 'customer' and source = 'bench' order by record_id limit ${most}`,
  );
  const half = all.slice(0, Math.ceil(all.length / 2));
  for (const version of stand.versions) await enrol(version, half);
  enrolled = half;
  return half;
}

async function enrol(version: Version, members: string[]): Promise<void> {
  const post = (path: string, body: object) =>
    ask(version, postJson(path, body, { 'idempotency-key': randomUUID(), 'if-match': '*' }));
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
  await Promise.all(Array.from({ length: 10 }, worker));
}

async function othersOf(stand: Stand): Promise<string[]> {
  return sample(
    stand,
    `select external_id from external_refs where kind = 'customer' and source = 'bench'
       and customer_id not in (select customer_id from loyalty_accounts) order by random() limit ${most}`,
  );
}

let numbers = Math.floor(Date.now() / 1000) * 10_000;

/** An order placed now, of one of these customers. */
function shotOf(customers: string[]) {
  numbers += 1;
  const document = orderDocument({ customers: 1 }, `L${numbers}`, numbers);
  const externalId = customers[numbers % customers.length] ?? '';
  const order = { ...document, customer: { externalId }, placedAt: new Date().toISOString() };
  return postJson('/v1/orders', order, { 'idempotency-key': order.externalId });
}

/** What a programme with tiers costs the orders of its members: the floor is the same version with orders of others. */
const ordersOfMembers: Measure = {
  name: 'post-members',
  async run(stand) {
    const { versions, effort } = stand;
    const [members, others] = [await membersOf(stand), await othersOf(stand)];
    const lanes = versions.flatMap((version): Lane[] => {
      const base = version.name === 'old' ? 'old floor' : 'floor';
      return [
        firing(version, () => shotOf(others), effort, { name: base }),
        firing(version, () => shotOf(members), effort, { against: base }),
      ];
    });
    const notes = ['the floor is the same with orders of those who are no members'];
    return [line('POST /v1/orders of members', '/s', await compete(lanes, effort), { atLeast: 0.8 }, { notes })];
  },
};

const balance = rate({
  name: 'balance',
  title: 'balance by id',
  mark: { atLeast: 1 },
  afterWrites: true,
  async shots(stand) {
    await membersOf(stand);
    const ids = await sample(stand, `select customer_id from loyalty_accounts order by random() limit ${most}`);
    const asOf = new Date(Date.now() + 60_000).toISOString();
    return ids.map((id) => get(`/v1/customers/${id}/loyalty?asOf=${asOf}`));
  },
});

export const loyalty: Measure[] = [balance, ordersOfMembers];
