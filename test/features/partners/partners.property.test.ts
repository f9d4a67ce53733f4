import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import {
  type GraphQLField,
  type GraphQLInputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import t from 'tap';
import { routes } from '../../../src/features.ts';
import type { Operation } from '../../../src/platform/operation.ts';
import { type ScopedToken, testApp } from '../../support/app.ts';
import { type ContractOperation, contractOperations, type Json } from '../../support/contract.ts';
import { type Crowd, type Member, stockCrowd } from '../../support/crowd.ts';
import { guardedFields, schema } from '../../support/doors.ts';
import { draws, everyNth, firstSeed, soakSeconds } from '../../support/draws.ts';
import { copyExcerpt, hashesWithout, idsIn, idsOfRecords } from '../../support/excerpt.ts';
import { nobody, stockPartner, stockWebhook } from '../../support/people.ts';
import { type RawAnswer, type RawRequest, rawClient } from '../../support/raw-http.ts';
import { parsed } from '../../support/refusals.ts';

/**
 * What a scoped token is answered by a store of everybody equals, to the byte, what it is answered by a store that
 * holds only its customers: every address and field, every filter, random queries with cursors followed to the end,
 * aliases and connections within each other. No id and no word of anybody else is in any answer.
 *
 * `RAPPORT_TEST_SECONDS` for how long the hunt goes on, with one seed after the other; `RAPPORT_TEST_SEED` is the first.
 */
const seconds = soakSeconds(0);
const start = firstSeed(20_260_601);
t.setTimeout(280_000 + seconds * 2_000);

// Records are made in May, so that there is a whole month of each.
let now = '2026-05-31T12:00:00.000Z';
// One folder, so one key: the same token opens all the stores.
const folder = t.testdir({});
const place = { teardown: t.teardown.bind(t), testdir: () => folder };
const service = () => testApp(place, { clock: () => now, env: { DATABASE_POOL_SIZE: '6' } });

const whole = await service();
const crowd: Crowd = await stockCrowd(whole, 48);
now = '2026-06-01T12:00:00.000Z';
const { house, members } = crowd;

/** A caller with a scoped token, its store, and what may be told to it. */
interface Viewer {
  name: string;
  kind: 'partners' | 'selfService';
  who: ScopedToken;
  scope: string;
  own: Member[];
  others: Member[];
  send: (request: RawRequest) => Promise<RawAnswer>;
  ids: ReadonlySet<string>;
  words: ReadonlySet<string>;
}

interface Sent {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string;
}

const sendWhole = rawClient(t, whole.origin);

async function viewerTag(name: string, who: ScopedToken, own: Member[], scope = '*'): Promise<Viewer> {
  const excerpt = await service();
  const customers = own.map(({ id }) => id);
  await copyExcerpt(whole.connection, excerpt.connection, { customers, partner: who.partner ?? null });
  return {
    name,
    kind: who.partner === undefined ? 'selfService' : 'partners',
    who,
    scope,
    own,
    others: members.filter((member) => !own.includes(member)),
    send: rawClient(t, excerpt.origin),
    ids: await idsIn(excerpt.connection),
    words: new Set(own.map(({ word }) => word)),
  };
}

const first = {
  customers: members.slice(0, 20).map(({ id }) => id),
  readOnly: members.slice(20, 26).map(({ id }) => id),
};
const last = { customers: members.slice(18, 40).map(({ id }) => id), fields: [] };
/** Of each partner, a webhook with a delivery. */
const hooks: Awaited<ReturnType<typeof stockWebhook>>[] = [];
async function partnerOf(shared: Parameters<typeof stockPartner>[1]): Promise<ScopedToken> {
  const partner = await stockPartner(whole, shared);
  hooks.push(await stockWebhook(whole, { partner }));
  return { partner };
}
const partners = [
  await viewerTag('a partner with all fields', await partnerOf(first), members.slice(0, 26)),
  await viewerTag('a partner without fields', await partnerOf(last), members.slice(18, 40)),
];
const noPersonalData = allScopes().filter((scope) => scope !== 'customers:pii');
const viewers: Viewer[] = [
  ...partners,
  { ...(partners[0] as Viewer), name: 'a partner without customers:pii', scope: noPersonalData.join(' ') },
  ...(await Promise.all(
    [4, 13].map(async (n) => {
      const member = members[n] as Member;
      return viewerTag(`customer ${n}`, { customer: member.id }, [member]);
    }),
  )),
];

function allScopes(): string[] {
  const all = [...routes.map(({ operation }) => operation), ...guardedFields().flatMap((one) => one.operations)];
  return [...new Set([...all.map(({ scope }) => scope), 'customers:pii'])];
}

// Comparing

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;
// A position in the change feed is of the whole store, as it is to readers of the feed.
const steering = new Set(['date', 'x-request-id', 'ratelimit', 'content-length', 'etag', 'events-after']);

/** What two stores must agree on: all but the id of the request and the bytes of cursors, which are signed per position. */
function comparable({ status, headers, text }: RawAnswer): Json {
  const told = Object.entries(headers).filter(([name]) => !steering.has(name) || name === 'etag');
  return {
    status,
    headers: told.map(([name, value]) =>
      name === 'link' ? [name, String(value).replace(/after=[^>&]+/, '')] : [name, value],
    ),
    body: inOrder(withoutCursors(parsed(text)) as Json),
  };
}

/** GraphQL tells errors as they come. */
function inOrder(body: Json): Json {
  if (!Array.isArray(body.errors)) return body;
  return { ...body, errors: body.errors.map((error) => JSON.stringify(error)).sort() };
}

const cursorNames = new Set(['next', 'cursor', 'startCursor', 'endCursor']);

function withoutCursors(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutCursors);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) => {
      if (name === 'instance') return [];
      if (cursorNames.has(name)) return [[name, typeof member]];
      if (name === 'cursors') return [[name, Array.isArray(member) ? member.length : member]];
      return [[name, withoutCursors(member)]];
    }),
  );
}

/** Stores with the same records have different histories: of these, no more is asked than that nothing of others is told. */
const ofHistory = /^\/v1\/events/;

/** Ids and words in an answer that are neither the caller's to see nor its own. */
function strangers(viewer: Viewer, request: Sent, { text, headers }: RawAnswer): string[] {
  const { 'x-request-id': _id, ...told } = headers;
  // Events have ids of their own.
  const shown = ofHistory.test(request.path) ? text.replaceAll(/\{"id":"[^"]*","type"/g, '') : text;
  const said = `${shown.replace(/"instance":"[^"]*"/g, '')} ${JSON.stringify(told)}`;
  const sent = decodeURIComponent(`${request.path} ${request.body ?? ''}`.replaceAll(/%(?![0-9a-f]{2})/gi, '%25'));
  const ids = (said.match(uuid) ?? []).filter((id) => !viewer.ids.has(id.toLowerCase()) && !sent.includes(id));
  const words = (said.match(/zq\d+x/g) ?? []).filter((word) => !viewer.words.has(word) && !sent.includes(word));
  return [...new Set([...ids, ...words])];
}

/** Where two values first differ, in words. */
function difference(seen: unknown, expected: unknown, at = ''): string {
  if (isDeepStrictEqual(seen, expected)) return '';
  if (typeof seen === 'object' && typeof expected === 'object' && seen !== null && expected !== null) {
    const [a, b] = [Object.entries(seen), new Map(Object.entries(expected))];
    const names = [...a.map(([name]) => name), ...b.keys()];
    const name = names.find((one) => !isDeepStrictEqual(new Map(a).get(one), b.get(one)));
    if (name !== undefined) return difference(new Map(a).get(name), b.get(name), `${at}/${name}`);
  }
  const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 400);
  return `${at} is ${shown(seen)} in the store of everybody and ${shown(expected)} in its own`;
}

let compared = 0;
const answeredWell = new Set<string>();

/** Asks both stores, page by page. @throws Error on the first difference */
async function compare(viewer: Viewer, request: Sent, pages = 6): Promise<RawAnswer> {
  const headers = { ...request.headers, Authorization: `Bearer ${whole.token(viewer.scope, 'app', viewer.who)}` };
  const [ofWhole, ofExcerpt] = await Promise.all([
    sendWhole({ ...request, headers }),
    viewer.send({ ...request, headers }),
  ]);
  compared += 1;
  const [seen, expected] = [comparable(ofWhole), comparable(ofExcerpt)];
  const about = `${viewer.name}: ${request.method} ${decodeURI(request.path)} ${request.body ?? ''}`;
  const alike = ofHistory.test(request.path) ? seen.status === expected.status : isDeepStrictEqual(seen, expected);
  if (!alike) throw new Error(`${about}: ${difference(seen, expected)}`);
  const leaked = strangers(viewer, request, ofWhole);
  if (leaked.length > 0) throw new Error(`${about} tells ${leaked} ${ofWhole.text.slice(0, 2_000)}`);
  if (ofWhole.status >= 500) throw new Error(`${about} ${ofWhole.text}`);
  const next = nextPage(ofWhole);
  const nextExpected = nextPage(ofExcerpt);
  if (
    pages > 1 &&
    next !== null &&
    nextExpected !== null &&
    request.method === 'GET' &&
    !ofHistory.test(request.path)
  ) {
    const page = (after: string) => withParameter(request, 'after', after);
    // Cursors are each store's own.
    await comparePages(viewer, page(next), page(nextExpected), pages - 1);
  }
  return ofWhole;
}

async function comparePages(viewer: Viewer, request: Sent, ofExcerpt: Sent, pages: number): Promise<void> {
  const headers = { Authorization: `Bearer ${whole.token(viewer.scope, 'app', viewer.who)}` };
  const [seen, expected] = await Promise.all([
    sendWhole({ ...request, headers }),
    viewer.send({ ...ofExcerpt, headers }),
  ]);
  compared += 1;
  const [told, right] = [comparable(seen), comparable(expected)];
  if (!isDeepStrictEqual(told, right))
    throw new Error(`${viewer.name}: a later page of ${request.path}: ${difference(told, right)}`);
  const leaked = strangers(viewer, request, seen);
  if (leaked.length > 0)
    throw new Error(`${viewer.name}: ${request.path} tells ${leaked} ${seen.text.slice(0, 2_000)}`);
  const [next, nextExpected] = [nextPage(seen), nextPage(expected)];
  if (pages > 1 && next !== null && nextExpected !== null) {
    const page = (after: string) => withParameter(request, 'after', after);
    await comparePages(viewer, page(next), page(nextExpected), pages - 1);
  }
}

function nextPage({ text }: RawAnswer): string | null {
  const { page } = parsed(text) as { page?: { next?: string | null } };
  return page?.next ?? null;
}

function withParameter(request: Sent, name: string, value: string): Sent {
  const url = new URL(request.path, 'http://self');
  url.searchParams.set(name, value);
  return { ...request, path: `${url.pathname}${url.search}` };
}

// What is asked

const nothing = nobody();
const records = await idsOfRecords(whole.connection);

/** Ids of a table's records: of the caller's customers, of others and of nobody. */
function someIds(viewer: Viewer, table: string, count = 3): string[] {
  const own = new Set(viewer.own.map(({ id }) => id));
  const all = records.get(table) ?? [];
  const mine = all.filter(({ customer }) => own.has(customer)).map(({ id }) => id);
  const theirs = all.filter(({ customer }) => !own.has(customer)).map(({ id }) => id);
  const spread = (list: string[]) => list.filter((_, index) => index % Math.ceil(list.length / count) === 0);
  return [...spread(mine), ...spread(theirs), ...(table === 'customers' ? crowd.aliases : []), nothing.order];
}

const tableOf: Record<string, string> = {
  '/v1/customers': 'customers',
  '/v1/leads': 'customers',
  '/v1/orders': 'orders',
  '/v1/refunds': 'refunds',
  '/v1/returns': 'returns',
  '/v1/interactions': 'interactions',
  '/v1/survey-responses': 'survey_responses',
  '/v1/survey-invitations': 'survey_invitations',
  '/v1/loyalty/transactions': 'loyalty_transactions',
  '/v1/loyalty/redemptions': 'redemptions',
  '/v1/surveys': 'surveys',
};

const configured: Record<string, string> = {
  '/v1/surveys': house.survey,
  '/v1/loyalty/programmes': house.programme,
  '/v1/loyalty/rewards': house.reward,
};

/** Addresses of a path that say something: its own records, others' and none. */
function pathsOf(viewer: Viewer, { path }: ContractOperation): string[] {
  if (!path.includes('{')) return [path];
  const collection = path.slice(0, path.indexOf('/{'));
  if (path.includes('{externalId}')) {
    const suffix = {
      '/v1/orders/external': '-o0',
      '/v1/returns/external': '-r0',
      '/v1/interactions/external': '-i0',
      '/v1/refunds/external': '-f0',
    };
    const end = suffix[collection as keyof typeof suffix] ?? '';
    const names = [...viewer.own.slice(0, 2), ...viewer.others.slice(0, 2)].map(({ name }) => `${name}${end}`);
    return [...names, 'nobody'].map((name) => path.replace('{source}', 'shop').replace('{externalId}', name));
  }
  if (collection === '/v1/webhooks') {
    return [...hooks, nothing].map(({ webhook, delivery }) =>
      path.replace('{id}', webhook).replace('{deliveryId}', delivery),
    );
  }
  const fixed = configured[collection];
  const ids = fixed === undefined ? someIds(viewer, tableOf[collection] ?? 'customers') : [fixed, nothing.order];
  return ids.map((id) => path.replace('{id}', id));
}

const months = ['2026-01-01', '2026-02-01', '2026-03-01', '2026-04-01', '2026-05-01', '2026-06-01'];
const days = [...months.map((day) => `${day}T00:00:00Z`), '2026-05-30T00:00:00Z', '2026-03-14T15:09:26Z'];

/** Values of a parameter that make a difference, beside those of the contract. */
function valuesOf(viewer: Viewer, operation: string, { name, edges }: { name: string; edges: string[] }): string[] {
  const both = <T>(of: (member: Member) => T) => [...viewer.own.slice(-2), ...viewer.others.slice(0, 2)].map(of);
  const ofRecords: Record<string, string> = {
    orderId: 'orders',
    interactionId: 'interactions',
    responseId: 'survey_responses',
  };
  const table = ofRecords[name];
  if (table !== undefined) return someIds(viewer, table);
  if (/From$|To$|^from$|^to$|^asOf$/.test(name)) {
    const changes = operation === 'listLeadStageChanges' && /^(from|to)$/.test(name);
    return changes
      ? edges
      : /Rate|Value|Customer$|Gaps|Funnel|Loop|Score|Satisfaction|Effort|Liability/.test(operation)
        ? months
        : days;
  }
  switch (name) {
    case 'customerId':
    case 'companyId':
    case 'referredBy':
      return [...both(({ id }) => id), nothing.customer];
    case 'email':
      return both(({ email }) => email);
    case 'phone':
      return both(({ word }) => `+44207123${1000 + Number(word.slice(2, -1))}`);
    case 'q':
      return ['parcel', ...both(({ word }) => word), ...both(({ word }) => `parcel -${word}`)];
    case 'ticket':
      return both(({ word }) => `T-${word}`);
    case 'sku':
      return both(({ word }) => `sku-${word}`);
    case 'staff':
    case 'owner':
      return ['maria', 'jo', ...both(({ word }) => `staff-${word}`)];
    case 'campaignId':
      return [house.campaign, nothing.order];
    case 'surveyId':
      return [house.survey, nothing.order];
    case 'programmeId':
      return [house.programme, nothing.order];
    case 'rewardId':
      return [house.reward, nothing.order];
    case 'source':
    case 'acquisitionSource':
      return ['fair', 'web', 'ads'];
    case 'segment':
      return ['smb', 'enterprise'];
    case 'channel':
      return ['web', 'hotline', 'store', ...edges];
    case 'topic':
      return ['delivery', 'price'];
    case 'department':
      return ['support', 'sales'];
    case 'currency':
      return ['EUR', 'USD', 'CHF'];
    case 'tier':
      return ['gold'];
    case 'limit':
      return ['1', '3', '100'];
    case 'kinds':
      return ['order', 'interaction,order', 'refund,return', 'points,tier'];
    case 'stage':
      return ['customer', 'former', 'lead,subscriber'];
    case 'after':
      return ['nonsense'];
    default:
      return edges.slice(0, 6);
  }
}

/** What `kind` of tokens may read. Exports tell who has asked, so that no two are the same: they have a test below. */
function readable(kind: Viewer['kind']): { contract: ContractOperation; operation: Operation }[] {
  return contractOperations().flatMap((contract) => {
    const url = contract.path.replaceAll(/\{(\w+)\}/g, ':$1');
    const operation = routes.find((one) => one.method === contract.method && one.url === url)?.operation;
    const asked =
      operation?.kind === 'read' && operation[kind] && !operation.public && operation.name !== 'exportCustomer';
    return asked ? [{ contract, operation }] : [];
  });
}

/** A search takes its parameters in the body, and is asked without any. */
function asking({ method }: ContractOperation, path: string): Sent {
  if (method === 'GET') return { method, path };
  return { method, path: path.replace(/\?.*/, ''), headers: { 'Content-Type': 'application/json' }, body: '{}' };
}

/** Nobody waits here for what does not come. */
const isAsked = (one: ContractOperation['parameters'][number]) => one.in === 'query' && one.name !== 'wait';

const required: Record<string, string> = { listLoyaltyMembers: `programmeId=${house.programme}` };

/** The first, the middle and the last: of ids one of its own, one of others and what nobody has. */
function some<T>(values: readonly T[]): T[] {
  const places = everyNth(3, [Math.floor(values.length / 2), 0, values.length - 1]);
  return values.filter((_, index) => places.includes(index));
}

for (const viewer of viewers.filter(({ scope }) => scope === '*')) {
  t.test(`${viewer.name}: every address, every filter on its own`, async (t) => {
    for (const { contract, operation } of readable(viewer.kind)) {
      const given = required[operation.name];
      const base = (path: string) => (given === undefined ? path : `${path}?${given}`);
      const faults: string[] = [];
      const attempt = async (path: string) => {
        try {
          const { status } = await compare(viewer, asking(contract, path));
          if (status < 300) answeredWell.add(`${viewer.kind} ${contract.id}`);
        } catch (error) {
          faults.push(error instanceof Error ? error.message : String(error));
        }
      };
      const paths = pathsOf(viewer, contract);
      for (const path of paths) await attempt(base(path));
      for (const parameter of contract.parameters.filter(isAsked)) {
        for (const value of some(valuesOf(viewer, operation.name, parameter))) {
          const { path } = withParameter({ method: 'GET', path: base(paths[0] ?? '') }, parameter.name, value);
          await attempt(path);
        }
      }
      t.strictSame(faults.slice(0, 3), [], `${contract.id}: ${faults.length} faults`);
    }
  });
}

t.test('every address was answered at least once', (t) => {
  for (const kind of ['partners', 'selfService'] as const) {
    const missed = readable(kind)
      .map(({ contract }) => contract.id)
      .filter((id) => !answeredWell.has(`${kind} ${id}`));
    t.strictSame(missed, [], kind);
  }
  t.comment(`${compared} answers compared`);
  t.end();
});

// Random questions over REST

type Draw = <T>(values: readonly T[]) => T;

/** By their place: fast-check would compare the values, which may be large and cyclic. */
function drawing(g: fc.GeneratorValue): Draw {
  return (values) => {
    const value = values[g(fc.nat, { max: values.length - 1 })];
    return value as (typeof values)[number]; // in range, as there is a value
  };
}

function restQuestion(viewer: Viewer): fc.Arbitrary<Sent> {
  const all = readable(viewer.kind);
  return fc.gen().map((g) => {
    const draw = drawing(g);
    const { contract, operation } = draw(all);
    const path = draw(pathsOf(viewer, contract));
    const query = contract.parameters.filter((one) => isAsked(one) && one.name !== 'after');
    const chosen = query.length === 0 ? [] : Array.from({ length: draw([0, 1, 2, 3, 4]) }, () => draw(query));
    const url = new URL(path, 'http://self');
    if (required[operation.name]) url.searchParams.set('programmeId', house.programme);
    for (const parameter of chosen) {
      const values = valuesOf(viewer, operation.name, parameter);
      if (values.length > 0) url.searchParams.set(parameter.name, draw(values));
    }
    return asking(contract, `${url.pathname}${url.search}`);
  });
}

// Random questions over GraphQL

const guarded = new Map(guardedFields().map((field) => [field.name, field.operations]));

/** A document with aliases and connections within each other; what is closed to the caller is in it at times. */
function graphqlQuestion(viewer: Viewer): fc.Arbitrary<Sent> {
  const query = schema.getQueryType();
  if (!query) throw new Error('there is no query type');
  const roots = Object.values(query.getFields()).filter(({ name }) => {
    // Histories differ, and exports tell them: as over REST.
    if (/^event/.test(name) || name === 'customerExport') return false;
    const through = guarded.get(`Query.${name}`);
    return through === undefined || through.every((operation) => operation[viewer.kind]);
  });
  return fc.gen().map((g) => {
    const draw = drawing(g);
    const count = draw([1, 1, 2, 3]);
    const aliases = Array.from(
      { length: count },
      (_, n) => `a${n}: ${fieldText(viewer, draw, draw(roots), 'Query', 0)}`,
    );
    return {
      method: 'POST',
      path: '/graphql',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ query: `{ ${aliases.join(' ')} }` }),
    };
  });
}

function fieldText(
  viewer: Viewer,
  draw: Draw,
  field: GraphQLField<unknown, unknown>,
  type: string,
  depth: number,
): string {
  const given = field.args.flatMap(({ name, type: wanted }) => {
    const needed = isNonNullType(wanted) || ['id', 'first'].includes(name);
    if (!needed && draw([true, true, true, false])) return [];
    const value = literal(viewer, draw, name, wanted, `${type}.${field.name}`);
    return value === null ? [] : [`${name}: ${value}`];
  });
  // One of the two names a record.
  const unique = given.some((text) => text.startsWith('id:'))
    ? given.filter((text) => !text.startsWith('reference:'))
    : given;
  return `${field.name}${unique.length > 0 ? `(${unique.join(', ')})` : ''}${selectionText(viewer, draw, field, depth + 1)}`;
}

function selectionText(viewer: Viewer, draw: Draw, field: GraphQLField<unknown, unknown>, depth: number): string {
  const type = getNamedType(field.type);
  if (isLeafType(type)) return '';
  if (!isObjectType(type)) return ' { __typename }';
  const fields = Object.values(type.getFields());
  const parts = fields.flatMap((member) => {
    if (isLeafType(getNamedType(member.type))) return draw([true, true, false]) ? [member.name] : [];
    const always = ['nodes', 'edges', 'node', 'pageInfo'].includes(member.name);
    const likely = guarded.has(`${type.name}.${member.name}`) ? [true, false, false] : [true, false];
    if (depth > 6 || (!always && !draw(likely))) return [];
    return [fieldText(viewer, draw, member, type.name, depth)];
  });
  return ` { ${['__typename', ...parts].join(' ')} }`;
}

const kindsOfIds: Record<string, string> = {
  order: 'orders',
  refund: 'refunds',
  return: 'returns',
  interaction: 'interactions',
  surveyResponse: 'survey_responses',
  surveyInvitation: 'survey_invitations',
  loyaltyTransaction: 'loyalty_transactions',
  redemption: 'redemptions',
};

function literal(viewer: Viewer, draw: Draw, name: string, given: GraphQLInputType, place: string): string | null {
  const type = isNonNullType(given) ? given.ofType : given;
  if (isListType(type)) {
    const item = literal(viewer, draw, name, type.ofType, place);
    return item === null ? null : `[${item}]`;
  }
  if (isEnumType(type)) return draw(type.getValues()).name;
  if (isInputObjectType(type)) {
    if (type.name === 'ReferenceInput')
      return `{source: "shop", externalId: "${draw([...viewer.own.slice(0, 3), ...viewer.others.slice(0, 2)]).name}"}`;
    const parts = Object.values(type.getFields()).flatMap((member) => {
      if (!isNonNullType(member.type) && draw([true, true, false])) return [];
      const value = literal(viewer, draw, member.name, member.type, place);
      return value === null ? [] : [`${member.name}: ${value}`];
    });
    return `{${parts.join(', ')}}`;
  }
  if (name === 'first') return draw(['1', '2', '5']);
  if (name === 'after') return draw([null, '"nonsense"']);
  if (type.name === 'Boolean') return draw(['true', 'false']);
  if (type.name === 'Int' || type.name === 'Float' || type.name === 'SafeInt') return draw(['1', '5', '30']);
  const [owner, field = ''] = place.split('.');
  const fixed = /survey/i.test(field) ? house.survey : /programme/i.test(field) ? house.programme : house.reward;
  const table = kindsOfIds[field];
  if (name === 'id' && owner === 'Query' && table !== undefined) return JSON.stringify(draw(someIds(viewer, table, 4)));
  if (name === 'id' && ['survey', 'loyaltyProgramme', 'reward', 'responsesOfSurvey'].includes(field))
    return `"${fixed}"`;
  const parameter = name === 'id' ? 'customerId' : name;
  const metric = owner === 'Metrics' ? 'getNetPromoterScore' : '';
  const values = valuesOf(viewer, metric, { name: parameter, edges: [] });
  return values.length === 0 ? null : JSON.stringify(draw(values));
}

async function hunt(viewer: Viewer, seed: number, count: number, limit: number): Promise<void> {
  for (const questions of [restQuestion(viewer), graphqlQuestion(viewer)]) {
    await fc.assert(
      fc.asyncProperty(questions, async (request) => {
        await compare(viewer, request);
      }),
      {
        numRuns: count,
        seed,
        endOnFailure: true,
        includeErrorInReport: true,
        ...(seconds > 0 && { interruptAfterTimeLimit: limit, markInterruptAsFailure: false }),
      },
    );
  }
}

for (const viewer of viewers) {
  t.test(`${viewer.name}: whatever is asked`, async (t) => {
    t.comment(`RAPPORT_TEST_SEED=${start}`);
    await hunt(viewer, start, draws({ quick: 6, deep: 80 }), 0);
    t.pass(`${compared} answers compared`);
  });
}

if (seconds > 0) {
  t.test('a longer hunt', async (t) => {
    const until = Date.now() + seconds * 1_000;
    let seed = start;
    while (Date.now() < until) {
      seed += 1;
      for (const viewer of viewers) await hunt(viewer, seed, 300, Math.max(1_000, until - Date.now()));
    }
    t.pass(`${compared} answers compared, seeds to ${seed}`);
  });
}

t.test('exports of customers for themselves tell of nobody else', async (t) => {
  for (const viewer of viewers.filter(({ kind }) => kind === 'selfService')) {
    const [own] = viewer.own;
    const request: Sent = { method: 'GET', path: `/v1/customers/${own?.id}/export` };
    const headers = { Authorization: `Bearer ${whole.token('*', 'app', viewer.who)}` };
    const answer = await sendWhole({ ...request, headers });
    t.equal(answer.status, 200, answer.text.slice(0, 300));
    const { sections, ...head } = parsed(answer.text) as Json & { sections: Record<string, { records: Json[] }> };
    t.ok(Object.keys(sections).length > 20);
    // Requests and entries of the audit have ids of their own; what they name is judged.
    const told = Object.entries(sections).map(([name, { records: list }]) =>
      name === 'accesses' ? list.map(({ recordIds, confinementId }) => [recordIds, confinementId]) : list,
    );
    // Neither merges nor partners are in the other store.
    const known = [
      ...partners.map(({ who }) => who.partner),
      ...(sections['merges']?.records ?? []).map(({ id }) => id),
    ];
    const text = JSON.stringify([head, told]);
    const found = strangers(viewer, request, { ...answer, headers: {}, text });
    t.strictSame(
      found.filter((id) => !known.includes(id)),
      [],
      viewer.name,
    );
    const page = await sendWhole({ method: 'GET', path: `${request.path}?format=html`, headers });
    const words = (page.text.match(/zq\d+x/g) ?? []).filter((word) => !viewer.words.has(word));
    t.strictSame(words, [], `${viewer.name}, to read`);
    const others = viewer.others.filter(({ id }) => page.text.includes(id));
    t.strictSame(others, [], `${viewer.name}, to read`);
  }
});

// Writes that name others; last, as the other stores do not have them

interface Attempt {
  what: string;
  method: 'POST' | 'PATCH' | 'PUT';
  path: string;
  body: (of: {
    id: string;
    email: string;
    phone: string;
    name: string;
    word: string;
    order: string;
    interaction: string;
  }) => Json;
  /** `missing`: as what nobody has. Otherwise somebody has the name, which is all that is said. */
  answer: 'missing' | 'already_exists' | 'identity_taken';
}

const [mine] = members;
const theirs = members[45];
if (!mine || !theirs) throw new Error('there are not enough customers');
const line = {
  placedAt: '2026-05-21T00:00:00Z',
  currency: 'EUR',
  total: 100,
  paymentStatus: 'paid',
  items: [{ sku: 'A', quantity: 1, total: 100 }],
};
const touch = { kind: 'phone', occurredAt: '2026-05-21T00:00:00Z' };
const said = { answeredAt: '2026-05-29T00:00:00Z', answers: [{ question: 'recommend', score: 9 }] };
const responses = `/v1/surveys/${house.survey}/responses`;
const nameOf = (name: string) => ({ source: 'shop', externalId: name });

const attempts: Attempt[] = [
  {
    what: 'an order of a customer',
    method: 'POST',
    path: '/v1/orders',
    body: (of) => ({ ...line, ...nameOf('w1'), customerId: of.id }),
    answer: 'missing',
  },
  {
    what: 'an order of an e-mail',
    method: 'POST',
    path: '/v1/orders',
    body: (of) => ({ ...line, ...nameOf('w2'), customer: { email: of.email } }),
    answer: 'identity_taken',
  },
  {
    what: 'an order of a phone',
    method: 'POST',
    path: '/v1/orders',
    body: (of) => ({ ...line, ...nameOf('w3'), customer: { phone: of.phone } }),
    answer: 'identity_taken',
  },
  {
    what: 'an order of a reference',
    method: 'POST',
    path: '/v1/orders',
    body: (of) => ({ ...line, ...nameOf('w4'), customer: { externalId: of.name } }),
    answer: 'already_exists',
  },
  {
    what: 'an order that is there',
    method: 'POST',
    path: '/v1/orders',
    body: (of) => ({ ...line, ...nameOf(`${of.name}-o0`), customerId: mine.id }),
    answer: 'already_exists',
  },
  {
    what: 'an interaction about an order',
    method: 'POST',
    path: '/v1/interactions',
    body: (of) => ({ ...touch, customerId: mine.id, orderId: of.order }),
    answer: 'missing',
  },
  {
    what: 'an interaction of a customer',
    method: 'POST',
    path: '/v1/interactions',
    body: (of) => ({ ...touch, customerId: of.id }),
    answer: 'missing',
  },
  {
    what: 'an interaction that is there',
    method: 'POST',
    path: '/v1/interactions',
    body: (of) => ({ ...touch, ...nameOf(`${of.name}-i0`), customerId: mine.id }),
    answer: 'already_exists',
  },
  {
    what: 'a customer of a company',
    method: 'PATCH',
    path: `/v1/customers/${mine.id}`,
    body: (of) => ({ companyId: of.id }),
    answer: 'missing',
  },
  {
    what: 'a customer referred',
    method: 'PATCH',
    path: `/v1/customers/${mine.id}`,
    body: (of) => ({ referredBy: of.id }),
    answer: 'missing',
  },
  {
    what: 'an e-mail',
    method: 'PATCH',
    path: `/v1/customers/${mine.id}`,
    body: (of) => ({ identities: [{ kind: 'email', value: of.email }] }),
    answer: 'identity_taken',
  },
  {
    what: 'a reference',
    method: 'PATCH',
    path: `/v1/customers/${mine.id}`,
    body: (of) => ({ references: [nameOf(of.name)] }),
    answer: 'already_exists',
  },
  {
    what: 'a new customer of an e-mail',
    method: 'POST',
    path: '/v1/customers',
    body: (of) => ({ identities: [{ kind: 'email', value: of.email }] }),
    answer: 'identity_taken',
  },
  {
    what: 'a new customer of a phone',
    method: 'POST',
    path: '/v1/customers',
    body: (of) => ({ identities: [{ kind: 'phone', value: of.phone }] }),
    answer: 'identity_taken',
  },
  {
    what: 'a new customer of a reference',
    method: 'POST',
    path: '/v1/customers',
    body: (of) => ({ references: [nameOf(of.name)] }),
    answer: 'already_exists',
  },
  {
    what: 'a new customer of a company',
    method: 'POST',
    path: '/v1/customers',
    body: (of) => ({ companyId: of.id }),
    answer: 'missing',
  },
  {
    what: 'a new customer referred',
    method: 'POST',
    path: '/v1/customers',
    body: (of) => ({ referredBy: of.id }),
    answer: 'missing',
  },
  { what: 'a lead', method: 'POST', path: '/v1/leads', body: (of) => ({ customerId: of.id }), answer: 'missing' },
  {
    what: 'a lead of an e-mail',
    method: 'POST',
    path: '/v1/leads',
    body: (of) => ({ customer: { email: of.email } }),
    answer: 'identity_taken',
  },
  {
    what: 'a lead of a reference',
    method: 'POST',
    path: '/v1/leads',
    body: (of) => ({ customer: nameOf(of.name) }),
    answer: 'already_exists',
  },
  {
    what: 'a response of a customer',
    method: 'POST',
    path: responses,
    body: (of) => ({ ...said, submissionId: 'w5', customerId: of.id }),
    answer: 'missing',
  },
  {
    what: 'a response about an order',
    method: 'POST',
    path: responses,
    body: (of) => ({ ...said, submissionId: 'w6', customerId: mine.id, orderId: of.order }),
    answer: 'missing',
  },
  {
    what: 'a response about an interaction',
    method: 'POST',
    path: responses,
    body: (of) => ({ ...said, submissionId: 'w7', customerId: mine.id, interactionId: of.interaction }),
    answer: 'missing',
  },
  {
    what: 'a response that is there',
    method: 'POST',
    path: responses,
    body: (of) => ({ ...said, submissionId: `form-${of.word}-0`, customerId: mine.id }),
    answer: 'already_exists',
  },
  {
    what: 'a response of an e-mail',
    method: 'POST',
    path: responses,
    body: (of) => ({ ...said, submissionId: 'w8', customer: { email: of.email } }),
    answer: 'identity_taken',
  },
];

t.test('writes that name others change nothing and tell nothing', async (t) => {
  const [viewer] = viewers;
  if (!viewer) throw new Error('nobody looks');
  const idOf = (table: string) => records.get(table)?.find(({ customer }) => customer === theirs.id)?.id ?? '';
  const foreign = {
    ...theirs,
    phone: `+44207123${1000 + 45}`,
    order: idOf('orders'),
    interaction: idOf('interactions'),
  };
  const missing = {
    id: nothing.customer,
    email: nothing.email,
    phone: '+442071239999',
    name: 'nobody',
    word: 'nobody',
    order: nothing.order,
    interaction: nothing.interaction,
  };
  const before = await hashesWithout(
    whole.connection,
    viewer.own.map(({ id }) => id),
  );
  for (const { what, method, path, body, answer: expected } of attempts) {
    const ask = async (of: typeof foreign | typeof missing) => {
      const request = {
        method,
        path: expected === 'missing' ? path : `${path}?dryRun=false`,
        headers: { 'Content-Type': 'application/json', 'If-Match': '*', 'Idempotency-Key': crypto.randomUUID() },
        body: JSON.stringify(body(of)),
      };
      const headers = { ...request.headers, Authorization: `Bearer ${whole.token('*', 'app', viewer.who)}` };
      return { request, answer: await sendWhole({ ...request, headers }) };
    };
    const { request, answer } = await ask(foreign);
    t.strictSame(strangers(viewer, request, answer), [], `${what}: ${answer.text.slice(0, 500)}`);
    if (expected !== 'missing') {
      t.match(
        parsed(answer.text),
        { status: 409, code: expected, id: undefined },
        `${what}: ${answer.text.slice(0, 500)}`,
      );
      continue;
    }
    const control = await ask(missing);
    const plain = (text: string) =>
      [foreign, missing].reduce(
        (all, of) => all.replaceAll(of.id, 'ID').replaceAll(of.order, 'ORDER').replaceAll(of.interaction, 'TOUCH'),
        text,
      );
    t.ok(answer.status >= 400, `${what}: ${answer.text.slice(0, 300)}`);
    t.strictSame(
      { ...comparable(answer), body: withoutCursors(parsed(plain(answer.text))) },
      { ...comparable(control.answer), body: withoutCursors(parsed(plain(control.answer.text))) },
      what,
    );
  }
  t.strictSame(
    await hashesWithout(
      whole.connection,
      viewer.own.map(({ id }) => id),
    ),
    before,
    'others are as they were',
  );
});

t.test("keys and cursors of others are nobody's", async (t) => {
  const [first, second] = viewers;
  if (!first || !second) throw new Error('nobody looks');
  const as = async (who: ScopedToken, request: Sent) =>
    sendWhole({ ...request, headers: { ...request.headers, Authorization: `Bearer ${whole.token('*', 'app', who)}` } });
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': 'the same key' };
  const create = (body: Json): Sent => ({
    method: 'POST',
    path: '/v1/interactions',
    headers,
    body: JSON.stringify(body),
  });
  const secret = { ...touch, customerId: theirs.id, text: `secret ${theirs.word}` };
  t.equal((await as({}, create(secret))).status, 201, 'the organisation under a key');
  const again = await as(first.who, create(secret));
  t.equal(again.headers['idempotency-replayed'], undefined);
  t.equal(again.status, 422, again.text);
  t.strictSame(strangers(first, create(secret), again), []);
  const other = await as(first.who, create({ ...touch, customerId: mine.id }));
  t.equal(other.status, 201, `a key of its own, whoever else has used it ${other.text}`);
  t.equal(
    (await as(second.who, create({ ...touch, customerId: second.own[3]?.id }))).status,
    201,
    'and another partner',
  );
  const list = { method: 'GET', path: '/v1/orders?limit=1' };
  for (const who of [{}, second.who]) {
    const next = nextPage(await as(who, list));
    const stolen = await as(first.who, withParameter(list, 'after', next ?? ''));
    t.match({ status: stolen.status, code: parsed(stolen.text).code }, { status: 400, code: 'invalid_cursor' });
    const nonsense = await as(first.who, withParameter(list, 'after', 'nonsense'));
    t.strictSame(comparable(stolen).body, comparable(nonsense).body, 'as any other text');
  }
});
