import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { answerDifferences } from '../../../src/features/survey-responses/queries.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';
import { firstSeed } from '../../support/draws.ts';
import { allPages, fresh, newKey, pushOrder } from '../../support/shop.ts';
import { statementsOf } from '../../support/statements.ts';
import { again, content, effort, makeSurvey, recommend, responseOf, why } from '../../support/surveys.ts';

/** The clock of the service stands still. */
const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => pool.end());

const any = { headers: { 'If-Match': '*' } };
const faults = ({ body }: { body: { errors?: { code: string; pointer?: string; parameter?: string }[] } }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

const surveyOf = (members: object = {}) => makeSurvey(api, members);
const changeSurvey = (id: string, body: object) => request('PATCH', `/v1/surveys/${id}`, { body, ...any });
const push = (surveyId: string, members: object = {}) =>
  request('POST', `/v1/surveys/${surveyId}/responses`, { body: responseOf(members), headers: newKey() });
const batch = (surveyId: string, responses: object[], query = '') =>
  request('POST', `/v1/surveys/${surveyId}/responses/batch${query}`, { body: { responses } });
const change = (id: string, body: object) => request('PATCH', `/v1/survey-responses/${id}`, { body, ...any });
const customer = async (name = fresh('customer')) =>
  (await request('POST', '/v1/customers', { body: { references: [{ source: 'shop', externalId: name }] } })).body;

async function stored(surveyId: string) {
  const { rows } = await database.query(
    `select (select count(*)::int from survey_responses where survey_id = $1) as responses,
      (select count(*)::int from survey_answers where survey_id = $1) as answers`,
    [surveyId],
  );
  return rows[0];
}

t.test('answers are kept with their bands, and answered as they were sent', async (t) => {
  const survey = await surveyOf({ channel: 'email', language: 'de' });
  const answers = [
    { question: 'recommend', score: 6 },
    { question: 'content', score: 4 },
    { question: 'effort', score: 3 },
    { question: 'again', score: 7 },
    { question: 'one', choices: ['price'] },
    { question: 'many', choices: ['speed', 'price'] },
    { question: 'why', text: 'Came late.' },
  ];
  const { status, body, headers } = await push(survey.id, {
    customer: { source: 'shop', externalId: fresh('customer') },
    staff: 'maria',
    language: 'fr',
    answers,
  });
  t.equal(status, 201);
  t.match(body, { staff: 'maria', channel: 'email', language: 'fr', status: 'complete', late: false, created: true });
  t.match(body.customerId, /^[0-9a-f-]{36}$/);
  t.equal(headers.get('location'), `/v1/survey-responses/${body.id}`);
  const none = { score: null, band: null, choices: null, text: null };
  t.same(body.answers, [
    { ...none, question: 'again', type: 'nps', score: 7, band: 'passive' },
    { ...none, question: 'content', type: 'csat', score: 4, band: 'satisfied' },
    { ...none, question: 'effort', type: 'ces', score: 3, band: 'neutral' },
    { ...none, question: 'many', type: 'multiple_choice', choices: ['speed', 'price'] },
    { ...none, question: 'one', type: 'single_choice', choices: ['price'] },
    { ...none, question: 'recommend', type: 'nps', score: 6, band: 'detractor' },
    { ...none, question: 'why', type: 'text', text: 'Came late.' },
  ]);
  const { created, applied, warnings, ...record } = body;
  t.same((await request('GET', `/v1/survey-responses/${body.id}`)).body, record);
  const hidden = await request('GET', `/v1/survey-responses/${body.id}`, { scope: 'survey-responses:read' });
  t.equal(hidden.body.answers.at(-1).text, null, 'what somebody wrote is personal');
  t.equal((await request('GET', `/v1/survey-responses/${body.id}`, { scope: 'surveys:read' })).status, 403);
  const { rows } = await database.query(
    'select question, is_primary from survey_answers where response_id = $1 and is_primary order by 1',
    [body.id],
  );
  t.same(
    rows.map(({ question }) => question),
    ['content', 'effort', 'many', 'one', 'recommend', 'why'],
  );

  const twin = await graphql(
    `query ($id: ID!) { surveyResponse(id: $id) { status late answers { question type score band choices text } customer { id } survey { name questions { key type } } } }`,
    { id: body.id },
  );
  t.match(twin.body.data.surveyResponse, {
    status: 'COMPLETE',
    answers: { length: 7, 0: { band: 'PASSIVE' } },
    customer: { id: body.customerId },
    survey: { questions: { length: 7, 0: { key: 'recommend', type: 'NPS' } } },
  });
  for (const [scale, score, band] of [
    [{ min: 1, max: 7, direction: 'easy_high', easyTo: 6, hardFrom: 2 }, 7, 'easy'],
    [{ min: 1, max: 7, direction: 'easy_high', easyTo: 6, hardFrom: 2 }, 2, 'hard'],
    [{ min: 1, max: 7, direction: 'easy_low', easyTo: 2, hardFrom: 6 }, 2, 'easy'],
  ] as const) {
    const other = await surveyOf({ questions: [{ ...effort, scale }] });
    t.equal((await push(other.id, { answers: [{ question: 'effort', score }] })).body.answers[0].band, band);
  }
});

t.test(
  'what is no answer is refused with its place, and nothing is stored, on both doors and in batches',
  async (t) => {
    const survey = await surveyOf();
    const draft = await surveyOf({ status: 'draft' });
    const ok = { question: 'recommend', score: 9 };
    const cases: [string, object, string[]][] = [
      ['six and a half', { answers: [{ question: 'recommend', score: 6.5 }] }, ['/answers/0/score invalid_type']],
      ['eleven', { answers: [{ question: 'recommend', score: 11 }] }, ['/answers/0/score out_of_scale']],
      ['minus one', { answers: [{ question: 'recommend', score: -1 }] }, ['/answers/0/score out_of_scale']],
      ['text', { answers: [{ question: 'recommend', score: 'nine' }] }, ['/answers/0/score invalid_type']],
      ['too far', { answers: [{ question: 'recommend', score: 1e9 }] }, ['/answers/0/score too_big']],
      ['text for a score', { answers: [{ question: 'recommend', text: '9' }] }, ['/answers/0/text wrong_type']],
      ['a score for a choice', { answers: [ok, { question: 'one', score: 1 }] }, ['/answers/1/score wrong_type']],
      [
        'choices for text',
        { answers: [ok, { question: 'why', choices: ['price'] }] },
        ['/answers/1/choices wrong_type'],
      ],
      [
        'an unknown question',
        { answers: [ok, { question: 'who', text: 'x' }] },
        ['/answers/1/question unknown_question'],
      ],
      [
        'an unknown option',
        { answers: [ok, { question: 'one', choices: ['red'] }] },
        ['/answers/1/choices/0 unknown_option'],
      ],
      [
        'two of one',
        { answers: [ok, { question: 'one', choices: ['price', 'speed'] }] },
        ['/answers/1/choices one_choice'],
      ],
      [
        'one twice',
        { answers: [ok, { question: 'many', choices: ['price', 'price'] }] },
        ['/answers/1/choices/1 duplicate'],
      ],
      ['a question twice', { answers: [ok, { ...ok, score: 3 }] }, ['/answers/1/question duplicate_question']],
      ['two values', { answers: [{ ...ok, text: 'x' }] }, ['/answers/0 one_value']],
      ['no value', { answers: [{ question: 'recommend' }] }, ['/answers/0 one_value']],
      ['a required one missing', { answers: [{ question: 'content', score: 3 }] }, ['/answers required_question']],
      ['dismissed with answers', { status: 'dismissed', answers: [ok] }, ['/answers dismissed_with_answers']],
      ['tomorrow', { answeredAt: '2026-06-02T12:00:00Z' }, ['/answeredAt in_the_future']],
      ['asked afterwards', { askedAt: '2026-05-02T00:00:00Z' }, ['/askedAt asked_after_answer']],
      ['nobody', { customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, ['/customerId not_found']],
      ['no order', { orderId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, ['/orderId unknown_order']],
      [
        'no interaction',
        { interactionId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' },
        ['/interactionId unknown_interaction'],
      ],
    ];
    const mutation = `mutation ($surveyId: ID!, $input: SurveyResponseInput!) {
    createSurveyResponse(surveyId: $surveyId, input: $input) { surveyResponse { id } } }`;
    for (const [name, members, expected] of cases) {
      const answer = await push(survey.id, members);
      t.equal(answer.status, 422, name);
      t.same(faults(answer), expected, name);
      const input = responseOf(members) as { status?: string };
      const twin = await graphql(mutation, {
        surveyId: survey.id,
        input: { ...input, ...(input.status && { status: input.status.toUpperCase() }) },
      });
      const [error] = twin.body.errors;
      t.notOk(twin.body.data?.createSurveyResponse, name);
      if (!/Int cannot represent/.test(error.message))
        t.same(
          error.extensions.errors.map(({ pointer, code }: any) => `${pointer} ${code}`),
          expected,
          name,
        );
    }
    t.match(await push(draft.id), { status: 422, body: { code: 'survey_closed' } });
    t.equal((await push('0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90')).status, 404);
    t.same(await stored(survey.id), { responses: 0, answers: 0 });
    t.same(await stored(draft.id), { responses: 0, answers: 0 });

    const { body } = await batch(survey.id, [
      responseOf(),
      ...cases.map(([, members]) => responseOf(members)),
      responseOf(),
    ]);
    t.same(
      body.results.map(({ status }: any) => status),
      ['created', ...cases.map(() => 'refused'), 'created'],
    );
    for (const [index, [name, , expected]] of cases.entries()) {
      const { errors } = body.results[index + 1].error;
      t.same(
        errors.map(({ pointer, code }: any) => `${pointer} ${code}`),
        expected,
        name,
      );
    }
    t.same(await stored(survey.id), { responses: 2, answers: 2 });
    const both = await batch(survey.id, [responseOf(), responseOf(cases[1]?.[1])], '?atomic=true');
    t.match(both, {
      status: 422,
      body: { code: 'batch_refused', errors: [{ pointer: '/responses/1/answers/0/score' }] },
    });
    t.same(await stored(survey.id), { responses: 2, answers: 2 });
  },
);

t.test('a submission counts once, whoever sends it again', async (t) => {
  const survey = await surveyOf();
  const response = responseOf({ customer: { source: 'shop', externalId: fresh('customer') } });
  const path = `/v1/surveys/${survey.id}/responses`;
  const headers = newKey();
  const dry = await request('POST', `${path}?dryRun=true`, { body: response, headers });
  t.equal(dry.status, 201);
  t.same(await stored(survey.id), { responses: 0, answers: 0 });
  const first = await request('POST', path, { body: response, headers });
  const repeated = await request('POST', path, { body: response, headers });
  t.equal(repeated.headers.get('idempotency-replayed'), 'true');
  t.same(repeated.body, first.body);
  t.match(await request('POST', path, { body: response }), {
    status: 409,
    body: { code: 'already_exists', id: first.body.id, errors: [{ pointer: '/submissionId' }] },
  });
  const statuses = async (...responses: object[]) =>
    (await batch(survey.id, responses)).body.results.map(({ status }: any) => status);
  t.same(await statuses(response, response), ['unchanged', 'unchanged']);
  t.match((await request('GET', `/v1/survey-responses/${first.body.id}`)).body, { version: 1 });
  t.same(await statuses({ ...response, staff: 'jo' }, { ...response, staff: 'jo' }), ['updated', 'unchanged']);
  const fresher = responseOf();
  t.same(await statuses(fresher, { ...fresher, staff: 'jo' }), ['created', 'updated'], 'twice in one batch');
  const other = await surveyOf();
  t.equal((await request('POST', `/v1/surveys/${other.id}/responses`, { body: response })).status, 201);

  const racing = responseOf();
  const raced = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      request('POST', path, {
        body: { ...racing, ...(i % 2 && { customer: { email: `${fresh('racer')}@example.org` } }) },
      }),
    ),
  );
  t.same(raced.map(({ status }) => status).sort(), [201, ...Array.from({ length: 7 }, () => 409)]);
});

t.test('a partial response is completed, and counts from then on', async (t) => {
  const survey = await surveyOf({ settings: { answerWithinDays: 2 } });
  const { id: customerId } = await customer();
  const counted = async () =>
    (
      await database.query('select counted from survey_answers where survey_id = $1 order by answered_at', [survey.id])
    ).rows.map((row) => row.counted);
  const partial = await push(survey.id, {
    customerId,
    status: 'partial',
    answers: [{ question: 'content', score: 5 }],
  });
  t.equal(partial.status, 201, 'without the required question');
  t.same(await counted(), [false]);
  t.same(faults(await change(partial.body.id, { status: 'complete' })), ['/answers required_question']);
  const completed = await change(partial.body.id, {
    status: 'complete',
    answers: [
      { question: 'content', score: 5 },
      { question: 'recommend', score: 10 },
    ],
  });
  t.match(completed, { status: 200, body: { version: 2, answers: { length: 2 } } });
  t.same(await counted(), [true, true]);
  t.match(await request('PATCH', `/v1/survey-responses/${partial.body.id}`, { body: {} }), { status: 428 });
  t.match(
    await request('PATCH', `/v1/survey-responses/${partial.body.id}`, { body: {}, headers: { 'If-Match': '"1"' } }),
    { status: 412 },
  );
  // Two days and a microsecond after it was asked.
  const late = await push(survey.id, { askedAt: '2026-04-29T09:59:59.999Z' });
  t.match(late.body, { late: true, status: 'complete' });
  t.same(await counted(), [true, true, false]);
  t.match((await change(late.body.id, { askedAt: '2026-04-29T10:00:00Z' })).body, { late: false });
  await changeSurvey(survey.id, { settings: { answerWithinDays: 1 } });
  t.match((await change(late.body.id, { staff: 'jo' })).body, { late: false }, 'other settings do not make it late');
  const dismissed = await push(survey.id, { status: 'dismissed', answers: undefined });
  t.match(dismissed, { status: 201, body: { status: 'dismissed', answers: [] } });
  await changeSurvey(survey.id, { status: 'closed', closesAt: '2026-04-01T00:00:00Z' });
  t.equal((await change(late.body.id, { staff: null })).status, 200, 'what was accepted can be corrected');
  t.same(faults(await change(late.body.id, { answeredAt: '2026-04-30T00:00:00Z' })), ['/answeredAt survey_closed']);
});

t.test('orders and interactions say whose response it is, and have to be of the customer', async (t) => {
  const survey = await surveyOf();
  const order = (await pushOrder(api, { customer: { externalId: fresh('buyer') } })).body;
  const stranger = await customer();
  const interaction = (
    await request('POST', '/v1/interactions', {
      body: { customerId: order.customerId, kind: 'phone', occurredAt: '2026-04-01T00:00:00Z' },
      headers: newKey(),
    })
  ).body;
  t.match((await push(survey.id, { orderId: order.id })).body, { customerId: order.customerId, orderId: order.id });
  t.match((await push(survey.id, { interactionId: interaction.id })).body, { customerId: order.customerId });
  t.equal((await push(survey.id, { orderId: order.id, customerId: order.customerId })).status, 201);
  t.same(faults(await push(survey.id, { orderId: order.id, customerId: stranger.id })), ['/orderId unknown_order']);
  t.same(faults(await push(survey.id, { interactionId: interaction.id, customerId: stranger.id })), [
    '/interactionId unknown_interaction',
  ]);
  const other = (await pushOrder(api, { customer: { externalId: fresh('buyer') } })).body;
  t.same(faults(await push(survey.id, { orderId: other.id, interactionId: interaction.id })), [
    '/interactionId unknown_interaction',
  ]);
  const anonymous = (await push(survey.id)).body;
  t.equal(anonymous.customerId, null);
  t.match((await change(anonymous.id, { orderId: order.id })).body, { customerId: order.customerId });
  t.same(faults(await change(anonymous.id, { customerId: stranger.id })), ['/orderId unknown_order']);
  t.same(faults(await change(anonymous.id, { orderId: other.id })), ['/orderId unknown_order']);
  t.match((await change(anonymous.id, { customerId: stranger.id, orderId: null })).body, {
    customerId: stranger.id,
    orderId: null,
  });
  t.match((await change(anonymous.id, { customerId: null })).body, { customerId: null });
  const held = await push(survey.id, { customerId: stranger.id });
  t.match(await request('DELETE', `/v1/customers/${stranger.id}`, any), {
    status: 409,
    body: { code: 'customer_has_records' },
  });
  t.equal((await request('DELETE', `/v1/survey-responses/${held.body.id}`, any)).status, 204);
  t.equal((await request('DELETE', `/v1/survey-responses/${held.body.id}`, any)).status, 404);
  t.equal((await request('DELETE', `/v1/customers/${stranger.id}`, any)).status, 204);
  await request('DELETE', `/v1/orders/${order.id}`, any);
  const [named] = (await request('GET', `/v1/survey-responses?orderId=${order.id}`)).body.data;
  t.equal((await change(named.id, { staff: 'jo' })).status, 200, 'an order that is gone does not bar other changes');
});

t.test('lists are filtered by what a response is about and by one of its answers', async (t) => {
  const survey = await surveyOf();
  const { id: customerId } = await customer();
  const about = {
    staff: 'ann',
    department: 'support',
    process: 'returns',
    sku: 'S-1',
    channel: 'phone',
    language: 'nl',
    journeyStage: 'use',
  };
  const at = (minute: number) => `2026-05-10T10:0${minute}:00.000Z`;
  const a = (
    await push(survey.id, {
      ...about,
      customerId,
      answeredAt: at(1),
      answers: [
        { question: 'recommend', score: 3 },
        { question: 'again', score: 9 },
      ],
    })
  ).body;
  const b = (
    await push(survey.id, {
      answeredAt: at(2),
      answers: [
        { question: 'recommend', score: 9 },
        { question: 'why', text: 'Delivered too late, twice' },
      ],
    })
  ).body;
  const c = (
    await push(survey.id, { answeredAt: at(3), status: 'partial', answers: [{ question: 'content', score: 2 }] })
  ).body;
  const d = (await push(survey.id, { answeredAt: at(4), status: 'dismissed', answers: [] })).body;
  const found = async (query: string) =>
    (await request('GET', `/v1/survey-responses?surveyId=${survey.id}&${query}`)).body.data?.map(({ id }: any) => id);
  t.same(await found('sort=answeredAt'), [a.id, b.id, c.id, d.id]);
  t.same(await found(''), [d.id, c.id, b.id, a.id]);
  for (const [name, value] of Object.entries({ ...about, customerId }))
    t.same(await found(`${name}=${value}`), [a.id], name);
  t.same(await found('staff=nobody'), []);
  t.same(await found('band=detractor'), [a.id]);
  t.same(await found('band=promoter&question=recommend'), [b.id], 'the question has that band');
  t.same(await found('band=promoter'), [b.id, a.id]);
  t.same(await found('band=not_satisfied'), [c.id]);
  t.same(await found('question=recommend&scoreFrom=4&scoreTo=9'), [b.id]);
  t.same(await found('scoreTo=2'), [c.id]);
  t.same(await found('status=partial'), [c.id]);
  t.same(await found('late=true'), []);
  t.equal((await found('late=false')).length, 4);
  t.same(await found(`answeredFrom=${at(2)}&answeredTo=${at(3)}`), [b.id]);
  t.same(await found('q=delivered%20-never'), [b.id]);
  t.same(await found('q=early'), []);
  t.equal((await request('GET', '/v1/survey-responses?q=late', { scope: 'survey-responses:read' })).status, 403);
  const path = `/v1/surveys/${survey.id}/responses`;
  t.same(
    (await allPages(api, `${path}?limit=1`)).map(({ id }) => id),
    [d.id, c.id, b.id, a.id],
  );
  t.same(
    (await request('GET', `/v1/customers/${customerId}/survey-responses`)).body.data.map(({ id }: any) => id),
    [a.id],
  );
  t.equal((await request('GET', '/v1/surveys/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/responses')).status, 404);
  t.equal((await request('GET', '/v1/customers/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/survey-responses')).status, 404);
  const twin = await graphql(
    `query ($survey: ID!, $customer: ID!) {
      surveyResponses(surveyId: $survey, band: DETRACTOR) { nodes { id } totalCount }
      responsesOfSurvey(surveyId: $survey, first: 2) { nodes { id } totalCount pageInfo { hasNextPage endCursor } }
      customer(id: $customer) { surveyResponses(first: 5) { nodes { id answers { text } } totalCount } }
    }`,
    { survey: survey.id, customer: customerId },
  );
  t.match(twin.body.data, {
    surveyResponses: { nodes: [{ id: a.id }], totalCount: 1 },
    responsesOfSurvey: { nodes: [{ id: d.id }, { id: c.id }], totalCount: 4, pageInfo: { hasNextPage: true } },
    customer: { surveyResponses: { nodes: [{ id: a.id }], totalCount: 1 } },
  });
});

/** A response as the test remembers it. */
interface Said {
  id: string;
  survey: number;
  customer: string | null;
  answeredAt: string;
  counts: boolean;
  scores: Record<string, number>;
}

/**
 * The next that counts, said without SQL: of all answers of the customer that match, the first after this one. Instants
 * compare as text, as all have microseconds here.
 */
function supersededAt(all: Said[], one: Said, matches: (other: Said) => boolean): string | null {
  if (!one.counts || one.customer === null) return null;
  const later = all.filter(
    (other) =>
      other.counts &&
      other.customer === one.customer &&
      matches(other) &&
      (other.answeredAt > one.answeredAt || (other.answeredAt === one.answeredAt && other.id > one.id)),
  );
  return later.map(({ answeredAt }) => answeredAt).sort()[0] ?? null;
}

/** Question → type of each survey; the first of a type is its primary one. */
const scored: Record<string, string>[] = [
  { recommend: 'nps', content: 'csat', again: 'nps' },
  { again: 'nps', content: 'csat' },
];
const typesOf = (survey: number) => scored[survey] ?? {};
const primaryOf = (survey: number, type: string | undefined) =>
  Object.entries(typesOf(survey)).find(([, of]) => of === type)?.[0] ?? '';

function superseded(all: Said[]): string[] {
  return all
    .flatMap((one) =>
      Object.keys(one.scores).map((question) => {
        const type = typesOf(one.survey)[question];
        const ofType =
          primaryOf(one.survey, type) === question
            ? supersededAt(all, one, (other) => primaryOf(other.survey, type) in other.scores)
            : null;
        const inSurvey = supersededAt(all, one, (other) => other.survey === one.survey && question in other.scores);
        return [one.id, question, ofType, inSurvey].join(' ');
      }),
    )
    .sort();
}

const moments = ['000001', '000002', '500000', '999999'].flatMap((fraction) => [
  `2026-04-01T10:00:00.${fraction}Z`,
  `2026-04-02T10:00:00.${fraction}Z`,
]);
const drawn = fc.record({
  survey: fc.nat({ max: 1 }),
  customer: fc.constantFrom(0, 0, 1, null),
  answeredAt: fc.constantFrom(...moments),
  status: fc.constantFrom('complete', 'complete', 'complete', 'partial'),
  late: fc.constantFrom(false, false, false, true),
  questions: fc.subarray(['recommend', 'content', 'again'], { minLength: 1 }),
  score: fc.nat({ max: 4 }),
});
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;
const place = fc.nat({ max: 30 });
const kindOf = <K extends string>(...kinds: K[]) => fc.constantFrom(...kinds);
const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: kindOf('push'), said: drawn }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: kindOf('batch'),
        items: fc.array(fc.tuple(drawn, place), { minLength: 1, maxLength: 5 }),
      }),
    },
    {
      weight: 7,
      arbitrary: fc.record({ kind: kindOf('redate', 'move', 'move', 'recompute', 'answer'), place, said: drawn }),
    },
    { weight: 1, arbitrary: fc.record({ kind: kindOf('delete'), place }) },
  ),
  { minLength: 6, maxLength: 24 },
);

t.test('what supersedes an answer is what a plain loop says, whatever happens to responses', async (t) => {
  const settings = { answerWithinDays: 1 };
  const surveyIds: string[] = [
    (await surveyOf({ settings, questions: [{ ...recommend, required: false }, content, again, why] })).id,
    (await surveyOf({ settings, questions: [again, content, why] })).id,
  ];
  const seen = { superseded: 0, ties: 0 };
  const right = async (all: Said[]) => {
    const { rows } = await database.query(
      `select response_id || ' ' || question as key, superseded_at::text, superseded_in_survey_at::text, answered_at::text
       from survey_answers where response_id = any($1) and type <> 'text'`,
      [all.map(({ id }) => id)],
    );
    const instant = (text: string | null) =>
      text === null ? '' : `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, -3).padEnd(6, '0')}Z`;
    const found = rows.map((row) =>
      [row.key, instant(row.superseded_at), instant(row.superseded_in_survey_at)].join(' '),
    );
    seen.superseded += rows.filter((row) => row.superseded_at !== null).length;
    seen.ties += rows.filter((row) => row.superseded_in_survey_at === row.answered_at).length;
    const wanted = superseded(all).join('\n');
    if (found.sort().join('\n') !== wanted) throw new Error(`stored\n${found.join('\n')}\nright\n${wanted}`);
  };
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const people: string[] = [(await customer()).id, (await customer()).id];
      const all: Said[] = [];
      const names = new Map<string, string>();
      const scoresOf = ({ survey, questions: asked, score }: Drawn) => {
        const wanted = asked.filter((question) => question in typesOf(survey));
        return Object.fromEntries((wanted.length > 0 ? wanted : ['content']).map((question) => [question, score + 1]));
      };
      const answersOf = (one: Drawn) => [
        ...Object.entries(scoresOf(one)).map(([question, score]) => ({ question, score })),
        { question: 'why', text: 'so' },
      ];
      const askedAt = (one: Drawn) => (one.late ? '2026-03-01T00:00:00Z' : null);
      const personOf = (one: Drawn) => (one.customer === null ? null : (people[one.customer] ?? null));
      const body = (one: Drawn, submissionId: string) => ({
        submissionId,
        answeredAt: one.answeredAt,
        status: one.status,
        askedAt: askedAt(one),
        customerId: personOf(one) ?? undefined,
        answers: answersOf(one),
      });
      const remember = (one: Drawn, id: string): Said => ({
        id,
        survey: one.survey,
        customer: personOf(one),
        answeredAt: one.answeredAt,
        counts: one.status === 'complete' && !one.late,
        scores: scoresOf(one),
      });
      const write = async (survey: number, items: { one: Drawn; name: string }[], alone: boolean) => {
        const id = surveyIds[survey] ?? '';
        const documents = items.map(({ one, name }) => body(one, name));
        const made = alone
          ? [(await request('POST', `/v1/surveys/${id}/responses`, { body: documents[0] })).body]
          : (await batch(id, documents)).body.results;
        for (const [index, { one, name }] of items.entries()) {
          const said = remember(one, made[index].id);
          const at = all.findIndex((other) => other.id === said.id);
          if (at < 0) all.push(said);
          else all[at] = said;
          names.set(said.id, name);
        }
      };
      for (const step of history) {
        if (step.kind === 'push') {
          await write(step.said.survey, [{ one: step.said, name: fresh('said') }], true);
        } else if (step.kind === 'batch') {
          // Items of one survey, some of which are known; of those of one name the last holds.
          const survey = step.items[0]?.[0].survey ?? 0;
          const known = all.filter((other) => other.survey === survey);
          const items = step.items.map(([one, at]) => {
            const old = at % 2 === 0 ? known[at % Math.max(known.length, 1)] : undefined;
            return { one: { ...one, survey }, name: names.get(old?.id ?? '') ?? fresh('said') };
          });
          await write(survey, items, false);
        } else {
          const one = all[step.place % Math.max(all.length, 1)];
          if (!one) continue;
          if (step.kind === 'delete') {
            await request('DELETE', `/v1/survey-responses/${one.id}`, any);
            all.splice(all.indexOf(one), 1);
          } else {
            const said = { ...step.said, survey: one.survey };
            const patches = {
              redate: { answeredAt: said.answeredAt },
              move: { customerId: personOf(said) },
              recompute: { status: said.status, askedAt: askedAt(said) },
              answer: { answers: answersOf(said) },
            };
            const { status, body: answer } = await change(one.id, patches[step.kind]);
            if (status !== 200) throw new Error(JSON.stringify(answer));
            const after = remember(said, one.id);
            if (step.kind === 'redate') one.answeredAt = after.answeredAt;
            else if (step.kind === 'move') one.customer = after.customer;
            else if (step.kind === 'recompute') one.counts = after.counts;
            else one.scores = after.scores;
          }
        }
        await right(all);
      }
    }),
    { numRuns: 30, seed: firstSeed(4) },
  );
  t.ok(seen.superseded > 100 && seen.ties > 10, `${seen.superseded} superseded, ${seen.ties} at the same instant`);
  t.same(await answerDifferences(poolDb(pool), 10), [], 'verify-rollups agrees');
  await database.query('update survey_answers set superseded_at = now() where score is null');
  t.equal((await answerDifferences(poolDb(pool), 10)).length, 10, 'and sees what is wrong');
  await database.query('update survey_answers set superseded_at = null where score is null');
});

t.test('sixteen writers on one customer leave one order of answers', async (t) => {
  const survey = await surveyOf();
  const name = fresh('crowded');
  const minutes = Array.from({ length: 16 }, (_, i) => (i * 7) % 16);
  const made = await Promise.all(
    minutes.map((minute) =>
      push(survey.id, {
        customer: { source: 'shop', externalId: name },
        answeredAt: `2026-05-01T10:${String(minute).padStart(2, '0')}:00Z`,
      }),
    ),
  );
  t.same(
    made.map(({ status }) => status),
    made.map(() => 201),
  );
  t.equal(new Set(made.map(({ body }) => body.customerId)).size, 1);
  const { rows } = await database.query(
    `select count(*)::int as answers, count(superseded_at)::int as superseded,
       bool_and(superseded_at = answered_at + interval '1 minute') as next
     from survey_answers where survey_id = $1`,
    [survey.id],
  );
  t.same(rows, [{ answers: 16, superseded: 15, next: true }]);
  await Promise.all(
    made.slice(0, 8).map(({ body }, i) => {
      return i % 2 ? request('DELETE', `/v1/survey-responses/${body.id}`, any) : change(body.id, { customerId: null });
    }),
  );
  t.same(await answerDifferences(poolDb(pool), 10), []);
});

t.test('a thousand responses take as many statements as ten', async (t) => {
  const survey = await surveyOf();
  const thousand = Array.from({ length: 1000 }, (_, i) =>
    responseOf({
      submissionId: fresh('many'),
      ...(i % 10 !== 0 && { customer: { source: 'shop', externalId: `many-${i % 300}` } }),
      answeredAt: `2026-05-01T10:00:00.${String(i).padStart(3, '0')}Z`,
      answers: [
        { question: 'recommend', score: i % 11 },
        { question: 'why', text: `Because ${i}` },
      ],
    }),
  );
  const sent: number[] = [];
  for (const [items, expected] of [
    [thousand.slice(0, 10), 'created'],
    [thousand.slice(10), 'created'],
    [thousand, 'unchanged'],
    [thousand.slice(0, 10).map((one) => ({ ...one, staff: 'jo' })), 'updated'],
    [thousand.slice(10).map((one) => ({ ...one, staff: 'jo' })), 'updated'],
  ] as const) {
    let results: { status: string }[] = [];
    const statements = await statementsOf(async () => {
      results = (await batch(survey.id, [...items])).body.results;
    });
    sent.push(statements);
    t.same(
      results.map(({ status }) => status),
      items.map(() => expected),
    );
  }
  const [few = 0, many = 0, unchanged = 0, fewChanged, manyChanged] = sent;
  t.equal(many, few, `${sent} statements`);
  t.equal(manyChanged, fewChanged);
  t.ok(unchanged < few);
  t.same(await stored(survey.id), { responses: 1000, answers: 2000 });
  t.same(await answerDifferences(poolDb(pool), 10), []);
});
