import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { chooseOwners, type Subject } from '../../../src/features/assignments/assign.ts';
import type { AssignmentRuleInput } from '../../../src/features/assignments/record.ts';
import { insertFollowUps } from '../../../src/features/follow-ups/queries.ts';
import type { FollowUp } from '../../../src/features/follow-ups/record.ts';
import { openPool, transaction } from '../../../src/platform/db/client.ts';
import { newId } from '../../../src/platform/ids.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { allPages, fresh, newKey } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const any = { 'If-Match': '*' };
const addRule = (body: object): Promise<Answer> =>
  request('POST', '/v1/assignment-rules', {
    body: { name: 'rule', purpose: 'retention', method: 'round_robin', ...body },
  });
const forAll = (...members: string[]) => ({ groups: [{ value: null, members }] });
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

t.test('assignment rules are written, read and tried in order', async (t) => {
  const body = {
    name: 'By country',
    purpose: 'lead',
    method: 'round_robin',
    key: 'country',
    groups: [
      { value: 'DE', members: ['maria', 'jo'] },
      { value: null, members: ['kim'] },
    ],
  };
  const made = await request('POST', '/v1/assignment-rules', { body });
  t.match(made, { status: 201, body: { ...body, position: 0, active: true, version: 1, createdAt: now } });
  const path = `/v1/assignment-rules/${made.body.id}`;
  t.equal(made.headers.get('location'), path);
  t.same((await request('GET', path)).body, made.body);

  t.equal((await request('PATCH', path, { body: { position: 3 } })).status, 428);
  t.equal((await request('PATCH', path, { body: { position: 3 }, headers: { 'If-Match': '"7"' } })).status, 412);
  const moved = await request('PATCH', path, { body: { position: 3, active: false }, headers: { 'If-Match': '"1"' } });
  t.match(moved.body, { ...body, position: 3, active: false, version: 2 }, 'members left out stay');
  t.same(
    codes((await request('PATCH', path, { body: { key: null }, headers: any })).body),
    ['/groups one_group_without_key'],
    'what is left has to fit',
  );
  const one = { key: null, ...forAll('maria') };
  t.match((await request('PATCH', path, { body: one, headers: any })).body, { ...one, version: 3 });

  const second = await addRule({ ...forAll('jo'), position: 1 });
  const third = await addRule({ ...forAll('kim'), position: 1, purpose: 'prevention' });
  const listed = async (query: string) => (await allPages(api, `/v1/assignment-rules?${query}`)).map(({ id }) => id);
  const [a, b, c] = [second.body.id, third.body.id, made.body.id];
  t.same(await listed('limit=1'), [a, b, c], 'by position, then by age');
  t.same(await listed('sort=-createdAt&limit=2'), [b, a, c].sort().reverse());
  t.same(await listed('active=false'), [c]);
  t.same(await listed('purpose=prevention&active=true'), [b]);

  const dry = await request('DELETE', `${path}?dryRun=true`, { headers: any });
  t.equal(dry.status, 204);
  t.equal((await request('DELETE', path, { headers: any })).status, 204);
  t.equal((await request('GET', path)).status, 404);
  t.equal((await request('PATCH', path, { body: {}, headers: any })).status, 404);
  t.equal((await request('DELETE', path, { headers: any })).status, 404);
  t.equal((await request('GET', '/v1/assignment-rules', { scope: 'leads:write' })).status, 403);
  t.equal((await request('POST', '/v1/assignment-rules', { body, scope: 'leads:read' })).status, 403);

  // Owners of groups by country would tell an address.
  const scope = 'leads:write';
  t.equal((await request('POST', '/v1/assignment-rules', { body, scope })).body.code, 'insufficient_scope');
  t.equal((await request('POST', '/v1/assignment-rules', { body, scope: `${scope} customers:pii` })).status, 201);
  const bySegment = `/v1/assignment-rules/${(await addRule({ ...body, key: 'segment', active: false })).body.id}`;
  const change = (changes: object) => request('PATCH', bySegment, { body: changes, headers: any, scope });
  t.equal((await change({ key: 'country' })).status, 403);
  t.equal((await change({ groups: body.groups })).status, 200);
});

t.test('groups that contradict each other are refused, with a pointer to each fault', async (t) => {
  for (const [body, expected] of [
    [{ key: null, groups: [{ value: 'DE', members: ['a'] }] }, ['/groups one_group_without_key']],
    [{ groups: [...forAll('a').groups, { value: 'DE', members: ['b'] }] }, ['/groups one_group_without_key']],
    [
      {
        key: 'country',
        groups: [
          { value: 'DE', members: ['a', 'b', 'a'] },
          { value: 'DE', members: ['a'] },
        ],
      },
      ['/groups/0/members/2 duplicate', '/groups/1/value duplicate'],
    ],
    [{ key: 'source', groups: [...forAll('a').groups, ...forAll('b').groups] }, ['/groups/1/value duplicate']],
    [{ groups: [] }, ['/groups too_small']],
    [forAll(), ['/groups/0/members too_small']],
    [{ ...forAll('a'), purpose: 'complaint' }, ['/purpose invalid_value']],
    [{ ...forAll('a'), method: 'random' }, ['/method invalid_value']],
  ] as [object, string[]][]) {
    const answer = await addRule(body);
    t.equal(answer.status, 422, JSON.stringify(body));
    t.same(codes(answer.body), expected, JSON.stringify(body));
  }
});

t.test('the other door does the same', async (t) => {
  await clear();
  const customerId = await makeCustomer({ address: { country: 'DE' } });
  const rule = await graphql(
    `mutation { createAssignmentRule(input: { name: "r", purpose: RETENTION, method: LEAST_LOADED, key: COUNTRY, groups: [{ value: "DE", members: ["a", "b"] }] }) {
      assignmentRule { id purpose method key groups { value members } position active version } replayed } }`,
  );
  const made = rule.body.data.createAssignmentRule.assignmentRule;
  t.match(made, { purpose: 'RETENTION', method: 'LEAST_LOADED', key: 'COUNTRY', position: 0, active: true });
  const changed = await graphql(
    `mutation ($id: ID!) { updateAssignmentRule(id: $id, expectedVersion: 1, input: { method: ROUND_ROBIN }) { assignmentRule { method version } } }`,
    { id: made.id },
  );
  t.same(changed.body.data.updateAssignmentRule.assignmentRule, { method: 'ROUND_ROBIN', version: 2 });
  const opened = await graphql(
    `mutation ($input: FollowUpInput!) { createFollowUp(input: $input) { followUp { id owner status customer { id } } } }`,
    { input: { customerId, kind: 'RETENTION', reason: 'price' } },
  );
  const { id } = opened.body.data.createFollowUp.followUp;
  t.match(opened.body.data.createFollowUp.followUp, { owner: 'a', status: 'OPEN', customer: { id: customerId } });
  const done = await graphql(
    `mutation ($id: ID!) { updateFollowUp(id: $id, expectedVersion: "*", input: { status: DONE }) { followUp { id } } }`,
    { id },
  );
  t.match(done.body.errors[0].extensions, {
    code: 'invalid_input',
    errors: [{ pointer: '/outcome', code: 'required' }],
  });
  const asked = await graphql(
    `query ($id: ID!, $rule: ID!) {
      followUp(id: $id) { id kind owner reason }
      followUps(owner: "a", overdue: false, sort: DUE_AT_ASC) { totalCount nodes { id } }
      assignmentRule(id: $rule) { id }
      assignmentRules(purpose: RETENTION, active: true) { nodes { id } }
      assignments(ruleId: $rule, first: 1) { totalCount nodes { owner method keyValue followUpId by customer { id } } }
    }`,
    { id, rule: made.id },
  );
  t.same(asked.body.data, {
    followUp: { id, kind: 'RETENTION', owner: 'a', reason: 'price' },
    followUps: { totalCount: 1, nodes: [{ id }] },
    assignmentRule: { id: made.id },
    assignmentRules: { nodes: [{ id: made.id }] },
    assignments: {
      totalCount: 1,
      nodes: [
        { owner: 'a', method: 'ROUND_ROBIN', keyValue: 'DE', followUpId: id, by: 'test', customer: { id: customerId } },
      ],
    },
  });
  const { body: lead } = await request('POST', '/v1/leads', {
    body: { customer: { source: 'web', externalId: fresh('lead') }, owner: 'a' },
  });
  await request('POST', `/v1/leads/${lead.id}/assign`, { body: { owner: 'b' } });
  await open({ customerId: lead.id, owner: 'c' });
  const nested = await graphql(
    `query ($id: ID!, $customer: ID!) {
      lead(id: $id) { assignments { owner previousOwner customer { followUps { owner status } } } }
      customer(id: $customer) { followUps { id customer { followUps { kind } } } }
    }`,
    { id: lead.id, customer: customerId },
  );
  const followUps = [{ owner: 'c', status: 'OPEN' }];
  t.same(nested.body.data, {
    lead: {
      assignments: [
        { owner: 'a', previousOwner: null, customer: { followUps } },
        { owner: 'b', previousOwner: 'a', customer: { followUps } },
      ],
    },
    customer: { followUps: [{ id, customer: { followUps: [{ kind: 'RETENTION' }] } }] },
  });
  const ofLead = await request('GET', `/v1/leads/${lead.id}/assignments`);
  t.match(ofLead.body.data, [
    { owner: 'b', purpose: 'lead' },
    { owner: 'a', purpose: 'lead' },
  ]);
  t.equal(ofLead.body.data.length, 2);
  t.equal((await request('GET', `/v1/leads/${customerId}/assignments`)).status, 404, 'no lead');
  t.match((await request('GET', `/v1/customers/${lead.id}/follow-ups?owner=c`)).body.data, [{ owner: 'c' }]);
  t.same((await request('GET', `/v1/customers/${lead.id}/follow-ups?owner=d`)).body.data, []);
  t.equal((await request('GET', `/v1/customers/${newId()}/follow-ups`)).status, 404);

  const hidden = await graphql(
    `query ($rule: ID!) { assignments(ruleId: $rule) { nodes { owner keyValue } } }`,
    { rule: made.id },
    { scope: 'leads:read' },
  );
  t.same(hidden.body.data.assignments.nodes, [{ owner: 'a', keyValue: null }], 'a country is of an address');
  const gone = await graphql(
    `mutation ($id: ID!, $rule: ID!) {
      deleteFollowUp(id: $id, expectedVersion: 1) { deleted }
      deleteAssignmentRule(id: $rule, expectedVersion: 2) { deleted }
    }`,
    { id, rule: made.id },
  );
  t.same(gone.body.data, { deleteFollowUp: { deleted: true }, deleteAssignmentRule: { deleted: true } });
});

t.test('a turn is taken by what is written, and only then', async (t) => {
  await clear();
  const customerId = await makeCustomer();
  await addRule(forAll('a', 'b', 'c'));
  const owner = async (body: object = {}, headers: Record<string, string> = {}, query = '') =>
    (await open({ customerId, ...body }, headers, query)).body.owner;
  t.equal(await owner(), 'a');
  t.equal(await owner({}, {}, '?dryRun=true'), 'b');
  t.equal(await owner({ owner: 'kim' }), 'kim');
  t.equal(await owner({ owner: null }), null, 'null: nobody');
  t.equal((await open({ customerId: newId() })).status, 422);
  t.equal(await owner({ kind: 'prevention' }), null, 'no rule of this purpose');
  const key = newKey();
  t.equal(await owner({}, key), 'b');
  t.equal(await owner({}, key), 'b', 'told again');
  t.equal(await owner(), 'c');
  t.equal(await owner(), 'a');
  t.same(
    (await allPages(api, `/v1/assignments?owner=b`)).map(({ owner, method }) => [owner, method]),
    [['b', 'round_robin']],
  );
});

t.test('whoever has least to do: open leads and open follow-ups count, closed ones do not', async (t) => {
  await clear();
  const customerId = await makeCustomer();
  const lead = (owner: string, stage: string) =>
    request('POST', '/v1/leads', {
      body: {
        customer: { source: 'web', externalId: fresh('lead') },
        owner,
        stage,
        ...(stage === 'former' && { lossReason: 'price' }),
      },
    });
  for (const stage of ['subscriber', 'lead']) t.equal((await lead('a', stage)).status, 201);
  for (const stage of ['sales_qualified', 'customer', 'former']) t.equal((await lead('b', stage)).status, 201);
  const done = await open({ customerId, owner: 'c' });
  await open({ customerId, owner: 'c' });
  await open({ customerId, owner: 'c', kind: 'prevention' });
  await addRule({ ...forAll('a', 'b', 'c'), method: 'least_loaded' });
  const next = async () => (await open({ customerId })).body.owner;
  t.equal(await next(), 'b', 'a 2, b 1, c 3');
  t.equal(await next(), 'a', 'a 2, b 2, c 3: the first of several');
  t.equal(await next(), 'b', 'a 3, b 2, c 3');
  await change(done.body.id, { status: 'done', outcome: 'other' });
  t.equal(await next(), 'c', 'a 3, b 3, c 2');
});

const pool = openPool(api.connection, { size: 4, statementTimeout: 60_000 });
t.teardown(() => pool.end());
const value = fc.constantFrom('DE', 'FR', 'null', '__proto__', 'ä"\\', ' ');
const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 4 });
const ruleInput: fc.Arbitrary<AssignmentRuleInput> = fc
  .record({
    method: fc.constantFrom('round_robin' as const, 'least_loaded' as const),
    key: fc.constantFrom('country' as const, 'segment' as const, 'source' as const, null),
    values: fc.uniqueArray(fc.option(value), { minLength: 1, maxLength: 4 }),
    members: fc.array(names, { minLength: 4, maxLength: 4 }),
    position: fc.nat({ max: 2 }),
    active: fc.constantFrom(true, true, true, false),
    purpose: fc.constantFrom('retention' as const, 'retention' as const, 'lead' as const),
  })
  .map(({ values, members, ...rule }) => ({
    ...rule,
    name: 'rule',
    groups: (rule.key === null ? [null] : values).map((one, i) => ({ value: one, members: members[i] ?? ['a'] })),
  }));
const subject = fc.record({ country: fc.option(value), segment: fc.option(value), source: fc.option(value) });
const sets = fc.array(
  fc.record({ subjects: fc.array(subject, { maxLength: 9 }), undone: fc.constantFrom(false, false, true) }),
  { minLength: 1, maxLength: 6 },
);

t.test('owners are those that one who looks at one after the other would choose', async () => {
  const customerId = await makeCustomer();
  await fc.assert(
    fc.asyncProperty(fc.array(ruleInput, { maxLength: 4 }), sets, async (inputs, given) => {
      await clear();
      const rules: (AssignmentRuleInput & { id: string })[] = [];
      for (const input of inputs) rules.push({ ...input, id: (await addRule(input)).body.id });
      const inOrder = rules
        .filter((rule) => rule.active && rule.purpose === 'retention')
        .sort((a, b) => (a.position ?? 0) - (b.position ?? 0) || (a.id < b.id ? -1 : 1));
      let turns: Record<string, number> = {};
      let load: Record<string, number> = {};
      const choose = (one: Omit<Subject, 'customerId'>) => {
        for (const rule of inOrder) {
          const { id, key, groups, method } = rule;
          const wanted = key ? one[key] : null;
          const group = groups.find((g) => g.value === wanted) ?? groups.find((g) => g.value === null);
          if (!group) continue;
          const count = `${id} ${JSON.stringify(group.value)}`;
          const turn = turns[count] ?? 0;
          turns[count] = turn + 1;
          const least = Math.min(...group.members.map((member) => load[member] ?? 0));
          const owner =
            method === 'round_robin'
              ? group.members[turn % group.members.length]
              : group.members.find((member) => (load[member] ?? 0) === least);
          load[owner ?? ''] = (load[owner ?? ''] ?? 0) + 1;
          return { owner, ruleId: id, keyValue: group.value, method };
        }
        return null;
      };
      for (const { subjects, undone } of given) {
        const before = { turns: { ...turns }, load: { ...load } };
        const expected = subjects.map(choose);
        const chosen = await transaction(
          pool,
          async (tx) => {
            const found = await chooseOwners(
              tx,
              'retention',
              subjects.map((one) => ({ ...one, customerId })),
            );
            const rows = found.map(
              (one): FollowUp => ({
                customerId,
                id: newId(),
                version: 1,
                kind: 'retention',
                reason: null,
                responseId: null,
                owner: one?.owner ?? null,
                dueAt: null,
                attributes: null,
                tags: null,
                status: 'open',
                outcome: null,
                note: null,
                closedAt: null,
                createdAt: now,
                updatedAt: now,
              }),
            );
            await insertFollowUps(tx, rows);
            return found;
          },
          { rollback: undone },
        );
        deepStrictEqual(chosen, expected);
        if (undone) ({ turns, load } = before);
      }
    }),
    { numRuns: 40 },
  );
});

t.test(
  'sixteen who write leads and follow-ups at once get fair turns, and none is lost from the history',
  async (t) => {
    await clear();
    const groups = {
      smb: ['a', 'b', 'c'],
      corp: ['d', 'e'],
      null: ['v', 'w', 'x', 'y', 'z'],
    };
    const asGroups = Object.entries(groups).map(([name, members]) => ({
      value: name === 'null' ? null : name,
      members,
    }));
    for (const purpose of ['lead', 'retention']) await addRule({ purpose, key: 'segment', groups: asGroups });
    const segments = ['smb', 'corp', 'other', 'another', undefined];
    const leadOf = (n: number) => ({
      customer: { source: 'web', externalId: fresh('lead') },
      segment: segments[n % segments.length],
    });
    const surprises: string[] = [];
    const expect = ({ status, body }: Answer, ...expected: number[]) => {
      if (!expected.includes(status)) surprises.push(`${status} ${JSON.stringify(body).slice(0, 200)}`);
    };
    const lost = new Set<string>();
    await Promise.all(
      Array.from({ length: 16 }, async (_, writer) => {
        for (let i = 0; i < 6; i += 1) {
          const leads = Array.from({ length: 7 }, (_unused, n) => leadOf(writer + i + n));
          const made = await request('POST', '/v1/leads', { body: leadOf(i), headers: newKey() });
          expect(made, 201);
          expect(await request('POST', '/v1/leads/batch', { body: { leads } }), 200);
          // What comes to nothing takes no turn.
          expect(await request('POST', '/v1/leads?dryRun=true', { body: leadOf(i) }), 201);
          const bad = [...leads.map((_lead, n) => leadOf(n)), { customer: { source: 'web' }, stage: 'nonsense' }];
          expect(await request('POST', '/v1/leads/batch?atomic=true', { body: { leads: bad } }), 422);
          const followUp = await open({ customerId: made.body.id });
          expect(followUp, 201);
          if (i % 3 === 0) {
            expect(await request('DELETE', `/v1/follow-ups/${followUp.body.id}`, { headers: any }), 204);
            lost.add(followUp.body.id);
          }
        }
      }),
    );
    t.same(surprises, []);

    const { rows: leads } = await database.query('select customer_id as id, segment, owner from leads');
    t.equal(leads.length, 16 * 6 * 8);
    const history = await allPages(api, '/v1/assignments?limit=100');
    const ofLeads = history.filter(({ purpose }) => purpose === 'lead');
    t.equal(ofLeads.length, leads.length);
    const told = new Map(ofLeads.map((one) => [one.customerId, one]));
    for (const { id, owner, segment } of leads) {
      const { owner: given, keyValue } = told.get(id) ?? {};
      const expected = segment in groups ? segment : null;
      if (owner !== given || keyValue !== expected)
        t.fail(`${id} is of ${owner}, by the history of ${given} (${keyValue})`);
    }
    const fair = (what: string, owners: string[]) => {
      for (const [name, members] of Object.entries(groups)) {
        const counts = members.map((member) => owners.filter((owner) => owner === member).length);
        t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${what} of ${name}: ${counts}`);
        t.ok(Math.min(...counts) > 5);
      }
    };
    fair(
      'leads',
      leads.map(({ owner }) => owner),
    );
    const ofFollowUps = history.filter(({ purpose }) => purpose === 'retention');
    t.equal(ofFollowUps.length, 16 * 6);
    t.equal(ofFollowUps.filter(({ followUpId }) => lost.has(followUpId)).length, 32, 'deleted ones had their turn');
    fair(
      'follow-ups',
      ofFollowUps.map(({ owner }) => owner),
    );
  },
);

t.test('sixteen who ask for whoever has least to do leave everybody with as much', async (t) => {
  await clear();
  await addRule({ ...forAll('a', 'b', 'c'), method: 'least_loaded' });
  const customers = await Promise.all(Array.from({ length: 16 }, () => makeCustomer()));
  for (let i = 0; i < 5; i += 1) await open({ customerId: customers[0], owner: 'b' });
  await Promise.all(
    customers.map(async (customerId) => {
      for (let i = 0; i < 4; i += 1) t.equal((await open({ customerId })).status, 201);
    }),
  );
  const { rows } = await database.query(
    'select owner, count(*)::int as n from follow_ups group by owner order by owner',
  );
  t.same(rows.map(({ n }) => n).sort(), [23, 23, 23]);
});

t.test('rules that change and go while others write refuse nobody', async (t) => {
  await clear();
  const customers = await Promise.all(Array.from({ length: 8 }, () => makeCustomer()));
  let writing = true;
  const answers: Answer[] = [];
  const administrate = async () => {
    while (writing) {
      const { body } = await addRule({ ...forAll('a', 'b'), position: 1 });
      const path = `/v1/assignment-rules/${body.id}`;
      const method = 'least_loaded';
      answers.push(await request('PATCH', path, { body: { ...forAll('b', 'c'), position: 0, method }, headers: any }));
      answers.push(await request('DELETE', path, { headers: any }));
    }
  };
  const administrators = [administrate(), administrate()];
  const made = await Promise.all(
    customers.map(async (customerId) => {
      const followUps: Answer[] = [];
      for (let i = 0; i < 12; i += 1) followUps.push(await open({ customerId }));
      return followUps;
    }),
  );
  writing = false;
  await Promise.all(administrators);
  t.same([...new Set(answers.map(({ status }) => status))].sort(), [200, 204]);
  t.same([...new Set(made.flat().map(({ status }) => status))], [201]);
  const given = made.flat().flatMap(({ body }) => (body.owner === null ? [] : [[body.id, body.owner]]));
  const history = await allPages(api, '/v1/assignments?limit=100&sort=at');
  t.same(history.map(({ followUpId, owner }) => [followUpId, owner]).sort(), given.sort());
  t.ok(given.length > 20, `${given.length} of ${made.flat().length} found a rule`);
  t.same((await request('GET', '/v1/assignment-rules')).body.data, []);
});
