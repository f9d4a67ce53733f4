import pg from 'pg';
import t from 'tap';
import { leadDifferences } from '../../src/features/leads/comparison.ts';
import { ledgerDifferences } from '../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../src/features/loyalty/earning-comparison.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { answerDifferences } from '../../src/features/survey-responses/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { testApp } from '../support/app.ts';
import { soakSeconds } from '../support/draws.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

/** Sixteen writers to two customers that are merged and parted all the time; RAPPORT_TEST_SECONDS=60 for the long run. */
const seconds = soakSeconds(6);
t.setTimeout(120_000 + seconds * 4_000);

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T; // never called on an empty list

t.test('merging and parting under sixteen writers loses nothing', async (t) => {
  const api = await testApp(t);
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  const pool = openPool(api.connection, { size: 2, statementTimeout: 60_000 });
  t.teardown(() => pool.end());

  /** Follows redirects with method and body, as clients do. */
  async function send(method: string, path: string, body?: unknown, headers: Record<string, string> = newKey()) {
    let at = path;
    for (let hop = 0; hop < 8; hop += 1) {
      const answer = await api.request(method, at, { ...(body !== undefined && { body }), headers });
      const location = answer.headers.get('location');
      if ((answer.status !== 301 && answer.status !== 308) || location === null) return answer;
      at = location;
    }
    throw new Error(`${path} leads nowhere`);
  }
  const make = async (path: string, body: unknown) => {
    const answer = await send('POST', path, body, { ...newKey(), 'If-Match': '*' });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const question = { key: 'recommend', type: 'nps', text: 'Would you?', required: true };
  const survey = await make('/v1/surveys', { name: 'Asked', status: 'open', questions: [question] });
  const programme = await make('/v1/loyalty/programmes', { name: 'Club', rules: { pointsPerUnit: 1, pointValue: 1 } });
  await make(`/v1/loyalty/programmes/${programme.id}/publish`, { validFrom: '2025-01-01T00:00:00Z' });
  const people: { id: string; name: string; email: string }[] = [];
  for (const name of [fresh('a'), fresh('b')]) {
    const email = `${name}@example.org`;
    const references = [{ source: 'shop', externalId: name }];
    const customer = await make('/v1/customers', { name, references, identities: [{ kind: 'email', value: email }] });
    await make(`/v1/customers/${customer.id}/loyalty`, { programmeId: programme.id });
    await make('/v1/leads', { customerId: customer.id });
    await make('/v1/loyalty/transactions', {
      kind: 'adjust',
      customerId: customer.id,
      points: 100_000,
      reason: 'to begin',
    });
    people.push({ id: customer.id, name, email });
  }
  const [a, b] = people as [(typeof people)[0], (typeof people)[0]]; // two were made

  const made = { orders: [] as string[], refunds: [] as string[], interactions: [] as string[] };
  const answers: string[] = [];
  const points: string[] = [];
  const surprises = new Map<string, number>();
  let moves = 0;
  const until = Date.now() + seconds * 1_000;
  const whose = () => {
    const { id, name, email } = pick(people);
    return pick([{ customerId: id }, { customer: { source: 'shop', externalId: name } }, { customer: { email } }]);
  };
  const note = (what: string, { status, body }: { status: number; body: { code?: string } }, ...expected: number[]) => {
    if (expected.includes(status) && body.code !== 'conflict') return status < 300;
    const line = `${what} ${status} ${JSON.stringify(body).slice(0, 300)}`;
    surprises.set(line, (surprises.get(line) ?? 0) + 1);
    return false;
  };

  const writes = [
    async () => {
      const { customer: _, ...order } = orderOf({ customerId: 'x' });
      const { customerId: __, ...rest } = order as Record<string, unknown>;
      const answer = await send('POST', '/v1/orders', { ...rest, ...whose() });
      if (note('order', answer, 201)) made.orders.push(answer.body.id);
    },
    async () => {
      if (made.orders.length === 0) return;
      const refund = { amount: 1, refundedAt: '2026-03-05T10:00:00Z' };
      const answer = await send('POST', `/v1/orders/${pick(made.orders)}/refunds`, refund);
      if (note('refund', answer, 201)) made.refunds.push(answer.body.id);
    },
    async () => {
      const contact = {
        source: 'shop',
        externalId: fresh('contact'),
        kind: 'phone',
        occurredAt: '2026-03-01T10:00:00Z',
      };
      const answer = await send('POST', '/v1/interactions', { ...contact, ...whose() });
      if (note('interaction', answer, 201)) made.interactions.push(answer.body.id);
    },
    async () => {
      const body = { kind: 'spend', customerId: pick(people).id, points: 1, externalId: fresh('spend') };
      const answer = await send('POST', '/v1/loyalty/transactions', body);
      if (note('spend', answer, 201)) points.push(answer.body.id);
    },
    async () => {
      const response = {
        submissionId: fresh('form'),
        answeredAt: '2026-03-01T10:00:00Z',
        answers: [{ question: 'recommend', score: 9 }],
        ...whose(),
      };
      const answer = await send('POST', `/v1/surveys/${survey.id}/responses`, response);
      if (note('response', answer, 201)) answers.push(answer.body.id);
    },
    async () => {
      const answer = await send(
        'PATCH',
        `/v1/customers/${pick(people).id}`,
        { locale: pick(['en', 'de']) },
        { 'If-Match': '*' },
      );
      note('profile', answer, 200);
    },
    async () => {
      const answer = await send('POST', `/v1/leads/${pick(people).id}/assign`, { owner: pick(['maria', 'jo']) });
      note('assign', answer, 200);
    },
  ];

  async function writer(): Promise<void> {
    while (Date.now() < until) await pick(writes)();
  }
  async function merger(): Promise<void> {
    while (Date.now() < until) {
      const [to, from] = moves % 2 === 0 ? [a, b] : [b, a];
      const merged = await send('POST', `/v1/customers/${to.id}/merge`, { customerId: from.id });
      if (!note('merge', merged, 200)) return;
      moves += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
      const parted = await send('POST', `/v1/customers/${to.id}/unmerge`, { mergeId: merged.body.id });
      if (!note('unmerge', parted, 200)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await Promise.all([...Array.from({ length: 16 }, writer), merger()]);
  t.strictSame(Object.fromEntries(surprises), {});
  t.ok(moves > 0, `${moves} merges`);

  const stored = async (table: string) =>
    (
      await database.query<{ id: string }>(`select id from ${table} where customer_id = any($1::uuid[]) order by id`, [
        [a.id, b.id],
      ])
    ).rows.map(({ id }) => id);
  t.strictSame(await stored('orders'), [...made.orders].sort());
  t.strictSame(await stored('refunds'), [...made.refunds].sort());
  t.strictSame(await stored('interactions'), [...made.interactions].sort());
  t.strictSame(await stored('survey_responses'), [...answers].sort());
  const spent = await database.query<{ id: string }>(
    "select id from loyalty_transactions where kind = 'spend' order by id",
  );
  t.strictSame(
    spent.rows.map(({ id }) => id),
    [...points].sort(),
  );
  const db = poolDb(pool);
  t.strictSame(
    [
      ...(await rollupDifferences(db, 'UTC', 5)),
      ...(await leadDifferences(db, 5)),
      ...(await ledgerDifferences(db, 5)),
      ...(await earningDifferences(db, 'EUR', 5)),
      ...(await answerDifferences(db, 5)),
    ],
    [],
  );
});
