import fc from 'fast-check';
import { buildSchema, isNonNullType } from 'graphql';
import t from 'tap';
import { problemCodes } from '../../src/platform/errors.ts';
import { graphqlProblemTypes } from '../../src/platform/graphql/errors.ts';
import { testApp } from '../support/app.ts';
import { changeLog } from '../support/change-log.ts';
import { contractOperations, type Json } from '../support/contract.ts';
import { draws, firstSeed } from '../support/draws.ts';
import { argumentsOf, type Call, callsOf, documentOf, literalOf, type Values } from '../support/graphql-calls.ts';
import { type Damage, damaged, damages, textOf } from '../support/hostile.ts';
import { type RawAnswer, rawClient } from '../support/raw-http.ts';
import { checkWords, leads, namesAPlace } from '../support/refusals.ts';

/**
 * Bad input in every argument of the GraphQL schema, present and future, as variables and as literals: no 5xx and no
 * internal_error, a clear code, the place of the fault, and nothing changed. `RAPPORT_TEST_DRAWS` sets the requests per
 * field, `RAPPORT_TEST_SEED` what they are drawn from.
 */
const runs = draws({ quick: 4, deep: 30 });
const seed = firstSeed(20_260_301);
t.setTimeout(120_000 + 10_000 * runs);
t.comment(`RAPPORT_TEST_SEED=${seed} RAPPORT_TEST_DRAWS=${runs}`);

const service = await testApp(t);
const send = rawClient(t, service.origin);
const log = await changeLog(t, service.connection);
const headers = { Authorization: `Bearer ${service.token('*')}`, 'Content-Type': 'application/json' };
const schema = buildSchema(String((await service.request('GET', '/schema.graphql')).body));
const calls = callsOf(schema);
const ids = await stock();

/** A few records made through the other door; type → their ids. */
async function stock(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const round of ['1', '2']) {
    for (const { method, path, documents } of contractOperations()) {
      if (!documents || method !== 'POST' || !path.startsWith('/v1/') || /batch$/.test(path)) continue;
      const order = found.get('Order')?.at(-1) ?? '';
      const body = JSON.stringify(documents[0]).replaceAll('"externalId":"', `"externalId":"${round}-`);
      const { status, body: made } = await service.request(method, path.replace('{id}', order), {
        body,
        headers: { 'Idempotency-Key': `${path} ${round}` },
      });
      if (status !== 201) continue;
      const type = (path.split('/').at(-1) ?? '').replace(/s$/, '').replace(/^./, (letter) => letter.toUpperCase());
      found.set(type, [...(found.get(type) ?? []), made.id]);
      if (made.customerId) found.set('Customer', [...(found.get('Customer') ?? []), made.customerId]);
    }
  }
  await log.take();
  return found;
}

interface Drawn {
  mode: Values['mode'];
  members: Values['members'];
  choice: number;
  faults: Damage[];
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  mode: fc.constantFrom('variables', 'variables', 'literals'),
  members: fc.constantFrom('required', 'required', 'all'),
  choice: fc.nat({ max: 1_000 }),
  faults: damages,
});

/** The body of a request as text, and the arguments it means, where they are JSON. */
function build(call: Call, given: Drawn): { body: string; sent: unknown } {
  const values: Values = { ids, choice: given.choice, mode: given.mode, members: given.members };
  const tree = damaged(argumentsOf(call, values), given.faults);
  if (given.mode === 'literals') {
    const text = literalOf(tree);
    const tail = 'members' in tree ? (tree.members.length > 0 ? `(${text.slice(1, -1)})` : '') : `(${text})`;
    return { body: `{"query":${JSON.stringify(documentOf(call, values, '', tail))}}`, sent: undefined };
  }
  const { args } = call.field;
  const declared = args.map(({ name, type }) => `$${name}: ${type}`).join(', ');
  const tail = args.length === 0 ? '' : `(${args.map(({ name }) => `${name}: $${name}`).join(', ')})`;
  const query = documentOf(call, values, declared === '' ? '' : `(${declared})`, tail);
  const text = textOf(tree);
  return { body: `{"query":${JSON.stringify(query)},"variables":${text}}`, sent: jsonOf(text) };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const codes = new Set([...problemCodes(), ...Object.keys(graphqlProblemTypes)]);
interface GraphqlError {
  message: string;
  locations?: unknown[];
  extensions?: { code?: string; errors?: Json[] };
}

function check(answer: RawAnswer, call: Call, sent: unknown): void {
  const { status, text, headers: answered } = answer;
  if (status >= 500) throw new Error(`${status}: ${text}`);
  const body = jsonOf(text) as { data?: unknown; errors?: GraphqlError[]; code?: string } | undefined;
  if (!body) throw new Error(`no JSON: ${text.slice(0, 500)}`);
  if (String(answered['content-type']).startsWith('application/problem+json')) {
    if (!body.code || !codes.has(body.code) || status < 400) throw new Error(`at odds: ${text}`);
    return;
  }
  if (!body.errors) return;
  checkWords(text);
  for (const error of body.errors) {
    const { code = '', errors = [] } = error.extensions ?? {};
    if (!codes.has(code) || code === 'internal_error' || error.message === '')
      throw new Error(`code ${code}: ${text.slice(0, 1_000)}`);
    // Of the faults of a document the last may say that there are too many.
    const placed =
      errors.length > 0 || (/syntax|validation/.test(code) && body.errors.some(({ locations }) => locations));
    if (!placed && namesAPlace(code)) throw new Error(`no place: ${text.slice(0, 1_000)}`);
    for (const fault of errors) checkPlace(fault, call, sent, text);
  }
}

function checkPlace({ pointer, parameter, code, message }: Json, { field }: Call, sent: unknown, text: string): void {
  if (typeof code !== 'string' || typeof message !== 'string') throw new Error(`half an error: ${text}`);
  const names = [...field.args.map(({ name }) => name), 'variables', 'query', 'operationName', 'Idempotency-Key'];
  if (typeof parameter === 'string') {
    if (!names.includes(parameter)) throw new Error(`there is no argument ${parameter}: ${text}`);
  } else if (typeof pointer !== 'string') throw new Error(`neither pointer nor parameter: ${text}`);
  if (typeof pointer !== 'string' || sent === undefined) return;
  const starts = [{ variables: sent }, sent, ...(typeof sent === 'object' && sent !== null ? Object.values(sent) : [])];
  if (!starts.some((start) => leads(pointer, start))) throw new Error(`${pointer} leads nowhere: ${text}`);
}

async function checkChanges(call: Call, body: string, { status, text }: RawAnswer): Promise<void> {
  if (call.kind === 'query') return;
  const changed = await log.take();
  const { data, errors } = (jsonOf(text) ?? {}) as { data?: Record<string, unknown> | null; errors?: unknown[] };
  const answered = data?.[call.field.name] as { results?: { status: string }[] } | null | undefined;
  if (answered?.results?.every((result) => result.status === 'REFUSED')) changed.delete('idempotency_keys');
  else if (answered && !/"dryRun": ?true|dryRun: true/.test(body)) return;
  if (changed.size > 0)
    throw new Error(
      `changed ${[...changed].join('; ')} and answered ${status} ${text.slice(0, 300)} ${errors?.length}`,
    );
}

for (const call of calls) {
  const name = call.path.map((field) => field.name).join('.');
  t.test(`${call.kind} ${name} refuses bad arguments in words, and changes nothing`, async (test) => {
    const property = fc.asyncProperty(drawn, async (given) => {
      const { body, sent } = build(call, given);
      try {
        const answer = await send({ method: 'POST', path: '/graphql', headers, body });
        check(answer, call, sent);
        await checkChanges(call, body, answer);
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : error}\n  ${body.slice(0, 2_000)}`);
      }
    });
    const result = await fc.check(property, { seed, numRuns: call.field.args.length === 0 ? 5 : runs });
    test.ok(!result.failed, String(result.errorInstance instanceof Error ? result.errorInstance.message : ''));
  });
}

t.test('every required argument is among those tried', async (test) => {
  test.ok(calls.length > 10 && calls.some(({ field }) => field.args.some(({ type }) => isNonNullType(type))));
});
