import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { readConfig } from '../../../src/config.ts';
import { planSurveyInvitations } from '../../../src/features/survey-invitations/planning.ts';
import { routes } from '../../../src/features.ts';
import { noAudit } from '../../../src/platform/audit.ts';
import { fixedDirectory } from '../../../src/platform/auth/directory.ts';
import { openKeys } from '../../../src/platform/auth/keys.ts';
import { storedSecrets } from '../../../src/platform/auth/stored-secrets.ts';
import { cursorCodec } from '../../../src/platform/cursor.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { openFeed } from '../../../src/platform/feed.ts';
import { isPublic } from '../../../src/platform/http/public.ts';
import { keyedHash } from '../../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../../src/platform/link-token.ts';
import { openOutgoing } from '../../../src/platform/outgoing.ts';
import { type Answer, testApp } from '../../support/app.ts';

const start = Date.parse('2026-03-01T12:00:00.000Z');
const day = 86_400_000;
let now = start;
const at = (days: number) => new Date(start + days * day).toISOString();
const set = (days: number, milliseconds = 0) => {
  now = start + days * day + milliseconds;
};
const api = await testApp(t, { clock: () => new Date(now).toISOString() });
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

let count = 0;
const fresh = () => {
  count += 1;
  return `${count}`;
};
const post = (path: string, body: unknown, key = `key-${fresh()}`) =>
  request('POST', path, { body, headers: { 'Idempotency-Key': key } });
const patch = (path: string, body: unknown) => request('PATCH', path, { body, headers: { 'If-Match': '*' } });
const errorsOf = ({ body }: Answer) =>
  (body.errors ?? []).map((one: { code: string; pointer?: string; parameter?: string }) =>
    [one.pointer ?? one.parameter, one.code].join(' '),
  );

async function made(path: string, body: object): Promise<Answer['body']> {
  const answer = await post(path, body);
  if (answer.status !== 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const questions = [
  { key: 'recommend', type: 'nps', text: 'How likely are you to recommend us?', required: true },
  { key: 'why', type: 'text', text: 'Why?' },
];
const newSurvey = async (settings: object = {}, more: object = {}): Promise<string> =>
  (
    await made('/v1/surveys', {
      name: `Survey ${fresh()}`,
      status: 'open',
      channel: 'email',
      questions,
      settings: { contactFrequencyDays: 30, ...settings },
      ...more,
    })
  ).id;
const newCustomer = async (): Promise<string> => (await made('/v1/customers', { name: `Person ${fresh()}` })).id;
const newOrder = async (customerId: string, more: object = {}): Promise<string> =>
  (
    await made('/v1/orders', {
      source: 'shop',
      externalId: `o${fresh()}`,
      customerId,
      currency: 'EUR',
      total: 1000,
      items: [{ sku: 'A', quantity: 1, total: 1000 }],
      paymentStatus: 'pending',
      placedAt: new Date(now).toISOString(),
      ...more,
    })
  ).id;
const newInvitation = (surveyId: string, customerId: string, more: object = {}) =>
  made('/v1/survey-invitations', { surveyId, customerId, ...more });

interface Claimed {
  hasMore: boolean;
  invitations: { token: string; path: string; invitation: Record<string, string> }[];
}
const claim = async (body: object = {}): Promise<Claimed> => {
  const answer = await post('/v1/survey-invitations/claim', body);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body;
};
const invitation = async (id: string | undefined) => (await request('GET', `/v1/survey-invitations/${id}`)).body;
const invitationsOf = async (surveyId: string): Promise<Record<string, string>[]> =>
  (await request('GET', `/v1/survey-invitations?surveyId=${surveyId}&limit=100&sort=dueAt`)).body.data;
const eligibility = async (surveyId: string, customerId: string, reserve = false) =>
  (await post(`/v1/surveys/${surveyId}/eligibility`, { customerId, reserve })).body;

/** A link that was just sent. */
async function sentLink(
  surveyId: string,
  more: object = {},
): Promise<{ path: string; id: string; customerId: string }> {
  const customerId = await newCustomer();
  await newInvitation(surveyId, customerId, more);
  const { invitations } = await claim({ surveyId });
  const [only] = invitations;
  if (!only || invitations.length !== 1) throw new Error(`${invitations.length} invitations`);
  return { path: only.path, id: String(only.invitation['id']), customerId };
}

const open = { scope: null };
const score = (value: number) => ({ answers: [{ question: 'recommend', score: value }] });

// ---------------------------------------------------------------------------------------------------- tokens

t.test('a token says what was issued, and any other spelling or key says nothing', async (t) => {
  const codec = linkTokens(Buffer.alloc(32, 7));
  const other = linkTokens(Buffer.alloc(32, 8));
  const links = fc.record({ id: fc.uuid(), expiresAt: fc.integer({ min: 0, max: 2 ** 48 - 1 }) });
  fc.assert(
    fc.property(links, fc.nat(), fc.nat({ max: 7 }), (link, place, bit) => {
      const token = codec.issue(link);
      const bytes = Buffer.from(token, 'base64url');
      const index = place % bytes.length;
      bytes.writeUInt8(bytes.readUInt8(index) ^ (1 << bit), index);
      const read = codec.read(token);
      const spellings = [
        `${token}=`,
        `${token}A`,
        ` ${token}`,
        `${token}\n`,
        token.slice(1),
        token.replace(/^(.{40})/, '$1.'),
      ];
      if (/[-_]/.test(token)) spellings.push(token.replaceAll('-', '+').replaceAll('_', '/'));
      return (
        /^[\w-]{72}$/.test(token) &&
        read?.id === link.id &&
        read.expiresAt === link.expiresAt &&
        other.read(token) === null &&
        codec.read(bytes.toString('base64url')) === null &&
        spellings.every((spelling) => codec.read(spelling) === null)
      );
    }),
    { numRuns: 500 },
  );
  t.pass('500 links');
});

t.test('replicas agree on the key of links, and it is not that of cursors', async (t) => {
  const secret = randomBytes(32).toString('hex');
  const keysOf = async (folder: string, text = secret) =>
    openKeys(readConfig({ RAPPORT_DATA_DIR: t.testdir({ [folder]: {} }), CURSOR_SECRET: text }));
  const [one, two] = [await keysOf('one'), await keysOf('two')];
  t.strictSame(one.linkSecret, two.linkSecret);
  t.equal(one.linkSecret.length, 32);
  t.notSame(one.linkSecret, one.cursorSecret);
  t.notSame(one.linkSecret, (await keysOf('three', `${secret}2`)).linkSecret);
});

// ---------------------------------------------------------------------------------------------------- public routes

t.test('exactly the links of surveys are served without a login', async (t) => {
  const without = routes.filter(isPublic);
  t.strictSame(
    without.map(({ method, url }) => `${method} ${url}`),
    ['GET /v1/survey-links/:token', 'POST /v1/survey-links/:token'],
  );
  const ofClients = ['idempotencyKey', 'after', 'expectedVersion'];
  for (const { operation } of without) {
    t.strictSame(
      ofClients.filter((name) => name in operation.input.shape),
      [],
      `${operation.name} has nothing that belongs to a client`,
    );
  }
  for (const { method, url } of routes) {
    const { status } = await request(method, url.replaceAll(/:\w+/g, 'x'), open);
    t.equal(status === 401, !url.startsWith('/v1/survey-links/'), `${method} ${url}: ${status}`);
  }
  const headers = { Authorization: 'Bearer nonsense' };
  const wrong = await request('GET', '/v1/survey-links/x', { ...open, headers });
  t.equal(wrong.status, 404, 'a token of the API is not looked at');
});

t.test('an address has a budget where nobody logs in, whatever it asks for', async (t) => {
  // Windows are whole minutes: not across the end of one.
  const second = new Date().getUTCSeconds();
  if (second > 50) await new Promise((resolve) => setTimeout(resolve, (61 - second) * 1_000));
  const limited = await testApp(t, { env: { PUBLIC_RATE_LIMIT: '5', TRUSTED_PROXIES: '127.0.0.1' } });
  const ask = (from: string, method = 'GET', body?: unknown) =>
    limited.request(method, '/v1/survey-links/nonsense', {
      ...open,
      ...(body !== undefined && { body }),
      headers: { 'X-Forwarded-For': from },
    });
  const spend = async (from: string[]) => {
    const statuses: number[] = [];
    for (const one of from) statuses.push((await ask(one)).status);
    return statuses;
  };
  const first = await ask('192.0.2.1');
  t.equal(first.headers.get('ratelimit-policy'), '"address";q=5;w=60');
  t.match(first.headers.get('ratelimit'), /^"address";r=4;t=\d+$/);
  t.equal(first.headers.get('cache-control'), 'no-store');
  t.strictSame(await spend(Array(5).fill('192.0.2.1')), [404, 404, 404, 404, 429]);
  const refused = await ask('192.0.2.1', 'POST', 'no JSON');
  t.match(refused, { status: 429, body: { code: 'rate_limited' } }, 'before its body is read');
  t.match(refused.headers.get('retry-after'), /^\d+$/);
  t.equal((await ask('192.0.2.2')).status, 404, 'another address has its own');
  t.equal((await ask('::ffff:192.0.2.1')).status, 429, 'the same address in the clothes of IPv6');
  const network = ['2001:db8::1', '2001:db8:0:0:1::1', '2001:DB8::', '2001:db8::ffff:1', '2001:0db8:0000::2'];
  t.strictSame(await spend([...network, '2001:db8::9', '2001:db8:0:1::1']), [404, 404, 404, 404, 404, 429, 404]);
  t.equal((await limited.request('GET', '/v1/customers')).status, 200, 'clients have their own');

  const direct = await testApp(t, { env: { PUBLIC_RATE_LIMIT: '2' } });
  const claimed: number[] = [];
  for (const from of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) {
    const options = { ...open, headers: { 'X-Forwarded-For': from } };
    claimed.push((await direct.request('GET', '/v1/survey-links/nonsense', options)).status);
  }
  t.strictSame(claimed, [404, 404, 429], 'what a sender says of itself is not believed');
});

// ---------------------------------------------------------------------------------------------------- links

t.test('a link shows the questions and takes one answer, about what the invitation was about', async (t) => {
  set(0);
  const surveyId = await newSurvey({ answerWithinDays: 3 }, { language: 'en' });
  const customerId = await newCustomer();
  const orderId = await newOrder(customerId);
  const about = { staff: 'maria', department: 'support', process: 'returns', sku: 'A', channel: 'sms' };
  await newInvitation(surveyId, customerId, { orderId, ...about });
  const [claimed] = (await claim({ surveyId })).invitations;
  const path = claimed?.path ?? '';
  const id = claimed?.invitation['id'];
  t.match(claimed?.invitation, { status: 'sent', sentAt: at(0), expiresAt: at(30), customerId, channel: 'sms' });
  const page = await request('GET', path, open);
  t.equal(page.status, 200);
  const members = ['expiresAt', 'language', 'name', 'questions', 'status', 'surveyVersion'];
  t.strictSame(Object.keys(page.body).sort(), members);
  t.match(page.body, { status: 'open', language: 'en', surveyVersion: 1, expiresAt: at(30) });
  t.match(page.body.questions, [{ key: 'recommend' }, { key: 'why' }]);
  t.notOk(JSON.stringify(page.body).includes(customerId));

  const wrong = await request('POST', path, { ...open, body: score(11) });
  t.equal(wrong.status, 422);
  t.match(errorsOf(wrong), [/^\/answers\/0\/score /], 'what is wrong can be put right: the link is not used up');
  t.equal((await request('POST', path, { ...open, body: { ...score(9), customerId } })).status, 422);

  set(1);
  const answers = [...score(9).answers, { question: 'why', text: 'Early.' }];
  const written = await request('POST', path, { ...open, body: { answers, language: 'de' } });
  t.equal(written.status, 201, JSON.stringify(written.body));
  t.strictSame(Object.keys(written.body).sort(), ['answeredAt', 'responseId', 'status']);
  t.match((await request('GET', `/v1/survey-responses/${written.body.responseId}`)).body, {
    surveyId,
    submissionId: id,
    invitationId: id,
    customerId,
    orderId,
    ...about,
    language: 'de',
    askedAt: at(0),
    answeredAt: at(1),
    late: false,
    status: 'complete',
  });
  t.match(await invitation(id), { status: 'answered', responseId: written.body.responseId });
  for (const again of [await request('POST', path, { ...open, body: score(3) }), await request('GET', path, open)])
    t.match(again, { status: 410, body: { code: 'link_used' } });

  set(40);
  const person = await newCustomer();
  const gone = await newOrder(person);
  await newInvitation(surveyId, person, { orderId: gone });
  const late = (await claim({ surveyId })).invitations[0]?.path ?? '';
  await request('DELETE', `/v1/orders/${gone}`, { headers: { 'If-Match': '*' } });
  set(44);
  const answered = await request('POST', late, { ...open, body: { ...score(2), status: 'partial' } });
  t.equal(answered.status, 201, 'an order that is gone bars nobody');
  const response = (await request('GET', `/v1/survey-responses/${answered.body.responseId}`)).body;
  t.match(response, { late: true, status: 'partial', orderId: null });
  t.match(await request('GET', late, open), { status: 410, body: { code: 'link_used' } });
});

t.test('of many answers at once one is taken', async (t) => {
  set(0);
  const surveyId = await newSurvey();
  const { path, id } = await sentLink(surveyId);
  const answers = await Promise.all(
    Array.from({ length: 16 }, (_, i) => request('POST', path, { ...open, body: score(i % 11) })),
  );
  t.equal(answers.filter(({ status }) => status === 201).length, 1);
  t.equal(answers.filter(({ status, body }) => status === 410 && body.code === 'link_used').length, 15);
  const { body } = await request('GET', `/v1/surveys/${surveyId}/responses?count=true`);
  t.match(body, { page: { total: 1 }, data: [{ invitationId: id }] });
});

t.test('a link ends on time, with its invitation, and with its survey', async (t) => {
  set(0);
  const surveyId = await newSurvey({ linkDays: 2 });
  const [first, second, third] = [await sentLink(surveyId), await sentLink(surveyId), await sentLink(surveyId)];
  set(2, -1);
  t.equal((await request('GET', first.path, open)).status, 200);
  t.equal((await request('POST', first.path, { ...open, body: score(9) })).status, 201, 'a millisecond before its end');
  set(2);
  const ended = { status: 410, body: { code: 'link_expired' } };
  t.match(await request('GET', second.path, open), ended);
  t.match(await request('POST', second.path, { ...open, body: score(9) }), ended);
  t.match(await request('GET', `/v1/survey-invitations/${second.id}`, { headers: { 'if-none-match': '*' } }), {
    status: 200,
    body: { status: 'expired' },
  });
  const listed = async (status: string) =>
    (await request('GET', `/v1/survey-invitations?surveyId=${surveyId}&status=${status}`)).body.data.length;
  t.strictSame([await listed('sent'), await listed('expired'), await listed('answered')], [0, 2, 1]);
  t.equal((await patch(`/v1/survey-invitations/${second.id}`, { status: 'cancelled' })).status, 422);

  set(1);
  t.match(await patch(`/v1/survey-invitations/${third.id}`, { status: 'cancelled' }), {
    body: { status: 'cancelled' },
  });
  t.match(await request('GET', third.path, open), ended);
  t.match(await request('POST', third.path, { ...open, body: score(9) }), ended);

  const closing = await newSurvey();
  const link = await sentLink(closing);
  await patch(`/v1/surveys/${closing}`, { status: 'closed' });
  t.match(await request('GET', link.path, open), { status: 200, body: { status: 'closed' } });
  const late = await request('POST', link.path, { ...open, body: score(9) });
  t.match(late, { status: 422, body: { code: 'survey_closed' } });
  t.strictSame(errorsOf(late), ['token survey_closed']);

  const ending = await newSurvey();
  const another = await sentLink(ending);
  await patch(`/v1/surveys/${ending}`, { closesAt: at(2) });
  set(2, -1);
  t.match(await request('GET', another.path, open), { status: 200, body: { status: 'open' } });
  set(2);
  t.match(await request('GET', another.path, open), { status: 200, body: { status: 'closed' } });
  t.equal((await request('POST', another.path, { ...open, body: score(9) })).status, 422);
});

t.test('forged links are not there, and neither are those of a dry run', async (t) => {
  set(0);
  const surveyId = await newSurvey();
  const { path, id } = await sentLink(surveyId);
  const token = path.split('/').at(-1) ?? '';
  const flipped = Buffer.from(token, 'base64url');
  flipped.writeUInt8(flipped.readUInt8(53) ^ 1, 53);
  const foreign = linkTokens(Buffer.alloc(32)).issue({ id, expiresAt: start + 30 * day });
  const own = linkTokens((await openKeys(api.config)).linkSecret);
  const later = own.issue({ id, expiresAt: start + 31 * day });
  const nobody = own.issue({ id: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', expiresAt: start + day });
  t.equal(own.issue({ id, expiresAt: start + 30 * day }), token);
  for (const forged of [
    flipped.toString('base64url'),
    foreign,
    later,
    nobody,
    `${token}=`,
    'x',
    '%20',
    token.slice(1),
  ]) {
    const answers = [
      await request('GET', `/v1/survey-links/${forged}`, open),
      await request('POST', `/v1/survey-links/${forged}`, { ...open, body: score(1) }),
    ];
    for (const answer of answers) t.match(answer, { status: 404, body: { code: 'not_found' } }, forged);
  }
  await newInvitation(surveyId, await newCustomer());
  const dry = await post('/v1/survey-invitations/claim?dryRun=true', { surveyId });
  t.equal(dry.body.invitations.length, 1);
  const status = async () => (await request('GET', dry.body.invitations[0].path, open)).status;
  t.equal(await status(), 404, 'it was not sent');
  set(0, 1);
  t.equal((await claim({ surveyId })).invitations.length, 1);
  t.equal(await status(), 404, 'and is another link now');
});

t.test('a customer who was invited is not deleted, and the link goes on working', async (t) => {
  set(0);
  const { path, customerId } = await sentLink(await newSurvey());
  const refused = await request('DELETE', `/v1/customers/${customerId}`, { headers: { 'If-Match': '*' } });
  t.match(refused, { status: 409, body: { errors: [{ code: 'survey_invitations', message: '1 survey invitation' }] } });
  t.equal((await request('GET', path, open)).status, 200);
});

t.test('both doors take links', async (t) => {
  set(0);
  const surveyId = await newSurvey();
  const { path, id } = await sentLink(surveyId);
  const token = path.split('/').at(-1);
  const reading = 'query ($token: String!) { surveyLink(token: $token) { name status questions { key } } }';
  const read = await api.graphql(reading, { token });
  t.match(read.body.data.surveyLink, { status: 'OPEN', questions: [{ key: 'recommend' }, { key: 'why' }] });
  const writing =
    'mutation ($token: String!) { answerSurveyLink(token: $token, input: { answers: [{ question: "recommend", score: 9 }] }) { responseId status } }';
  const refused = await api.graphql(writing, { token }, { scope: 'surveys:read' });
  t.equal(refused.body.errors[0].extensions.code, 'insufficient_scope', 'GraphQL is for those who log in');
  const written = await api.graphql(writing, { token });
  t.equal(written.body.data.answerSurveyLink.status, 'COMPLETE');
  t.match(await invitation(id), { responseId: written.body.data.answerSurveyLink.responseId });
  const again = await api.graphql(writing, { token });
  t.equal(again.body.errors[0].extensions.code, 'link_used');
});

// ---------------------------------------------------------------------------------------------------- eligibility

t.test('nobody is asked within the days of the survey, whichever survey asked before', async (t) => {
  set(0);
  const surveyId = await newSurvey({ contactFrequencyDays: 10 });
  const other = await newSurvey({ contactFrequencyDays: 20 });
  const draft = await newSurvey({}, { status: 'draft' });
  const customerId = await newCustomer();
  const free = { customerId, eligible: true, reasons: [], lastAskedAt: null, nextEligibleAt: null, reserved: null };
  t.strictSame(await eligibility(surveyId, customerId), free);
  const closed = { eligible: false, reasons: [{ code: 'survey_not_open' }], nextEligibleAt: null };
  t.match(await eligibility(draft, customerId), closed);
  const reserved = await eligibility(surveyId, customerId, true);
  const turn = { invitation: { status: 'sent', trigger: 'reservation', sentAt: at(0) } };
  t.match(reserved, { eligible: true, reserved: turn });
  t.equal((await request('GET', reserved.reserved.path, open)).status, 200, 'with a link that works');
  const asked = { eligible: false, reasons: [{ code: 'asked_recently' }], lastAskedAt: at(0), reserved: null };
  t.match(await eligibility(surveyId, customerId, true), { ...asked, nextEligibleAt: at(10) });
  t.match(await eligibility(other, customerId), { ...asked, nextEligibleAt: at(20) });
  set(10, -1);
  t.match(await eligibility(surveyId, customerId), asked);
  set(10);
  t.match(await eligibility(surveyId, customerId), { eligible: true, reasons: [], lastAskedAt: at(0) });
  t.match(await eligibility(other, customerId), asked, 'each survey has its own days');

  const answering = await newCustomer();
  await made(`/v1/surveys/${other}/responses`, {
    submissionId: fresh(),
    answeredAt: at(9),
    customerId: answering,
    status: 'dismissed',
  });
  t.match(await eligibility(surveyId, answering), {
    reasons: [{ code: 'answered_recently' }],
    lastAskedAt: at(9),
    nextEligibleAt: at(19),
  });
  const unlimited = await newSurvey({ contactFrequencyDays: 0 });
  t.match(await eligibility(unlimited, answering, true), { eligible: true });
  t.match(await eligibility(unlimited, answering, true), { eligible: true });

  const nobody = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  t.equal((await post(`/v1/surveys/${nobody}/eligibility`, { customerId })).status, 404);
  const unknown = await post(`/v1/surveys/${surveyId}/eligibility`, { customerId: nobody });
  t.strictSame(errorsOf(unknown), ['/customerId not_found']);
});

// ---------------------------------------------------------------------------------------------------- triggers

t.test('triggers make invitations when their delay is over, once per order', async (t) => {
  set(0);
  const before = await newCustomer();
  const early = await newOrder(before);
  set(1);
  const triggers = [
    { on: 'order_placed', delayDays: 2 },
    { on: 'order_fulfilled', delayDays: 5 },
  ];
  const surveyId = await newSurvey({ triggers });
  const [ada, bob, eve, tester] = [await newCustomer(), await newCustomer(), await newCustomer(), await newCustomer()];
  const order = await newOrder(ada);
  const cancelled = await newOrder(bob, { cancelledAt: at(1) });
  const test = await newOrder(tester, { test: true });
  const soon = await newOrder(eve);
  set(3, -1);
  t.strictSame((await claim({ surveyId })).invitations, [], 'the delay is not over');
  t.strictSame(await invitationsOf(surveyId), []);
  await patch(`/v1/orders/${soon}`, { cancelledAt: at(2) });
  set(3);
  const { invitations } = await claim({ surveyId });
  t.match(
    invitations.map((one) => one.invitation),
    [{ customerId: ada, orderId: order, trigger: 'order_placed', dueAt: at(3), status: 'sent', channel: 'email' }],
  );
  t.equal(invitations.length, 1);
  const planned = (await invitationsOf(surveyId)).map((one) => one['orderId']);
  t.strictSame(planned, [order], `not ${early}, from before the survey, nor ${cancelled}, ${test} and ${soon}`);
  await patch(`/v1/orders/${order}`, { fulfillmentStatus: 'fulfilled' });
  set(40);
  t.strictSame((await claim({ surveyId })).invitations, [], 'an order asks once, by whichever trigger is first');
  t.equal((await invitationsOf(surveyId)).length, 1);
});

t.test('orders that have to be paid or fulfilled ask when they are, and not a month later', async (t) => {
  set(50);
  const surveyId = await newSurvey({ contactFrequencyDays: 0, triggers: [{ on: 'order_paid', delayDays: 1 }] });
  const fulfilment = await newSurvey({ contactFrequencyDays: 0, triggers: [{ on: 'order_fulfilled' }] });
  const customerId = await newCustomer();
  const [paid, forgotten] = [await newOrder(customerId), await newOrder(customerId)];
  const partly = await newOrder(customerId, { fulfillmentStatus: 'partially_fulfilled' });
  set(52);
  t.strictSame((await claim({ surveyId })).invitations, []);
  await patch(`/v1/orders/${paid}`, { paymentStatus: 'paid' });
  const ordersOf = async (id: string) =>
    (await claim({ surveyId: id })).invitations.map((one) => one.invitation['orderId']);
  t.strictSame(await ordersOf(surveyId), [paid]);
  t.strictSame(await ordersOf(fulfilment), []);
  await patch(`/v1/orders/${partly}`, { fulfillmentStatus: 'fulfilled' });
  t.strictSame(await ordersOf(fulfilment), [partly]);
  set(80, 1);
  await patch(`/v1/orders/${forgotten}`, { paymentStatus: 'paid', fulfillmentStatus: 'fulfilled' });
  t.strictSame(await ordersOf(fulfilment), [], 'more than 30 days after it was placed');
  set(81);
  t.strictSame(await ordersOf(surveyId), [forgotten], '30 days after its delay was over');
});

t.test('an order that is cancelled after it was planned does not ask', async (t) => {
  set(90);
  const surveyId = await newSurvey({ contactFrequencyDays: 7, triggers: [{ on: 'order_placed' }] });
  const customerId = await newCustomer();
  const orders = [await newOrder(customerId), await newOrder(customerId), await newOrder(customerId)];
  const { invitations } = await claim({ surveyId });
  t.equal(invitations.length, 1, 'one customer is asked once');
  const rest = (await invitationsOf(surveyId)).filter((one) => one['status'] === 'due').map((one) => one['dueAt']);
  t.strictSame(rest, [at(97), at(97)], 'the others are put off');
  const waiting = orders.filter((id) => id !== invitations[0]?.invitation['orderId']);
  await patch(`/v1/orders/${waiting[0]}`, { cancelledAt: at(90) });
  await request('DELETE', `/v1/orders/${waiting[1]}`, { headers: { 'If-Match': '*' } });
  set(97);
  t.strictSame((await claim({ surveyId })).invitations, []);
  const states = (await invitationsOf(surveyId)).map((one) => one['status']);
  t.strictSame(states.sort(), ['cancelled', 'cancelled', 'sent']);
});

t.test('entering a stage asks once per step', async (t) => {
  set(100);
  const triggers = [{ on: 'stage_entered', stage: 'sales_qualified', delayDays: 1 }];
  const surveyId = await newSurvey({ contactFrequencyDays: 0, triggers });
  const customerId = await newCustomer();
  await made('/v1/leads', { customerId, stage: 'lead' });
  const move = async (stage: string) => (await post(`/v1/leads/${customerId}/stage`, { to: stage })).status;
  t.equal(await move('sales_qualified'), 200);
  set(101);
  const found = (await claim({ surveyId })).invitations.map((one) => one.invitation);
  t.match(found, [{ customerId, trigger: 'stage_entered', orderId: null, dueAt: at(101) }]);
  t.equal(found.length, 1);
  t.strictSame((await claim({ surveyId })).invitations, []);
  await move('lead');
  await move('sales_qualified');
  set(102);
  t.equal((await claim({ surveyId })).invitations.length, 1, 'again, when it is entered again');
});

t.test('an interaction asks by its kind, topic and outcome, a return by itself', async (t) => {
  set(102.5);
  const trigger = { on: 'interaction_occurred', kind: 'phone', topic: 'delivery', outcome: 'solved', delayDays: 1 };
  const surveyId = await newSurvey({ contactFrequencyDays: 0, triggers: [trigger, { on: 'return_received' }] });
  const anySurvey = await newSurvey({ contactFrequencyDays: 0, triggers: [{ on: 'interaction_occurred' }] });
  t.match((await request('GET', `/v1/surveys/${surveyId}`)).body.settings.triggers, [
    { ...trigger, stage: null },
    { on: 'return_received', stage: null, kind: null, topic: null, outcome: null, delayDays: 0 },
  ]);
  const call = async (more: object = {}) => {
    const customerId = await newCustomer();
    const members = { kind: 'phone', direction: 'inbound', topic: 'delivery', outcome: 'solved', staff: 'maria' };
    const occurredAt = new Date(now).toISOString();
    const { id } = await made('/v1/interactions', { ...members, customerId, occurredAt, ...more });
    return { customerId, id: String(id) };
  };
  const asked = await call();
  const again = await call();
  const chat = await call({ kind: 'chat' });
  const price = await call({ topic: 'prices' });
  const later = await call({ outcome: null });
  await call({ automatic: true });
  const claimed = async (of: string) => (await claim({ surveyId: of })).invitations.map(({ invitation: one }) => one);
  t.strictSame(
    (await claimed(anySurvey)).map((one) => one['interactionId']).sort(),
    [asked, again, chat, price, later].map(({ id }) => id).sort(),
    'all but the automatic one',
  );
  const customerId = await newCustomer();
  const returned = { source: 'shop', currency: 'EUR', total: 100, returnedAt: new Date(now).toISOString() };
  await made('/v1/returns', { ...returned, externalId: `r${fresh()}`, customerId });
  t.match(await claimed(surveyId), [{ customerId, trigger: 'return_received', interactionId: null }]);
  set(103.5);
  await patch(`/v1/interactions/${later.id}`, { outcome: 'solved' });
  const found = await claimed(surveyId);
  t.strictSame(
    found.map((one) => one['interactionId']).sort(),
    [asked, again, later].map(({ id }) => id).sort(),
    'also what was found out later',
  );
  t.match(found[0], { trigger: 'interaction_occurred', staff: 'maria', dueAt: at(103.5) });
  t.strictSame(await claimed(surveyId), [], 'once');
});

t.test('nobody is asked about an interaction or return that is gone', async (t) => {
  set(103.6);
  const triggers = [{ on: 'interaction_occurred' }, { on: 'return_received' }];
  // Asked at once by hand, everybody is put off for a day; meanwhile the records go.
  const surveyId = await newSurvey({ contactFrequencyDays: 1, triggers });
  const customerId = await newCustomer();
  await newInvitation(surveyId, customerId);
  const event = { customerId, source: 'shop', externalId: `gone${fresh()}` };
  const occurredAt = new Date(now).toISOString();
  const paths = [
    `/v1/interactions/${(await made('/v1/interactions', { ...event, kind: 'phone', occurredAt })).id}`,
    `/v1/returns/${(await made('/v1/returns', { ...event, currency: 'EUR', total: 100, returnedAt: occurredAt })).id}`,
  ];
  t.match((await claim({ surveyId })).invitations, [{ invitation: { trigger: 'manual' } }]);
  for (const path of paths) t.equal((await request('DELETE', path, { headers: { 'If-Match': '*' } })).status, 204);
  set(103.9);
  await patch(`/v1/surveys/${surveyId}`, { settings: { contactFrequencyDays: 0 } });
  set(105);
  t.strictSame((await claim({ surveyId })).invitations, []);
  t.strictSame((await invitationsOf(surveyId)).map((one) => `${one['trigger']} ${one['status']}`).sort(), [
    'interaction_occurred cancelled',
    'manual sent',
    'return_received cancelled',
  ]);
});

t.test('a trigger says only what its event has, and words of interactions are personal', async (t) => {
  const create = (trigger: object, scope = '*') =>
    request('POST', '/v1/surveys', { body: { name: 'S', questions, settings: { triggers: [trigger] } }, scope });
  const at0 = (member: string) => `/settings/triggers/0/${member} not_allowed`;
  t.strictSame(errorsOf(await create({ on: 'order_paid', kind: 'phone', topic: 'a', outcome: 'b' })), [
    at0('kind'),
    at0('topic'),
    at0('outcome'),
  ]);
  t.strictSame(errorsOf(await create({ on: 'interaction_occurred', stage: 'lead' })), [at0('stage')]);
  t.equal((await create({ on: 'interaction_occurred', kind: 'phone' }, 'surveys:write')).status, 201);
  for (const words of [{ topic: 'delivery' }, { outcome: 'solved' }]) {
    const refused = await create({ on: 'interaction_occurred', ...words }, 'surveys:write');
    t.match(refused, { status: 403, body: { detail: /customers:pii/ } });
  }
});

t.test('what is told late is planned all the same, and so is what another trigger asks about', async (t) => {
  set(104);
  const surveyId = await newSurvey({ contactFrequencyDays: 0, triggers: [{ on: 'order_placed' }] });
  const customerId = await newCustomer();
  const ordersOf = async () => (await claim({ surveyId })).invitations.map((one) => one.invitation['orderId']);
  set(107);
  const first = await newOrder(customerId);
  t.strictSame(await ordersOf(), [first]);
  const late = await newOrder(customerId, { placedAt: at(105) });
  t.strictSame(await ordersOf(), [late]);
  await newOrder(customerId, { placedAt: at(103) });
  t.strictSame(await ordersOf(), [], 'but not from before the survey');
  const moving = await newCustomer();
  await made('/v1/leads', { customerId: moving, stage: 'lead' });
  t.strictSame(await ordersOf(), []);
  await patch(`/v1/surveys/${surveyId}`, { settings: { triggers: [{ on: 'stage_entered', stage: 'lead' }] } });
  t.match((await claim({ surveyId })).invitations, [{ invitation: { customerId: moving, trigger: 'stage_entered' } }]);
});

t.test('the job plans what claims would', async (t) => {
  set(110);
  const surveyId = await newSurvey({ triggers: [{ on: 'order_placed' }] });
  for (let i = 0; i < 3; i += 1) await newOrder(await newCustomer());
  const pool = openPool(api.connection, { size: 4, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  const nothing = () => undefined;
  const log = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };
  const services = {
    db: poolDb(pool),
    pool,
    baseCurrency: 'EUR',
    reportingTimeZone: 'UTC',
    cursors: cursorCodec(Buffer.alloc(32)),
    links: linkTokens(Buffer.alloc(32)),
    tombstones: keyedHash(Buffer.alloc(32)),
    directory: fixedDirectory(),
    issuer: null,
    audit: noAudit,
    feed: openFeed(poolDb(pool), 90),
    secrets: storedSecrets(Buffer.alloc(32)),
    outgoing: openOutgoing({ allow: [], production: false }),
    redirects: async () => new Map(),
    clock: () => at(110),
  };
  const helpers = { now: at(110), attempt: 1, signal: new AbortController().signal, log };
  // Twice at once and once more: it has to bear repetition.
  await Promise.all([1, 2].map(() => planSurveyInvitations.run(services, {}, helpers)));
  await planSurveyInvitations.run(services, {}, helpers);
  const planned = (await invitationsOf(surveyId)).map((one) => one['status']);
  t.strictSame(planned, ['due', 'due', 'due']);
  t.equal((await claim({ surveyId })).invitations.length, 3);
});

// ---------------------------------------------------------------------------------------------------- claims

t.test('a claim takes what was asked for, and the same key answers the same links', async (t) => {
  set(120);
  const surveyId = await newSurvey();
  const other = await newSurvey();
  for (const channel of ['sms', 'sms', 'email', 'email', 'email'])
    await newInvitation(surveyId, await newCustomer(), { channel });
  await newInvitation(other, await newCustomer());
  const later = await newInvitation(surveyId, await newCustomer(), { dueAt: at(121) });
  t.equal((await request('POST', '/v1/survey-invitations/claim', { body: {} })).status, 400, 'needs a key');
  const key = `claim-${fresh()}`;
  const first = await post('/v1/survey-invitations/claim', { surveyId, limit: 1 }, key);
  t.match(first.body, { hasMore: true, invitations: [{ invitation: { surveyId, status: 'sent', channel: 'sms' } }] });
  t.strictSame((await post('/v1/survey-invitations/claim', { surveyId, limit: 1 }, key)).body, first.body);
  const mobile = await claim({ surveyId, channel: 'sms' });
  t.strictSame(
    mobile.invitations.map((one) => one.invitation['channel']),
    ['sms'],
  );
  const rest = await claim({ surveyId });
  t.equal(rest.invitations.length, 3);
  t.equal(rest.hasMore, false);
  t.equal((await claim({ surveyId: other })).invitations.length, 1);
  t.match(await invitation(later.id), { status: 'due' });
  const moved = await patch(`/v1/survey-invitations/${later.id}`, { dueAt: at(120) });
  t.match(moved.body, { dueAt: at(120), version: 2 });
  t.equal((await claim({ surveyId })).invitations.length, 1);
  t.equal((await patch(`/v1/survey-invitations/${later.id}`, { dueAt: at(130) })).status, 422, 'it was sent');
});

t.test('what may not be sent is put off, or ends when it would have waited too long', async (t) => {
  set(130);
  const surveyId = await newSurvey({ contactFrequencyDays: 10, linkDays: 15 });
  const customerId = await newCustomer();
  await eligibility(surveyId, customerId, true);
  const [first, second] = [await newInvitation(surveyId, customerId), await newInvitation(surveyId, customerId)];
  t.strictSame((await claim({ surveyId })).invitations, []);
  t.match(await invitation(first.id), { status: 'due', dueAt: at(140) });
  set(140);
  t.equal((await claim({ surveyId })).invitations.length, 1);
  const states = [await invitation(first.id), await invitation(second.id)].map(({ status }) => status);
  t.strictSame(states.sort(), ['expired', 'sent'], 'the second would have waited 20 days');

  const closing = await newSurvey();
  const waiting = await newInvitation(closing, await newCustomer());
  await patch(`/v1/surveys/${closing}`, { status: 'closed' });
  t.strictSame((await claim({ surveyId: closing })).invitations, []);
  t.match(await invitation(waiting.id), { status: 'expired' });
  const refused = await post('/v1/survey-invitations', { surveyId: closing, customerId });
  t.match(refused, { status: 422, body: { code: 'survey_closed' } });
});

t.test('a backlog of those who were asked does not hide those who were not', async (t) => {
  set(145);
  const surveyId = await newSurvey({ contactFrequencyDays: 2 });
  const busy = await newCustomer();
  await eligibility(surveyId, busy, true);
  await database.query(
    `insert into survey_invitations (customer_id, id, version, survey_id, status, trigger, due_at, created_at, updated_at)
     select $1, gen_random_uuid(), 1, $2, 'due', 'manual', $3, $3, $3 from generate_series(1, 450)`,
    [busy, surveyId, at(144)],
  );
  await newInvitation(surveyId, await newCustomer());
  const { invitations, hasMore } = await claim({ surveyId, limit: 1 });
  t.equal(invitations.length, 1);
  t.notSame(invitations[0]?.invitation['customerId'], busy);
  t.equal(hasMore, false, 'and all of them were looked at');
});

t.test('a survey that is deleted while customers are to be asked is not there, or stays', async (t) => {
  set(0);
  const customerIds = [await newCustomer(), await newCustomer(), await newCustomer(), await newCustomer()];
  for (let round = 0; round < 10; round += 1) {
    const surveyId = await newSurvey();
    const answers = await Promise.all([
      request('DELETE', `/v1/surveys/${surveyId}`, { headers: { 'if-match': '*' } }),
      ...customerIds.flatMap((customerId) => [
        post('/v1/survey-invitations', { surveyId, customerId }),
        post(`/v1/surveys/${surveyId}/eligibility`, { customerId, reserve: true }),
      ]),
    ]);
    const [deleted, ...others] = answers.map(({ status }) => status);
    const expected = deleted === 204 ? [404, 422] : [200, 201];
    t.strictSame(
      others.filter((status) => !expected.includes(status)),
      [],
      `deleted: ${deleted}`,
    );
  }
});

t.test('senders that claim and reserve at once never ask anybody twice', async (t) => {
  set(150);
  const surveys = [
    await newSurvey({ contactFrequencyDays: 5, triggers: [{ on: 'order_placed' }] }),
    await newSurvey({ contactFrequencyDays: 8 }),
  ];
  const customers: string[] = [];
  // Every customer has five occasions to be asked, by two surveys, one of them not planned yet.
  for (let i = 0; i < 12; i += 1) {
    const customerId = await newCustomer();
    customers.push(customerId);
    await newOrder(customerId);
    for (const surveyId of [...surveys, ...surveys]) await newInvitation(surveyId, customerId);
  }
  const senders = Array.from({ length: 16 }, async (_, i) => {
    if (i % 2 === 0) return (await claim({ limit: 3 + i })).invitations.map((one) => one.invitation);
    const found: Record<string, string>[] = [];
    for (const customerId of [...customers.slice(i % 12), ...customers.slice(0, i % 12)]) {
      const { reserved } = await eligibility(surveys[i % 4 === 1 ? 0 : 1] ?? '', customerId, true);
      if (reserved) found.push(reserved.invitation);
    }
    return found;
  });
  const asked = (await Promise.all(senders)).flat().map((one) => one['customerId']);
  t.equal(new Set(asked).size, asked.length, 'nobody twice');
  t.strictSame(asked.filter((id) => customers.includes(id ?? '')).sort(), [...customers].sort(), 'everybody once');
  const { rows } = await database.query(
    'select count(*)::int as sent, count(distinct customer_id)::int as people from survey_invitations where sent_at = $1',
    [at(150)],
  );
  t.strictSame(rows, [{ sent: asked.length, people: asked.length }]);
  t.strictSame((await claim()).invitations, []);
});

t.test('GraphQL makes, checks, claims, lists and cancels', async (t) => {
  set(160);
  const surveyId = await newSurvey();
  const customerId = await newCustomer();
  const ask = async (document: string, variables: Record<string, unknown>) => {
    const { body } = await api.graphql(document, variables);
    t.notOk(body.errors, JSON.stringify(body.errors));
    return body.data;
  };
  const created = await ask(
    'mutation ($input: SurveyInvitationInput!) { createSurveyInvitation(input: $input) { surveyInvitation { id status trigger version customer { id } } } }',
    { input: { surveyId, customerId, staff: 'maria' } },
  );
  const one = created.createSurveyInvitation.surveyInvitation;
  t.match(one, { status: 'DUE', trigger: 'MANUAL', version: 1, customer: { id: customerId } });
  const checked = await ask(
    'mutation ($id: ID!, $input: SurveyEligibilityInput!) { checkSurveyEligibility(id: $id, input: $input) { eligible reasons { code } reserved { path } } }',
    { id: surveyId, input: { customerId } },
  );
  t.strictSame(checked.checkSurveyEligibility, { eligible: true, reasons: [], reserved: null });
  const claimed = await ask(
    'mutation ($key: String!, $input: InvitationClaimInput!) { claimSurveyInvitations(idempotencyKey: $key, input: $input) { hasMore invitations { token path invitation { id status } } } }',
    { key: fresh(), input: { surveyId } },
  );
  t.match(claimed.claimSurveyInvitations, {
    hasMore: false,
    invitations: [{ invitation: { id: one.id, status: 'SENT' } }],
  });
  const listed = await ask(
    'query ($surveyId: ID!) { surveyInvitations(surveyId: $surveyId, status: SENT) { totalCount nodes { id staff } } }',
    { surveyId },
  );
  t.strictSame(listed.surveyInvitations, { totalCount: 1, nodes: [{ id: one.id, staff: 'maria' }] });
  const cancelled = await ask(
    'mutation ($id: ID!) { updateSurveyInvitation(id: $id, expectedVersion: 2, input: { status: CANCELLED }) { surveyInvitation { status } } }',
    { id: one.id },
  );
  t.equal(cancelled.updateSurveyInvitation.surveyInvitation.status, 'CANCELLED');
});

// ---------------------------------------------------------------------------------------------------- closing the loop

const respond = (surveyId: string, value: number, more: object = {}) =>
  made(`/v1/surveys/${surveyId}/responses`, {
    submissionId: `r${fresh()}`,
    answeredAt: new Date(now).toISOString(),
    ...score(value),
    ...more,
  });
const followUpsOf = async (responseId: string): Promise<Record<string, string>[]> =>
  (await request('GET', `/v1/follow-ups?responseId=${responseId}&kind=detractor`)).body.data;

t.test('a detractor opens a follow-up, once, with an owner and a date', async (t) => {
  set(170);
  await made('/v1/assignment-rules', {
    name: 'Detractors',
    purpose: 'detractor',
    method: 'round_robin',
    groups: [{ value: null, members: ['jo', 'kim'] }],
  });
  const ruled = await newSurvey({ followUp: { withinDays: 2 } });
  const owned = await newSurvey({ followUp: { withinDays: 0, owner: 'maria' }, answerWithinDays: 1 });
  const silent = await newSurvey();
  const customerId = await newCustomer();
  const six = await respond(ruled, 6, { customerId });
  t.match(await followUpsOf(six.id), [
    { kind: 'detractor', customerId, responseId: six.id, owner: 'jo', dueAt: at(172), status: 'open', outcome: null },
  ]);
  t.equal((await followUpsOf(six.id)).length, 1);
  const second = await respond(ruled, 0, { customerId: await newCustomer() });
  t.match(await followUpsOf(second.id), [{ owner: 'kim' }]);
  const own = await respond(owned, 3, { customerId });
  t.match(await followUpsOf(own.id), [{ owner: 'maria', dueAt: at(170) }]);
  const assigned = await request('GET', `/v1/assignments?purpose=detractor&count=true`);
  t.match(assigned.body, { page: { total: 3 } });

  const none = [
    await respond(ruled, 7, { customerId }),
    await respond(silent, 0, { customerId }),
    await respond(ruled, 0),
    await respond(ruled, 0, { customerId, status: 'partial' }),
    await respond(owned, 0, { customerId, askedAt: at(168) }),
  ];
  for (const { id } of none) t.strictSame(await followUpsOf(id), []);

  // A batch sends the same answers again, corrects one, and completes the partial one.
  const items = [
    { submissionId: six.submissionId, answeredAt: six.answeredAt, customerId, ...score(6), language: 'de' },
    { submissionId: none[3]?.submissionId, answeredAt: none[3]?.answeredAt, customerId, ...score(1) },
    { submissionId: `r${fresh()}`, answeredAt: at(170), customerId, ...score(2) },
    { submissionId: `r${fresh()}`, answeredAt: at(170), customerId, ...score(10) },
  ];
  const batch = await post(`/v1/surveys/${ruled}/responses/batch`, { responses: items });
  t.equal(batch.status, 200, JSON.stringify(batch.body));
  t.strictSame(
    batch.body.results.filter((one: { error?: unknown }) => one.error),
    [],
  );
  t.equal((await followUpsOf(six.id)).length, 1);
  t.equal((await followUpsOf(none[3]?.id)).length, 1, 'complete now');
  const all = await request('GET', `/v1/follow-ups?customerId=${customerId}&kind=detractor&count=true`);
  t.equal(all.body.page.total, 4);

  const [open] = await followUpsOf(own.id);
  const done = await patch(`/v1/follow-ups/${open?.['id']}`, { status: 'done', outcome: 'resolved' });
  t.match(done.body, { status: 'done', outcome: 'resolved', closedAt: at(170), responseId: own.id });
  const asked = await api.graphql(
    'query ($id: ID!) { followUps(responseId: $id) { nodes { kind outcome responseId } } }',
    { id: own.id },
  );
  t.strictSame(asked.body.data.followUps.nodes, [{ kind: 'DETRACTOR', outcome: 'RESOLVED', responseId: own.id }]);

  set(175);
  const surveyId = await newSurvey({ followUp: { withinDays: 1 } });
  const { path } = await sentLink(surveyId);
  const answered = await request('POST', path, { ...open, scope: null, body: score(4) });
  t.match(await followUpsOf(answered.body.responseId), [{ status: 'open', dueAt: at(176) }], 'by a link as well');
});

t.test('the loop is closed in time, late or not at all, and what was answered after that', async (t) => {
  set(200);
  const surveyId = await newSurvey({ followUp: { withinDays: 2, owner: 'maria' }, contactFrequencyDays: 0 });
  const other = await newSurvey({ followUp: { withinDays: 2, owner: 'maria' } });
  const detractor = async (value: number, of = surveyId) => {
    const customerId = await newCustomer();
    const response = await respond(of, value, { customerId });
    const [followUp] = await followUpsOf(response.id);
    return { customerId, path: `/v1/follow-ups/${followUp?.['id']}` };
  };
  const inTime = await detractor(2);
  const onTime = await detractor(4);
  const late = await detractor(5);
  await detractor(6); // overdue
  const cancelled = await detractor(0);
  const elsewhere = await detractor(1, other);
  set(201);
  await patch(inTime.path, { status: 'done', outcome: 'resolved' });
  await patch(cancelled.path, { status: 'cancelled' });
  await patch(elsewhere.path, { status: 'done', outcome: 'lost' });
  await respond(other, 9, { customerId: inTime.customerId, answeredAt: at(201) }); // not after the closing
  set(202);
  await patch(onTime.path, { status: 'done', outcome: 'retained' });
  set(203);
  await patch(late.path, { status: 'done', outcome: 'not_reached' });
  await detractor(3); // not yet due
  set(204);
  await respond(other, 9, { customerId: inTime.customerId });
  await respond(surveyId, 5, { customerId: onTime.customerId, status: 'partial' }); // not counted
  set(204, 1);
  await respond(surveyId, 10, { customerId: inTime.customerId }); // the next one is what counts
  await respond(surveyId, 8, { customerId: onTime.customerId });
  set(204, 2);
  const ask = async (query: string) => (await request('GET', `/v1/metrics/closed-loop?${query}`)).body;
  const period = `from=${at(200)}&to=${at(210)}`;
  const ofSurvey = await ask(`${period}&surveyId=${surveyId}`);
  t.match(ofSurvey, {
    value: 2 / 4,
    numerator: 2,
    denominator: 4,
    unit: 'ratio',
    excluded: [{ reason: 'cancelled', count: 1 }],
    values: {
      opened: 5,
      closed: 3,
      closedInTime: 2,
      overdue: 1,
      notYetDue: 1,
      outcomeResolved: 1,
      outcomeRetained: 1,
      outcomeNotReached: 1,
      outcomeLost: 0,
      outcomeOther: 0,
      answeredAgain: 2,
      scoreBefore: 3,
      scoreAfter: 8.5,
      scoreChange: 5.5,
      npsBefore: -100,
      npsAfter: 50,
    },
    warnings: [{ code: 'not_all_due' }, { code: 'regression_to_the_mean' }],
  });
  t.match(await ask(period), { numerator: 3, denominator: 5, values: { opened: 6, outcomeLost: 1 } });
  // As of noon of day 201 nothing was closed yet, and nothing was due.
  t.match(await ask(`${period}&surveyId=${surveyId}&asOf=${at(201)}`), {
    value: null,
    reason: { code: 'none_due' },
    excluded: [],
    values: { opened: 5, closed: 0, overdue: 0, answeredAgain: 0, scoreAfter: null },
  });
  t.match(await ask(`${period}&surveyId=${surveyId}&asOf=${at(204)}`), {
    values: { closed: 3, answeredAgain: 0 },
    denominator: 4,
  });
  const days = await ask(`${period}&surveyId=${surveyId}&interval=day`);
  t.match(
    days.series.map((one: { values: { opened: number } }) => one.values.opened),
    [4, 0, 0, 1],
  );
  t.equal((await ask(`from=${at(190)}&to=${at(200)}&surveyId=${surveyId}`)).reason.code, 'no_follow_ups');
  t.match(await ask(`${period}&surveyId=0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90`), { status: 404 });
  t.match(await ask(`${period}&currency=EUR`), { status: 422 });
  const twin = await api.graphql(
    'query ($input: ClosedLoopInput!) { metrics { closedLoop(input: $input) { numerator denominator values } } }',
    { input: { from: at(200), to: at(210), surveyId } },
  );
  t.match(twin.body.data.metrics.closedLoop, { numerator: 2, denominator: 4, values: ofSurvey.values });
  await patch(inTime.path, { status: 'open' });
  t.match(await ask(`${period}&surveyId=${surveyId}`), { numerator: 1, values: { closed: 2, overdue: 2 } }, 'reopened');
});
