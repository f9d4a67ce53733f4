import { isDeepStrictEqual } from 'node:util';
import {
  execute,
  type GraphQLArgument,
  GraphQLError,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLObjectType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  parse,
  validate,
} from 'graphql';
import t from 'tap';
import { redirectsOf } from '../../src/features/customers/aliases.ts';
import { partnerSettings } from '../../src/features/partners/queries.ts';
import { noAudit } from '../../src/platform/audit.ts';
import { fixedDirectory } from '../../src/platform/auth/directory.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { storedSecrets } from '../../src/platform/auth/stored-secrets.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { Problem } from '../../src/platform/errors.ts';
import { openFeed } from '../../src/platform/feed.ts';
import type { FieldContext } from '../../src/platform/graphql/field.ts';
import { asProblem } from '../../src/platform/http/problems.ts';
import { keyedHash } from '../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../src/platform/link-token.ts';
import { createContext } from '../../src/platform/operation.ts';
import { openOutgoing } from '../../src/platform/outgoing.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { testApp } from '../support/app.ts';
import { stockCrowd } from '../support/crowd.ts';
import { schema } from '../support/doors.ts';
import { draws, firstSeed } from '../support/draws.ts';
import { stockPartner } from '../support/people.ts';

/**
 * Random documents over the real schema. Every run of a document, with whatever variables, answers what plain
 * graphql-js answers: a fresh parse, no cache of documents, no HTTP.
 */

const documents = draws({ quick: 60, deep: 1_000 });
const seed = firstSeed(1);
t.setTimeout(120_000 + 1_000 * documents);

// Time stands still: what an answer says of now is the same in every run.
const clock = () => '2026-06-01T00:00:00.000Z';
const service = await testApp(t, { clock });
const crowd = await stockCrowd(service, 14);
const ids = [...crowd.members.map(({ id }) => id), '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90'];

const own = crowd.members.slice(0, 6).map(({ id }) => id);
const partner = await stockPartner(service, { customers: own });
const toldLittle = await stockPartner(service, {
  customers: own,
  fields: ['Customer.name', 'Order.channel', 'Address.city'],
});

const open = (as?: 'partner' | 'customer') => {
  const made = openPool(service.connection, { size: 4, statementTimeout: 30_000, ...(as && { as }) });
  t.teardown(() => made.end());
  return made;
};
const pool = open();
const keys = await openKeys(service.config);
const services = {
  db: poolDb(pool),
  pool,
  scopedPools: { partner: open('partner'), customer: open('customer') },
  baseCurrency: service.config.baseCurrency,
  reportingTimeZone: service.config.reportingTimeZone,
  cursors: cursorCodec(keys.cursorSecret),
  links: linkTokens(keys.linkSecret),
  tombstones: keyedHash(keys.tombstoneSecret),
  directory: fixedDirectory({ partners: await partnerSettings(poolDb(pool)) }),
  issuer: null,
  audit: noAudit,
  feed: openFeed(poolDb(pool), 90),
  secrets: storedSecrets(Buffer.alloc(32)),
  outgoing: openOutgoing({ allow: [], production: false }),
  redirects: redirectsOf,
  clock,
};

interface Caller {
  scope: string;
  partner?: string;
  customer?: string;
}

/** Some callers may not see everything, so that fields fail in the middle of an answer, or are masked. */
const callers: Caller[] = [
  { scope: '*' },
  { scope: '*' },
  { scope: 'customers:read orders:read metrics:read' },
  { scope: 'customers:read customers:write customers:pii' },
  { scope: '*', partner },
  { scope: 'customers:read orders:read interactions:read returns:read', partner: toldLittle },
  { scope: '*', customer: crowd.members[1]?.id ?? '' },
];

interface Run {
  variables: Record<string, unknown>;
  caller: Caller;
}

/** An answer as it is compared: data to the order of its members, errors by code, path and place. */
interface Compared {
  data: string;
  errors: string[];
}

function compared(data: unknown, errors: readonly { code: unknown; path: unknown; locations: unknown }[]): Compared {
  return {
    data: JSON.stringify(data ?? null),
    // Fields of one selection fail in the order in which the database answers.
    errors: errors.map(({ code, path, locations }) => JSON.stringify({ code, path, locations })).sort(),
  };
}

async function ask(query: string, { variables, caller }: Run): Promise<Compared> {
  const { status, body } = await service.graphql(query, variables, caller);
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return compared(
    body.data,
    (body.errors ?? []).map(({ extensions, path, locations }: any) => ({
      code: extensions.code,
      // Refused variables are told by their names, not by their places.
      ...(body.data !== undefined && { path, locations }),
    })),
  );
}

function principalOf({ scope, partner, customer }: Caller) {
  const scopedTo =
    partner !== undefined
      ? ({ kind: 'partner', id: partner } as const)
      : customer !== undefined
        ? ({ kind: 'customer', id: customer } as const)
        : null;
  return createPrincipal('test', scope.split(' '), scopedTo);
}

async function plain(query: string, { variables, caller }: Run): Promise<Compared> {
  const context: FieldContext = {
    call: createContext(services, principalOf(caller), 'request'),
    headerKey: null,
    replayed: false,
    batches: new Map(),
    failed: new Map(),
  };
  const document = parse(query);
  const result = await execute({ schema, document, contextValue: context, variableValues: structuredClone(variables) });
  if (!('data' in result))
    return compared(null, [{ code: 'graphql_variables_invalid', path: undefined, locations: undefined }]);
  return compared(
    result.data,
    (result.errors ?? []).map((error) => ({ code: codeOf(error), path: error.path, locations: error.locations })),
  );
}

function codeOf({ originalError }: GraphQLError): string {
  if (!originalError || originalError instanceof GraphQLError) return 'internal_error';
  const problem = originalError instanceof Problem ? originalError : asProblem(originalError);
  return problem?.code ?? 'internal_error';
}

/**
 * The service asks for the scope of all root fields before it reads their arguments: where both are wrong, it names the scope and
 * graphql-js the argument or variable. Neither answers anything.
 */
function refusedBefore(got: Compared, wanted: Compared | undefined): boolean {
  const all = (errors: readonly string[], codes: RegExp) =>
    errors.length > 0 && errors.every((error) => codes.test(error));
  const isNothing = ({ data }: Compared) => Object.values(JSON.parse(data) ?? {}).every((value) => value === null);
  return (
    wanted !== undefined &&
    all(got.errors, /"code":"(insufficient_scope|not_supported)"/) &&
    all(wanted.errors, /"code":"(graphql_variables_invalid|internal_error|insufficient_scope|not_supported)"/) &&
    isNothing(got) &&
    isNothing(wanted)
  );
}

/** As many differences are told in full. */
const shown = 3;

/** Numbers that look random and are always the same (mulberry32). */
function randomNumbers(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Value = { json: unknown; literal: string };

interface Variable {
  type: string;
  /** What it may be; undefined: left out. */
  values: unknown[];
  /** As written in the document. */
  fallback: string | null;
}

/** What grows with every request, and what needs the service's own keys. */
const leftOut = new Set(['auditEntries', 'auditEntry', 'customerAuditEntries', 'customerExport', 'signingKeys']);
/** Writes as dry runs: of these, ids and versions stay the same. */
const dryRuns = new Set(['updateCustomer', 'upsertOrder', 'updateCampaign']);

class Author {
  readonly #random: () => number;
  readonly #variables = new Map<string, Variable>();
  readonly #fragments = new Map<string, { type: string; body: string }>();
  /** The arguments of a field without an alias are the same throughout, so that its selections merge. */
  readonly #arguments = new Map<string, string>();
  #aliases = 0;
  #directives = 0;
  #names = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  document(): { query: string; variables: ReadonlyMap<string, Variable> } {
    const writes = this.#chance(0.2);
    const root = (writes ? schema.getMutationType() : schema.getQueryType()) as GraphQLObjectType; // both are there
    const roots = Object.values(root.getFields()).filter(({ name }) =>
      writes ? dryRuns.has(name) : !leftOut.has(name),
    );
    // Records of customers hang together; the rest of the schema comes up as well.
    const usual = roots.filter(({ name }) =>
      /^(customer|customers|orders|leads|metrics|interactions|returns)$/.test(name),
    );
    const chosen = [this.#pick(this.#chance(0.7) && usual.length > 0 ? usual : roots)];
    if (this.#chance(0.4)) chosen.push(this.#pick(usual.length > 0 ? usual : roots));
    const body = this.#set(root, 4, chosen);
    const head = [...this.#variables].map(
      ([name, { type, fallback }]) => `$${name}: ${type}${fallback === null ? '' : ` = ${fallback}`}`,
    );
    const operation = `${writes ? 'mutation' : 'query'}${head.length > 0 ? ` (${head.join(', ')})` : ''} ${body}`;
    const fragments = [...this.#fragments].map(([name, { type, body }]) => `fragment ${name} on ${type} ${body}`);
    return { query: [operation, ...fragments].join('\n'), variables: this.#variables };
  }

  /** A selection set: fields, some of them again inside fragments, where they merge with the first. */
  #set(type: GraphQLObjectType, depth: number, chosen = this.#fields(type, depth)): string {
    const parts: string[] = [];
    for (const field of chosen) {
      const again = this.#chance(0.35) ? 2 : 1;
      for (let time = 0; time < again; time += 1) {
        const written = this.#field(type, field, depth);
        const way = this.#pick(['plain', 'plain', 'plain', 'inline', 'spread']);
        if (way === 'plain') parts.push(written);
        else parts.push(way === 'inline' ? this.#inline(type, written) : this.#spread(type, written));
      }
    }
    return `{ ${this.#chance(0.3) ? '__typename ' : ''}${parts.join(' ')} }`;
  }

  #fields(type: GraphQLObjectType, depth: number): GraphQLField<unknown, unknown>[] {
    const all = Object.values(type.getFields()).filter((field) => depth > 0 || !isObjectType(getNamedType(field.type)));
    const [first] = all;
    if (!first) return Object.values(type.getFields()).slice(0, 1);
    const nodes = all.filter(({ name }) => name === 'nodes');
    const many = 1 + Math.floor(this.#random() * 3);
    return [...nodes, ...Array.from({ length: many }, () => this.#pick(all))];
  }

  #inline(type: GraphQLObjectType, body: string): string {
    const inner = this.#chance(0.3) ? `... ${this.#directive()} { ${body} }` : body;
    return `... ${this.#chance(0.7) ? `on ${type.name}` : ''} ${this.#directive()} { ${inner} }`;
  }

  #spread(type: GraphQLObjectType, body: string): string {
    const known = [...this.#fragments].filter(([, fragment]) => fragment.type === type.name);
    const [again] = this.#chance(0.3) ? known : [];
    const name = again?.[0] ?? this.#name('F');
    if (!again) this.#fragments.set(name, { type: type.name, body: `{ ${body} }` });
    return `...${name} ${this.#directive()}`;
  }

  #field(type: GraphQLObjectType, field: GraphQLField<unknown, unknown>, depth: number): string {
    const inner = getNamedType(field.type);
    const below = isObjectType(inner) ? ` ${this.#set(inner, depth - 1)}` : '';
    if (this.#aliases < 12 && this.#chance(0.2)) {
      this.#aliases += 1;
      return `${this.#name('a')}: ${field.name}${this.#argumentsOf(field)} ${this.#directive()}${below}`;
    }
    const place = `${type.name}.${field.name}`;
    const args = this.#arguments.get(place) ?? this.#argumentsOf(field);
    this.#arguments.set(place, args);
    return `${field.name}${args} ${this.#directive()}${below}`;
  }

  #directive(): string {
    if (this.#directives >= 12 || this.#chance(0.45)) return '';
    const one = () => {
      this.#directives += 1;
      return `@${this.#pick(['include', 'skip'])}(if: ${this.#chance(0.15) ? this.#pick(['true', 'false']) : this.#switch()})`;
    };
    const first = one();
    return this.#chance(0.15)
      ? `${first} ${first.startsWith('@include') ? '@skip(if: false)' : '@include(if: true)'}`
      : first;
  }

  /** Few of them, so that several places depend on the same. */
  #switch(): string {
    const [name, type, fallback] = this.#pick([
      ['yes', 'Boolean!', null],
      ['no', 'Boolean!', null],
      ['on', 'Boolean!', 'true'],
      ['off', 'Boolean!', 'false'],
      ['maybe', 'Boolean', 'true'],
    ] as const);
    const optional = fallback === null ? [] : [undefined];
    const nullable = type === 'Boolean' ? [null] : [];
    this.#variables.set(name, { type, fallback, values: [true, false, ...optional, ...optional, ...nullable] });
    return `$${name}`;
  }

  #argumentsOf(field: GraphQLField<unknown, unknown>): string {
    const written = field.args.flatMap((argument) => {
      if (argument.name === 'dryRun') return ['dryRun: true'];
      if (argument.name === 'expectedVersion') return ['expectedVersion: "*"'];
      if (argument.name === 'first') return [`first: ${this.#value(argument, argument.type, 2)}`];
      const wanted =
        isNonNullType(argument.type) || argument.name === 'id' || argument.name === 'input' || this.#chance(0.12);
      if (!wanted || argument.name === 'idempotencyKey' || argument.name === 'after') return [];
      return [`${argument.name}: ${this.#value(argument, argument.type, 3)}`];
    });
    return written.length > 0 ? `(${written.join(', ')})` : '';
  }

  /** A literal, a variable, or an object or list of these. */
  #value(place: GraphQLArgument | { name: string }, type: GraphQLInputType, depth: number): string {
    const inner = isNonNullType(type) ? type.ofType : type;
    if (this.#chance(0.35) || (isNonNullType(type) && this.#chance(0.2))) return this.#variable(place, type);
    if (isInputObjectType(inner)) {
      const members = Object.values(inner.getFields()).filter(
        (member) => isNonNullType(member.type) || (depth > 0 && this.#chance(0.3)),
      );
      return `{ ${members.map((member) => `${member.name}: ${this.#value(member, member.type, depth - 1)}`).join(', ')} }`;
    }
    if (isListType(inner)) return `[${this.#value(place, inner.ofType, depth - 1)}]`;
    if (!isNonNullType(type) && this.#chance(0.08)) return 'null';
    return this.#sample(place.name, type).literal;
  }

  #variable(place: { name: string }, type: GraphQLInputType): string {
    const name = this.#name('v');
    const required = isNonNullType(type);
    const fallback = this.#chance(0.4) ? this.#sample(place.name, type).literal : null;
    // A nullable variable with a default may stand where null may not.
    const loose = required && fallback !== null && this.#chance(0.4);
    const values: unknown[] = [this.#sample(place.name, type).json, this.#sample(place.name, type).json];
    if (!required || fallback !== null) values.push(undefined, undefined);
    if (!required || loose || this.#chance(0.05)) values.push(null);
    if (this.#chance(0.05)) values.push({ nonsense: 1 });
    this.#variables.set(name, { type: loose ? String(type.ofType) : String(type), fallback, values });
    return `$${name}`;
  }

  #sample(name: string, given: GraphQLInputType): Value {
    const type = isNonNullType(given) ? given.ofType : given;
    const alike = (json: unknown): Value => ({ json, literal: JSON.stringify(json) });
    if (isListType(type)) {
      const one = this.#sample(name, type.ofType);
      return { json: [one.json], literal: `[${one.literal}]` };
    }
    if (isEnumType(type)) {
      const value = this.#pick(type.getValues()).name;
      return { json: value, literal: value };
    }
    if (isInputObjectType(type)) {
      const members = Object.values(type.getFields())
        .filter((member) => isNonNullType(member.type) || this.#chance(0.2))
        .map((member) => [member.name, this.#sample(member.name, member.type)] as const);
      return {
        json: Object.fromEntries(members.map(([member, { json }]) => [member, json])),
        literal: `{ ${members.map(([member, { literal }]) => `${member}: ${literal}`).join(', ')} }`,
      };
    }
    switch (type.name) {
      case 'ID':
        return alike(this.#pick(ids));
      case 'Boolean':
        return alike(this.#chance(0.5));
      case 'Int':
      case 'SafeInt':
      case 'Float':
        return alike(this.#pick([1, 2, 3]));
      case 'Decimal':
      case 'SourceVersion':
        return alike('1.25');
      case 'DateTime':
        return alike(this.#pick(['2026-01-01T00:00:00Z', '2026-05-01T00:00:00Z']));
      case 'Date':
        return alike(this.#pick(['2026-01-01', '2026-05-01']));
      case 'JSON':
        return { json: { tier: 'gold' }, literal: '{ tier: "gold" }' };
      default:
        if (name === 'source') return alike('shop');
        if (name === 'externalId') return alike(this.#pick(['c0', 'c1', 'nobody']));
        return alike(this.#pick(['EUR', 'text', 'Europe/Berlin', 'en']));
    }
  }

  #name(prefix: string): string {
    this.#names += 1;
    return `${prefix}${this.#names}`;
  }

  #chance(of: number): boolean {
    return this.#random() < of;
  }

  #pick<T>(options: readonly T[]): T {
    const found = options[Math.floor(this.#random() * options.length)];
    if (found === undefined) throw new RangeError('There is nothing to choose from');
    return found;
  }
}

function drawn(variables: ReadonlyMap<string, Variable>, random: () => number): Record<string, unknown> {
  const given = [...variables].map(
    ([name, { values }]) => [name, values[Math.floor(random() * values.length)]] as const,
  );
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

t.test('every run of a document answers what plain graphql-js answers', async (t) => {
  const random = randomNumbers(seed);
  const seen = { compared: 0, withData: 0, withErrors: 0, tooLarge: 0, invalid: 0, differing: 0 };
  while (seen.compared < documents) {
    const { query, variables } = new Author(random).document();
    if (validate(schema, parse(query)).length > 0) {
      seen.invalid += 1;
      continue;
    }
    const runs = Array.from({ length: 3 }, (): Run => {
      const caller = callers[Math.floor(random() * callers.length)] ?? { scope: '*' };
      return { variables: drawn(variables, random), caller };
    });
    const wanted: Compared[] = [];
    for (const run of runs) wanted.push(await plain(query, run));
    const differing: unknown[] = [];
    let refused = false;
    for (const round of [1, 2, 3]) {
      for (const [index, run] of runs.entries()) {
        const got = await ask(query, run);
        refused ||= got.errors.some((error) => error.includes('graphql_query_too_complex'));
        if (refusedBefore(got, wanted[index])) continue;
        if (!isDeepStrictEqual(got, wanted[index])) differing.push({ round, ...run, got, wanted: wanted[index] });
      }
    }
    if (refused) {
      seen.tooLarge += 1;
      continue;
    }
    seen.compared += 1;
    seen.withData += wanted.filter(({ data }) => data !== 'null').length;
    seen.withErrors += wanted.filter(({ errors }) => errors.length > 0).length;
    if (differing.length > 0) {
      seen.differing += 1;
      if (seen.differing <= shown) t.fail(`a run answers something else: ${JSON.stringify({ query, differing })}`);
    }
  }
  t.comment(JSON.stringify(seen));
  t.equal(seen.differing, 0, 'documents of which a run differs');
  t.ok(seen.withData > 2 * documents, 'most runs answer something');
  t.ok(seen.withErrors > documents / 2, 'many have errors');
});
