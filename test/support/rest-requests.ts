import fc from 'fast-check';
import type { ContractOperation, Json, Parameter } from './contract.ts';
import { type Damage, damaged, damages, hostileParameters, textOf, treeOf } from './hostile.ts';
import type { RawAnswer, RawRequest } from './raw-http.ts';
import { parsed } from './refusals.ts';

/** Parameter name → values that stand for something: a request that is refused should have come far. */
type Known = Map<string, string[]>;

type Send = (request: RawRequest) => Promise<RawAnswer>;

/** Makes a few records out of the examples of the contract and notes what they are called. */
async function stock(send: Send, operations: readonly ContractOperation[]): Promise<Known> {
  const values: Known = new Map();
  const note = (name: string, value: unknown) => {
    if (typeof value === 'string' && value.length < 300)
      values.set(name, [...new Set([...(values.get(name) ?? []), value])].slice(0, 12));
  };
  for (const round of [1, 2]) {
    for (const operation of operations) {
      if (operation.documents === null || !['POST', 'PUT'].includes(operation.method)) continue;
      const body = JSON.stringify(operation.documents[0]).replaceAll('"externalId":"', `"externalId":"${round}-`);
      const request = fill(operation, values, () => 0);
      await send({ ...request, body, headers: { ...request.headers, 'Idempotency-Key': `${operation.id}-${round}` } });
    }
    for (const operation of operations.filter(({ method }) => method === 'GET')) {
      const { text } = await send(fill(operation, values, () => 0));
      const { data = [], page } = parsed(text) as { data?: Json[]; page?: Json };
      for (const record of data) {
        note(`${operation.path}#id`, record.id);
        for (const [name, value] of Object.entries(record)) note(name, value);
      }
      note('after', page?.next);
    }
  }
  const lists = operations.filter(({ parameters }) => parameters.some(({ name }) => name === 'after'));
  for (const operation of lists) {
    const request = fill(operation, values, () => 0);
    const answer = parsed((await send({ ...request, path: `${request.path}?cursors=true&limit=2` })).text) as {
      page?: { cursors?: string[] };
    };
    for (const cursor of answer.page?.cursors ?? []) note('after', cursor);
  }
  return values;
}

/** The values of a parameter that are there: of an id, those of the collection in front of it. */
function candidates(values: Known, operation: ContractOperation, { name, example }: Parameter): string[] {
  const collection = operation.path.slice(0, operation.path.indexOf(`/{${name}}`));
  const found = (name === 'id' ? (values.get(`${collection}#id`) ?? values.get(name)) : values.get(name)) ?? [];
  return found.length > 0 ? found : [String(example)];
}

/** A request with what the operation requires. */
function fill(operation: ContractOperation, values: Known, choose: (count: number) => number): RawRequest {
  const pick = (parameter: Parameter) => {
    const options = candidates(values, operation, parameter);
    return options[choose(options.length)] ?? '';
  };
  const path = operation.parameters
    .filter((parameter) => parameter.in === 'path')
    .reduce(
      (text, parameter) => text.replace(`{${parameter.name}}`, encodeURIComponent(pick(parameter))),
      operation.path,
    );
  const headers = operation.parameters.filter((parameter) => parameter.in === 'header' && parameter.required);
  return {
    method: operation.method,
    path,
    headers: {
      ...(operation.documents !== null && { 'Content-Type': 'application/json' }),
      ...Object.fromEntries(headers.map(({ name, example }) => [name, name === 'If-Match' ? '*' : String(example)])),
    },
  };
}

/** Requests with something wrong, or at the edge of what is right, for every operation. */
export async function hostileRequests(send: Send, operations: readonly ContractOperation[]) {
  const known = await stock(send, operations);
  return {
    /** Requests that come far before they are refused. */
    of: (operation: ContractOperation): fc.Arbitrary<RawRequest> =>
      drawn(known, operation).map((given) => build(known, operation, given)),
    /** A request with nothing wrong but its body, which is still to come. */
    plain: (operation: ContractOperation): RawRequest => fill(operation, known, () => 0),
  };
}

type Query = [name: string, value: string][];

/** Everything about a request, as what is drawn for it. */
interface Drawn {
  choice: number;
  document: number;
  suffix: number;
  key: string;
  faults: Damage[] | null;
  wholeBody: string | null;
  query: Query;
  pathValue: string | null;
  header: [string, string] | null;
}

const hostile = fc.constantFrom(...hostileParameters);
const encoded = fc.oneof(
  { arbitrary: hostile.map((text) => encodeURIComponent(text.toWellFormed())), weight: 6 },
  {
    arbitrary: fc.constantFrom(
      '%',
      '%zz',
      '%ff',
      '%c3',
      '%ed%a0%80',
      '%00',
      '..',
      '%2e%2e%2f',
      '+',
      '%2b',

      'x'.repeat(2_000),
    ),
    weight: 1,
  },
);
const headerText = fc.constantFrom(
  ...[
    '',
    '*',
    '3',
    '"3"',
    'W/"3"',
    '"3',
    '"99999999999"',
    '"-1"',
    '"1e3"',
    '"3", "4"',
    '"3-public"',
    '"0"',
    'x'.repeat(300),
  ],
  ...[
    '"a b"',
    '\u00e9',
    'a\tb',
    ' ',
    '"\\""',
    ', ,',
    'text/html',
    'application/json; charset=utf-16',
    'multipart/form-data',
  ],
);

function drawn(known: Known, operation: ContractOperation): fc.Arbitrary<Drawn> {
  const query = operation.parameters.filter((parameter) => parameter.in === 'query');
  const goodQuery: fc.Arbitrary<Query> = fc
    .subarray(query, { maxLength: Math.min(8, query.length) })
    .chain((parameters) =>
      fc.tuple(
        ...parameters.map((parameter) =>
          fc
            .constantFrom(...parameter.edges, ...candidates(known, operation, parameter))
            .map((value): [string, string] => [parameter.name, encodeURIComponent(value)]),
        ),
      ),
    );
  const names = query.map(({ name }) => name);
  const cursor = fc
    .tuple(fc.constantFrom(...(known.get('after') ?? ['none'])), fc.nat(), fc.constantFrom('swap', 'cut', 'as it is'))
    .map(tampered);
  const badPair = fc.oneof(
    ...(names.length > 0 ? [fc.tuple(fc.constantFrom(...names), encoded)] : []),
    ...(names.includes('after') ? [cursor.map((text): [string, string] => ['after', encodeURIComponent(text)])] : []),
    fc.tuple(
      fc.constantFrom('nonsense', 'id', 'body', '__proto__', 'constructor', 'limit[]', 'LIMIT', '', '%00', '$key'),
      encoded,
    ),
  );
  const badQuery = fc.oneof(
    fc.tuple(goodQuery, badPair).map(([good, bad]): Query => [...good, bad]),
    fc.array(badPair, { minLength: 2, maxLength: 2 }),
    badPair.map((pair): Query => [pair, pair]),
  );
  const headerNames = ['If-Match', 'If-None-Match', 'Idempotency-Key', 'Accept', 'Content-Type', 'Prefer'];
  const wrongHeader = fc.tuple(fc.constantFrom(...headerNames), headerText);
  const focus = fc.constantFrom(
    'query' as const,
    ...(query.length > 3 ? (['edges', 'edges', 'edges'] as const) : []),
    'header' as const,
    ...(operation.path.includes('{') ? (['path'] as const) : []),
    ...(operation.documents ? (['body', 'body', 'body', 'body', 'whole'] as const) : []),
  );
  const dryRun: [string, string][] = names.includes('dryRun') ? [['dryRun', 'true']] : [];
  return focus.chain((at) =>
    fc.record({
      choice: fc.nat(),
      document: fc.nat(),
      suffix: fc.nat({ max: 30 }),
      key: fc.constantFrom('a', 'b', 'c').chain((letter) => fc.nat({ max: 500 }).map((n) => `${letter}${n}`)),
      faults: at === 'body' ? damages : fc.constant(null),
      wholeBody: at === 'whole' ? wholeBodies : fc.constant(null),
      query:
        at === 'query'
          ? badQuery
          : fc.oneof(fc.constant<Query>([]), fc.constant<Query>([]), goodQuery, fc.constant<Query>(dryRun)),
      pathValue: at === 'path' ? encoded : fc.constant(null),
      header: at === 'header' ? wrongHeader : fc.constant(null),
    }),
  );
}

const wholeBodies = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    'null',
    '[]',
    '0',
    '"text"',
    '{}',
    'true',
    '{"a"',
    '\ufeff{}',
    '{}{}',
    '\u0000',
    'a=b&c=d',
    'binary',
  ),
  fc.json(),
);

function tampered([cursor, at, how]: [string, number, string]): string {
  const place = at % cursor.length;
  if (how === 'cut') return cursor.slice(0, place);
  return how === 'swap'
    ? `${cursor.slice(0, place)}${cursor[place] === 'A' ? 'B' : 'A'}${cursor.slice(place + 1)}`
    : cursor;
}

function build(known: Known, operation: ContractOperation, given: Drawn): RawRequest {
  const request = fill(operation, known, (count) => given.choice % count);
  const keyed = operation.parameters.some(({ name }) => name === 'Idempotency-Key');
  const headers: Record<string, string | string[]> = {
    ...request.headers,
    ...(keyed && { 'Idempotency-Key': given.key }),
  };
  if (given.header) headers[given.header[0]] = given.header[1];
  let { path } = request;
  if (given.pathValue !== null) {
    const places = [...operation.path.matchAll(/\{\w+\}/g)];
    const place = places[given.choice % places.length]?.index ?? 0;
    const before = operation.path.slice(0, place).split('/').length - 1;
    path = path
      .split('/')
      .map((step, i) => (i === before ? given.pathValue : step))
      .join('/');
  }
  const query = given.query.map(([name, value]) => `${name}=${value}`).join('&');
  return { ...request, headers, path: query ? `${path}?${query}` : path, body: bodyOf(operation, given) };
}

function bodyOf(
  { documents }: ContractOperation,
  { document, suffix, faults, wholeBody }: Drawn,
): string | Buffer | undefined {
  if (documents === null) return undefined;
  if (wholeBody !== null)
    return wholeBody === 'binary' ? Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]) : wholeBody;
  const named = JSON.stringify(documents[document % documents.length]).replaceAll(
    '"externalId":"',
    `"externalId":"${suffix}-`,
  );
  return faults === null ? named : textOf(damaged(treeOf(JSON.parse(named)), faults));
}
