import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { routes } from '../../src/features.ts';
import { isPublic } from '../../src/platform/http/public.ts';
import { newId } from '../../src/platform/ids.ts';
import type { Operation } from '../../src/platform/operation.ts';
import { testApp } from '../support/app.ts';
import { changeLog } from '../support/change-log.ts';
import { type ContractOperation, contractOperations, type Json } from '../support/contract.ts';
import { type Field, guardedFields } from '../support/doors.ts';
import { argumentsOf, documentOf, literalOf, type Values } from '../support/graphql-calls.ts';
import { stockHouse, stockPartner, stockPerson } from '../support/people.ts';
import { type RawAnswer, type RawRequest, rawClient } from '../support/raw-http.ts';
import { parsed } from '../support/refusals.ts';

/**
 * Every address and every GraphQL field × every way in which a token can be wrong, with the exact answer, and nothing
 * changed. Both lists come from the code: a new operation is in the matrix at once.
 */

const now = '2026-06-01T12:00:00.000Z';
t.setTimeout(300_000);

const folder = t.testdir({});
const place = { teardown: t.teardown.bind(t), testdir: () => folder };
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
writeFileSync(join(folder, 'key.pem'), rsa.export({ type: 'pkcs8', format: 'pem' }));
// RS256, so that a token under HS256 with the public key as its secret is the classic confusion.
const service = await testApp(place, { clock: () => now, env: { JWT_SIGNING_KEY_FILE: join(folder, 'key.pem') } });
const send = rawClient(t, service.origin);
const house = await stockHouse(service);
const person = await stockPerson(service, house);
const partner = await stockPartner(service, { customers: [person.customer] });
const broughtBy = { headers: { 'If-Match': '*' }, body: { acquiredBy: partner } };
const brought = await service.request('PATCH', `/v1/customers/${person.customer}`, broughtBy);
if (brought.status !== 200) throw new Error(JSON.stringify(brought.body));
const log = await changeLog(t, service.connection);

// Tokens

const { kid } = parsed(Buffer.from(service.token('*').split('.')[0] ?? '', 'base64url').toString());
const publicKey = createPublicKey(createPrivateKey(readFileSync(join(folder, 'key.pem'))));
const seconds = Math.floor(Date.now() / 1000);
const claims = {
  iss: service.config.jwtIssuer,
  aud: service.config.jwtAudience,
  sub: 'test',
  client_id: 'test',
  iat: seconds,
  exp: seconds + 3600,
  scope: '*',
};
const header = { alg: 'RS256', typ: 'at+jwt', kid };

function forge(head: Json, payload: Json, signer: (content: string) => Buffer): string {
  const part = (value: Json) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const content = `${part(head)}.${part(payload)}`;
  return `Bearer ${content}.${signer(content).toString('base64url')}`;
}

const rs256 =
  (key: KeyObject = rsa) =>
  (content: string) =>
    sign('sha256', Buffer.from(content), key);
const hs256 = (secret: string | Buffer) => (content: string) => createHmac('sha256', secret).update(content).digest();
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const strange = createPublicKey(stranger).export({ format: 'jwk' });

/** Authorization headers that are refused wherever a token is asked for. All of them ask for every scope. */
const badTokens: Record<string, string> = {
  expired: forge(header, { ...claims, exp: seconds - 1 }, rs256()),
  'not yet valid': forge(header, { ...claims, nbf: seconds + 3000 }, rs256()),
  'alg none': forge({ alg: 'none', typ: 'at+jwt' }, claims, () => Buffer.alloc(0)),
  'alg none with a signature': forge({ ...header, alg: 'none' }, claims, rs256()),
  'no signature': forge(header, claims, () => Buffer.alloc(0)),
  'wrong key': forge(header, claims, rs256(stranger)),
  'wrong key without kid': forge({ alg: 'RS256', typ: 'at+jwt' }, claims, rs256(stranger)),
  'unknown kid': forge({ ...header, kid: '../../key' }, claims, rs256()),
  'RS→HS confusion, PEM': forge({ ...header, alg: 'HS256' }, claims, hs256(pem)),
  'RS→HS confusion, trimmed PEM': forge({ alg: 'HS256', typ: 'at+jwt' }, claims, hs256(pem.trim())),
  'RS→HS confusion, DER': forge(
    { ...header, alg: 'HS256' },
    claims,
    hs256(publicKey.export({ type: 'spki', format: 'der' })),
  ),
  'wrong audience': forge(header, { ...claims, aud: 'another' }, rs256()),
  'wrong issuer': forge(header, { ...claims, iss: `${claims.iss}/` }, rs256()),
  crit: forge({ ...header, crit: ['exp'] }, claims, rs256()),
  'crit of an extension': forge({ ...header, crit: ['b64'], b64: true }, claims, rs256()),
  jku: forge({ ...header, jku: 'https://example.org/jwks' }, claims, rs256(stranger)),
  'jku beside a good signature': forge({ ...header, jku: 'https://example.org/jwks' }, claims, rs256()),
  jwk: forge({ alg: 'RS256', typ: 'at+jwt', jwk: strange }, claims, rs256(stranger)),
  x5u: forge({ ...header, x5u: 'https://example.org/cert' }, claims, rs256()),
  x5c: forge({ ...header, x5c: ['MIIB'] }, claims, rs256(stranger)),
  'wrong typ': forge({ ...header, typ: 'JWT' }, claims, rs256()),
  'no typ': forge({ alg: 'RS256', kid }, claims, rs256()),
  'another scheme': `Basic ${Buffer.from('admin:admin').toString('base64')}`,
};

const fields = guardedFields();
const scopes = [
  ...new Set(
    [...routes.map(({ operation }) => operation), ...fields.flatMap((one) => one.operations)].map((o) => o.scope),
  ),
];
const othersThan = (scope: string) => scopes.filter((other) => other !== scope).join(' ');

/** Scopes that are nearly `orders:write`: `orders:writ`, `orders`, `orders:*`, … */
function nearly(scope: string): string {
  const [area = '', right = ''] = scope.split(':');
  const other = right === 'read' ? 'reader' : `${right}r`;
  return [scope.slice(0, -1), area, `${area}:`, `${area}:*`, `${area}:${other}`, scope.toUpperCase(), `:${right}`, '**']
    .filter((name) => name !== scope)
    .join(' ');
}

const bearer = (scope: string) => `Bearer ${service.token(scope)}`;

// What is refused, in words; empty when it is refused exactly as it should be

interface Refused {
  status?: unknown;
  code?: unknown;
  scope?: unknown;
}

function challengeFaults(answer: RawAnswer, expected: RegExp | string): string[] {
  const { 'www-authenticate': challenge = '' } = answer.headers;
  const right = typeof expected === 'string' ? challenge === expected : expected.test(challenge);
  return right ? [] : [`WWW-Authenticate is ${challenge}`];
}

const invalidToken = /^Bearer realm="rapport", error="invalid_token", error_description="[^"]+"$/;

/** The members of a problem, on REST and of the first error of GraphQL. */
function problemOf(text: string): Refused {
  const body = parsed(text) as { errors?: { extensions?: Json }[] } & Json; // read as what it should be
  const [first] = body.code === undefined ? (body.errors ?? []) : [];
  const { status, code, scope } = first ? { ...first.extensions } : body;
  return { status, code, scope };
}

function tokenFaults(answer: RawAnswer, challenge: RegExp | string): string[] {
  const { code, status } = problemOf(answer.text);
  const faults = challengeFaults(answer, challenge);
  if (answer.status !== 401 || status !== 401 || code !== 'unauthenticated')
    faults.push(`${answer.status} ${answer.text}`);
  return faults;
}

function scopeFaults(answer: RawAnswer, scope: string): string[] {
  const problem = problemOf(answer.text);
  const faults = challengeFaults(answer, `Bearer realm="rapport", error="insufficient_scope", scope="${scope}"`);
  if (answer.status !== 403 || problem.code !== 'insufficient_scope' || problem.scope !== scope)
    faults.push(`${answer.status} ${answer.text}`);
  return faults;
}

/** Sends a request with each of the tokens, side by side. */
async function faultsOf(
  request: RawRequest,
  tokens: readonly (readonly [name: string, authorization: string | undefined])[],
  judge: (answer: RawAnswer, name: string) => string[],
): Promise<string[]> {
  const all = tokens.map(async ([name, authorization]) => {
    const headers = { ...request.headers, ...(authorization !== undefined && { Authorization: authorization }) };
    return judge(await send({ ...request, headers }), name).map((fault) => `${name}: ${fault}`.slice(0, 500));
  });
  return (await Promise.all(all)).flat();
}

const withoutGoodToken: [string, string | undefined][] = [['no token', undefined], ...Object.entries(badTokens)];
const judgeToken = (answer: RawAnswer, name: string) =>
  tokenFaults(answer, name === 'no token' ? 'Bearer realm="rapport"' : invalidToken);

// REST

/** Ids of a collection's records, for the `{id}` behind it. */
const idOf: Record<string, string> = {
  '/v1/customers': person.customer,
  '/v1/orders': person.order,
  '/v1/refunds': person.refund,
  '/v1/returns': person.return,
  '/v1/interactions': person.interaction,
  '/v1/leads': person.customer,
  '/v1/survey-responses': person.response,
  '/v1/survey-invitations': person.invitation,
  '/v1/loyalty/transactions': person.transaction,
  '/v1/loyalty/redemptions': person.redemption,
  '/v1/follow-ups': person.followUp,
  '/v1/campaigns': house.campaign,
  '/v1/surveys': house.survey,
  '/v1/loyalty/programmes': house.programme,
  '/v1/loyalty/rewards': house.reward,
  '/v1/assignment-rules': house.assignmentRule,
  '/v1/segments': house.segment,
  '/v1/webhooks': person.webhook,
  '/v1/lead-rule-sets': house.leadRuleSet,
  '/v1/lead-models': house.leadModel,
  '/v1/partners': partner,
  // There are none here, and no token gets as far as looking for them.
  ...Object.fromEntries(
    ['audit-entries', 'clients', 'import-mappings', 'imports', 'retention-rules', 'retention-runs'].map((name) => [
      `/v1/${name}`,
      newId(),
    ]),
  ),
};

/** @throws Error for a collection of which no record is known here */
function idIn(path: string): string {
  const collection = path.slice(0, path.indexOf('/{'));
  const found = idOf[collection];
  if (found === undefined) throw new Error(`add an id for ${collection} to idOf`);
  return found;
}

/** A request of the contract's own example for records that are there: only the token can be wrong with it. */
function requestOf({ method, path, parameters, documents }: ContractOperation, key: string): RawRequest {
  const filled = path
    .replace('{id}', () => idIn(path))
    .replace('{source}', 'shop')
    .replace('{externalId}', person.name)
    .replace(/\{\w+\}/g, 'none');
  const takesKey = parameters.some(({ name }) => name === 'Idempotency-Key');
  const takesVersion = parameters.some(({ name }) => name === 'If-Match');
  const required = parameters.filter((one) => one.in === 'query' && one.required);
  const query = required.map(({ name, example }) => `${name}=${encodeURIComponent(String(example))}`).join('&');
  return {
    method,
    path: query === '' ? filled : `${filled}?${query}`,
    headers: {
      ...(documents && { 'Content-Type': 'application/json' }),
      ...(takesKey && { 'Idempotency-Key': key }),
      ...(takesVersion && { 'If-Match': '*' }),
    },
    body: documents ? JSON.stringify(documents[0]) : undefined,
  };
}

const rest = contractOperations();
const routeOf = ({ method, path }: ContractOperation) =>
  routes.find((one) => one.method === method && one.url === path.replaceAll(/\{(\w+)\}/g, ':$1'));

/** What is served without a token, beside operations that say so (`public`). */
const open = [
  ...['/livez', '/readyz', '/openapi.json', '/oauth/token', '/oauth/revoke'],
  ...['/.well-known/jwks.json', '/.well-known/oauth-authorization-server'],
];

t.test('REST: whatever is wrong with a token, it opens nothing', async (t) => {
  await log.take();
  const outside = rest.filter((one) => !routeOf(one)).map(({ path }) => path);
  t.strictSame(outside.filter((path) => !open.includes(path)).sort(), ['/graphql', '/metrics', '/schema.graphql']);
  let checked = 0;
  for (const one of rest) {
    const target = routeOf(one);
    if ((target && isPublic(target)) || open.includes(one.path)) continue;
    const faults = await faultsOf(requestOf(one, `bad ${one.id}`), withoutGoodToken, judgeToken);
    t.strictSame(faults, [], `${one.method} ${one.path}`);
    t.strictSame([...(await log.take())], [], `${one.method} ${one.path} changed nothing`);
    checked += 1;
  }
  const guarded = routes.filter((target) => !isPublic(target)).length;
  t.equal(
    checked,
    guarded + 3,
    'every operation of openapi.yaml that is not public, the addresses of GraphQL, and /metrics',
  );
});

t.test('REST: a scope that is missing, or is nearly there, is named', async (t) => {
  await log.take();
  for (const one of rest) {
    const target = routeOf(one);
    if (!target || isPublic(target)) continue;
    const { scope } = target.operation;
    const tokens = [
      ['no scope', bearer('')],
      ['all other scopes', bearer(othersThan(scope))],
      ['nearly the scope', bearer(`${othersThan(scope)} ${nearly(scope)}`)],
    ] as const;
    const faults = await faultsOf(requestOf(one, `scope ${one.id}`), tokens, (answer) => scopeFaults(answer, scope));
    t.strictSame(faults, [], `${one.method} ${one.path}`);
  }
  t.strictSame([...(await log.take())], [], 'nothing changed');
});

// GraphQL

const ids = new Map<string, string[]>([
  ['Customer', [person.customer]],
  ['Lead', [person.customer]],
  ['Order', [person.order]],
  ['Refund', [person.refund]],
  ['Return', [person.return]],
  ['Interaction', [person.interaction]],
  ['SurveyResponse', [person.response]],
  ['SurveyInvitation', [person.invitation]],
  ['LoyaltyTransaction', [person.transaction]],
  ['Redemption', [person.redemption]],
  ['FollowUp', [person.followUp]],
  ['Campaign', [house.campaign]],
  ['Survey', [house.survey]],
  ['LoyaltyProgramme', [house.programme]],
  ['Programme', [house.programme]],
  ['Reward', [house.reward]],
  ['AssignmentRule', [house.assignmentRule]],
  ['Segment', [house.segment]],
  ['Webhook', [person.webhook]],
  ['WebhookDelivery', [person.webhook]],
  ['WebhookDeliveryConnection', [person.webhook]],
  ['SegmentVersionConnection', [house.segment]],
  ['SegmentChangeConnection', [house.segmentList]],
  ['LeadRuleSet', [house.leadRuleSet]],
  ['LeadModel', [house.leadModel]],
  ['Partner', [partner]],
  ['PartnerCustomerConnection', [partner]],
]);

function documentFor(one: Field): RawRequest {
  const values: Values = { ids, choice: 1, mode: 'literals', members: 'required' };
  const text = literalOf(argumentsOf(one, values)).slice(1, -1);
  const query = documentOf(one, values, '', text === '' ? '' : `(${text})`);
  return {
    method: 'POST',
    path: '/graphql',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query }),
  };
}

/** The first field on the way that the token does not open, by what the operations say. */
function firstRefused(one: Field, refuses: (operation: Operation) => boolean) {
  const guard = one.guards.find(({ operations }) => operations.some(refuses));
  return guard && { path: one.path.slice(0, guard.depth + 1).map(({ name }) => name), operations: guard.operations };
}

/** GraphQL answers 200 and says at which field it stopped. */
function fieldFaults(answer: RawAnswer, path: readonly string[], expected: { code: string; scope?: string }): string[] {
  const { data, errors = [] } = parsed(answer.text) as {
    data?: unknown;
    errors?: { path?: unknown[]; extensions?: Json }[];
  };
  if (answer.status !== 200) return [`${answer.status} ${answer.text}`];
  if (errors.length === 0) return [`no error: ${answer.text}`];
  const faults = errors.flatMap(({ path: at = [], extensions = {} }) => {
    const steps = at.filter((step) => typeof step === 'string');
    const right =
      extensions.code === expected.code &&
      extensions.status === 403 &&
      extensions.scope === expected.scope &&
      steps.join('.') === path.join('.');
    return right ? [] : [`${steps.join('.')} ${JSON.stringify(extensions)}`];
  });
  let value: unknown = data;
  for (const step of path) value = [value].flat().map((one) => (one as Json | null)?.[step] ?? null)[0];
  return value === null ? faults : [...faults, `there is data: ${answer.text}`];
}

t.test('GraphQL: whatever is wrong with a token, no field is answered', async (t) => {
  for (const one of fields) {
    const faults = await faultsOf(documentFor(one), withoutGoodToken, judgeToken);
    t.strictSame(faults, [], one.name);
  }
  t.strictSame([...(await log.take())], [], 'nothing changed');
  t.equal(fields.filter(({ type }) => type === 'Mutation').length, new Set(mutations()).size);
});

function mutations(): string[] {
  // Files are sent to REST alone.
  return routes.flatMap(({ operation }) => (operation.kind === 'write' && !operation.upload ? [operation.name] : []));
}

t.test('GraphQL: a scope that is missing, or is nearly there, is named by the field', async (t) => {
  const reached = new Set<string>();
  for (const one of fields) {
    // What a mutation answers is not asked for without the right to it.
    const scope = (one.kind === 'mutation' ? one.guards[0] : one)?.operations[0]?.scope ?? '';
    const refused = firstRefused(one, (operation) => operation.scope === scope);
    if (refused?.path.length === one.path.length) reached.add(one.name);
    const tokens = [
      ['all other scopes', bearer(othersThan(scope))],
      ['nearly the scope', bearer(`${othersThan(scope)} ${nearly(scope)}`)],
    ] as const;
    const faults = await faultsOf(documentFor(one), tokens, (answer) =>
      fieldFaults(answer, refused?.path ?? [], { code: 'insufficient_scope', scope }),
    );
    t.strictSame(faults, [], one.name);
  }
  t.strictSame([...(await log.take())], [], 'nothing changed');
  t.ok(reached.has('Customer.orders') && reached.has('Order.customer'), 'fields below others answer for themselves');
});
