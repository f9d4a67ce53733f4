import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../support/app.ts';
import { changeLog } from '../support/change-log.ts';
import { type ContractOperation, contractOperations, type Json } from '../support/contract.ts';
import { draws, everyNth, firstSeed } from '../support/draws.ts';
import { type RawAnswer, type RawRequest, rawClient } from '../support/raw-http.ts';
import { checkWords, leads, namesAPlace, parsed } from '../support/refusals.ts';
import { hostileRequests } from '../support/rest-requests.ts';

/**
 * Bad input on every operation of openapi.yaml, present and future: never a 5xx, a clear code, the place of the fault
 * wherever the input could be parsed, and nothing changed. `RAPPORT_TEST_DRAWS` sets the requests per operation,
 * `RAPPORT_TEST_SEED` what they are drawn from.
 */
const runs = draws({ quick: 8, deep: 150 });
const seed = firstSeed(20_260_301);
const timeout = 60_000 + 100 * runs;
t.setTimeout(60_000 + 100 * runs * 60);
t.comment(`RAPPORT_TEST_SEED=${seed} RAPPORT_TEST_DRAWS=${runs}`);

const service = await testApp(t);
const log = await changeLog(t, service.connection);
const client = rawClient(t, service.origin);
const authorization = { Authorization: `Bearer ${service.token('*')}` };
const send = (request: RawRequest) => client({ ...request, headers: { ...authorization, ...request.headers } });
// The GraphQL door takes documents of its own (fuzz-graphql.property.test.ts), OAuth takes forms (features/clients).
const operations = contractOperations().filter(({ path }) => !/^\/(graphql$|oauth\/|\.well-known\/)/.test(path));
const hostile = await hostileRequests(send, operations);
await log.take();

function check(operation: ContractOperation, request: RawRequest, answer: RawAnswer): void {
  const { status, text, headers } = answer;
  if (status >= 500) throw new Error(`${status}: ${text}`);
  const codes = operation.answers.get(String(status));
  if (status < 400) {
    if (!codes && !operation.answers.has('default')) throw new Error(`${status} is not in the contract`);
    return;
  }
  if (!String(headers['content-type']).startsWith('application/problem+json')) throw new Error(`no problem: ${text}`);
  const problem = parsed(text);
  for (const name of ['type', 'title', 'detail', 'instance', 'code']) {
    if (typeof problem[name] !== 'string' || problem[name] === '') throw new Error(`no ${name}: ${text}`);
  }
  const code = String(problem['code']);
  if (problem['status'] !== status || problem['type'] !== `urn:rapport:problem:${code}`)
    throw new Error(`at odds: ${text}`);
  checkWords(text);
  if (String(problem.detail).length > 2_000) throw new Error(`a detail of ${String(problem.detail).length} characters`);
  // An address spoilt by what was put into it may be another one.
  if (code !== 'not_found' && code !== 'method_not_allowed' && !codes?.includes(code))
    throw new Error(`${status} ${code} is not in the contract`);
  const errors = (problem['errors'] ?? []) as Json[]; // checked below
  if (namesAPlace(code) && errors.length === 0) throw new Error(`no place: ${text}`);
  for (const error of errors) checkPlace(error, operation, request, text);
}

function checkPlace(error: Json, operation: ContractOperation, request: RawRequest, text: string): void {
  const { pointer, parameter, code, message } = error;
  if (typeof code !== 'string' || typeof message !== 'string' || message === '')
    throw new Error(`half an error: ${text}`);
  if (typeof pointer === 'string') {
    if (!leads(pointer, parsed(String(request.body ?? '')))) throw new Error(`${pointer} leads nowhere: ${text}`);
  } else if (typeof parameter === 'string') {
    const sent = request.path.includes('?') ? request.path.slice(request.path.indexOf('?') + 1).split('&') : [];
    const names = [
      ...operation.parameters.map(({ name }) => name),
      ...sent.map((pair) => decoded(pair.split('=', 1)[0] ?? '')),
    ];
    if (!names.includes(parameter)) throw new Error(`there is no parameter ${parameter}: ${text}`);
  } else throw new Error(`neither pointer nor parameter: ${text}`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What a write changed: nothing, when it was refused or tried out; only the keys of repeated calls, when all its items were refused. */
async function checkChanges(request: RawRequest, { status, text }: RawAnswer): Promise<void> {
  if (request.method === 'GET') return;
  const changed = await log.take();
  const { results } = parsed(text) as { results?: { status: string }[] };
  const nothing = status >= 400 || /[?&]dryRun=true(&|$)/.test(request.path);
  if (results?.every((result) => result.status === 'refused')) changed.delete('idempotency_keys');
  else if (!nothing) return;
  if (changed.size > 0)
    throw new Error(`changed ${[...changed].join('; ')} and answered ${status} ${text.slice(0, 300)}`);
}

/** Who waits for news is answered after a second, or the test would wait for all that it has asked to wait. */
function soon(request: RawRequest): RawRequest {
  return { ...request, path: request.path.replace(/([?&]wait=)([2-9]|[12]\d|30)(?=&|$)/, '$11') };
}

for (const operation of operations) {
  t.test(
    `${operation.method} ${operation.path} refuses bad input in words, and changes nothing`,
    { timeout },
    async (test) => {
      const property = fc.asyncProperty(hostile.of(operation), async (request) => {
        try {
          const answer = await send(soon(request));
          check(operation, request, answer);
          await checkChanges(request, answer);
        } catch (error) {
          const body = String(request.body ?? '').slice(0, 1_500);
          throw new Error(
            `${error instanceof Error ? error.message : error}\n  ${request.method} ${request.path.slice(0, 500)}\n  ${JSON.stringify(request.headers)}\n  ${body}`,
          );
        }
      });
      const result = await fc.check(property, { seed, numRuns: runs });
      test.ok(!result.failed, String(result.errorInstance instanceof Error ? result.errorInstance.message : ''));
    },
  );
}

const withBody = everyNth(
  5,
  operations.filter(({ documents }) => documents !== null),
);
const megabyte = 1024 * 1024;
const json = { 'Content-Type': 'application/json' };
const bodies: [what: string, code: string, body: string | Buffer, headers?: Record<string, string>][] = [
  ['20 MB', 'body_too_large', `{"a":"${'x'.repeat(20 * megabyte)}"}`],
  ['100,000 levels', 'invalid_json', '['.repeat(100_000)],
  ['100,000 levels in a member', 'invalid_json', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
  ['invalid UTF-8', 'invalid_json', Buffer.from('{"a":"\u00ff"}', 'latin1')],
  ['a lone surrogate in UTF-8', 'invalid_json', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
  ['__proto__', 'invalid_json', '{"__proto__":{"polluted":true}}'],
  ['another content type', 'unsupported_media_type', 'a=b', { 'Content-Type': 'text/plain' }],
  ['an encoding', 'unsupported_media_type', '{}', { ...json, 'Content-Encoding': 'gzip' }],
  ['UTF-16', 'invalid_json', Buffer.from('{"a":1}', 'utf16le')],
];

t.test('bodies that no operation takes are refused by all of them, and change nothing', async (test) => {
  for (const operation of withBody) {
    const limit = /batch$/.test(operation.path) ? 16 : 1;
    const over: (typeof bodies)[number] = [`over ${limit} MB`, 'body_too_large', `"${'x'.repeat(limit * megabyte)}"`];
    for (const [what, code, body, kind = json] of [over, ...bodies]) {
      const { method, path, headers } = hostile.plain(operation);
      const answer = await send({ method, path, headers: { ...headers, ...kind }, body });
      test.equal(
        parsed(answer.text).code,
        code,
        `${what} to ${method} ${operation.path}: ${answer.text.slice(0, 200)}`,
      );
    }
  }
  test.equal((await log.take()).size, 0);
});

t.test('what is no HTTP request is refused as a problem, and the next one is answered', async (test) => {
  for (const [path, expected, code] of [
    ['/v1/customers/\u00ff', 400, 'invalid_request'],
    [`/v1/customers?q=${'x'.repeat(20_000)}`, 431, 'headers_too_large'],
  ] as const) {
    const { status, text } = await client({ method: 'GET', path, headers: authorization });
    test.equal(status, expected);
    test.equal(parsed(text).code, code, text);
  }
  for (const path of ['/v1/customers?limit=%ff', '/livez?limit=%ff', '/nowhere?limit=%ff']) {
    const { status } = await client({ method: 'GET', path, headers: authorization });
    test.ok(status < 500, `${path}: ${status}`);
  }
  test.equal((await client({ method: 'GET', path: '/readyz', headers: {} })).status, 200);
});
