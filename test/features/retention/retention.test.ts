import pg from 'pg';
import t from 'tap';
import { applyRetention } from '../../../src/features/retention/apply.ts';
import { type Answer, runJobs, testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

const day = 86_400_000;
const year = 365 * day;
const start = Date.parse('2026-06-01T12:00:00.000Z');
let now = start;
/** `days` before the first of June 2026. */
const ago = (days: number) => new Date(start - days * day).toISOString();
const api = await testApp(t, { clock: () => new Date(now).toISOString() });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

async function made(path: string, body: object, status = 201): Promise<Answer['body']> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status !== status) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const get = async (path: string) => (await request('GET', path)).body;
const rule = (body: object): Promise<Answer['body']> => made('/v1/retention-rules', { name: 'Rule', ...body });

/** Asks for a run, has it done, and answers what became of it. */
async function applied(ruleId: string): Promise<Answer['body']> {
  const asked = await request('POST', `/v1/retention-rules/${ruleId}/run`, { headers: newKey() });
  t.equal(asked.status, 201, JSON.stringify(asked.body));
  t.equal(asked.headers.get('location'), `/v1/retention-runs/${asked.body.id}`);
  await runJobs(api);
  return get(`/v1/retention-runs/${asked.body.id}`);
}
const dry = async (ruleId: string) => (await request('POST', `/v1/retention-rules/${ruleId}/run?dryRun=true`)).body;

/** A customer who was made so many days before the start, with nothing since. */
async function customerOf(days: number, more: object = {}): Promise<string> {
  now = start - days * day;
  const { id } = await made('/v1/customers', { name: fresh('Ada'), ...more });
  now = start;
  return id;
}

const metricsOf = async () => {
  const window = 'from=2023-01-01&to=2026-07-01';
  const paths = [
    `retention-rate?from=2026-01-01&to=2026-07-01&previousFrom=2023-01-01&previousTo=2026-01-01`,
    `repeat-purchase-rate?${window}`,
    `average-order-value?${window}`,
    `revenue-per-customer?${window}`,
    `purchase-gaps?${window}`,
    `net-promoter-score?${window}`,
    `lead-funnel?${window}`,
  ];
  return Promise.all(
    paths.map(async (path) => {
      const answer = await request('GET', `/v1/metrics/${path}`);
      t.equal(answer.status, 200, `${path} ${JSON.stringify(answer.body)}`);
      const { asOf: _, ...rest } = answer.body;
      return rest;
    }),
  );
};

const survey = await made('/v1/surveys', {
  name: 'Asked',
  status: 'open',
  questions: [
    { key: 'recommend', type: 'nps', text: 'Would you recommend us?', required: true },
    { key: 'why', type: 'text', text: 'Why?' },
  ],
  settings: { contactFrequencyDays: 90 },
});

const interactionOf = (customerId: string, occurredAt: string, more: object = {}) =>
  made('/v1/interactions', { customerId, kind: 'phone', occurredAt, text: fresh('told'), ...more });
const responseOf = (customerId: string | null, answeredAt: string) =>
  made(`/v1/surveys/${survey.id}/responses`, {
    submissionId: fresh('form'),
    answeredAt,
    ...(customerId && { customerId }),
    answers: [
      { question: 'recommend', score: 9 },
      { question: 'why', text: fresh('because') },
    ],
  });

t.test('rules', async (t) => {
  const body = { name: 'Old texts', kind: 'interaction_text', after: 24, unit: 'months' };
  const made = await request('POST', '/v1/retention-rules', { body });
  t.equal(made.status, 201);
  t.match(made.body, { ...body, enabled: false, lastRunAt: null, version: 1 });
  t.strictSame(made.body.conditions, { customerKind: null, keepConsented: true, channel: null, surveyId: null });
  t.strictSame((await request('GET', made.headers.get('location') ?? '')).body, made.body);

  t.test('a condition goes with some kinds', async (t) => {
    const refused = await request('POST', '/v1/retention-rules', {
      body: { ...body, conditions: { keepConsented: true } },
    });
    t.equal(refused.status, 422);
    t.match(refused.body.errors, [{ pointer: '/conditions/keepConsented', code: 'not_applicable' }]);
    const patched = await request('PATCH', `/v1/retention-rules/${made.body.id}`, {
      body: { conditions: { surveyId: survey.id } },
      headers: { 'If-Match': '*' },
    });
    t.equal(patched.status, 422);
  });

  t.test('are changed by version, and deleted', async (t) => {
    const path = `/v1/retention-rules/${made.body.id}`;
    t.equal((await request('PATCH', path, { body: { after: 12 } })).status, 428);
    const patched = await request('PATCH', path, {
      body: { after: 12, conditions: { channel: 'chat' } },
      headers: { 'If-Match': '"1"' },
    });
    t.match(patched.body, { after: 12, unit: 'months', version: 2, conditions: { channel: 'chat' } });
    t.equal((await request('PATCH', path, { body: {}, headers: { 'If-Match': '"1"' } })).status, 412);
    t.equal((await request('DELETE', path, { headers: { 'If-Match': '"2"' } })).status, 204);
    t.equal((await request('GET', path)).status, 404);
    t.equal((await request('POST', `${path}/run`)).status, 404);
  });

  t.test('GraphQL has them as well', async (t) => {
    const { body: answer } = await graphql(
      `mutation { createRetentionRule(input: { name: "Notes", kind: FOLLOW_UP_NOTE, after: 90, unit: DAYS }) {
        retentionRule { id kind unit conditions { keepConsented surveyId } } } }`,
    );
    const { id, ...rest } = answer.data.createRetentionRule.retentionRule;
    t.strictSame(rest, {
      kind: 'FOLLOW_UP_NOTE',
      unit: 'DAYS',
      conditions: { keepConsented: true, surveyId: null },
    });
    const { body: run } = await graphql(
      `mutation ($id: ID!) { runRetentionRule(id: $id, dryRun: true) { run { matching firstIds status before } } }`,
      { id },
    );
    t.strictSame(run.data.runRetentionRule.run, {
      matching: 0,
      firstIds: [],
      status: 'QUEUED',
      before: ago(90),
    });
    const { body: listed } = await graphql(
      '{ retentionRules(kind: FOLLOW_UP_NOTE) { nodes { id } } retentionRuns { nodes { id } } }',
    );
    t.strictSame(listed.data, { retentionRules: { nodes: [{ id }] }, retentionRuns: { nodes: [] } });
  });

  t.test('are for the organisation, by scope', async (t) => {
    const path = '/v1/retention-rules';
    t.equal((await request('GET', path, { scope: 'retention:write' })).status, 403);
    t.equal((await request('GET', path, { scope: 'retention:read' })).status, 200);
    t.equal((await request('POST', path, { body, scope: 'retention:read' })).status, 403);
  });
});

t.test('texts of interactions', async (t) => {
  const customerId = await customerOf(400);
  const old = await interactionOf(customerId, ago(100), { channel: 'chat' });
  const other = await interactionOf(customerId, ago(100), { channel: 'web' });
  const recent = await interactionOf(customerId, ago(29));
  const made = await rule({ kind: 'interaction_text', after: 30, unit: 'days', conditions: { channel: 'chat' } });

  t.match(await dry(made.id), { matching: 1, firstIds: [old.id], status: 'queued', before: ago(30) });
  t.equal((await get(`/v1/interactions/${old.id}`)).text, old.text, 'a dry run removes nothing');
  t.strictSame((await get('/v1/retention-runs')).data, [], 'and leaves nothing behind');

  const before = await metricsOf();
  const run = await applied(made.id);
  t.match(run, { status: 'finished', matching: 1, examined: 2, removed: 1, skipped: 0, requestedBy: 'test' });
  const { created: _, applied: __, warnings: ___, ...record } = old;
  t.strictSame(await get(`/v1/interactions/${old.id}`), { ...record, text: null, version: 2, updatedAt: ago(0) });
  for (const one of [other, recent]) t.equal((await get(`/v1/interactions/${one.id}`)).text, one.text);
  t.equal((await get(`/v1/interactions?q=${old.text}`)).data.length, 0, 'it is not found by its words any more');
  t.strictSame(await metricsOf(), before);
  t.equal((await get(`/v1/retention-rules/${made.id}`)).lastRunAt, ago(0));
  t.match(await applied(made.id), { matching: 0, removed: 0 }, 'again: nothing');
});

t.test('texts of answers', async (t) => {
  const customerId = await customerOf(400);
  const old = await responseOf(customerId, ago(100));
  const anonymous = await responseOf(null, ago(100));
  const recent = await responseOf(customerId, ago(10));
  const made = await rule({ kind: 'survey_text', after: 2, unit: 'months', conditions: { surveyId: survey.id } });
  t.strictSame((await dry(made.id)).firstIds, [old.id, anonymous.id]);
  t.equal((await dry(made.id)).before, '2026-04-01T12:00:00.000Z', 'calendar months');
  const before = await metricsOf();
  t.match(await applied(made.id), { status: 'finished', matching: 2, removed: 2 });
  const texts = async (id: string) =>
    (await get(`/v1/survey-responses/${id}`)).answers.flatMap(({ text }: { text: string | null }) => text ?? []);
  t.strictSame(await texts(old.id), []);
  t.strictSame(await texts(anonymous.id), []);
  t.equal((await texts(recent.id)).length, 1);
  t.equal((await get(`/v1/survey-responses/${old.id}`)).version, 2);
  t.strictSame(await metricsOf(), before);
});

t.test('notes of follow-ups that are closed', async (t) => {
  const customerId = await customerOf(400);
  const followUp = async (closed: boolean) => {
    now = start - 100 * day;
    const { id } = await made('/v1/follow-ups', {
      customerId,
      kind: 'retention',
      reason: 'moves away',
      note: 'called',
    });
    if (closed) {
      await request('PATCH', `/v1/follow-ups/${id}`, {
        body: { status: 'done', outcome: 'retained' },
        headers: { 'If-Match': '*' },
      });
    }
    now = start;
    return id;
  };
  const closed = await followUp(true);
  const open = await followUp(false);
  const { id } = await rule({ kind: 'follow_up_note', after: 30, unit: 'days' });
  t.match(await applied(id), { matching: 1, removed: 1 });
  t.match(await get(`/v1/follow-ups/${closed}`), { reason: null, note: null, status: 'done' });
  t.match(await get(`/v1/follow-ups/${open}`), { reason: 'moves away', note: 'called' });
});

t.test('invitations that are over, unless somebody would be asked too soon without them', async (t) => {
  const customerId = await customerOf(400);
  const invitation = async (days: number, sent: boolean) => {
    now = start - days * day;
    const { id } = await made('/v1/survey-invitations', { surveyId: survey.id, customerId });
    await request('PATCH', `/v1/survey-invitations/${id}`, {
      body: { status: 'cancelled' },
      headers: { 'If-Match': '*' },
    });
    if (sent) await database.query('update survey_invitations set sent_at = due_at where id = $1', [id]);
    now = start;
    return id;
  };
  const old = await invitation(300, true);
  const stillCounts = await invitation(80, true);
  const neverSent = await invitation(60, false);
  const recent = await invitation(20, false);
  const { id } = await rule({ kind: 'survey_invitation', after: 10, unit: 'days' });
  t.match(await dry(id), { matching: 2, firstIds: [old, neverSent] });
  t.match(await applied(id), { removed: 2 });
  t.equal((await request('GET', `/v1/survey-invitations/${old}`)).status, 404);
  t.equal((await request('GET', `/v1/survey-invitations/${neverSent}`)).status, 404);
  t.equal((await request('GET', `/v1/survey-invitations/${stillCounts}`)).status, 200, 'asked within 90 days');
  t.equal((await request('GET', `/v1/survey-invitations/${recent}`)).status, 200, 'planning may look back at it');
});

t.test('stored answers', async (t) => {
  now = start - 2 * day;
  const key = newKey();
  const body = { name: 'Twice' };
  const first = await request('POST', '/v1/customers', { body, headers: key });
  now = start;
  const { id } = await rule({ kind: 'idempotency', after: 1, unit: 'days' });
  const { matching } = await dry(id);
  t.ok(matching >= 1);
  t.match(await applied(id), { status: 'finished', removed: matching });
  const again = await request('POST', '/v1/customers', { body, headers: key });
  t.not(again.body.id, first.body.id, 'the key is free');
});

t.test('every night', async (t) => {
  const customerId = await customerOf(400);
  const told = await interactionOf(customerId, ago(200));
  const enabled = await rule({ kind: 'interaction_text', after: 100, unit: 'days', enabled: true });
  const disabled = await rule({ kind: 'interaction_text', after: 1, unit: 'days' });
  await api.app.jobs.addRecurring([applyRetention.name]);
  await runJobs(api);
  t.equal((await get(`/v1/interactions/${told.id}`)).text, null);
  const [run] = (await get(`/v1/retention-runs?ruleId=${enabled.id}`)).data;
  t.match(run, { requestedBy: null, matching: null, status: 'finished', removed: 1 });
  t.strictSame((await get(`/v1/retention-runs?ruleId=${disabled.id}`)).data, []);

  now = start + 30 * day;
  const later = await interactionOf(customerId, ago(72));
  await api.app.jobs.addRecurring([applyRetention.name]);
  await runJobs(api);
  now = start;
  t.equal((await get(`/v1/interactions/${later.id}`)).text, null, 'by the clock of the service');

  // A run under way is not begun twice; one whose job was given up holds nothing up.
  const runs = async () => (await get(`/v1/retention-runs?ruleId=${enabled.id}&count=true`)).page.total;
  const before = await runs();
  await database.query("update retention_runs set status = 'running', created_at = $2 where rule_id = $1", [
    enabled.id,
    ago(1),
  ]);
  await api.app.jobs.addRecurring([applyRetention.name]);
  await runJobs(api);
  t.equal(await runs(), before);
  await database.query('update retention_runs set created_at = $2 where rule_id = $1', [enabled.id, ago(8)]);
  await api.app.jobs.addRecurring([applyRetention.name]);
  await runJobs(api);
  t.equal(await runs(), before + 1);
  await request('DELETE', `/v1/retention-rules/${enabled.id}`, { headers: { 'If-Match': '*' } });
});

t.test('a rule that is changed ends its run', async (t) => {
  const customerId = await customerOf(400);
  const told = await interactionOf(customerId, ago(200));
  const made = await rule({ kind: 'interaction_text', after: 100, unit: 'days', enabled: true });
  const asked = await request('POST', `/v1/retention-rules/${made.id}/run`, { headers: newKey() });
  await request('PATCH', `/v1/retention-rules/${made.id}`, { body: { enabled: false }, headers: { 'If-Match': '*' } });
  await runJobs(api);
  t.match(await get(`/v1/retention-runs/${asked.body.id}`), { status: 'cancelled', removed: 0 });
  t.equal((await get(`/v1/interactions/${told.id}`)).text, told.text);
});

t.test('a customer whom somebody is at work on is left for the next run, and waits for nobody', async (t) => {
  const busy = await customerOf(400);
  const idle = await customerOf(400);
  const [mine, theirs] = [await interactionOf(idle, ago(200)), await interactionOf(busy, ago(200))];
  const { id } = await rule({ kind: 'interaction_text', after: 150, unit: 'days' });
  const worker = new pg.Client(api.connection);
  await worker.connect();
  await worker.query('begin');
  await worker.query('select from customers where id = $1 for no key update', [busy]);
  const run = await applied(id);
  await worker.query('rollback');
  await worker.end();
  t.match(run, { status: 'finished', skipped: 1 });
  t.equal((await get(`/v1/interactions/${mine.id}`)).text, null);
  t.equal((await get(`/v1/interactions/${theirs.id}`)).text, theirs.text);
  t.match(await applied(id), { removed: 1, skipped: 0 });
});

t.test('a run goes on where it was, and a finished one is not done again', async (t) => {
  const customerId = await customerOf(year / day);
  const items = Array.from({ length: 1_000 }, (_, index) => ({
    customerId,
    kind: 'web_visit',
    occurredAt: ago(300 + index / 1_000),
    text: `seen ${index}`,
  }));
  for (const part of [items, items, items]) {
    const answer = await request('POST', '/v1/interactions/batch', { body: { interactions: part }, headers: newKey() });
    t.equal(answer.body.results[0].status, 'created', JSON.stringify(answer.body).slice(0, 300));
  }
  const { id } = await rule({ kind: 'interaction_text', after: 250, unit: 'days' });
  t.equal((await dry(id)).firstIds.length, 20);
  const run = await applied(id);
  t.match(run, { status: 'finished', matching: 3_000, removed: 3_000 });
  t.ok(run.version > 2, 'in more than one step');
  // As a process leaves it that dies after its first step.
  await database.query("update interactions set text = 'again' where customer_id = $1", [customerId]);
  const {
    rows: [row],
  } = await database.query(
    `update retention_runs set status = 'running', finished_at = null, removed = 0, examined = 0,
       position = json_build_object('at', to_char(($2::timestamptz) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'id', '00000000-0000-0000-0000-000000000000')
     where id = $1 returning id`,
    [run.id, ago(300.5)],
  );
  await database.query("select graphile_worker.add_job('runRetention', json_build_object('runId', $1::text))", [
    row.id,
  ]);
  await runJobs(api);
  const taken = await get(`/v1/retention-runs/${run.id}`);
  const { rows } = await database.query(
    `select count(*)::int as kept, count(*) filter (where occurred_at >= $2)::int as late from interactions where customer_id = $1 and text is not null`,
    [customerId, ago(300.5)],
  );
  t.equal(taken.status, 'finished');
  t.equal(rows[0].late, 0, 'what was still to be done is done');
  t.equal(rows[0].kept + taken.removed, 3_000);
  await database.query("select graphile_worker.add_job('runRetention', json_build_object('runId', $1::text))", [
    run.id,
  ]);
  await runJobs(api);
  t.strictSame(await get(`/v1/retention-runs/${run.id}`), taken);
});

t.test('customers of whom nothing was heard', async (t) => {
  const years = 4 * 365;
  const old = ago(years - 10);
  const orderOf = (customerId: string, placedAt: string) =>
    made('/v1/orders', {
      source: 'shop',
      externalId: fresh('order'),
      customerId,
      placedAt,
      currency: 'EUR',
      total: 1000,
      items: [{ sku: 'A', quantity: 1, total: 1000 }],
      paymentStatus: 'paid',
    });
  const then = async <T>(days: number, work: () => Promise<T>): Promise<T> => {
    now = start - days * day;
    try {
      return await work();
    } finally {
      now = start;
    }
  };
  const consentOf = (customerId: string, status: string, days: number) =>
    then(days, () =>
      made(`/v1/customers/${customerId}/consents`, {
        purpose: 'newsletter',
        status,
        at: ago(days),
        evidence: { source: 'form' },
      }),
    );
  const email = () => ({ identities: [{ kind: 'email', value: `${fresh('quiet')}@example.org` }] });

  const claim = () => ({ email: `${fresh('lead')}@example.org` });
  const club = await made('/v1/loyalty/programmes', { name: 'Club', rules: { pointsPerUnit: 1, pointValue: 0.5 } });
  await request('POST', `/v1/loyalty/programmes/${club.id}/publish`, {
    body: { validFrom: '2020-01-01T00:00:00Z' },
    headers: { 'If-Match': '*', ...newKey() },
  });
  const reward = await made('/v1/loyalty/rewards', { programmeId: club.id, name: 'Can', points: 1 });
  const quiet = await customerOf(years, { ...email(), birthday: '--02-14' });
  await orderOf(quiet, old);
  await then(years - 10, () => interactionOf(quiet, old));
  const gone = [quiet, await customerOf(years), await customerOf(years, { kind: 'company' })];
  const withdrawn = await customerOf(years);
  await consentOf(withdrawn, 'granted', years - 5);
  await consentOf(withdrawn, 'withdrawn', years - 6);
  gone.push(withdrawn);
  await then(years, async () => {
    const created = await made('/v1/leads', { customer: claim(), enteredAt: ago(years) });
    gone.push(created.id);
  });

  const heard: Record<string, (customerId: string) => Promise<unknown>> = {
    order: (id) => orderOf(id, ago(20)),
    return: (customerId) =>
      made('/v1/returns', {
        source: 'shop',
        externalId: fresh('return'),
        customerId,
        returnedAt: ago(20),
        currency: 'EUR',
        total: 100,
      }),
    refund: async (id) => {
      const order = await orderOf(id, old);
      await made(`/v1/orders/${order.id}/refunds`, { amount: 100, refundedAt: ago(20) });
    },
    interaction: (id) => interactionOf(id, ago(20)),
    response: (id) => responseOf(id, ago(20)),
    invitation: (customerId) => made('/v1/survey-invitations', { surveyId: survey.id, customerId }),
    consent: (id) => consentOf(id, 'withdrawn', 20),
    'granted consent': (id) => consentOf(id, 'granted', years - 20),
    lead: (customerId) => made('/v1/leads', { customerId, enteredAt: ago(20) }),
    // Asked for long ago, and handed over lately: no other record of the customer is as young.
    'fulfilled redemption': async (customerId) => {
      const redemption = await then(years - 5, async () => {
        await made(`/v1/customers/${customerId}/loyalty`, { programmeId: club.id, joinedAt: ago(years - 5) });
        await made('/v1/loyalty/transactions', { kind: 'adjust', customerId, points: 100, reason: 'a gift' });
        return made('/v1/loyalty/redemptions', { customerId, rewardId: reward.id });
      });
      await then(20, () => made(`/v1/loyalty/redemptions/${redemption.id}/fulfil`, {}, 200));
    },
    'open follow-up': (customerId) =>
      then(years - 30, () => made('/v1/follow-ups', { customerId, kind: 'retention', reason: 'moves' })),
  };
  const kept = new Map<string, string>();
  for (const [what, make] of Object.entries(heard)) {
    const id = await customerOf(years);
    await make(id);
    kept.set(what, id);
  }
  kept.set('recently made', await customerOf(20));

  const { id } = await rule({ kind: 'customer', after: 36, unit: 'months' });
  const asked = await dry(id);
  t.strictSame(new Set(asked.firstIds), new Set(gone), 'those of whom nothing was heard');
  t.equal(asked.matching, gone.length);
  t.equal((await get(`/v1/customers/${quiet}`)).birthday, '--02-14', 'also a day without a year is there until then');
  const people = await rule({ kind: 'customer', after: 36, unit: 'months', conditions: { customerKind: 'person' } });
  t.equal((await dry(people.id)).matching, gone.length - 1, 'persons only');
  const all = await rule({ kind: 'customer', after: 36, unit: 'months', conditions: { keepConsented: false } });
  t.equal((await dry(all.id)).matching, gone.length + 1, 'consent or not');

  const before = await metricsOf();
  const run = await applied(id);
  t.match(run, { status: 'finished', removed: gone.length, skipped: 0 });
  t.strictSame(await metricsOf(), before, 'no metric changes');
  for (const one of gone) {
    const { name, birthday, erasedAt, identities } = await get(`/v1/customers/${one}`);
    t.strictSame(
      { name, birthday, erasedAt, identities },
      { name: null, birthday: null, erasedAt: ago(0), identities: [] },
    );
    const { rows } = await database.query(
      `select operation, kind, door, client, request_id as run, customer_ids as customers from audit_entries
       where customer_ids = array[$1]::uuid[] and operation = 'eraseCustomer'`,
      [one],
    );
    t.strictSame(rows, [
      { operation: 'eraseCustomer', kind: 'write', door: 'job', client: 'test', run: run.id, customers: [one] },
    ]);
  }
  for (const [what, one] of kept) t.equal((await get(`/v1/customers/${one}`)).erasedAt, null, what);
  t.match(await applied(id), { matching: 0, removed: 0 }, 'and not again');
  t.equal((await get(`/v1/orders?customerId=${quiet}`)).data.length, 1, 'facts stay');

  t.test('leads that never became customers', async (t) => {
    const silent = await then(900, async () => (await made('/v1/leads', { customer: claim() })).id);
    const ordered = await then(900, async () => (await made('/v1/leads', { customer: claim() })).id);
    await orderOf(ordered, ago(899));
    const called = await then(900, async () => (await made('/v1/leads', { customer: claim() })).id);
    await interactionOf(called, ago(5));
    const plain = await customerOf(900);
    const { id } = await rule({ kind: 'lead', after: 24, unit: 'months' });
    t.match(await dry(id), { matching: 1, firstIds: [silent] });
    const before = await metricsOf();
    t.match(await applied(id), { removed: 1 });
    t.strictSame(await metricsOf(), before);
    t.equal((await get(`/v1/customers/${silent}`)).erasedAt, ago(0));
    for (const one of [ordered, called, plain]) t.equal((await get(`/v1/customers/${one}`)).erasedAt, null);
  });
});
