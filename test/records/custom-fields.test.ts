import t from 'tap';
import { acceptedAttributes } from '../../src/records/custom-fields.ts';
import { recordKinds } from '../../src/records/record.ts';
import { storedTables } from '../../src/records/table.ts';
import { testApp } from '../support/app.ts';
import { stockHouse, stockPerson } from '../support/people.ts';
import { fresh, newKey, orderOf, returnOf } from '../support/shop.ts';

/* Attributes and tags: every kind of record has them, on both doors. */

const api = await testApp(t);
const { request, graphql } = api;
const customer = (await request('POST', '/v1/customers', { body: { name: 'Owner' } })).body.id;
const order = (await request('POST', '/v1/orders', { body: orderOf({ customerId: customer }), headers: newKey() }))
  .body;
const reference = () => ({ source: 'shop', externalId: fresh('kept') });

const house = await stockHouse(api);
const member = await stockPerson(api, house);

interface Family {
  path: string;
  /** The field of GraphQL. */
  plural: string;
  document: () => object;
  /** Where it is made, if not where it is listed. */
  made?: string;
  /** What a token needs to read it. Default: that of the field. */
  scope?: string;
  /** It is the organisation's own. */
  plain?: true;
  /** It is not changed by PATCH. */
  fixed?: true;
}

/** A new record with these members: the kinds, and what is written by hand. */
const documents: Record<string, Family> = {
  customer: { path: '/v1/customers', plural: 'customers', document: () => ({ references: [reference()] }) },
  order: { path: '/v1/orders', plural: 'orders', document: () => orderOf({ customerId: customer }) },
  return: { path: '/v1/returns', plural: 'returns', document: () => returnOf({ customerId: customer }) },
  interaction: {
    path: '/v1/interactions',
    plural: 'interactions',
    document: () => ({ ...reference(), customerId: customer, kind: 'phone', occurredAt: '2026-03-01T08:26:00Z' }),
  },
  campaign: { path: '/v1/campaigns', plural: 'campaigns', document: () => ({ name: fresh('campaign') }), plain: true },
  importMapping: {
    path: '/v1/import-mappings',
    plural: 'importMappings',
    scope: 'imports:read',
    document: () => ({ name: fresh('mapping'), kind: 'orders', mapping: {} }),
    plain: true,
  },
  lead: { path: '/v1/leads', plural: 'leads', document: () => ({ customer: reference() }) },
  followUps: {
    path: '/v1/follow-ups',
    plural: 'followUps',
    scope: 'leads:read',
    document: () => ({ customerId: customer, kind: 'retention' }),
  },
  surveyResponses: {
    path: '/v1/survey-responses',
    made: `/v1/surveys/${house.survey}/responses`,
    plural: 'surveyResponses',
    scope: 'survey-responses:read',
    document: () => ({
      submissionId: fresh('submission'),
      customerId: customer,
      answeredAt: '2026-03-01T08:26:00Z',
      answers: [{ question: 'recommend', score: 9 }],
    }),
  },
  rewards: {
    path: '/v1/loyalty/rewards',
    plural: 'rewards',
    scope: 'loyalty:read',
    document: () => ({ programmeId: house.programme, name: fresh('reward'), points: 1 }),
    plain: true,
  },
  redemptions: {
    path: '/v1/loyalty/redemptions',
    plural: 'redemptions',
    scope: 'loyalty:read',
    document: () => ({ customerId: member.customer, rewardId: house.reward }),
    fixed: true,
  },
  surveys: {
    path: '/v1/surveys',
    plural: 'surveys',
    document: () => ({ name: fresh('survey'), questions: [{ key: 'recommend', type: 'nps', text: 'Would you?' }] }),
    plain: true,
  },
  loyaltyProgrammes: {
    path: '/v1/loyalty/programmes',
    plural: 'loyaltyProgrammes',
    scope: 'loyalty:read',
    document: () => ({ name: fresh('club'), rules: { pointsPerUnit: 1, pointValue: 1 } }),
    plain: true,
  },
  segments: {
    path: '/v1/segments',
    plural: 'segments',
    document: () => ({ name: fresh('segment') }),
    plain: true,
  },
  partnerAccounts: {
    path: '/v1/partners',
    plural: 'partners',
    document: () => ({ name: fresh('dealer') }),
    plain: true,
  },
};
for (let i = 0; i < 10; i += 1) await redeemable();

async function redeemable() {
  const body = { customerId: member.customer, kind: 'adjust', points: 10_000, reason: 'for rewards' };
  const headers = newKey();
  const answer = await request('POST', '/v1/loyalty/transactions', { body, headers });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
}

const kept = { attributes: { color: 'red', size: 42, gift: true, code: '42' }, tags: ['vip', 'b2b'] };

t.test('every kind is among these, or a part of one', (t) => {
  const parts = ['refund'];
  t.strictSame(
    recordKinds().flatMap(({ name }) => (name in documents || parts.includes(name) ? [] : [name])),
    [],
  );
  t.end();
});

/** Records with versions that have none, and why. */
const without: Record<string, string> = {
  clients: 'their secrets are shown once, and nobody lists them by what they are for',
  assignmentRules: 'rules of the service',
  retentionRules: 'rules of the service',
  leadModels: 'trained by the service',
  leadRuleSets: 'what is published never changes',
  surveyInvitations: 'made by the service',
  loyaltyAccount: 'the membership of a customer, who has them',
  retentionRuns: 'made by the service',
  webhooks: 'their secrets are shown once, and nobody lists them by what they are for',
  imports: 'what became of a file',
};

t.test('whatever clients send has them', (t) => {
  const missing = storedTables().flatMap(({ name, fields }) =>
    'version' in fields && 'createdAt' in fields && !('attributes' in fields) ? [name] : [],
  );
  t.strictSame(missing.sort(), Object.keys(without).sort());
  t.end();
});

for (const [kind, family] of Object.entries(documents)) {
  const { path, plural, document, plain, fixed, made: makes = path, scope = `${plural}:read` } = family;
  t.test(`${kind}: kept, answered, changed and masked`, async (t) => {
    const made = await request('POST', makes, { body: { ...document(), ...kept }, headers: newKey() });
    t.match(made, { status: 201, body: kept });
    const at = `${path}/${made.body.id}`;
    t.match((await request('GET', at)).body, kept);
    const masked = plain ? kept : { attributes: null, tags: null };
    t.match((await request('GET', at, { scope })).body, masked, 'without customers:pii');
    if (fixed) return;
    const headers = { 'If-Match': '*' };
    t.match(await request('PATCH', at, { body: { tags: ['new'] }, headers }), {
      status: 200,
      body: { attributes: kept.attributes, tags: ['new'] },
    });
    t.match((await request('PATCH', at, { body: { attributes: null }, headers })).body, { attributes: null });
    t.match((await request('GET', at)).body, { attributes: null, tags: ['new'] });
    for (const [body, code] of [
      [{ attributes: { big: 2 ** 53 } }, 'invalid_json'],
      [{ attributes: ['a'] }, 'invalid_type'],
      [{ tags: [''] }, 'too_small'],
      [{ tags: Array.from({ length: 101 }, String) }, 'too_big'],
    ] as const) {
      t.match(await request('PATCH', at, { body, headers }), { status: 422, body: { errors: [{ code }] } });
    }
  });

  t.test(`${kind}: lists are filtered by them on both doors`, async (t) => {
    const label = fresh('label');
    const make = async (attributes: object | null, tags: string[] | null) =>
      (await request('POST', makes, { body: { ...document(), attributes, tags }, headers: newKey() })).body.id;
    const one = await make({ color: 'red', size: 42, gift: true, label }, ['vip', 'b2b', label]);
    const two = await make({ color: 'blue', size: '42', gift: 'true', label }, ['vip', label]);
    const three = await make({ 'a.b': 1, nested: { color: 'red' }, list: ['red'], label }, null);
    await make(null, null);
    for (const [query, args, expected] of [
      [`attributes.label=${label}`, `attributes: {label: "${label}"}`, [one, two, three]],
      [`attributes.label=${label}&attributes.color=red`, `attributes: {label: "${label}", color: "red"}`, [one]],
      [`attributes.label=${label}&attributes.size=42`, `attributes: {label: "${label}", size: "42"}`, [one, two]],
      [`attributes.label=${label}&attributes.gift=true`, `attributes: {label: "${label}", gift: "true"}`, [one, two]],
      [`attributes.label=${label}&attributes.a.b=1`, null, [three]],
      [`attributes.label=${label}&attributes.list=red`, `attributes: {label: "${label}", list: "red"}`, []],
      [null, `attributes: {label: "${label}", size: 42}`, [one]],
      [null, `attributes: {label: "${label}", gift: true}`, [one]],
      [null, `attributes: {label: "${label}", size: 42.0}`, [one]],
      [`tag=${label}`, `tag: "${label}"`, [one, two]],
      [`tags=vip,${label}`, `tags: ["vip", "${label}"]`, [one, two]],
      [`tags=b2b,${label}`, `tags: ["b2b", "${label}"]`, [one]],
      [`tag=b2b&attributes.label=${label}`, `tag: "b2b", attributes: {label: "${label}"}`, [one]],
      [`attributes.label=${label}&tag=nobody`, `tag: "nobody", attributes: {label: "${label}"}`, []],
    ] as const) {
      const sorted = (rows: { id: string }[]) => rows.map(({ id }) => id).sort();
      if (query !== null) {
        const { body } = await request('GET', `${path}?${query}&count=true`);
        t.strictSame(sorted(body.data), [...expected].sort(), `${kind} ${query}`);
        t.equal(body.page.total, expected.length, `${kind} ${query}: counted`);
      }
      if (args !== null) {
        const { body } = await graphql(`{ list: ${plural}(${args}) { totalCount nodes { id } } }`);
        t.strictSame(sorted(body.data?.list.nodes ?? []), [...expected].sort(), `${kind} ${args}`);
      }
    }
    const pages = await request('GET', `${path}?attributes.label=${label}&limit=2`);
    const next = new URL(pages.headers.get('link')?.match(/<(.*)>/)?.[1] ?? '', 'http://self');
    t.equal((await request('GET', `${next.pathname}${next.search}`)).body.data.length, 1, 'a page further');
  });

  t.test(`${kind}: filters need customers:pii where they are personal`, async (t) => {
    for (const [query, args, parameter] of [
      ['attributes.color=red', 'attributes: {color: "red"}', 'attributes'],
      ['tag=vip', 'tag: "vip"', 'tag'],
      ['tags=vip', 'tags: ["vip"]', 'tags'],
    ] as const) {
      const rest = await request('GET', `${path}?${query}`, { scope });
      const answer = await graphql(`{ ${plural}(${args}) { nodes { id } } }`, {}, { scope });
      if (plain) {
        t.equal(rest.status, 200, query);
        t.notOk(answer.body.errors, args);
        continue;
      }
      t.match(rest, { status: 403, body: { code: 'insufficient_scope', errors: [{ parameter }] } }, query);
      t.match(answer.body.errors, [{ extensions: { code: 'insufficient_scope' } }], args);
    }
  });
}

t.test('a filter that nobody can mean is refused', async (t) => {
  for (const [query, code] of [
    ['attributes=red', 'unsupported_parameter'],
    ['attributes.=red', 'invalid_key'],
    ['attributes.a=1&attributes.a=2', 'duplicate_parameter'],
    ['attributes.a=1&attributes.b=1&attributes.c=1&attributes.d=1&attributes.e=1&attributes.f=1', 'custom'],
    ['metadata.a=1', 'unsupported_parameter'],
  ] as const) {
    t.match(await request('GET', `/v1/orders?${query}`), { status: 422, body: { errors: [{ code }] } }, query);
  }
  const { body } = await graphql('{ orders(attributes: {color: ["red"]}) { nodes { id } } }');
  t.match(body.errors, [{ extensions: { code: 'invalid_input' } }]);
  const customers = '{ customers(tag: "vip") { nodes { id orders { nodes { id } } } } }';
  const scope = 'customers:read orders:read';
  t.match((await graphql(customers, {}, { scope })).body.errors, [{ extensions: { code: 'insufficient_scope' } }]);
  t.notOk((await graphql(customers)).body.errors, 'with what one statement fetches beside them');
});

t.test('a refund has them as well, and a document replaces what its source brought', async (t) => {
  const refund = { amount: 100, refundedAt: '2026-03-05T10:00:00Z', ...kept };
  const made = await request('POST', `/v1/orders/${order.id}/refunds`, { body: refund, headers: newKey() });
  t.match(made, { status: 201, body: kept });
  t.match((await request('GET', `/v1/refunds/${made.body.id}`, { scope: 'orders:read' })).body, {
    attributes: null,
    tags: null,
  });
  const { source, externalId, ...document } = orderOf({ customerId: customer });
  const at = `/v1/orders/external/${source}/${externalId}`;
  t.match((await request('PUT', at, { body: { ...document, ...kept } })).body, kept);
  t.match((await request('PUT', at, { body: document })).body, { attributes: null, tags: null });
});

t.test('two customers or leads that are one have those of both', async (t) => {
  const make = async (attributes: object, tags: string[]) => {
    const { id } = (await request('POST', '/v1/customers', { body: { name: 'Twin', attributes, tags } })).body;
    await request('POST', '/v1/leads', { body: { customerId: id, attributes, tags } });
    return id;
  };
  const survivor = await make({ a: 1, b: 1 }, ['x', 'y']);
  const other = await make({ b: 2, c: 2 }, ['y', 'z']);
  const merged = await request('POST', `/v1/customers/${survivor}/merge`, {
    body: { customerId: other },
    headers: { 'If-Match': '*', ...newKey() },
  });
  t.equal(merged.status, 200, JSON.stringify(merged.body));
  const both = { attributes: { a: 1, b: 1, c: 2 }, tags: ['x', 'y', 'z'] };
  t.match((await request('GET', `/v1/customers/${survivor}`)).body, both);
  t.match((await request('GET', `/v1/leads/${survivor}`)).body, both);
  const body = { mergeId: merged.body.id };
  await request('POST', `/v1/customers/${survivor}/unmerge`, { body, headers: { 'If-Match': '*', ...newKey() } });
  for (const kind of ['customers', 'leads']) {
    t.match((await request('GET', `/v1/${kind}/${survivor}`)).body, { attributes: { a: 1, b: 1 }, tags: ['x', 'y'] });
    t.match((await request('GET', `/v1/${kind}/${other}`)).body, { attributes: { b: 2, c: 2 }, tags: ['y', 'z'] });
  }
});

t.test('an erased person leaves none behind', async (t) => {
  const { id } = (await request('POST', '/v1/customers', { body: { name: 'Gone', ...kept } })).body;
  const made = (await request('POST', '/v1/orders', { body: orderOf({ customerId: id, ...kept }), headers: newKey() }))
    .body;
  t.equal((await request('POST', '/v1/leads', { body: { customerId: id, ...kept } })).status, 201);
  const followUp = (await request('POST', '/v1/follow-ups', { body: { customerId: id, kind: 'retention', ...kept } }))
    .body;
  const answered = { submissionId: fresh('gone'), customerId: id, answeredAt: '2026-03-01T08:26:00Z', ...kept };
  const answers = [{ question: 'recommend', score: 9 }];
  const survey = `/v1/surveys/${house.survey}/responses`;
  const response = (await request('POST', survey, { body: { ...answered, answers }, headers: newKey() })).body;
  const told = (await request('GET', `/v1/customers/${id}/export`)).body;
  t.match(JSON.stringify(told).match(/"color":\s*"red"/g)?.length, 5, 'all of them are exported');
  await request('POST', `/v1/customers/${id}/erase`, { headers: { 'If-Match': '*', ...newKey() } });
  const left = [`customers/${id}`, `orders/${made.id}`, `follow-ups/${followUp.id}`, `survey-responses/${response.id}`];
  for (const at of left) {
    t.match((await request('GET', `/v1/${at}`)).body, { attributes: null, tags: null }, at);
  }
  const late = await request('POST', '/v1/orders', { body: orderOf({ customerId: id, ...kept }), headers: newKey() });
  t.match(late, { status: 201, body: { attributes: null, tags: null } }, 'nor what comes later');
});

t.test('a text says the numbers and booleans that it spells', (t) => {
  for (const [filter, documents] of [
    [{ a: 'x' }, [{ a: 'x' }]],
    [{ a: '1' }, [{ a: '1' }, { a: 1 }]],
    [{ a: '1.50' }, [{ a: '1.50' }, { a: 1.5 }]],
    [
      { a: 'true', b: '2' },
      [
        { a: 'true', b: '2' },
        { a: 'true', b: 2 },
        { a: true, b: '2' },
        { a: true, b: 2 },
      ],
    ],
    [{ a: 1, b: false }, [{ a: 1, b: false }]],
    [{ a: '9007199254740993' }, [{ a: '9007199254740993' }]],
  ] as const) {
    t.strictSame(
      acceptedAttributes(filter),
      documents.map((document) => JSON.stringify(document)),
    );
  }
  t.end();
});
