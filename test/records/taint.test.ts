import { setTimeout } from 'node:timers/promises';
import { getTableName } from 'drizzle-orm';
import pg from 'pg';
import t, { type Test } from 'tap';
import { resolvers, routes } from '../../src/features.ts';
import { operationsOf } from '../../src/platform/graphql/field.ts';
import type { Operation } from '../../src/platform/operation.ts';
import { redactor } from '../../src/platform/personal.ts';
import { ownedTables } from '../../src/records/personal-data.ts';
import { columnNamed } from '../../src/records/table.ts';
import { type ScopedToken, testApp } from '../support/app.ts';
import type { Json } from '../support/contract.ts';
import { guardedFields } from '../support/doors.ts';
import { personalMembers } from '../support/inventory.ts';
import { type House, type Person, stockHouse, stockPartner, stockPerson } from '../support/people.ts';
import { type RawAnswer, rawClient } from '../support/raw-http.ts';
import { type Ask, cases, graphqlRequest } from '../support/scoped-cases.ts';
import { newKey } from '../support/shop.ts';
import { type More, type TaintCase, taintCases, typed } from '../support/taint-cases.ts';

/**
 * Every personal column holds a text that nothing else holds; every operation is called on both doors. Without
 * `customers:pii` no answer has such a text, whoever asks. With it, whoever is told one is in the audit.
 *
 * The columns come from the definitions of the tables, compared with the catalog; the operations from the routes and
 * resolvers. What is new and has no case here fails.
 */

t.setTimeout(600_000);
let now = '2026-05-31T12:00:00.000Z';
const service = await testApp(t, { clock: () => now });
const send = rawClient(t, service.origin, 60_000);
const database = new pg.Client(service.connection);
await database.connect();
t.teardown(() => database.end());

async function made(path: string, body: unknown, headers: Record<string, string> = newKey()): Promise<any> {
  const answer = await service.request('POST', path, { body, headers });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

// The columns

/** `Taint_customers_given_name`, and what it is set to: as its type and its checks want it. */
const personalColumns = ownedTables().flatMap((stored) =>
  personalMembers(stored).map((member) => ({
    table: getTableName(stored.table),
    column: columnNamed(stored.table, member).name,
    type: columnNamed(stored.table, member).getSQLType(),
  })),
);
const markOf = ({ table, column }: Pick<(typeof personalColumns)[number], 'table' | 'column'>) =>
  `Taint_${table}_${column}`;
const day = '1903-02-17';

/** What SQL sets a column to, where a plain text would not do. null: it is filled by what happens (a merge). */
const values: Record<string, string | null> = {
  'customers.birthday': `'${day}'`,
  'customers.address': `'{"line1": "Taint_customers_address", "city": "Taint_customers_address", "country": "GB"}'`,
  'customer_identities.value': `lower('Taint_customer_identities_value.' || left(md5(value), 12) || '@example.org')`,
  'customer_merges.before': null,
  // Part of a key.
  'customer_terms.term': `'taint_customer_terms_term.' || left(md5(random()::text), 12)`,
  'customer_merges.after': null,
};

function literalOf(place: (typeof personalColumns)[number]): string {
  if (place.type === 'jsonb') return `'{"nick": "${markOf(place)}"}'`;
  return place.type.endsWith('[]') ? `'{${markOf(place)}}'` : `'${markOf(place)}'`;
}

async function taint(): Promise<void> {
  for (const place of personalColumns) {
    const key = `${place.table}.${place.column}`;
    const value = key in values ? values[key] : literalOf(place);
    if (value === null) continue;
    const where = key === 'customer_identities.value' ? `where kind = 'email' and value not like 'taint%'` : '';
    await database.query(`update ${place.table} set ${place.column} = ${value} ${where}`);
  }
}

/** The texts that an answer should not have. */
function found({ text, headers }: Pick<RawAnswer, 'text' | 'headers'>): string[] {
  const said = `${text} ${JSON.stringify(headers)}`.toLowerCase();
  return [...new Set([...said.matchAll(/taint_[a-z_]+|1903-02-17/g)].map(([mark]) => mark))];
}

// The records

const house = await stockHouse(service);
const words = await made('/v1/surveys', {
  name: 'With words',
  status: 'open',
  questions: [
    { key: 'recommend', type: 'nps', text: 'Would you?' },
    { key: 'content', type: 'csat', text: 'Are you content?' },
    { key: 'effort', type: 'ces', text: 'Was it easy?' },
    { key: 'why', type: 'text', text: 'Why?' },
  ],
  settings: { contactFrequencyDays: 0 },
});
const ruleSet = await made('/v1/lead-rule-sets', {
  name: 'By words',
  document: {
    rules: [
      { name: 'Calls', group: 'intent', points: 5, on: { kinds: ['phone'] } },
      { name: 'Nick', group: 'fit', points: 5, when: [{ field: 'attributes.nick', exists: true }] },
    ],
    grades: { A: 40, B: 20, C: 5 },
  },
});
await made(`/v1/lead-rule-sets/${ruleSet.id}/publish`, undefined, { ...newKey(), 'If-Match': '*' });

/** A person with a record of every kind, all of its personal columns filled. */
async function stock(): Promise<Person> {
  const person = await stockPerson(service, house);
  await made(`/v1/surveys/${words.id}/responses`, {
    submissionId: `words ${person.name}`,
    answeredAt: '2026-05-28T10:00:00Z',
    customerId: person.customer,
    answers: [
      { question: 'recommend', score: 9 },
      { question: 'content', score: 4 },
      { question: 'effort', score: 4 },
      { question: 'why', text: 'as it is' },
    ],
  });
  await taint();
  return person;
}

const person = await stock();
const twin = await stock();
const merge = await made(`/v1/customers/${person.customer}/merge`, { customerId: twin.customer, take: ['name'] });
const other = await stock();
const partnerOf = (fields?: string[]) =>
  stockPartner(service, { customers: [person.customer, person.newcomer, other.customer], ...(fields && { fields }) });
const partners = { none: await partnerOf([]), all: await partnerOf() };
const client = await made('/v1/clients', { name: 'Shop backend', scopes: ['orders:read'] });
const secret = await made(`/v1/clients/${client.id}/secrets`, {}, {});
const link = await made(`/v1/surveys/${words.id}/eligibility`, { customerId: person.customer, reserve: true });
const retentionRule = await made('/v1/retention-rules', {
  name: 'Former',
  kind: 'customer',
  after: 36,
  unit: 'months',
});
const retentionRun = await made(`/v1/retention-rules/${retentionRule.id}/run`, undefined);
const importMapping = await made('/v1/import-mappings', { name: 'Shop', kind: 'orders', mapping: {} });
const file = { headers: { 'Content-Type': 'application/x-ndjson' }, body: '\n' };
const imported = await service.request('POST', '/v1/imports?kind=orders', file);
const draftProgramme = await made('/v1/loyalty/programmes', {
  name: 'Draft',
  rules: { pointsPerUnit: 1, pointValue: 1 },
});
const keys = await service.request('GET', '/v1/signing-keys');
now = '2026-06-01T12:00:00.000Z';
await service.request('GET', `/v1/customers/${person.customer}`, { client: 'first' });
const auditEntry = await eventually(
  async () => (await service.request('GET', '/v1/audit-entries?client=first')).body.data[0]?.id as string | undefined,
);
await taint();

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 200; tries += 1) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await setTimeout(25);
  }
  throw new Error('It did not come.');
}

let turns = 0;
function more(members: Partial<More> = {}): More {
  turns += 1;
  return {
    turn: `turn-${turns}`,
    other: other.customer,
    merge: merge.id,
    partner: partners.none,
    client: client.id,
    secret: secret.id,
    retentionRule: retentionRule.id,
    retentionRun: retentionRun.id,
    import: imported.body.id,
    importMapping: importMapping.id,
    draftRuleSet: house.leadRuleSet,
    draftProgramme: draftProgramme.id,
    auditEntry,
    token: service.token('orders:read', 'to be revoked'),
    signingKey: keys.body.keys?.[0]?.kid ?? keys.body.data?.[0]?.kid ?? 'none',
    link:
      String(link.reserved?.path ?? '')
        .split('/')
        .at(-1) ?? '',
    ...members,
  };
}

// The operations

const operations = new Map<string, Operation>(routes.map(({ operation }) => [operation.name, operation]));
const addressed = new Set(operations.keys());
for (const fields of resolvers.flatMap((types) => Object.values(types)))
  for (const resolver of Object.values(fields))
    for (const operation of operationsOf(resolver)) operations.set(operation.name, operation);

function caseOf(name: string): TaintCase | undefined {
  const scoped = cases[name];
  return taintCases[name] ?? (scoped && ((of: Person, all: House, { turn }: More) => scoped.input(of, all, turn)));
}

function inputOf(operation: Operation, extra: More, dry: boolean): Json {
  const input = caseOf(operation.name)?.(person, house, extra) ?? {};
  return { ...input, ...(dry && 'dryRun' in operation.input.shape ? { dryRun: true } : {}) };
}

/** One request per address of the operation; by the name of the record, too, where it has one. */
function restRequests(operation: Operation, input: Json): Ask[] {
  return routes
    .filter((route) => route.operation === operation)
    .map(({ method, url, parameters }): Ask => {
      const given = parameters === 'body' ? { body: input } : input;
      const { body, expectedVersion, ...rest } = { ...(url.includes(':externalId') && shop), ...given } as Json;
      const inPath = new Set([...url.matchAll(/:(\w+)/g)].map(([, name = '']) => name));
      if (inPath.has('externalId')) delete rest.id;
      const path = url.replace(/:(\w+)/g, (_all, name: string) => encodeURIComponent(String(rest[name])));
      const query = Object.entries(rest).filter(([name]) => !inPath.has(name));
      const search = new URLSearchParams(query.map(([name, value]): [string, string] => [name, String(value)]));
      const keyed = operation.kind === 'write' && 'idempotencyKey' in operation.input.shape;
      return {
        door: `${method} ${url}`,
        method,
        path: query.length > 0 ? `${path}?${search.toString()}` : path,
        headers: {
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...(operation.kind === 'write' && operation.upload && { 'Content-Type': 'application/x-ndjson' }),
          ...(expectedVersion !== undefined && { 'If-Match': String(expectedVersion) }),
          ...(keyed && newKey()),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      };
    });
}
const shop = { source: 'shop', externalId: person.name };

const fields = guardedFields();

/** Every field that goes through operations, by the case of the one at the root of its path. */
function graphqlRequests(dry: boolean, extra: () => More): { request: Ask; operations: string[] }[] {
  return fields.flatMap((field) => {
    const root = field.guards[0]?.operations[0];
    if (!root || !caseOf(root.name)) return [];
    const given = inputOf(root, extra(), dry);
    const input = {
      ...('id' in root.input.shape && given.source === undefined && { id: person.customer }),
      ...('externalId' in given && { reference: { source: given.source, externalId: given.externalId } }),
      ...given,
    };
    const passed = field.guards.flatMap((guard) => guard.operations.map(({ name }) => name));
    return [{ request: graphqlRequest(field, input, 25), operations: passed }];
  });
}

// Those who ask

const withPii = '*';
const withoutPii = [...new Set([...operations.values()].map(({ scope }) => scope))].sort().join(' ');
const callers: Record<string, ScopedToken> = {
  service: {},
  'a partner who is allowed no member': { partner: partners.none },
  'a partner who is allowed every member': { partner: partners.all },
  'a customer': { customer: person.customer },
};

async function ask(
  { door: _door, ...request }: Ask,
  scope: string,
  name: string,
  who: ScopedToken,
): Promise<RawAnswer> {
  return send({
    ...request,
    headers: { ...request.headers, Authorization: `Bearer ${service.token(scope, name, who)}` },
  });
}

t.test('every operation has a case, and every personal column is filled', async (t) => {
  t.notOk(withoutPii.includes('customers:pii'));
  t.strictSame([...addressed].filter((name) => !caseOf(name)).sort(), [], 'operations without a case');
  t.strictSame(
    Object.keys(taintCases).filter((name) => !operations.has(name)),
    [],
    'cases without an operation',
  );
  const { rows } = await database.query<{ key: string }>(
    `select table_name || '.' || column_name as key from information_schema.columns where table_schema = 'public'`,
  );
  const catalog = new Set(rows.map(({ key }) => key));
  for (const { table, column } of personalColumns) {
    t.ok(catalog.has(`${table}.${column}`), `${table}.${column} is in the catalog`);
    const { rowCount } = await database.query(`select from ${table} where ${column}::text ~* 'taint_|${day}' limit 1`);
    t.equal(rowCount, 1, `${table}.${column} is filled`);
  }
});

/** What an operation answers to bodies and versions that are not right. */
function wrong(request: Ask): Ask[] {
  const { 'If-Match': version, ...headers } = request.headers;
  return [
    ...(version
      ? [
          { ...request, headers: { ...headers, 'If-Match': '"99"' } },
          { ...request, headers },
        ]
      : []),
    ...(request.body === undefined ? [] : [{ ...request, body: '{"name": 5, "customerId": "x"}' }]),
  ];
}

for (const [name, who] of Object.entries(callers)) {
  t.test(`without customers:pii nothing personal is answered: ${name}`, async (t) => {
    let answered = 0;
    for (const operation of operations.values()) {
      for (const request of restRequests(operation, inputOf(operation, more(), true))) {
        for (const one of name === 'service' ? [request, ...wrong(request)] : [request]) {
          const answer = await ask(one, withoutPii, 'masked', who);
          if (answer.status < 300) answered += 1;
          const marks = found(answer);
          if (marks.length > 0) t.fail(`${one.door}: ${marks.join(', ')}`, { answer: answer.text.slice(0, 2000) });
          if (answer.status >= 500) t.fail(`${one.door}: ${answer.status} ${answer.text}`);
        }
      }
    }
    for (const { request } of graphqlRequests(true, more)) {
      const answer = await ask(request, withoutPii, 'masked', who);
      const marks = found(answer);
      if (marks.length > 0) t.fail(`${request.door}: ${marks.join(', ')}`, { answer: answer.text.slice(0, 2000) });
    }
    t.comment(`${answered} were answered`);
    t.ok(answered > 30, `${answered} were answered`);
  });
}

const seen = new Set<string>();
const told: { client: string; door: string; operations: string[]; marks: string[] }[] = [];
let clients = 0;
function newClient(): string {
  clients += 1;
  return `full-${clients}`;
}

async function full(
  t: Pick<Test, 'fail'>,
  request: Ask,
  through: string[],
  who: ScopedToken,
  client = newClient(),
): Promise<RawAnswer> {
  const answer = await ask(request, withPii, client, who);
  const marks = found(answer);
  if (!through.includes('exportCustomer')) for (const mark of marks) seen.add(mark);
  if (marks.length > 0 && answer.status < 300) told.push({ client, door: request.door, operations: through, marks });
  else if (marks.length > 0) t.fail(`${request.door} tells ${marks.join(', ')} in a refusal: ${answer.text}`);
  return answer;
}
t.test('with customers:pii every operation answers', async (t) => {
  for (const [name, who] of Object.entries(callers)) {
    for (const operation of operations.values()) {
      const answers: RawAnswer[] = [];
      for (const request of restRequests(operation, inputOf(operation, more(), true)))
        answers.push(await full(t, request, [operation.name], who));
      if (name === 'service' && answers.length > 0 && !mayFail.has(operation.name)) {
        const best = answers.find(({ status }) => status < 300);
        t.ok(best, `${operation.name} ${answers.map(({ status, text }) => `${status} ${text.slice(0, 400)}`).join()}`);
      }
    }
    for (const { request, operations: through } of graphqlRequests(true, more)) {
      const { text } = await full(t, request, through, who);
      const isPersonal = through.some((one) => personalOperations.has(one)) && !through.some((one) => mayFail.has(one));
      if (name === 'service' && isPersonal) t.notMatch(text, /"errors":/, `${request.door} is answered`);
    }
  }
});

/** Those whose answers are masked. A field of theirs that is refused here would prove nothing. */
const personalOperations = new Set(
  [...operations.values()].filter(({ output }) => redactor(output) !== null).map(({ name }) => name),
);

/** Refused here for what the records are: their refusals are looked at all the same. */
const mayFail = new Set([
  'exportImportErrors',
  'deleteCampaign',
  'deleteSurvey',
  'deleteReward',
  'listLeadModelScores',
  'revokeSigningKey',
]);

const writes = [...operations.values()].filter(({ kind }) => kind === 'write');
/** Written for real as well, and asked again with the same key; what takes away the person is tried only. */
const forReal = writes.filter(
  ({ name, input }) =>
    'idempotencyKey' in input.shape && !/^(delete|erase|revoke|rotate|end|unshare|unmerge|run)/.test(name),
);

for (const scope of [withoutPii, withPii]) {
  t.test(`what is written, and answered again: ${scope === withPii ? 'with' : 'without'} customers:pii`, async (t) => {
    let replayed = 0;
    for (const who of Object.values(callers)) {
      for (const operation of forReal) {
        const goes = operation.name === 'mergeCustomer' ? { other: (await stock()).customer } : {};
        for (const request of restRequests(operation, inputOf(operation, more(goes), false))) {
          const client = scope === withPii ? newClient() : 'masked';
          for (const round of [1, 2]) {
            const answer =
              scope === withPii
                ? await full(t, request, [operation.name], who, client)
                : await ask(request, scope, client, who);
            if (answer.headers['idempotency-replayed'] === 'true') replayed += 1;
            if (answer.status >= 500) t.fail(`${request.door}: ${answer.status} ${answer.text}`);
            const marks = scope === withPii ? [] : found(answer);
            if (marks.length > 0) t.fail(`${request.door}, round ${round}: ${marks.join(', ')}`, { text: answer.text });
          }
        }
      }
    }
    t.ok(replayed > 20, `${replayed} answers were replayed`);
  });
}

t.test('what was told is in the audit, and every column could have been told', async (t) => {
  const marks = personalColumns
    // The words of searches are told in exports alone.
    .filter(({ table }) => table !== 'customer_merges' && table !== 'customer_terms')
    .map((place) => (place.column === 'birthday' ? day : markOf(place).toLowerCase()));
  t.strictSame(
    marks.filter((mark) => !seen.has(mark)),
    [],
    'the test sees every personal column somewhere',
  );
  t.ok(seen.has(typed.toLowerCase()), 'and what a caller wrote');
  t.ok(told.length > 200, `${told.length} answers told something`);
  const last = told.at(-1)?.client;
  await eventually(async () => {
    const { rowCount } = await database.query('select from audit_entries where client = $1', [last]);
    return rowCount || undefined;
  });
  await setTimeout(500);
  const { rows } = await database.query<{ client: string; operation: string }>(
    `select client, operation from audit_entries where client like 'full-%'`,
  );
  // As many entries as answers: two of one client are one call and its replay.
  const missing = told.filter(({ client, operations: through }) => {
    const answers = told.filter((one) => one.client === client).length;
    const entries = rows.filter((row) => row.client === client && through.includes(row.operation)).length;
    return entries < answers;
  });
  t.strictSame(
    missing.map(({ door, marks: shown }) => `${door}: ${shown.join(', ')}`),
    [],
  );
});
