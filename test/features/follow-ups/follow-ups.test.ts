import pg from 'pg';
import t from 'tap';
import { newId } from '../../../src/platform/ids.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { allPages, fresh } from '../../support/shop.ts';

let now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const any = { 'If-Match': '*' };
const clear = async () => {
  await database.query(
    'truncate assignment_rules, assignment_turns, assignments, follow_ups, lead_stage_changes, leads cascade',
  );
};
const makeCustomer = async (body: object = {}): Promise<string> =>
  (await request('POST', '/v1/customers', { body: { name: fresh('Ada'), ...body } })).body.id;
const open = (body: object, headers: Record<string, string> = {}, query = ''): Promise<Answer> =>
  request('POST', `/v1/follow-ups${query}`, { body: { kind: 'retention', ...body }, headers });
const change = (id: string, body: object, headers: Record<string, string> = any): Promise<Answer> =>
  request('PATCH', `/v1/follow-ups/${id}`, { body, headers });

t.test('a follow-up is opened, given to somebody, closed with an outcome and opened again', async (t) => {
  await clear();
  const customerId = await makeCustomer();
  const due = '2026-06-03T17:00:00.000Z';
  const given = await open({ customerId, reason: 'asked to cancel', note: 'angry', owner: 'maria', dueAt: due });
  const { id } = given.body;
  t.match(given, {
    status: 201,
    body: {
      customerId,
      kind: 'retention',
      reason: 'asked to cancel',
      note: 'angry',
      owner: 'maria',
      dueAt: due,
      status: 'open',
      outcome: null,
      closedAt: null,
      version: 1,
    },
  });
  t.equal(given.headers.get('location'), `/v1/follow-ups/${id}`);
  t.same((await request('GET', `/v1/follow-ups/${id}`)).body, given.body);
  t.match(
    (await request('GET', `/v1/follow-ups/${id}`, { scope: 'leads:read' })).body,
    { reason: null, note: null, owner: 'maria' },
    'words about a customer are personal',
  );

  t.same(codes((await change(id, { status: 'done' })).body), ['/outcome required']);
  t.same(codes((await change(id, { outcome: 'retained' })).body), ['/outcome not_done']);
  t.same(codes((await change(id, { status: 'cancelled', outcome: 'lost' })).body), ['/outcome not_done']);
  t.equal((await change(id, { note: null }, {})).status, 428);
  t.equal((await change(id, { note: null }, { 'If-Match': '"2"' })).status, 412);
  t.equal((await request('GET', `/v1/follow-ups/${id}`)).body.version, 1, 'refusals change nothing');

  const later = (time: string) => {
    now = `2026-06-0${time}.000Z`;
  };
  later('2T08:00:00');
  t.match((await change(id, { status: 'done', outcome: 'retained' })).body, {
    status: 'done',
    outcome: 'retained',
    closedAt: now,
    version: 2,
  });
  const closed = now;
  later('2T09:00:00');
  t.match((await change(id, { outcome: 'lost', owner: 'jo' })).body, {
    outcome: 'lost',
    closedAt: closed,
    owner: 'jo',
  });
  t.same(codes((await change(id, { outcome: null })).body), ['/outcome required']);
  t.match((await change(id, { status: 'cancelled' })).body, { outcome: null, closedAt: closed });
  t.match((await change(id, { status: 'open', dueAt: null, reason: null })).body, {
    status: 'open',
    outcome: null,
    closedAt: null,
    dueAt: null,
    reason: null,
    note: 'angry',
    owner: 'jo',
  });
  later('2T10:00:00');
  t.match((await change(id, { status: 'cancelled', owner: null })).body, { closedAt: now, owner: null });

  const history = await allPages(api, `/v1/assignments?customerId=${customerId}&sort=at&limit=2`);
  t.match(history, [
    {
      followUpId: id,
      purpose: 'retention',
      previousOwner: null,
      owner: 'maria',
      ruleId: null,
      method: null,
      by: 'test',
    },
    { previousOwner: 'maria', owner: 'jo', at: '2026-06-02T09:00:00.000Z' },
    { previousOwner: 'jo', owner: null, at: now },
  ]);
  t.equal(history.length, 3, 'a change that leaves the owner is none of the history');

  t.same(codes((await open({ customerId: newId() })).body), ['/customerId not_found']);
  t.same(codes((await open({ customerId, kind: 'birthday' })).body), ['/kind invalid_value']);
  t.equal((await request('DELETE', `/v1/customers/${customerId}`, { headers: any })).status, 409);
  t.match((await request('DELETE', `/v1/customers/${customerId}`, { headers: any })).body, {
    code: 'customer_has_records',
    detail: /1 follow-up/,
  });
  t.equal((await request('DELETE', `/v1/follow-ups/${id}`)).status, 428);
  t.equal((await request('DELETE', `/v1/follow-ups/${id}`, { headers: any })).status, 204);
  t.equal((await request('DELETE', `/v1/follow-ups/${id}`, { headers: any })).status, 404);
  t.equal((await change(id, {})).status, 404);
  t.equal((await allPages(api, `/v1/assignments?customerId=${customerId}`)).length, 3, 'the history stays');
  t.match((await request('DELETE', `/v1/customers/${customerId}`, { headers: any })).body, {
    code: 'customer_has_records',
    detail: 'Delete or move the records of this customer first: 3 assignments.',
  });
});

t.test('follow-ups are listed by what they are and when they are due', async (t) => {
  await clear();
  now = '2026-06-10T12:00:00.000Z';
  const [one, two] = [await makeCustomer(), await makeCustomer()];
  const made: Record<string, string> = {};
  for (const [name, body] of Object.entries({
    late: { customerId: one, dueAt: '2026-06-09T12:00:00Z', owner: 'maria' },
    'late and done': { customerId: one, dueAt: '2026-06-08T12:00:00Z', owner: 'maria' },
    'due now': { customerId: two, dueAt: now, owner: 'jo' },
    'due later': { customerId: two, dueAt: '2026-06-20T12:00:00Z', kind: 'prevention' },
    whenever: { customerId: two, kind: 'prevention' },
    'also whenever': { customerId: one },
  }))
    made[name] = (await open(body)).body.id;
  await change(made['late and done'] ?? '', { status: 'done', outcome: 'not_reached' });
  const listed = async (query: string) =>
    (await allPages(api, `/v1/follow-ups?${query}`)).map(({ id }) =>
      Object.keys(made).find((name) => made[name] === id),
    );

  const byDue = ['late and done', 'late', 'due now', 'due later', 'whenever', 'also whenever'];
  t.same(await listed('sort=dueAt&limit=1'), byDue, 'what has no due date comes last, and nothing twice');
  t.same(await listed('sort=-dueAt&limit=2'), [...byDue].reverse());
  t.same(await listed('limit=2'), Object.keys(made).reverse());
  t.same(await listed('sort=createdAt&overdue=true'), ['late']);
  t.same(await listed('sort=dueAt&overdue=false&limit=2'), ['late and done', ...byDue.slice(2)]);
  t.same(await listed(`sort=dueAt&status=open&customerId=${two}`), ['due now', 'due later', 'whenever']);
  t.same(await listed('sort=dueAt&kind=prevention'), ['due later', 'whenever']);
  t.same(await listed('sort=dueAt&owner=maria'), ['late and done', 'late']);
  t.same(await listed('sort=dueAt&dueFrom=2026-06-09T12:00:00Z&dueTo=2026-06-20T12:00:00Z'), ['late', 'due now']);
  t.same(await listed('status=cancelled'), []);
  t.equal((await request('GET', '/v1/follow-ups?overdue=true&count=true')).body.page.total, 1);

  const first = await request('GET', '/v1/follow-ups?overdue=false&sort=dueAt&limit=2');
  now = '2026-06-10T12:00:01.000Z';
  const next = await request('GET', `/v1/follow-ups?overdue=false&sort=dueAt&limit=2&after=${first.body.page.next}`);
  t.equal(next.status, 200, 'a cursor does not depend on the clock');
  t.same(await listed('sort=dueAt&overdue=true'), ['late', 'due now']);
});
