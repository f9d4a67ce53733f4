import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { allPages, newKey } from '../../support/shop.ts';
import { content, effort, makeSurvey, one, recommend, responseOf, why } from '../../support/surveys.ts';

/** The clock of the service stands still. */
const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const any = { headers: { 'If-Match': '*' } };
const faults = ({ body }: { body: { errors?: { code: string; pointer?: string; parameter?: string }[] } }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

const surveyOf = (members: object = {}) => makeSurvey(api, members);
const changeSurvey = (id: string, body: object) => request('PATCH', `/v1/surveys/${id}`, { body, ...any });
const push = (surveyId: string, members: object = {}) =>
  request('POST', `/v1/surveys/${surveyId}/responses`, { body: responseOf(members), headers: newKey() });

t.test('a survey stores its scales, is opened, closed and opened again', async (t) => {
  const draft = await surveyOf({ status: undefined, channel: 'email', settings: { followUp: { withinDays: 2 } } });
  t.match(draft, {
    status: 'draft',
    openedAt: null,
    closesAt: null,
    currentVersion: 1,
    version: 1,
    settings: {
      contactFrequencyDays: 30,
      answerWithinDays: null,
      linkDays: 30,
      triggers: [],
      followUp: { withinDays: 2, owner: null },
    },
  });
  const none = { topBoxFrom: null, direction: null, easyTo: null, hardFrom: null };
  t.same(
    draft.questions.map(({ scale }: any) => scale),
    [
      { ...none, min: 0, max: 10 },
      { ...none, min: 1, max: 5, topBoxFrom: 4 },
      { ...none, min: 1, max: 5, direction: 'easy_low', easyTo: 2, hardFrom: 4 },
      { ...none, min: 0, max: 10 },
      null,
      null,
      null,
    ],
  );
  t.same((await request('GET', `/v1/surveys/${draft.id}`)).body, draft);
  t.match(await push(draft.id), { status: 422, body: { code: 'survey_closed' } });

  const opened = await changeSurvey(draft.id, { status: 'open', settings: { linkDays: 7 } });
  t.match(opened.body, { status: 'open', openedAt: now, version: 2, settings: { linkDays: 7, followUp: {} } });
  t.same(faults(await changeSurvey(draft.id, { status: 'draft' })), ['/status was_opened']);
  t.equal((await push(draft.id)).status, 201);
  t.match((await changeSurvey(draft.id, { status: 'closed' })).body, { status: 'closed', closesAt: now });
  t.same(faults(await push(draft.id, { answeredAt: now })), ['/answeredAt survey_closed']);
  t.equal((await push(draft.id, { answeredAt: '2026-06-01T11:59:59.999Z' })).status, 201, 'answered before the end');
  t.match((await changeSurvey(draft.id, { status: 'open' })).body, { status: 'open', closesAt: null });
  t.equal((await push(draft.id, { answeredAt: now })).status, 201);
  await changeSurvey(draft.id, { closesAt: '2026-05-02T00:00:00Z' });
  t.same(faults(await push(draft.id, { answeredAt: '2026-05-02T00:00:00Z' })), ['/answeredAt survey_closed']);
  t.match(
    (await changeSurvey(draft.id, { status: 'closed' })).body,
    { closesAt: '2026-05-02T00:00:00.000Z' },
    'an earlier end stays',
  );

  t.match(await request('DELETE', `/v1/surveys/${draft.id}`, any), {
    status: 409,
    body: { code: 'survey_has_records' },
  });
  const unused = await surveyOf();
  t.equal((await request('DELETE', `/v1/surveys/${unused.id}`, any)).status, 204);
  t.equal((await request('GET', `/v1/surveys/${unused.id}`)).status, 404);
  t.equal((await request('GET', `/v1/surveys/${unused.id}/versions`)).status, 404);
});

t.test('questions are refused whole, with every fault', async (t) => {
  const refused = async (...bad: object[]) =>
    faults(await request('POST', '/v1/surveys', { body: { name: 'Bad', questions: bad } }));
  t.same(await refused(recommend, recommend), ['/questions/1/key duplicate']);
  t.same(await refused({ ...recommend, scale: { min: 1, max: 10 } }), ['/questions/0/scale invalid_scale']);
  t.same(await refused({ ...content, scale: { min: 1, max: 7 } }), ['/questions/0/scale/topBoxFrom required']);
  for (const scale of [
    { min: 5, max: 1, topBoxFrom: 3 },
    { min: 1, max: 5, topBoxFrom: 1 },
    { min: 1, max: 5, topBoxFrom: 6 },
  ])
    t.same(await refused({ ...content, scale }), ['/questions/0/scale invalid_scale'], JSON.stringify(scale));
  t.same(await refused({ ...content, scale: { min: 1, max: 5, easyTo: 2 } }), [
    '/questions/0/scale/easyTo not_allowed',
  ]);
  t.same(await refused({ ...effort, scale: { min: 1, max: 7 } }), [
    '/questions/0/scale/easyTo required',
    '/questions/0/scale/hardFrom required',
  ]);
  t.same(await refused({ ...effort, scale: { min: 1, max: 7, easyTo: 4, hardFrom: 4 } }), [
    '/questions/0/scale invalid_scale',
  ]);
  t.same(await refused({ ...effort, scale: { min: 1, max: 5, direction: 'easy_high', easyTo: 2, hardFrom: 4 } }), [
    '/questions/0/scale invalid_scale',
  ]);
  t.same(await refused({ ...one, options: undefined }, { ...why, options: one.options }), [
    '/questions/0/options required',
    '/questions/1/options not_allowed',
  ]);
  t.same(await refused({ ...one, options: [...one.options, one.options[0]] }), [
    '/questions/0/options/2/key duplicate',
  ]);
  t.same(await refused({ ...why, scale: { min: 1, max: 5 } }), ['/questions/0/scale not_allowed']);
  t.match(await refused(), [/^\/questions too_small/]);
  t.match(await refused({ ...why, key: 'a b' }), [/^\/questions\/0\/key /]);
  t.equal((await refused(...Array.from({ length: 51 }, (_, i) => ({ ...why, key: `k${i}` })))).length, 1);
  const { body } = await request('POST', '/v1/surveys', {
    body: { name: 'X', questions: [why], settings: { triggers: [{ on: 'order_paid', stage: 'lead' }] } },
  });
  t.match(body.errors, [{ pointer: '/settings/triggers/0/stage', code: 'not_allowed' }]);
});

t.test('what was answered never changes its meaning', async (t) => {
  const survey = await surveyOf({ questions: [recommend, content, why] });
  const questionsTo = (...asked: object[]) => changeSurvey(survey.id, { questions: asked });
  t.match((await questionsTo(recommend, content)).body, { currentVersion: 1, questions: { length: 2 } }, 'in place');
  t.match((await questionsTo(recommend, content, one)).body, { currentVersion: 1, version: 3 });
  t.equal((await push(survey.id)).status, 201);

  t.match((await questionsTo(recommend, content, one)).body, { currentVersion: 1 }, 'the same is no version');
  const reworded = { ...recommend, text: 'Would you recommend us?' };
  t.match((await questionsTo(reworded, content, one)).body, { currentVersion: 2 });
  t.match((await push(survey.id)).body, { surveyVersion: 2 });
  t.same(
    faults(await questionsTo({ ...content, key: 'recommend', scale: { min: 0, max: 10, topBoxFrom: 9 } })),
    ['/questions/0/type question_answered'],
    'answered in version 1',
  );
  t.equal((await questionsTo(reworded, content, one)).status, 200);
  // Nobody has answered `content` or `one`: these may become something else.
  t.match((await questionsTo(reworded, { ...content, scale: { min: 1, max: 7, topBoxFrom: 6 } })).body, {
    currentVersion: 3,
  });
  t.equal(
    (
      await push(survey.id, {
        answers: [
          { question: 'recommend', score: 1 },
          { question: 'content', score: 7 },
        ],
      })
    ).status,
    201,
  );
  t.same(faults(await questionsTo(reworded, content)), ['/questions/1/scale question_answered']);
  t.same(
    faults(
      await push(survey.id, {
        surveyVersion: 1,
        answers: [
          { question: 'recommend', score: 1 },
          { question: 'content', score: 5 },
        ],
      }),
    ),
    ['/answers/1/question question_changed'],
    'its old meaning, which nobody had answered, is void',
  );
  t.equal((await push(survey.id, { surveyVersion: 1 })).status, 201);
  t.same(faults(await push(survey.id, { surveyVersion: 4 })), ['/surveyVersion unknown_version']);
  t.equal(
    (
      await push(survey.id, {
        surveyVersion: 2,
        answers: [
          { question: 'recommend', score: 3 },
          { question: 'one', choices: ['price'] },
        ],
      })
    ).status,
    201,
  );
  t.same(
    faults(await questionsTo(reworded, { ...one, options: [...one.options, { key: 'other', label: 'Other' }] })),
    ['/questions/1/options question_answered'],
    'an answered key that was gone comes back as it was',
  );
  t.match(await questionsTo(reworded, { ...one, options: [...one.options].reverse() }), { status: 200 });
  t.match(
    (await request('GET', `/v1/surveys/${survey.id}/versions`)).body.data.map(({ number }: any) => number),
    [4, 3, 2, 1],
  );
  t.same(
    (await allPages(api, `/v1/surveys/${survey.id}/versions?limit=1&sort=number`)).map(({ questions: asked }) =>
      asked.map(({ key }: any) => key),
    ),
    [
      ['recommend', 'content', 'one'],
      ['recommend', 'content', 'one'],
      ['recommend', 'content'],
      ['recommend', 'one'],
    ],
  );
});
