import pg from 'pg';
import t from 'tap';
import { wrongBounds } from '../../../src/features/lead-scores/bounds.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';

/* Rule sets, scores and lists through the doors. That the numbers are right: lead-scores.property.test.ts. */

const now = '2026-06-01T12:00:00.000Z';
const nowMs = Date.parse(now);
const hour = 3_600_000;
const day = 24 * hour;
const defaultRules = '00000000-0000-7000-8000-000000000001';
const at = (ms: number) => new Date(ms).toISOString();

t.test('the service', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { request, graphql } = api;
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  let testPool: pg.Pool | undefined;
  t.teardown(() => testPool?.end());
  const any = { 'If-Match': '*' };
  const document = {
    rules: [
      { name: 'Mailable', group: 'fit', points: 5, when: [{ field: 'email', exists: true }] },
      { name: 'Engineer', group: 'fit', points: 10, when: [{ field: 'attributes.job', oneOf: ['engineer'] }] },
      { name: 'Form', group: 'intent', points: 16, on: { kinds: ['form'] }, cap: 20, halfLifeDays: 14 },
      { name: 'Gone', group: 'intent', points: -3, on: { kinds: ['unsubscribe'] }, per: 'latest' },
    ],
    caps: { intent: 18 },
    grades: { A: 25, B: 15, C: 5 },
  };
  const lead = async (externalId: string, more: object = {}) =>
    (await request('POST', '/v1/leads', { body: { customer: { source: 'web', externalId, ...more } } })).body
      .id as string;
  const touch = (customerId: string, kind: string, daysAgo: number) =>
    request('POST', '/v1/interactions', {
      body: { customerId, source: 'web', kind, occurredAt: at(nowMs - daysAgo * day) },
    });
  const stored = async () =>
    (
      await database.query(
        'select customer_id as id, bound::int, rule_set_id as rules from lead_score_bounds order by 1',
      )
    ).rows;
  const sorted = async () =>
    (await request('GET', '/v1/leads')).body.data.map((one: { id: string; score: number; grade: string }) => [
      one.id,
      one.score,
      one.grade,
    ]);
  const draft = async (body: unknown = document) =>
    (await request('POST', '/v1/lead-rule-sets', { body: { name: 'Ours', document: body } })).body;

  t.test('the default rule set is in force, and every write keeps the bounds of leads', async (t) => {
    const { body } = await request('GET', '/v1/lead-rule-sets');
    t.match(body.data, [{ number: 1, name: 'Default', status: 'published', publishedAt: '2000-01-01T00:00:00.000Z' }]);
    const ada = await lead('ada', { email: 'ada@example.org' });
    const ben = await lead('ben');
    t.same(
      (await sorted()).map(([, score]: [string, number]) => score),
      [5, 0],
    );
    await touch(ben, 'form', 0.5);
    const [first] = await sorted();
    t.equal(first[0], ben);
    t.equal((await stored()).length, 2);
    t.same(await wrongBounds(poolDb(openTestPool()), now, 9), []);
    await request('PATCH', `/v1/customers/${ada}`, { body: { kind: 'company', name: 'Ada & Co' }, headers: any });
    t.same(
      (await sorted()).map(([id]: [string]) => id),
      [ben, ada],
    );
    // An order completes the customer's profile, and by it the score.
    await request('POST', '/v1/orders', {
      body: {
        source: 'shop',
        externalId: 'o1',
        customer: { source: 'web', externalId: 'ben', email: 'ben@example.org' },
        placedAt: at(nowMs - day),
        currency: 'EUR',
        total: 100,
        items: [{ sku: 'A', quantity: 1, total: 100 }],
        paymentStatus: 'pending',
      },
      headers: { 'Idempotency-Key': 'o1' },
    });
    t.same(await wrongBounds(poolDb(openTestPool()), now, 9), []);
    const loose = (await stored()).find(({ id }) => id === ben)?.bound - (await sorted())[0][1] * 1024;
    t.ok(loose >= 0 && loose < 256, `${loose} units above the score`);
  });

  t.test('a draft is tried, published once, and never changed again', async (t) => {
    const { id, version } = await draft();
    t.equal(version, 1);
    t.match(
      await request('PATCH', `/v1/lead-rule-sets/${id}`, { body: { name: 'Mine' }, headers: { 'If-Match': '"1"' } }),
      {
        status: 200,
        body: { name: 'Mine', version: 2, document, created: false },
      },
    );
    const url = `/v1/lead-rule-sets/${id}/publish`;
    t.equal((await request('POST', url)).status, 428);
    t.equal((await request('POST', url, { headers: { 'If-Match': '"1"' } })).status, 412);
    t.match(await request('POST', `${url}?dryRun=true`, { headers: any }), { status: 200, body: { number: 2 } });
    t.equal((await request('GET', `/v1/lead-rule-sets/${id}`)).body.number, null);
    const other = await draft();
    const published = await Promise.all([
      request('POST', url, { headers: any }),
      request('POST', `/v1/lead-rule-sets/${other.id}/publish`, { headers: any }),
      request('POST', url, { headers: any }),
    ]);
    t.same(published.map(({ status }) => status).sort(), [200, 200, 409]);
    t.same(published.flatMap(({ body }) => body.number ?? []).sort(), [2, 3]);
    for (const refused of [
      await request('PATCH', `/v1/lead-rule-sets/${id}`, { body: { name: 'Late' }, headers: any }),
      await request('DELETE', `/v1/lead-rule-sets/${id}`, { headers: any }),
    ])
      t.match(refused, { status: 409, body: { code: 'rule_set_published' } });
    const before = await sorted();
    t.equal((await request('GET', '/v1/lead-rule-sets?status=published&limit=1')).body.data[0].indexedAt, null);
    await api.app.jobs.runDue();
    t.same(await sorted(), before, 'the index changes nothing but the time it takes');
    const sets = (await request('GET', '/v1/lead-rule-sets?status=published')).body.data;
    const newest = sets.find(({ number }: { number: number }) => number === 3);
    t.same(
      sets.filter((one: { indexedAt: unknown }) => one.indexedAt !== null),
      [{ ...newest, indexedAt: now }],
    );
    t.same([...new Set((await stored()).map(({ rules }) => rules))], [newest.id]);
    t.equal((await stored()).length, 2);
  });

  t.test('a score with its reasons, at any instant and under any rule set, on both doors', async (t) => {
    const cleo = await lead('cleo', { email: 'cleo@example.org' });
    await request('PATCH', `/v1/customers/${cleo}`, { body: { attributes: { job: 'engineer' } }, headers: any });
    for (const days of [14, 0.5, 28]) await touch(cleo, 'form', days);
    await touch(cleo, 'unsubscribe', 3);
    const { body } = await request('GET', `/v1/leads/${cleo}/score?asOf=${at(nowMs + day / 2)}`);
    const half = 2 ** (-1 / 14);
    t.match(body, { leadId: cleo, asOf: at(nowMs + day / 2), rule: { number: 3, grade: 'A', fit: 15 } });
    t.same(
      body.rule.contributions.map((one: { rule: string; kind: string; points: number; evidenceCount: number }) => [
        one.rule,
        one.kind,
        one.points,
        one.evidenceCount,
      ]),
      [
        ['Mailable', 'rule', 5, 0],
        ['Engineer', 'rule', 10, 0],
        ['Form', 'rule', 20, 3],
        ['Gone', 'rule', -3, 1],
      ],
    );
    const form = body.rule.contributions[2];
    t.same(
      form.evidence.map(({ occurredAt }: { occurredAt: string }) => occurredAt),
      [0.5, 14, 28].map((days) => at(nowMs - days * day)),
    );
    t.ok(Math.abs(form.evidence[0].points - 16 * half) < 1 / 1024);
    t.equal(form.evidence[0].points + form.evidence[1].points + form.evidence[2].points, form.uncapped);
    t.same(body.rule.contributions[1].profile, [{ field: 'attributes.job', value: 'engineer' }]);
    const blind = await request('GET', `/v1/leads/external/web/cleo/score`, { scope: 'leads:read' });
    t.same(blind.body.rule.contributions[1].profile, [{ field: 'attributes.job', value: null }]);
    const past = await request('GET', `/v1/leads/${cleo}/score?asOf=2019-01-01T00:00:00Z`);
    t.match(past.body.rule, { number: 1, ruleSetId: defaultRules, score: 5 }, 'the version then in force');
    const again = await request('GET', `/v1/leads/${cleo}/score?ruleSetId=${defaultRules}`);
    t.match(again.body.rule, { number: 1 });
    const [top] = await sorted();
    t.same(top, [cleo, 32, 'A']);
    const asked = await graphql(
      `{ leads(first: 1, sort: SCORE_DESC, grade: A, stage: [LEAD]) { totalCount nodes { id score grade scoreDetails { rule { grade contributions { kind rule points evidence { kind occurredAt } } } } } }
         leadScore(reference: { source: "web", externalId: "cleo" }) { rule { score } }
         leadRuleSets(first: 1, status: PUBLISHED) { nodes { document { rules { name group points per } grades { A } } } } }`,
    );
    t.match(asked.body.data, {
      leads: {
        totalCount: 1,
        nodes: [
          {
            id: cleo,
            score: 32,
            grade: 'A',
            scoreDetails: { rule: { grade: 'A', contributions: [{ kind: 'RULE', points: 5 }] } },
          },
        ],
      },
      leadScore: { rule: { score: 32 } },
      leadRuleSets: { nodes: [{ document: { grades: { A: 25 } } }] },
    });
    t.same((await request('GET', '/v1/leads/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/score')).status, 404);
  });

  t.test('what the rules of a document may not say, and who may write them', async (t) => {
    const post = (body: unknown, scope?: string) =>
      request('POST', '/v1/lead-rule-sets', { body: { name: 'x', document: body }, ...(scope && { scope }) });
    const twice = { ...document, rules: [document.rules[0], document.rules[0]], grades: { A: 1, B: 2, C: 3 } };
    const refused = await post(twice);
    t.equal(refused.status, 422);
    t.same(
      refused.body.errors.map(({ pointer, code }: { pointer: string; code: string }) => [pointer, code]),
      [
        ['/document/rules/1/name', 'duplicate'],
        ['/document/grades/B', 'not_falling'],
        ['/document/grades/C', 'not_falling'],
      ],
    );
    t.equal((await post({ ...document, rules: [{ ...document.rules[0], points: 0.1 }] })).status, 422);
    t.match(
      await post(document, 'lead-rules:write'),
      { status: 403, body: { scope: 'customers:pii' } },
      'it would be an oracle',
    );
    t.equal((await post({ ...document, rules: [document.rules[0]] }, 'lead-rules:write')).status, 201);
    t.match(await post(document, 'leads:write'), { status: 403, body: { scope: 'lead-rules:write' } });
    const strange = "x' or 1=1; -- \\ $1 ${}";
    const odd = {
      rules: [
        {
          name: strange,
          group: 'fit',
          points: 1,
          when: [{ field: `attributes.${strange}.a'b`, noneOf: [strange], atLeast: 1e12 }],
        },
        {
          name: 'o',
          group: 'intent',
          points: 1000,
          on: { topics: [strange], withinDays: 36_500, minSeconds: 0 },
          per: 'minute',
          halfLifeDays: 0.01,
        },
      ],
      grades: { A: 1000, B: 0, C: -1000 },
      profileFields: [`attributes.${strange}`],
    };
    const made = await post(odd);
    t.equal(made.status, 201);
    t.equal((await request('POST', `/v1/lead-rule-sets/${made.body.id}/preview`)).status, 200);
    const many = Array.from({ length: 200 }, (_, i) => ({
      name: `rule ${i}`,
      group: 'intent',
      points: i % 3 ? 1 : -1,
      on: { kinds: ['form'] },
      when: Array.from({ length: 3 }, (_unused, k) => ({ field: `attributes.a${i}x${k}`, exists: false })),
      halfLifeDays: 1 + i,
    }));
    const wordy = { field: 'attributes.a.b', exists: true, oneOf: ['x'], noneOf: ['y'], atLeast: 0, atMost: 1 };
    const most = (count: number) =>
      post({ ...document, rules: many.map((rule) => ({ ...rule, when: Array(count).fill(wordy) })) });
    const wordiest = await most(3);
    t.equal((await request('POST', `/v1/lead-rule-sets/${wordiest.body.id}/preview`)).status, 200);
    t.match((await most(4)).body.errors, [{ pointer: '/document/rules', code: 'too_many_conditions' }]);
    const large = await post({ ...document, rules: many });
    t.equal(large.status, 201);
    t.equal((await request('POST', `/v1/lead-rule-sets/${large.body.id}/preview`)).status, 200);
    const first = (await sorted())[0][0];
    const scored = await request('GET', `/v1/leads/${first}/score?ruleSetId=${large.body.id}`);
    t.equal(scored.body.rule.contributions.filter(({ kind }: { kind: string }) => kind === 'rule').length, 200);
  });

  function openTestPool(): pg.Pool {
    testPool ??= openPool(api.connection, { size: 1, statementTimeout: 30_000 });
    return testPool;
  }
});

t.test('by the default rules an ad that was seen is worth little, and an automatic message nothing', async (t) => {
  const { request } = await testApp(t, { clock: () => now });
  const { body: lead } = await request('POST', '/v1/leads', {
    body: { customer: { source: 'web', externalId: 'ads' } },
  });
  const touch = (kind: string, more: object = {}) =>
    request('POST', '/v1/interactions', {
      body: { customerId: lead.id, kind, occurredAt: at(nowMs - 7 * day), ...more },
    });
  for (let seen = 0; seen < 3; seen += 1) await touch('ad_impression');
  for (const kind of ['email_received', 'form']) await touch(kind, { direction: 'inbound', automatic: true });
  const { body } = await request('GET', `/v1/leads/${lead.id}/score`);
  t.equal(body.rule.score, 0.375, 'a quarter each, which halves in a week');
  t.match(
    body.rule.contributions.filter(({ points }: { points: number }) => points !== 0),
    [{ rule: 'Saw ads', points: 0.375, evidenceCount: 3 }],
  );
});
