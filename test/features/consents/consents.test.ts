import fc from 'fast-check';
import t from 'tap';
import { consentDifferences, recomputeConsents } from '../../../src/features/consents/queries.ts';
import { openPool, poolDb, transaction } from '../../../src/platform/db/client.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const pool = openPool(api.connection, { size: 4, statementTimeout: 20_000 });
t.teardown(() => pool.end());

const post = (path: string, body: unknown, more: object = {}) =>
  request('POST', path, { body, headers: newKey(), ...more });
async function made(path: string, body: object): Promise<Answer['body']> {
  const answer = await post(path, body);
  if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const newCustomer = async (more: object = {}): Promise<string> =>
  (await made('/v1/customers', { name: fresh('Person'), ...more })).id;
const inForce = async (id: string, query = ''): Promise<Record<string, string>[]> =>
  (await request('GET', `/v1/customers/${id}/consents${query}`)).body.consents;
const told = (states: Record<string, string>[]) =>
  states.map(({ purpose, channel, status }) => [purpose, channel, status].join(' '));

t.test('a consent is recorded, is in force, and is never rewritten', async (t) => {
  const externalId = fresh('C');
  const id = await newCustomer({ references: [{ source: 'shop', externalId }] });
  const evidence = { source: 'checkout', textVersion: '7', wording: 'Yes, mail me', reference: 'doi-1' };
  const body = { purpose: 'newsletter', channel: 'email', status: 'granted', evidence };
  const first = await post(`/v1/customers/${id}/consents`, body);
  t.equal(first.status, 201);
  t.match(first.body, { ...body, customerId: id, at: now, by: 'test', createdAt: now });
  const second = await post(`/v1/customers/external/shop/${externalId}/consents`, {
    purpose: 'newsletter',
    status: 'withdrawn',
  });
  t.match(second.body, { channel: null, status: 'withdrawn', evidence: null, customerId: id });
  t.same(told(await inForce(id)), ['newsletter  withdrawn', 'newsletter email withdrawn'], 'all channels means each');
  const history = await request('GET', `/v1/customers/external/shop/${externalId}/consents/history`);
  t.same(
    history.body.data.map((one: { id: string }) => one.id),
    [second.body.id, first.body.id],
  );
  t.match((await request('GET', `/v1/customers/${id}/consents/history?limit=1&count=true`)).body.page, {
    hasMore: true,
    total: 2,
  });
  const hidden = await request('GET', `/v1/customers/${id}/consents/history`, { scope: 'consents:read' });
  t.same(
    hidden.body.data.map((one: { evidence: unknown }) => one.evidence),
    [null, null],
    'evidence is personal',
  );
  t.equal((await request('GET', `/v1/customers/${fresh('x')}/consents`)).status, 422);
  const nobody = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  for (const path of ['consents', 'consents/history'])
    t.equal((await request('GET', `/v1/customers/${nobody}/${path}`)).status, 404);
  t.equal((await post(`/v1/customers/${nobody}/consents`, body)).status, 404);
  t.match(await post(`/v1/customers/${id}/consents`, { ...body, at: '2026-06-01T12:11:00Z' }), {
    status: 422,
    body: { errors: [{ pointer: '/at', code: 'in_the_future' }] },
  });
  for (const purpose of ['News', 'a-b', '', '1st', 'x'.repeat(65)])
    t.equal((await post(`/v1/customers/${id}/consents`, { ...body, purpose })).status, 422, purpose);
});

t.test('late and equal instants', async (t) => {
  const id = await newCustomer();
  const say = (status: string, at: string, channel?: string) =>
    made(`/v1/customers/${id}/consents`, { purpose: 'ads', status, at, ...(channel && { channel }) });
  await say('granted', '2026-05-02T00:00:00Z', 'email');
  await say('withdrawn', '2026-05-01T00:00:00Z');
  t.same(told(await inForce(id)), ['ads  withdrawn', 'ads email granted'], 'what comes late is history');
  t.same(told(await inForce(id, '?channel=email')), ['ads email granted']);
  t.same(told(await inForce(id, '?channel=phone')), ['ads phone withdrawn'], 'no word on it: that on all');
  await say('withdrawn', '2026-05-02T00:00:00Z');
  t.same(told(await inForce(id, '?channel=email')), ['ads email withdrawn'], 'of one instant the later recorded');
  await say('granted', '2026-05-02T00:00:00Z', 'email');
  t.same(told(await inForce(id, '?channel=email')), ['ads email granted']);
  const overtaken = await request('GET', `/v1/consents?customerId=${id}&inForce=false`);
  const standing = await request('GET', `/v1/consents?customerId=${id}&inForce=true&sort=at`);
  t.equal(overtaken.body.data.length, 2);
  t.equal(standing.body.data.length, 2);
});

t.test('batches and documents', async (t) => {
  const [a, b] = [await newCustomer(), await newCustomer()];
  const nobody = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  const item = { purpose: 'surveys', status: 'granted' };
  const answer = await post('/v1/consents/batch', {
    consents: [
      { customerId: a, ...item },
      { customerId: nobody, ...item },
      { customerId: b, ...item, at: '2027-01-01T00:00:00Z' },
      { customerId: b, purpose: 'surveys' },
      { customerId: b, ...item, status: 'withdrawn', channel: 'sms' },
    ],
  });
  t.same(
    answer.body.results.map((one: any) => `${one.status} ${one.error?.errors?.[0]?.pointer ?? ''}`),
    ['created ', 'refused /customerId', 'refused /at', 'refused /status', 'created '],
  );
  t.same(told(await inForce(a)), ['surveys  granted']);
  t.same(told(await inForce(b)), ['surveys sms withdrawn']);

  const externalId = fresh('doc');
  const at = '2026-05-01T00:00:00.000Z';
  const document = {
    name: 'Ada',
    consents: [
      { ...item, at },
      { ...item, channel: 'post', status: 'withdrawn' },
    ],
  };
  const put = () => request('PUT', `/v1/customers/external/shop/${externalId}`, { body: document });
  const { body: created } = await put();
  t.same(told(await inForce(created.id)), ['surveys  granted', 'surveys post withdrawn']);
  await put();
  const steps = () => request('GET', `/v1/customers/${created.id}/consents/history`);
  t.equal((await steps()).body.data.length, 2, 'the same again says nothing new');
  await made(`/v1/customers/${created.id}/consents`, { ...item, channel: 'post' });
  await put();
  t.equal((await steps()).body.data.length, 4, 'without an instant it counts as said now');
  t.same(told(await inForce(created.id, '?channel=post')), ['surveys post withdrawn']);
  const refused = await post('/v1/customers', {
    name: 'Ada',
    consents: [item, { ...item, at: '2027-01-01T00:00:00Z' }],
  });
  t.match(refused, { status: 422, body: { errors: [{ pointer: '/consents/1/at' }] } });
  const lead = await made('/v1/leads', { customer: { email: `${fresh('lead')}@example.org` }, consents: [item] });
  t.same(told(await inForce(lead.id)), ['surveys  granted']);
});

t.test('a document that says a consent twice records it once', async (t) => {
  const at = '2026-05-01T00:00:00.000Z';
  const dated = { purpose: 'surveys', status: 'granted', at };
  const undated = { purpose: 'newsletter', channel: 'email', status: 'granted' };
  const consents = [dated, dated, undated, undated];
  const path = `/v1/customers/external/shop/${fresh('doc')}`;
  for (const time of ['first', 'second']) {
    const { body } = await request('PUT', path, { body: { name: 'Ada', consents } });
    const { data } = (await request('GET', `/v1/customers/${body.id}/consents/history`)).body;
    t.same(told(data).sort(), ['newsletter email granted', 'surveys  granted'], `the ${time} time`);
  }
  const batch = await post('/v1/customers/batch', {
    customers: [1, 2].map(() => ({ name: 'Ada', consents, references: [{ source: 'shop', externalId: path }] })),
  });
  const { data } = (await request('GET', `/v1/customers/${batch.body.results[0].id}/consents/history`)).body;
  t.equal(data.length, 2, 'nor does a batch with the customer twice');
});

t.test('the other door says the same', async (t) => {
  const id = await newCustomer();
  const query = `mutation ($id: ID!, $input: ConsentInput!) { recordConsent(id: $id, input: $input) {
    consent { id purpose channel status at evidence { source } by customer { id consents { purpose channel status changeId } } } } }`;
  const { body } = await graphql(query, {
    id,
    input: { purpose: 'newsletter', channel: 'EMAIL', status: 'GRANTED', evidence: { source: 'shop' } },
  });
  const { consent } = body.data.recordConsent;
  t.match(consent, { purpose: 'newsletter', channel: 'EMAIL', status: 'GRANTED', evidence: { source: 'shop' } });
  t.same(consent.customer.consents, [
    { purpose: 'newsletter', channel: 'EMAIL', status: 'GRANTED', changeId: consent.id },
  ]);
  const read = await graphql(
    `query ($id: ID!) { customerConsents(id: $id, channel: EMAIL) { consents { status } }
      customerConsentHistory(id: $id) { totalCount nodes { id } } consents(customerId: $id, inForce: true) { nodes { id } } }`,
    { id },
  );
  t.same(read.body.data, {
    customerConsents: { consents: [{ status: 'GRANTED' }] },
    customerConsentHistory: { totalCount: 1, nodes: [{ id: consent.id }] },
    consents: { nodes: [{ id: consent.id }] },
  });
});

t.test('surveys ask whom has consented, and nobody else', async (t) => {
  const survey = await made('/v1/surveys', {
    name: fresh('Survey'),
    status: 'open',
    channel: 'email',
    questions: [{ key: 'recommend', type: 'nps', text: 'Would you?', required: true }],
    settings: { contactFrequencyDays: 0, consentPurpose: 'surveys', triggers: [{ on: 'order_placed' }] },
  });
  t.equal(survey.settings.consentPurpose, 'surveys');
  const people = {
    silent: await newCustomer(),
    all: await newCustomer({ consents: [{ purpose: 'surveys', status: 'granted' }] }),
    email: await newCustomer({ consents: [{ purpose: 'surveys', status: 'granted', channel: 'email' }] }),
    phone: await newCustomer({ consents: [{ purpose: 'surveys', status: 'granted', channel: 'phone' }] }),
    notByEmail: await newCustomer({
      consents: [
        { purpose: 'surveys', status: 'granted' },
        { purpose: 'surveys', status: 'withdrawn', channel: 'email' },
      ],
    }),
    other: await newCustomer({ consents: [{ purpose: 'newsletter', status: 'granted' }] }),
  };
  const willing = ['all', 'email'];
  for (const [name, customerId] of Object.entries(people)) {
    const { body } = await post(`/v1/surveys/${survey.id}/eligibility`, { customerId, reserve: false });
    const reasons = willing.includes(name) ? [] : ['no_consent'];
    t.same(
      body.reasons.map((one: { code: string }) => one.code),
      reasons,
      name,
    );
    await made('/v1/survey-invitations', { surveyId: survey.id, customerId });
    await made('/v1/orders', orderOf({ customerId, placedAt: now }));
  }
  const { body } = await post('/v1/survey-invitations/claim', { surveyId: survey.id, limit: 100 });
  const asked = body.invitations.map((one: any) => [one.invitation.customerId, one.invitation.trigger].join(' '));
  const expected = willing.flatMap((name) => {
    const id = people[name as keyof typeof people]; // names of the record above
    return [`${id} manual`, `${id} order_placed`];
  });
  t.same(asked.sort(), expected.sort());
  const { body: rest } = await request('GET', `/v1/survey-invitations?surveyId=${survey.id}&limit=100`);
  t.same(
    rest.data.filter((one: any) => one.status !== 'sent').map((one: any) => [one.trigger, one.status].join(' ')),
    Array.from({ length: 4 }, () => 'manual expired'),
    'what was asked for by hand ends; triggers plan nothing',
  );
});

t.test('what is in force is what the history says, whatever the order in which it came', async (t) => {
  const channels = [null, 'email', 'sms', 'phone'] as const;
  const step = fc.record({
    who: fc.nat(1),
    purpose: fc.constantFrom('a', 'b'),
    channel: fc.constantFrom(...channels),
    status: fc.constantFrom('granted', 'withdrawn'),
    day: fc.integer({ min: 1, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const ids = [await newCustomer(), await newCustomer()];
      for (const part of [steps.slice(0, 5), steps.slice(5)]) {
        if (part.length === 0) continue;
        const consents = part.map(({ who, day, ...said }) => ({
          customerId: ids[who],
          ...said,
          at: `2026-05-0${day}T00:00:00Z`,
        }));
        await post('/v1/consents/batch', { consents });
      }
      for (const [who, id] of ids.entries()) {
        for (const channel of ['email', 'sms', 'phone', 'post'] as const) {
          for (const purpose of ['a', 'b']) {
            // The naive reading: walk through all of them, what is not older than the one before it takes its place.
            let last: (typeof steps)[number] | undefined;
            for (const one of steps) {
              const counts =
                one.who === who && one.purpose === purpose && (one.channel === null || one.channel === channel);
              if (counts && (last === undefined || one.day >= last.day)) last = one;
            }
            const found = await inForce(id, `?channel=${channel}&purpose=${purpose}`);
            if (found[0]?.['status'] !== last?.status) return false;
          }
        }
      }
      return true;
    }),
    { numRuns: 15 },
  );
  t.same(await consentDifferences(poolDb(pool), 10), []);
  await pool.query(
    `update consents set status = 'granted' where status = 'withdrawn' and customer_id in (select customer_id from consents where status = 'withdrawn' limit 1)`,
  );
  const [wrong] = await consentDifferences(poolDb(pool), 10);
  t.match(wrong, { table: 'consents' });
  await transaction(pool, (tx) => recomputeConsents(tx, [wrong?.customerId ?? '']));
  t.same(await consentDifferences(poolDb(pool), 10), []);
});

t.test('a customer records and reads its own', async (t) => {
  const [own, other] = [await newCustomer(), await newCustomer()];
  const as = { scope: 'consents:read consents:write customers:pii', customer: own };
  const body = { purpose: 'newsletter', status: 'granted' };
  t.equal((await post(`/v1/customers/${own}/consents`, body, as)).status, 201);
  t.match((await request('GET', `/v1/customers/${own}/consents`, as)).body, { consents: [{ status: 'granted' }] });
  t.equal((await post(`/v1/customers/${other}/consents`, body, as)).status, 404);
  t.equal((await request('GET', `/v1/customers/${other}/consents`, as)).status, 404);
  await post(`/v1/customers/${other}/consents`, body);
  t.equal((await request('GET', '/v1/consents', as)).body.data.length, 1);
});
