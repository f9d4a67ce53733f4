import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, pushOrder } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const verify = await rollupVerifier(t, api.url);
const rows = async (text: string) => (await database.query(text)).rows;

t.test('bounds of lead scores that are missing or too low are found and healed', async (t) => {
  const { body: made } = await request('POST', '/v1/leads', { body: { customer: { email: 'bound@example.org' } } });
  t.match(await verify(), { code: 0 });
  for (const harm of ['delete from lead_score_bounds', 'update lead_score_bounds set bound = bound - 1']) {
    await database.query(harm);
    t.match(await verify(), { code: 1, output: new RegExp(`lead_score_bounds.*${made.id}`) }, harm);
    t.match((await request('GET', '/metrics')).body, /^rapport_verification_differences\{state="the bounds.*"\} 1$/m);
    t.match(await verify(['--repair']), { code: 0 });
    t.match((await request('GET', '/metrics')).body, /^rapport_verification_differences\{state="the bounds.*"\} 0$/m);
  }
});

t.test('what is shared with partners and should not be, and the other way round, is found and healed', async (t) => {
  const { body: partner } = await request('POST', '/v1/partners', { body: { name: 'X', rules: { acquired: true } } });
  const { body: brought } = await request('POST', '/v1/customers', { body: { name: 'B', acquiredBy: partner.id } });
  const { body: stranger } = await request('POST', '/v1/customers', { body: { name: 'S' } });
  t.match(await verify(), { code: 0 });
  for (const harm of [
    'delete from partner_customers',
    'update partner_customers set writable = false',
    `insert into partner_customers values ('${partner.id}', '${stranger.id}', false)`,
  ]) {
    await database.query(harm);
    t.match(await verify(), { code: 1, output: new RegExp(`partner_customers.*${partner.id}`) }, harm);
    t.match(await verify(['--repair']), { code: 0 });
    const { body } = await request('GET', `/v1/partners/${partner.id}/customers`);
    t.match(body.data, [{ customerId: brought.id, writable: true }]);
    t.equal(body.data.length, 1);
  }
});

t.test('answers that do not know what superseded them are found and healed', async (t) => {
  const questions = [{ key: 'recommend', type: 'nps', text: 'Would you recommend us?' }];
  const { body: survey } = await request('POST', '/v1/surveys', { body: { name: 'X', status: 'open', questions } });
  const customer = { source: 'shop', externalId: fresh('asked') };
  for (const [submissionId, answeredAt, whose] of [
    ['second', '2026-03-02T00:00:00Z', { customer }],
    ['first', '2026-03-01T00:00:00Z', { customer }],
    ['nobody', '2026-03-01T00:00:00Z', {}],
  ] as const) {
    const answers = [{ question: 'recommend', score: 9 }];
    await request('POST', `/v1/surveys/${survey.id}/responses`, {
      body: { submissionId, answeredAt, answers, ...whose },
    });
  }
  t.match(await verify(), { code: 0 });
  const everything = `select superseded_at::text as at, superseded_in_survey_at::text as here from survey_answers order by answered_at, customer_id nulls last`;
  const right = await rows(everything);
  t.same(right[0], { at: '2026-03-02 00:00:00+00', here: '2026-03-02 00:00:00+00' });
  for (const harm of [
    'update survey_answers set superseded_at = null',
    'update survey_answers set superseded_in_survey_at = answered_at',
  ]) {
    await database.query(harm);
    t.match(await verify(), { code: 1, output: /survey_answers/ }, harm);
    t.match(await verify(['--repair']), { code: 0 });
    t.same(await rows(everything), right, 'healed');
  }
});

t.test('leads that are not what their stage changes and orders say are found and healed', async (t) => {
  const customer = { externalId: fresh('converted') };
  const { body: order } = await pushOrder(api, { customer, placedAt: '2026-03-01T00:00:00Z' });
  const { body: second } = await pushOrder(api, { customer, placedAt: '2026-03-02T00:00:00Z' });
  const { body: made } = await request('POST', '/v1/leads', {
    body: { customer: { source: 'shop', ...customer }, enteredAt: '2026-01-01T00:00:00Z' },
  });
  t.match(made, { stage: 'customer', conversionOrderId: order.id });
  t.match(await verify(), { code: 0 });
  const everything = `select (select json_agg(json_build_array(stage, stage_since, loss_reason, converted_at, conversion_order_id)) from leads where customer_id = '${made.id}')::text as lead,
    (select json_agg(json_build_array(sequence, at, from_stage, to_stage, rule, order_id) order by sequence) from lead_stage_changes where customer_id = '${made.id}')::text as steps`;
  const right = await rows(everything);
  const one = `customer_id = '${made.id}'`;
  for (const harm of [
    `update leads set stage = 'former', loss_reason = 'price' where ${one}`,
    `update leads set converted_at = null where ${one}`,
    `update lead_stage_changes set order_id = '${second.id}', at = '2026-03-02' where ${one} and sequence = 2`,
    `with gone as (delete from lead_stage_changes where ${one} and sequence = 2)
      update leads set stage = 'lead', stage_since = '2026-01-01', converted_at = null, conversion_order_id = null where ${one}`,
  ]) {
    await database.query(harm);
    t.match(await verify(), { code: 1, output: new RegExp(`lead.*${made.id}`) }, harm);
    t.match(await verify(['--repair']), { code: 0 });
    t.same(await rows(everything), right, 'healed');
  }
});

t.test('points of members that are not what postings and orders say are found and healed', async (t) => {
  const key = () => ({ 'Idempotency-Key': fresh('key') });
  const rules = { pointsPerUnit: 1, pointValue: 1, pendingDays: 3, bonuses: { welcome: 50 } };
  const { body: programme } = await request('POST', '/v1/loyalty/programmes', { body: { name: 'Club', rules } });
  await request('POST', `/v1/loyalty/programmes/${programme.id}/publish`, {
    body: { validFrom: '2020-01-01T00:00:00Z' },
    headers: { 'If-Match': '*' },
  });
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('member') }, total: 3000 });
  const body = { programmeId: programme.id, joinedAt: '2026-01-01T00:00:00Z' };
  const id = order.customerId;
  t.equal((await request('POST', `/v1/customers/${id}/loyalty`, { body, headers: key() })).status, 201);
  t.match(await verify(), { code: 0 });
  const everything = `select (select json_agg(json_build_array(active, pending, debt, next_at)) from loyalty_accounts)::text as accounts,
    (select json_agg(json_build_array(id, remaining) order by id) from loyalty_lots)::text as lots,
    (select json_agg(json_build_array(entitled, spend)) from loyalty_earnings)::text as earnings,
    (select json_agg(json_build_array(id, points) order by id) from loyalty_transactions)::text as transactions`;
  const right = await rows(everything);
  t.match(right[0], { accounts: /^\[\[30, 50, 0, / });
  for (const [harm, table] of [
    ['update loyalty_accounts set active = active + 1, pending = 0', 'loyalty_accounts'],
    ['update loyalty_lots set remaining = remaining - 1', 'loyalty_lots'],
    ['update loyalty_earnings set spend = 1', 'loyalty_earnings'],
  ] as const) {
    await database.query(harm);
    t.match(await verify(), { code: 1, output: new RegExp(table) }, harm);
    t.match(await verify(['--repair']), { code: 0 });
    t.same(await rows(everything), right, 'healed');
  }
});

t.test('a rebuild under new settings that is interrupted leaves a database that nobody starts on', async (t) => {
  await database.query(
    `create function no_rebuild() returns trigger language plpgsql as $$ begin raise 'interrupted'; end $$`,
  );
  await database.query(
    'create trigger no_rebuild before insert or update on customer_month execute function no_rebuild()',
  );
  const madrid = { REPORTING_TIME_ZONE: 'Europe/Madrid', BASE_CURRENCY: 'USD' };
  t.equal((await verify(['--repair', '--accept-settings'], madrid)).code, 1);
  await database.query('drop function no_rebuild cascade');
  for (const zone of ['Asia/Tokyo', 'Europe/Madrid']) {
    t.match(
      await verify([], { ...madrid, REPORTING_TIME_ZONE: zone }),
      { code: 1, output: /--repair --accept-settings/ },
      zone,
    );
  }
  t.match(await verify(['--repair', '--accept-settings'], madrid), { code: 0 });
  t.match(await verify([], madrid), { code: 0 });
});
