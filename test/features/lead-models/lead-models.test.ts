import t from 'tap';
import { trainLeadModel } from '../../../src/features/lead-models/train.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import type { Services } from '../../../src/platform/operation.ts';
import { runJobs, type TestApp, testApp } from '../../support/app.ts';
import { statementsOf } from '../../support/statements.ts';

/** Learned scores through both doors, on leads made so that one knows what there is to learn. */

const now = '2026-06-01T12:00:00.000Z';
const day = 86_400_000;
const entered = Date.parse('2026-01-01T00:00:00Z');
const at = (days: number) => new Date(entered + days * day).toISOString();

interface Plan {
  name: string;
  job?: string;
  calls?: number;
  /** Days after the lead entered. */
  converts?: number;
  enters?: number;
}

/** Four in five of those who were called thrice buy, one in five of the others; what they do says nothing of it. */
function plans(count: number): Plan[] {
  return Array.from({ length: count }, (_, n) => {
    const likely = n % 2 === 0;
    const converts = likely ? n % 10 !== 0 : n % 10 === 5;
    return {
      name: `l${n}`,
      job: n % 4 < 2 ? 'engineer' : 'poet',
      calls: likely ? 3 : 1,
      ...(converts && { converts: 20 }),
    };
  });
}

async function push(app: TestApp, leads: Plan[]): Promise<string[]> {
  const customer = ({ name }: Plan) => ({ source: 'test', externalId: name });
  const send = async (kind: string, documents: object[]) => {
    if (documents.length === 0) return [];
    const { body } = await app.request('POST', `/v1/${kind}/batch`, { body: { [kind]: documents } });
    const refused = body.results.find((result: { status: string }) => result.status === 'refused');
    if (refused) throw new Error(JSON.stringify(refused));
    return body.results.map(({ id }: { id: string }) => id);
  };
  await send(
    'customers',
    leads.map((plan) => ({
      name: plan.name,
      references: [customer(plan)],
      attributes: { job: plan.job, outcome: plan.converts === undefined ? 'lost' : 'won' },
    })),
  );
  const ids = await send(
    'leads',
    leads.map((plan) => ({ customer: customer(plan), enteredAt: at(plan.enters ?? 0) })),
  );
  await send(
    'interactions',
    leads.flatMap((plan) => [
      ...Array.from({ length: plan.calls ?? 0 }, (_, call) => ({
        customer: customer(plan),
        kind: 'phone',
        direction: 'outbound',
        topic: 'price',
        occurredAt: at((plan.enters ?? 0) + 1 + call),
      })),
      // What comes with being a customer must teach nothing.
      ...(plan.converts === undefined
        ? []
        : [
            {
              customer: customer(plan),
              kind: 'email_sent',
              direction: 'outbound',
              topic: 'welcome, customer',
              occurredAt: at((plan.enters ?? 0) + plan.converts),
            },
          ]),
    ]),
  );
  for (const [index, { converts, enters = 0 }] of leads.entries()) {
    if (converts === undefined) continue;
    await app.request('POST', `/v1/leads/${ids[index]}/stage`, { body: { to: 'customer', at: at(enters + converts) } });
  }
  return ids;
}

async function train(app: TestApp, body: object) {
  const made = await app.request('POST', '/v1/lead-models', { body });
  await runJobs(app);
  return app.request('GET', `/v1/lead-models/${made.body.id}`);
}

t.test('learned scores', { timeout: 300_000 }, async (t) => {
  const app = await testApp(t, { clock: () => now });

  await t.test('before there is a model', async (t) => {
    const [id] = await push(app, [{ name: 'first' }]);
    const { body } = await app.request('GET', `/v1/leads/${id}/score`);
    t.strictSame([body.learned, body.learnedReason], [null, 'no_model']);
    const { body: page } = await app.request('GET', '/v1/leads?learned=true');
    t.equal(page.data[0].learned, null);
    t.notOk('learned' in (await app.request('GET', '/v1/leads')).body.data[0]);
  });

  await t.test('too little to learn from is refused, with the numbers', async (t) => {
    const { body } = await train(app, { minConversions: 50 });
    t.equal(body.status, 'refused');
    t.equal(body.reason.code, 'too_few_conversions');
    t.match(body.reason.message, /^0 of 1 leads .*50 are needed/);
    t.strictSame([body.quality, body.intercept, body.coefficients], [null, null, []]);
    t.equal((await app.request('GET', `/v1/lead-models/${body.id}/scores`)).body.code, 'lead_model_not_ready');
  });

  const ids = await push(app, plans(300));
  const id = ids[0] ?? '';
  const young: Plan[] = [
    { name: 'young', enters: 140, calls: 3 },
    { name: 'young-customer', enters: 140, converts: 5, calls: 3 },
    { name: 'late', converts: 100, calls: 1 },
    { name: 'always', converts: 0, calls: 1 },
  ];
  await push(app, young);
  // Won in time, lost, won again when the days were over: the first time counts. Won, and the order cancelled: none.
  const [again = '', undone = ''] = await push(app, [
    { name: 'again', converts: 20, calls: 3 },
    { name: 'undone', calls: 1 },
  ]);
  for (const [to, days] of [
    ['former', 30],
    ['customer', 120],
  ] as const) {
    const body = { to, at: at(days), ...(to === 'former' && { lossReason: 'price' }) };
    t.equal((await app.request('POST', `/v1/leads/${again}/stage`, { body })).status, 200);
  }
  const order = {
    ...{ customerId: undone, placedAt: at(10), currency: 'EUR', total: 100 },
    ...{ paymentStatus: 'paid', items: [{ sku: 'X', quantity: 1, total: 100 }] },
  };
  t.equal((await app.request('PUT', '/v1/orders/external/test/o1', { body: order })).status, 201);
  t.equal((await app.request('GET', `/v1/leads/${undone}`)).body.stage, 'customer');
  await app.request('PATCH', '/v1/orders/external/test/o1', {
    body: { cancelledAt: at(11) },
    headers: { 'If-Match': '*' },
  });
  t.equal((await app.request('GET', `/v1/leads/${undone}`)).body.stage, 'lead');

  await t.test('training', async (t) => {
    const made = await app.request('POST', '/v1/lead-models', {
      body: { exclude: ['attributes.outcome'], minConversions: 50 },
    });
    t.equal(made.status, 201);
    t.equal(made.headers.get('location'), `/v1/lead-models/${made.body.id}`);
    t.match(made.body, {
      status: 'queued',
      number: 2,
      created: true,
      counts: null,
      parameters: { horizonDays: 90, asOf: now, folds: 5 },
    });
    await runJobs(app);
    const { body, headers } = await app.request('GET', `/v1/lead-models/${made.body.id}`);
    t.match(body, { status: 'ready', version: 3, warning: null, reason: null, startedAt: now, finishedAt: now });
    t.equal(headers.get('etag'), '"3"');
    // 300 planned ones, the very first, one that converted in time, one that did too late, and the two after these.
    t.strictSame(body.counts, { leads: 305, conversions: 152, tooYoung: 1, alreadyCustomers: 1 });
    t.ok(body.quality.auc > 0.7 && body.quality.auc < 0.85, `AUC ${body.quality.auc}`);
    t.equal(body.quality.foldAucs.length, 5);
    const sum = (groups: { count: number }[]) => groups.reduce((total, { count }) => total + count, 0);
    for (const groups of [body.quality.lift, body.quality.ruleLift, body.quality.calibration])
      t.equal(sum(groups), 305);
    t.equal(body.quality.ruleSetId, '00000000-0000-7000-8000-000000000001');
    const names = body.coefficients.map(({ feature }: { feature: string }) => feature);
    t.notOk(
      names.some((name: string) => /outcome|welcome|email/.test(name)),
      'neither what is excluded nor what came after',
    );
    const [first] = body.coefficients;
    t.match(first.field, /^interactions\.phone/);
    t.equal(first.oddsRatio, Math.exp(first.coefficient));
    t.ok(first.share > 0 && first.share < 1);
    await t.test('is the same when it runs again', async (t) => {
      const again = await train(app, { exclude: ['attributes.outcome'], minConversions: 50 });
      t.strictSame({ ...again.body.quality, seconds: 0 }, { ...body.quality, seconds: 0 });
      t.strictSame(again.body.coefficients, body.coefficients);
    });
  });

  await t.test('what was filled in after the outcome is found out', async (t) => {
    const { body } = await train(app, { minConversions: 50 });
    t.equal(body.status, 'ready');
    t.ok(body.quality.auc >= 0.97);
    t.equal(body.warning.code, 'outcome_in_fields');
    t.equal(body.warning.fields[0], 'attributes.outcome');
  });

  await t.test('exclusions that mean nothing are named', async (t) => {
    const exclude = ['attributes.outcome', 'attributes.Outcome', 'attributes.out*', 'interactions', 'attributes.o'];
    const { body } = await train(app, { exclude, minConversions: 50 });
    t.strictSame(body.quality.unusedExclusions, ['attributes.Outcome', 'attributes.o']);
  });

  await t.test('windows, horizons and what was known then', async (t) => {
    const early = await train(app, { asOf: at(60), minConversions: 50 });
    t.equal(early.body.reason.code, 'too_few_others');
    t.match(early.body.counts, { conversions: 151, leads: 151, alreadyCustomers: 1, tooYoung: 153 });
    const short = await train(app, { horizonDays: 10, minConversions: 50 });
    t.equal(short.body.reason.code, 'too_few_conversions');
    t.match(short.body.counts, { conversions: 1, tooYoung: 0 }, 'the young one has had its ten days');
    const window = await train(app, { enteredFrom: at(100), minConversions: 50 });
    t.match(window.body.counts, { leads: 1, conversions: 1, tooYoung: 1, alreadyCustomers: 0 });
    const empty = await train(app, { exclude: ['profile*', 'attributes', 'interactions*'], minConversions: 50 });
    t.equal(empty.body.reason.code, 'no_features');
  });

  await t.test('the score of a lead, with its reasons', async (t) => {
    const newest = (await train(app, { exclude: ['attributes.outcome'], minConversions: 50 })).body;
    const { body } = await app.request('GET', `/v1/leads/${id}/score`);
    t.equal(body.learnedReason, null);
    t.equal(body.learned.modelId, newest.id, 'the newest ready one is in use');
    const { learned } = body;
    const add = (member: 'logOdds' | 'points', base: number) =>
      learned.contributions.reduce((total: number, one: Record<typeof member, number>) => total + one[member], base);
    t.equal(add('logOdds', learned.baseLogOdds), learned.logOdds);
    t.equal(add('points', learned.basePoints), learned.points);
    t.equal(learned.probability, 1 / (1 + Math.exp(-learned.logOdds)));
    t.ok(learned.contributions.some(({ feature }: { feature: string }) => feature === 'attributes.job = engineer'));
    const before = await app.request('GET', `/v1/leads/${id}/score?asOf=${at(1)}`);
    t.ok(before.body.learned.logOdds < learned.logOdds, 'before it was called');

    await t.test('personal data', async (t) => {
      const scope = 'leads:read';
      const blind = await app.request('GET', `/v1/leads/${id}/score`, { scope });
      t.ok(blind.body.learned.contributions.every(({ feature }: { feature: unknown }) => feature === null));
      t.equal(blind.body.learned.points, learned.points);
      const model = await app.request('GET', `/v1/lead-models/${newest.id}`, { scope });
      t.ok(model.body.coefficients.every(({ feature }: { feature: unknown }) => feature === null));
    });

    await t.test('lists and GraphQL say the same', async (t) => {
      const byList = new Map<string, { probability: number; points: number }>();
      for (let path: string | null = '/v1/leads?learned=true&limit=100'; path !== null; ) {
        const { body: page, headers }: { body: any; headers: Headers } = await app.request('GET', path);
        for (const lead of page.data) byList.set(lead.id, lead.learned);
        path = /<(.+)>/.exec(headers.get('link') ?? '')?.[1] ?? null;
      }
      t.strictSame(byList.get(id), { probability: learned.probability, points: learned.points });
      const byModel: { leadId: string; points: number; probability: number }[] = [];
      for (let path: string | null = `/v1/lead-models/${newest.id}/scores?limit=100&count=true`; path !== null; ) {
        const { body: page, headers }: { body: any; headers: Headers } = await app.request('GET', path);
        t.equal(page.page.total, 307);
        byModel.push(...page.data);
        path = /<(.+)>/.exec(headers.get('link') ?? '')?.[1] ?? null;
      }
      t.strictSame(
        byModel.map(({ leadId }) => leadId),
        [...byList.keys()].sort(),
        'every lead once, in the order of ids',
      );
      for (const { leadId, points, probability } of byModel) t.strictSame(byList.get(leadId), { probability, points });
      const converted = await app.request(
        'GET',
        `/v1/lead-models/${newest.id}/scores?converted=true&enteredFrom=${at(100)}`,
      );
      t.equal(converted.body.data.length, 1);

      const { body: answer } = await app.graphql(
        `query ($id: ID!, $model: ID!) {
          leadScore(id: $id) { learnedReason learned { modelId number probability logOdds points baseLogOdds basePoints contributions { field feature logOdds points } } }
          leads(first: 3) { nodes { id learned { probability points } scoreDetails { learned { points } } } }
          leadModel(id: $model) { status counts { leads } quality { auc lift { decile lift } } coefficients { field feature coefficient oddsRatio share } }
          leadModels(first: 2, status: READY) { nodes { number coefficients { feature } } totalCount }
          leadModelScores(id: $model, first: 2) { nodes { leadId points lead { id } } pageInfo { hasNextPage } }
        }`,
        { id, model: newest.id },
      );
      t.strictSame(answer.errors, undefined);
      t.strictSame(answer.data.leadScore, { learnedReason: null, learned });
      for (const node of answer.data.leads.nodes) {
        t.strictSame(node.learned, byList.get(node.id));
        t.equal(node.scoreDetails.learned.points, node.learned.points);
      }
      t.strictSame(answer.data.leadModel.coefficients, newest.coefficients);
      t.equal(answer.data.leadModels.nodes[0].coefficients.length, newest.coefficients.length);
      t.equal(answer.data.leadModels.totalCount, 5);
      const [one] = answer.data.leadModelScores.nodes;
      t.strictSame([one.leadId, one.points], [byModel[0]?.leadId, byModel[0]?.points]);
      t.equal(one.lead.id, one.leadId);
    });

    await t.test('statements do not grow with the page', async (t) => {
      const counts = [];
      for (const limit of [1, 10, 100]) {
        counts.push(await statementsOf(() => app.request('GET', `/v1/leads?learned=true&limit=${limit}`)));
      }
      t.equal(new Set(counts).size, 1, `${counts}`);
    });
  });

  await t.test('deleting', async (t) => {
    const any = { headers: { 'If-Match': '*' } };
    const { body } = await app.request('GET', '/v1/lead-models?status=ready&limit=2');
    const [newest, older] = body.data;
    t.equal((await app.request('DELETE', `/v1/lead-models/${newest.id}`, any)).body.code, 'lead_model_in_use');
    t.equal((await app.request('DELETE', `/v1/lead-models/${older.id}`)).status, 428);
    t.equal((await app.request('DELETE', `/v1/lead-models/${older.id}?dryRun=true`, any)).status, 204);
    t.equal((await app.request('DELETE', `/v1/lead-models/${older.id}`, any)).status, 204);
    t.equal((await app.request('GET', `/v1/lead-models/${older.id}`)).status, 404);
    const waiting = await app.request('POST', '/v1/lead-models', { body: {} });
    t.equal((await app.request('DELETE', `/v1/lead-models/${waiting.body.id}`, any)).status, 204);
    await runJobs(app);
    t.equal(
      (await app.request('GET', `/v1/lead-models/${waiting.body.id}`)).status,
      404,
      'the job finds nothing to do',
    );
  });

  await t.test('dry run, idempotency, permissions, faults', async (t) => {
    const total = async () => (await app.request('GET', '/v1/lead-models?count=true')).body.page.total;
    const before = await total();
    t.equal((await app.request('POST', '/v1/lead-models?dryRun=true', { body: {} })).status, 201);
    t.equal(await total(), before);
    const key = { headers: { 'Idempotency-Key': 'm1' } };
    const [one, two] = [
      await app.request('POST', '/v1/lead-models', { body: {}, ...key }),
      await app.request('POST', '/v1/lead-models', { body: {}, ...key }),
    ];
    t.strictSame(one.body, two.body);
    t.equal(two.headers.get('idempotency-replayed'), 'true');
    t.equal(await total(), before + 1);
    t.equal((await app.request('POST', '/v1/lead-models', { body: {}, scope: 'leads:read leads:write' })).status, 403);
    t.equal((await app.request('GET', '/v1/lead-models', { scope: 'lead-rules:write' })).status, 403);
    for (const [body, pointer] of [
      [{ asOf: '2026-06-02T00:00:00Z' }, '/asOf'],
      [{ enteredFrom: at(1), enteredTo: at(1) }, '/enteredTo'],
      [{ minConversions: 49 }, '/minConversions'],
      [{ exclude: ['a*b'] }, '/exclude/0'],
      [{ horizonDays: 0 }, '/horizonDays'],
      [{ folds: 10 }, '/folds'],
    ] as const) {
      const { status, body: problem } = await app.request('POST', '/v1/lead-models', { body });
      t.strictSame([status, problem.errors?.[0]?.pointer], [422, pointer]);
    }
    const { body: answer } = await app.graphql(
      'mutation { createLeadModel(input: { exclude: ["profile.kind"] }, dryRun: true) { leadModel { status parameters { exclude } } created } }',
    );
    t.strictSame(answer.data.createLeadModel, {
      leadModel: { status: 'QUEUED', parameters: { exclude: ['profile.kind'] } },
      created: true,
    });
    await runJobs(app);
  });

  await t.test('a training that is stopped is run again', async (t) => {
    const made = await app.request('POST', '/v1/lead-models', { body: { minConversions: 50 } });
    const pool = openPool(app.connection, { size: 2, statementTimeout: 10_000 });
    t.teardown(() => pool.end());
    const stop = new AbortController();
    const services = { pool, db: poolDb(pool), clock: () => now } as unknown as Services; // all that the job asks for
    const helpers = { now, attempt: 1, signal: stop.signal, log: { error: () => undefined } } as never; // nor more of these
    const run = trainLeadModel.run(services, { leadModelId: made.body.id }, helpers);
    stop.abort(new Error('the service stops'));
    await t.rejects(run, /the service stops/);
    t.equal((await app.request('GET', `/v1/lead-models/${made.body.id}`)).body.status, 'training');
    await runJobs(app);
    t.equal((await app.request('GET', `/v1/lead-models/${made.body.id}`)).body.status, 'ready');
  });
});
