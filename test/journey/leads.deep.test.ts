import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { type LeadStage, leadStages, nextStages } from '../../src/domain/lead-lifecycle.ts';
import { gradeOf, pointsOf, ruleScore, type ScoreRules } from '../../src/domain/lead-score.ts';
import { wrongBounds } from '../../src/features/lead-scores/bounds.ts';
import { leadDifferences } from '../../src/features/leads/comparison.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { canonicalInstant } from '../../src/platform/db/columns.ts';
import { type Answer, runJobs, type TestApp, testApp } from '../support/app.ts';
import { soakSeconds } from '../support/draws.ts';
import { serviceProcess } from '../support/service-process.ts';
import { allPages, fresh, newKey, orderOf } from '../support/shop.ts';

/** Sixteen clients on a handful of customers; RAPPORT_TEST_SECONDS=60 for the long run. */
const seconds = soakSeconds(6);

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T; // never called on an empty list
const chance = (p: number) => Math.random() < p;
const whole = (below: number) => Math.floor(Math.random() * below);
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();
const day = 86_400_000;
type Members = Record<string, any>;

// ------------------------------------------------------------------------------------------------------- both doors

/** What one record is called at both doors. */
interface Noun {
  rest: string;
  /** As in `createLead`. */
  graph: string;
  /** The member of GraphQL's payload, with what is selected of it. */
  member: string;
  select: string;
  plural: string;
}
const nouns = {
  interaction: {
    rest: '/v1/interactions',
    graph: 'Interaction',
    member: 'interaction',
    select: 'id customerId externalId kind topic outcome occurredAt version',
    plural: 'interactions',
  },
  lead: {
    rest: '/v1/leads',
    graph: 'Lead',
    member: 'lead',
    select: 'id stage owner source segment version',
    plural: 'leads',
  },
  order: {
    rest: '/v1/orders',
    graph: 'Order',
    member: 'order',
    select: 'id customerId externalId placedAt total cancelledAt version',
    plural: 'orders',
  },
  followUp: {
    rest: '/v1/follow-ups',
    graph: 'FollowUp',
    member: 'followUp',
    select: 'id customerId kind owner status version',
    plural: 'followUps',
  },
} satisfies Record<string, Noun>;

/** Members whose values are enumerations, which GraphQL writes in capitals. `outcome` of an interaction is not one. */
const enumerations = new Set(['kind', 'stage', 'to', 'from', 'lossReason', 'status', 'paymentStatus']);
function recased<T>(value: T, change: (text: string) => string): T {
  if (Array.isArray(value)) return value.map((one) => recased(one, change)) as T; // member by member
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, one]) => [
    name,
    enumerations.has(name) && typeof one === 'string' ? change(one) : recased(one, change),
  ]);
  return Object.fromEntries(members) as T; // the same members
}
const capital = (text: string) => text.toUpperCase();
const small = (text: string) => text.toLowerCase();

type Target = { id: string } | { source: string; externalId: string };

/** The writes of a noun, each through a door drawn by lot; answers of GraphQL look as those of REST. */
function bothDoors({ request, graphql }: Pick<TestApp, 'request' | 'graphql'>) {
  const restPath = (noun: Noun, target: Target) =>
    'id' in target
      ? `${noun.rest}/${target.id}`
      : `${noun.rest}/external/${target.source}/${encodeURIComponent(target.externalId)}`;

  type Args = Record<string, [type: string, value: unknown]>;
  async function mutate(
    field: string,
    args: Args,
    selection: string,
    success: (data: Members) => Answer['body'],
  ): Promise<Answer> {
    const given = Object.entries(args).filter(([, [, value]]) => value !== undefined);
    const names = given.map(([name, [type]]) => `$${name}: ${type}`).join(', ');
    const query = `mutation (${names}) { ${field}(${given.map(([name]) => `${name}: $${name}`).join(', ')}) { ${selection} } }`;
    const { status, headers, body } = await graphql(
      query,
      Object.fromEntries(given.map(([name, [, value]]) => [name, recased(value, capital)])),
    );
    const [error] = body.errors ?? [];
    if (error) return { status: error.extensions?.status ?? 500, headers, body: error.extensions ?? error };
    const data = recased(body.data[field], small);
    const isNew = data.created ?? field.startsWith('create');
    return { status: data.deleted ? 204 : isNew ? 201 : status, headers, body: success(data) };
  }
  const aimed = (target: Target): Args =>
    'id' in target ? { id: ['ID!', target.id] } : { reference: ['ReferenceInput!', target] };
  const record = (noun: Noun) => ({
    selection: `${noun.member} { ${noun.select} } ${noun.graph === 'FollowUp' ? '' : 'created applied'}`,
    success: (data: Members) => ({ ...data[noun.member], created: data['created'], applied: data['applied'] }),
  });
  const keyed = (key: string | undefined) => (key === undefined ? {} : { 'Idempotency-Key': key });
  const isRest = () => chance(0.5);

  return {
    create(noun: Noun, input: Members, { key, dryRun }: { key?: string; dryRun?: boolean } = {}): Promise<Answer> {
      if (isRest())
        return request('POST', `${noun.rest}${dryRun ? '?dryRun=true' : ''}`, { body: input, headers: keyed(key) });
      const { selection, success } = record(noun);
      const args: Args = {
        input: [`${noun.graph}Input!`, input],
        idempotencyKey: ['String', key],
        dryRun: ['Boolean', dryRun],
      };
      return mutate(`create${noun.graph}`, args, selection, success);
    },
    put(noun: Noun, target: { source: string; externalId: string }, input: Members): Promise<Answer> {
      if (isRest()) return request('PUT', restPath(noun, target), { body: input });
      const { selection, success } = record(noun);
      const args: Args = { ...aimed(target), input: [`${noun.graph}Document!`, input] };
      return mutate(`upsert${noun.graph}`, args, selection, success);
    },
    change(noun: Noun, target: Target, input: Members, version: number | '*' = '*'): Promise<Answer> {
      if (isRest()) {
        const headers = { 'If-Match': version === '*' ? '*' : `"${version}"` };
        return request('PATCH', restPath(noun, target), { body: input, headers });
      }
      const { selection, success } = record(noun);
      const args: Args = {
        ...aimed(target),
        expectedVersion: ['ExpectedVersion', version],
        input: [`${noun.graph}Patch!`, input],
      };
      return mutate(`update${noun.graph}`, args, selection, success);
    },
    remove(noun: Noun, target: Target): Promise<Answer> {
      if (isRest()) return request('DELETE', restPath(noun, target), { headers: { 'If-Match': '*' } });
      const args: Args = { ...aimed(target), expectedVersion: ['ExpectedVersion', '*'] };
      return mutate(`delete${noun.graph}`, args, 'id deleted', (data) => data);
    },
    batch(noun: Noun, items: Members[]): Promise<Answer> {
      if (isRest()) return request('POST', `${noun.rest}/batch`, { body: { [noun.plural]: items } });
      const args: Args = { [noun.plural]: [`[${noun.graph}Input!]!`, items] };
      const selection = 'results { index status id error { code } }';
      return mutate(`batch${noun.graph}s`, args, selection, (data) => data);
    },
    /** POST …/stage and …/assign of a lead. */
    act(verb: 'stage' | 'assign', target: Target, input: Members): Promise<Answer> {
      if (isRest()) return request('POST', `${restPath(nouns.lead, target)}/${verb}`, { body: input });
      const { selection, success } = record(nouns.lead);
      const [field, type] =
        verb === 'stage' ? ['changeLeadStage', 'StageChangeInput!'] : ['assignLead', 'LeadAssignmentInput!'];
      return mutate(field, { ...aimed(target), input: [type, input] }, selection, success);
    },
    qualify(): Promise<Answer> {
      if (isRest()) return request('POST', '/v1/leads/qualify');
      return mutate('qualifyLeads', { limit: ['Int', 1_000] }, 'moves { leadId from to score } next', (data) => data);
    },
  };
}

// ------------------------------------------------------------------------------------------------------- the facts

/** A record as far as acknowledged answers tell: each change adds one to its version. */
interface Told {
  id: string;
  changes: number;
  /** The answer of the highest version; the answers of batches say none. */
  latest: Members | null;
  deleted: boolean;
  refunds: Map<string, number>;
}

/** What was acknowledged of one kind of record. */
class Ledger {
  readonly told = new Map<string, Told>();
  readonly doubled: string[] = [];
  readonly #versions = new Set<string>();

  acknowledge(id: string, answer: Members | null): Told {
    const known = this.told.get(id) ?? { id, changes: 0, latest: null, deleted: false, refunds: new Map() };
    this.told.set(id, known);
    known.changes += 1;
    if (answer === null) return known;
    const version = `${id} ${answer['version']}`;
    if (this.#versions.has(version)) this.doubled.push(`${version} was answered twice`);
    this.#versions.add(version);
    if (answer['version'] > (known.latest?.['version'] ?? 0)) known.latest = answer;
    return known;
  }

  some(): Told | null {
    const all = [...this.told.values()];
    return all.length === 0 ? null : pick(chance(0.5) ? all.slice(-10) : all);
  }

  /** Where what is stored is not what was acknowledged. */
  faults(stored: readonly Members[], members: readonly string[]): string[] {
    const found = new Map(stored.map((row) => [row['id'], row]));
    const faults = [...this.doubled];
    if (found.size !== stored.length) faults.push('a record is listed twice');
    for (const { id, changes, latest, deleted } of this.told.values()) {
      const row = found.get(id);
      found.delete(id);
      if (deleted) {
        if (row) faults.push(`${id} was deleted, and is there`);
      } else if (!row) {
        faults.push(`${id} is lost`);
      } else if (row['version'] !== changes) {
        faults.push(`${id} has version ${row['version']} after ${changes} changes`);
      } else if (latest?.['version'] === changes) {
        for (const name of members) {
          if (row[name] !== latest[name])
            faults.push(`${id}: ${name} is ${row[name]}, but ${latest[name]} was answered`);
        }
      }
    }
    for (const id of found.keys()) faults.push(`${id} was never acknowledged`);
    return faults;
  }
}

/** A change of a lead that was acknowledged. */
interface Acknowledged {
  leadId: string;
  version: number;
  sentAt: number;
  /** Of a change of stage: what its row in the history says. */
  note: string | null;
}

function drawnRules(): ScoreRules {
  return {
    rules: [
      { name: 'segment', group: 'fit', points: whole(80) / 4, when: [{ field: 'segment', oneOf: ['smb', 'corp'] }] },
      { name: 'mail', group: 'fit', points: whole(40) / 4, when: [{ field: 'email', exists: true }] },
      { name: 'fair', group: 'fit', points: -whole(20) / 4, when: [{ field: 'source', oneOf: ['fair'] }] },
      {
        name: 'forms',
        group: 'intent',
        points: whole(60) / 4,
        on: { kinds: ['form', 'phone'], withinDays: 1 + whole(30) },
        cap: 40,
        halfLifeDays: 1 + whole(20),
      },
      {
        name: 'visits',
        group: 'intent',
        points: whole(20) / 4,
        on: { kinds: ['web_visit'] },
        per: 'page',
        halfLifeDays: 3,
      },
      { name: 'topic', group: 'intent', points: 5, on: { topics: ['prices'] }, per: 'latest', halfLifeDays: 0.5 },
      { name: 'opened', group: 'intent', points: -0.25, on: { kinds: ['email_opened'] }, cap: 5 },
    ],
    caps: { intent: 120 },
    grades: { A: 60, B: 30, C: 10 },
    qualify: { marketing: 25, sales: 70 },
  };
}

t.test(
  'sixteen clients work on the leads of a few customers, and every fact and figure is right afterwards',
  async (t) => {
    const api = await testApp(t);
    const { request, graphql } = api;
    const doors = bothDoors(api);
    const database = new pg.Client(api.connection);
    await database.connect();
    await database.query(`set timezone = 'UTC'`);
    t.teardown(() => database.end());

    const expectOk = async (answer: Promise<Answer>): Promise<Members> => {
      const { status, body } = await answer;
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`);
      return body;
    };
    const addRule = (body: Members) => expectOk(request('POST', '/v1/assignment-rules', { body }));
    const segments = { smb: ['ann', 'ben', 'cleo'], corp: ['dora', 'emil'], null: ['v', 'w', 'x', 'y', 'z'] };
    const groups = Object.entries(segments).map(([name, members]) => ({
      value: name === 'null' ? null : name,
      members,
    }));
    const bySegment = await addRule({
      name: 'leads',
      purpose: 'lead',
      method: 'round_robin',
      key: 'segment',
      groups,
      position: 1,
    });
    const retention = [{ value: null, members: ['r', 's', 't'] }];
    const inTurn = await addRule({
      name: 'r',
      purpose: 'retention',
      method: 'round_robin',
      key: null,
      groups: retention,
    });
    const prevention = [{ value: null, members: ['l', 'm'] }];
    await addRule({ name: 'p', purpose: 'prevention', method: 'least_loaded', key: null, groups: prevention });
    // One that is changed all the time, and takes leads from the first one while it is active.
    const fair = [{ value: 'fair', members: ['f', 'g'] }];
    const changing = await addRule({ name: 'f', purpose: 'lead', method: 'round_robin', key: 'source', groups: fair });

    const customers = Array.from({ length: 6 }, () => fresh('few'));
    const passing: string[] = [];
    const interactions = new Ledger();
    const orders = new Ledger();
    const followUps = new Ledger();
    const changes: Acknowledged[] = [];
    const deletions: { leadId: string; answeredAt: number }[] = [];
    const leadIds = new Set<string>();
    const passingIds = new Set<string>();
    const qualified: string[] = [];
    const answers: Record<string, number> = {};
    const surprises: string[] = [];
    let conflicts = 0;

    const tally = (what: string, { status, body }: Answer, expected: number[]): boolean => {
      const line = `${what} ${status}${status >= 400 ? ` ${body.code}` : ''}`;
      answers[line] = (answers[line] ?? 0) + 1;
      if (body.code === 'conflict') conflicts += 1;
      else if (!expected.includes(status)) surprises.push(`${line} ${JSON.stringify(body).slice(0, 300)}`);
      return status < 300;
    };
    const named = (externalId: string) => ({ source: 'shop', externalId });
    const claim = () => {
      if (chance(0.04)) customers.push(fresh('new'));
      const externalId = pick(chance(0.3) ? customers.slice(-4) : customers.slice(0, 6));
      return { ...named(externalId), ...(chance(0.3) && { email: `${externalId}@example.org` }) };
    };
    const interactionOf = () => ({
      customer: claim(),
      kind: pick(['form', 'phone', 'web_visit', 'email_opened']),
      // Some are a little ahead of the clock, as they may be.
      occurredAt: chance(0.1) ? ago(-whole(300_000)) : ago(whole(40 * day)),
      topic: pick(['prices', 'delivery', null]),
      pages: pick([null, 1, 4]),
    });
    const saleOf = () => ({
      ...orderOf({
        customer: claim(),
        placedAt: chance(0.5) ? ago(0) : ago(whole(60 * day)),
        total: 1000,
        test: chance(0.1),
        paymentStatus: chance(0.2) ? 'pending' : 'paid',
      }),
    });
    const leadOf = () => ({
      segment: pick(['smb', 'smb', 'corp', 'other', 'another', null]),
      ...(chance(0.5) && { source: pick(['fair', 'web', null]) }),
    });

    async function pushInteraction(): Promise<void> {
      const p = Math.random();
      if (p < 0.35) {
        const answer = await doors.create(nouns.interaction, {
          source: 'hotline',
          externalId: fresh('call'),
          ...interactionOf(),
        });
        if (tally('interaction', answer, [201, 410])) interactions.acknowledge(answer.body.id, answer.body);
      } else if (p < 0.6) {
        // Nameless, and sent twice at once by a client that lost patience.
        const headers = newKey();
        const body = interactionOf();
        const send = () => request('POST', '/v1/interactions', { body, headers });
        const twins = await Promise.all([send(), send()]);
        const ids = new Set(
          twins.flatMap((answer) => (tally('twin', answer, [201, 409, 410]) ? [answer.body.id] : [])),
        );
        if (ids.size > 1) surprises.push('one key made two interactions');
        const made = twins.find(({ status }) => status < 300);
        if (made) interactions.acknowledge(made.body.id, made.body);
      } else {
        const items = Array.from({ length: 6 }, (_, i) => ({
          ...interactionOf(),
          ...(i < 4 && { source: 'hotline', externalId: i === 2 ? `contested-${whole(8)}` : fresh('call') }),
        }));
        const answer = await doors.batch(nouns.interaction, items);
        if (!tally('interactions', answer, [200])) return;
        for (const { status, id } of answer.body.results) if (status !== 'refused') interactions.acknowledge(id, null);
      }
    }

    async function changeInteraction(): Promise<void> {
      const p = Math.random();
      if (p < 0.3) {
        const answer = await doors.put(
          nouns.interaction,
          { source: 'hotline', externalId: `contested-${whole(8)}` },
          interactionOf(),
        );
        if (tally('put interaction', answer, [200, 201, 410])) interactions.acknowledge(answer.body.id, answer.body);
        return;
      }
      const known = interactions.some();
      if (!known) return;
      const target = { id: known.id };
      if (p < 0.9) {
        const body =
          p < 0.6 ? { customer: claim() } : { kind: pick(['form', 'web_visit']), occurredAt: ago(whole(10 * day)) };
        const answer = await doors.change(nouns.interaction, target, body);
        if (tally(p < 0.6 ? 'move interaction' : 'change interaction', answer, [200, 404, 410]))
          interactions.acknowledge(known.id, answer.body);
      } else if (tally('delete interaction', await doors.remove(nouns.interaction, target), [204, 404, 410])) {
        known.deleted = true;
      }
    }

    async function pushOrder(): Promise<void> {
      if (chance(0.8)) {
        const answer = await doors.create(nouns.order, saleOf(), { key: fresh('key') });
        if (tally('order', answer, [201, 410])) orders.acknowledge(answer.body.id, answer.body);
        return;
      }
      const answer = await doors.batch(nouns.order, [saleOf(), saleOf(), saleOf()]);
      if (!tally('orders', answer, [200])) return;
      for (const { status, id } of answer.body.results) if (status !== 'refused') orders.acknowledge(id, null);
    }

    async function changeOrder(): Promise<void> {
      const order = orders.some();
      if (!order) return;
      const what = pick([
        'cancel',
        'cancel',
        'restore',
        'move',
        'redate',
        'refund',
        'refund',
        'unrefund',
        'delete',
      ] as const);
      if (what === 'refund') {
        const answer = await request('POST', `${nouns.order.rest}/${order.id}/refunds`, {
          body: { amount: pick([400, 1000]), refundedAt: ago(0) },
          headers: newKey(),
        });
        if (tally(what, answer, [201, 404, 422])) {
          orders.acknowledge(order.id, null).refunds.set(answer.body.id, answer.body.amount);
        }
      } else if (what === 'unrefund') {
        const [refund] = order.refunds.keys();
        const headers = { 'If-Match': '*' };
        if (refund && tally(what, await request('DELETE', `/v1/refunds/${refund}`, { headers }), [204, 404])) {
          orders.acknowledge(order.id, null).refunds.delete(refund);
        }
      } else if (what === 'delete') {
        if (tally('delete order', await doors.remove(nouns.order, { id: order.id }), [204, 404])) order.deleted = true;
      } else {
        const bodies = {
          cancel: { cancelledAt: ago(0) },
          restore: { cancelledAt: null },
          move: { customer: claim() },
          redate: { placedAt: chance(0.5) ? ago(0) : ago(whole(60 * day)) },
        };
        const answer = await doors.change(nouns.order, { id: order.id }, bodies[what]);
        if (tally(`${what} order`, answer, [200, 404, 410])) orders.acknowledge(order.id, answer.body);
      }
    }

    const acknowledgeLead = ({ body }: Answer, sentAt: number, note: string | null = null, ids = leadIds) => {
      ids.add(body.id);
      if (body.applied) changes.push({ leadId: body.id, version: body.version, sentAt, note });
    };

    async function makeLead(): Promise<void> {
      const sentAt = performance.now();
      const p = Math.random();
      if (p < 0.3) {
        const dryRun = chance(0.2);
        const answer = await doors.create(nouns.lead, { customer: claim(), ...leadOf() }, { dryRun });
        if (tally('lead', answer, [201, 409, 410]) && !dryRun) acknowledgeLead(answer, sentAt);
      } else if (p < 0.6) {
        const answer = await doors.put(nouns.lead, named(pick(customers)), leadOf());
        if (tally('put lead', answer, [200, 201, 410])) acknowledgeLead(answer, sentAt);
      } else if (p < 0.8) {
        const items = Array.from({ length: 4 }, () => ({ customer: claim(), ...leadOf() }));
        const answer = await doors.batch(nouns.lead, items);
        if (!tally('leads', answer, [200])) return;
        for (const { id } of answer.body.results) if (id) leadIds.add(id);
      } else {
        // By hand, so that the rules' turns are told by customers that stay.
        if (passing.length === 0 || chance(0.5)) passing.push(fresh('passing'));
        const answer = await doors.create(nouns.lead, {
          customer: named(pick(passing)),
          owner: 'zoe',
          stage: 'subscriber',
        });
        if (tally('passing lead', answer, [201, 409, 410])) acknowledgeLead(answer, sentAt, null, passingIds);
      }
    }

    /** Somebody who was heard of becomes a lead while the only order comes in, and nothing mends it later. */
    async function newcomer(): Promise<void> {
      const name = named(fresh('newcomer'));
      const heard = await doors.create(nouns.interaction, { ...interactionOf(), customer: name });
      if (tally('interaction', heard, [201])) interactions.acknowledge(heard.body.id, heard.body);
      const sentAt = performance.now();
      const order = async () => {
        const answer = await doors.create(nouns.order, { ...saleOf(), customer: name }, { key: fresh('key') });
        if (tally('order', answer, [201])) orders.acknowledge(answer.body.id, answer.body);
      };
      const lead = async () => {
        const answer = await doors.create(nouns.lead, { customer: name, ...leadOf() });
        if (tally('lead', answer, [201, 409])) acknowledgeLead(answer, sentAt);
      };
      await Promise.all([order(), lead()]);
    }

    async function changeStage(target: Target, ids: Set<string>): Promise<void> {
      const sentAt = performance.now();
      const to = pick([...leadStages, 'former' as const]);
      const note = fresh('because');
      const answer = await doors.act('stage', target, { to, note, ...(to === 'former' && { lossReason: 'price' }) });
      if (tally('stage', answer, [200, 404, 422])) acknowledgeLead(answer, sentAt, note, ids);
      else if (answer.status === 422 && answer.body.errors?.[0]?.code !== 'illegal_transition')
        surprises.push(`stage ${JSON.stringify(answer.body)}`);
    }

    async function assign(target: Target, ids: Set<string>, input: Members): Promise<void> {
      const sentAt = performance.now();
      const answer = await doors.act('assign', target, input);
      if (tally('assign', answer, [200, 404])) acknowledgeLead(answer, sentAt, null, ids);
    }

    async function changeLead(): Promise<void> {
      const isPassing = passing.length > 0 && chance(0.1);
      const ids = isPassing ? passingIds : leadIds;
      const names = isPassing ? passing : chance(0.7) ? customers.slice(0, 6) : customers;
      const target = isPassing || chance(0.7) ? named(pick(names)) : { id: pick([...ids]) };
      const sentAt = performance.now();
      const p = Math.random();
      if (p < 0.55) {
        // Often several who do not know of each other.
        await Promise.all(Array.from({ length: 1 + whole(3) }, () => changeStage(target, ids)));
      } else if (p < 0.7) {
        const byHand = { owner: pick(['maria', 'jo']) };
        await Promise.all([assign(target, ids, isPassing ? byHand : {}), assign(target, ids, byHand)]);
      } else if (p < 0.85) {
        const body = chance(0.7) ? leadOf() : { owner: pick(['maria', null]) };
        const answer = await doors.change(nouns.lead, target, body);
        if (tally('change lead', answer, [200, 404])) acknowledgeLead(answer, sentAt, null, ids);
      } else if (p < 0.9) {
        // Somebody who has seen the first version only.
        const answer = await doors.change(nouns.lead, target, { segment: 'stale' }, 1);
        if (tally('stale lead', answer, [200, 404, 412])) acknowledgeLead(answer, sentAt, null, ids);
      } else if (p < 0.93) {
        const answer = await doors.qualify();
        if (!tally('qualify', answer, [200])) return;
        for (const { leadId, from, to } of answer.body.moves) qualified.push(`${leadId} ${from} ${to}`);
      } else if (isPassing || p < 0.97) {
        if (passing.length > 0) await leave(named(pick(passing)));
      } else if (leadIds.size > 6) {
        // The first ones live through it all.
        await endLead({ id: pick([...leadIds].slice(6)) });
      }
    }

    async function endLead(target: { id: string }): Promise<void> {
      if (!tally('delete lead', await doors.remove(nouns.lead, target), [204, 404, 410])) return;
      deletions.push({ leadId: target.id, answeredAt: performance.now() });
    }

    /** A passing customer goes, lead and all, while others may be writing to it. */
    async function leave(name: { source: string; externalId: string }): Promise<void> {
      const path = `/v1/customers/external/${name.source}/${name.externalId}`;
      const found = await request('GET', path);
      if (found.status !== 200) return;
      await endLead({ id: found.body.id });
      tally('delete customer', await request('DELETE', path, { headers: { 'If-Match': '*' } }), [204, 404, 409, 410]);
    }

    async function followUp(): Promise<void> {
      const known = followUps.some();
      if (leadIds.size > 0 && (known === null || chance(0.6))) {
        const body = { customerId: pick([...leadIds]), kind: pick(['retention', 'prevention']), reason: 'r' };
        // Those of passing customers may be gone.
        const answer = await doors.create(nouns.followUp, body);
        if (tally('follow-up', answer, [201, 422])) followUps.acknowledge(answer.body.id, answer.body);
      } else if (known && chance(0.8)) {
        const answer = await doors.change(
          nouns.followUp,
          { id: known.id },
          pick([{ owner: 'maria' }, { owner: 'jo' }, { note: 'n' }, { status: 'cancelled' }]),
        );
        if (tally('change follow-up', answer, [200, 404])) followUps.acknowledge(known.id, answer.body);
      } else if (known && tally('delete follow-up', await doors.remove(nouns.followUp, { id: known.id }), [204, 404])) {
        known.deleted = true;
      }
    }

    /** Lists are in order whatever is written meanwhile. */
    async function look(): Promise<void> {
      const answer = chance(0.5)
        ? await request('GET', `/v1/leads?sort=-score&limit=${1 + whole(20)}`)
        : await graphql('{ leads(first: 10, sort: SCORE_DESC) { nodes { id score } } }');
      tally('list', answer, [200]);
      const listed: { id: string; score: number }[] = answer.body.data?.leads?.nodes ?? answer.body.data ?? [];
      if (new Set(listed.map(({ id }) => id)).size < listed.length) surprises.push('a lead is listed twice');
      if (listed.some(({ score }, i) => score > (listed[i - 1]?.score ?? Number.POSITIVE_INFINITY))) {
        surprises.push(`not in the order of scores: ${JSON.stringify(listed)}`);
      }
      tally(
        'timeline',
        await request('GET', `/v1/customers/external/shop/${pick(customers)}/timeline?limit=10`),
        [200, 404],
      );
    }

    // Every group has a turn, however short the hunt is.
    const firsts = ['smb', 'corp', 'other'].map((segment) => ({ segment, source: 'web' }));
    for (const [index, externalId] of customers.entries()) {
      acknowledgeLead(await doors.put(nouns.lead, named(externalId), firsts[index] ?? leadOf()), performance.now());
    }
    const called = { customerId: pick([...leadIds]), kind: 'retention', reason: 'r' };
    const call = await doors.create(nouns.followUp, called);
    if (tally('follow-up', call, [201])) followUps.acknowledge(call.body.id, call.body);
    const end = Date.now() + seconds * 1000;
    const isOn = () => Date.now() < end && surprises.length < 20;
    const client = async () => {
      while (isOn()) {
        const p = Math.random();
        if (p < 0.18) await pushInteraction();
        else if (p < 0.31) await changeInteraction();
        else if (p < 0.41) await pushOrder();
        else if (p < 0.56) await changeOrder();
        else if (p < 0.63) await makeLead();
        else if (p < 0.88) await changeLead();
        else if (p < 0.91) await Promise.all(Array.from({ length: 4 }, newcomer));
        else if (p < 0.96) await followUp();
        else await look();
      }
    };
    let published = 0;
    const publish = async () => {
      const draft = await expectOk(
        request('POST', '/v1/lead-rule-sets', { body: { name: 'drawn', document: drawnRules() } }),
      );
      const headers = { 'If-Match': '*' };
      if (tally('publish', await request('POST', `/v1/lead-rule-sets/${draft['id']}/publish`, { headers }), [200]))
        published += 1;
    };
    const editor = async () => {
      await publish();
      while (isOn()) {
        // The last one is to see writes before, while and after it is indexed.
        if (Date.now() < end - 400 * seconds) await publish();
        const body = pick([{ active: false }, { active: true }, { groups: [{ value: 'fair', members: ['g', 'h'] }] }]);
        const rule = `/v1/assignment-rules/${changing['id']}`;
        tally('change rule', await request('PATCH', rule, { body, headers: { 'If-Match': '*' } }), [200]);
        await sleep(whole(250));
      }
    };
    /** As the two workers of a process do, side by side. */
    const worker = async () => {
      while (isOn()) {
        await runJobs(api);
        await sleep(10);
      }
    };
    await Promise.all([...Array.from({ length: 16 }, client), editor(), worker(), worker()]);
    await runJobs(api);

    const count = Object.values(answers).reduce((a, b) => a + b, 0);
    t.comment(`${count} answers in ${seconds} s, ${published} rule sets, ${leadIds.size} leads`, answers);
    t.same(surprises, [], 'nothing but what each request may be answered');
    t.ok(conflicts <= count / 200, `${conflicts} collided until they gave up`);

    // ----------------------------------------------------------------------------------------------------- the facts
    const rowsOf = async (text: string): Promise<Members[]> => (await database.query(text)).rows;
    const storedInteractions = await allPages(api, '/v1/interactions?limit=100');
    t.same(interactions.faults(storedInteractions, ['customerId', 'kind', 'topic', 'occurredAt']), [], 'interactions');
    const storedOrders = await allPages(api, '/v1/orders?limit=100');
    t.same(orders.faults(storedOrders, ['customerId', 'placedAt', 'cancelledAt']), [], 'orders');
    t.same(
      followUps.faults(await allPages(api, '/v1/follow-ups?limit=100'), ['customerId', 'owner', 'status']),
      [],
      'follow-ups',
    );
    const storedRefunds = await rowsOf(
      'select id::text, customer_id::text as of, order_id::text as "orderId", amount::int, refunded_at::text as at from refunds',
    );
    const toldRefunds = [...orders.told.values()].flatMap(({ id, deleted, refunds }) =>
      deleted ? [] : [...refunds].map(([refund, amount]) => `${refund} ${id} ${amount}`),
    );
    t.same(
      storedRefunds.map(({ id, orderId, amount }) => `${id} ${orderId} ${amount}`).sort(),
      toldRefunds.sort(),
      'refunds',
    );

    // ----------------------------------------------------------------------------------------------------- the leads
    const leads = await allPages(api, '/v1/leads?limit=100&sort=-enteredAt');
    const history = new Map<string, Members[]>();
    for (const { id } of leads) history.set(id, await allPages(api, `/v1/leads/${id}/stages?limit=100`));
    const isDeleted = new Set(deletions.map(({ leadId }) => leadId));
    t.ok(leads.length > 6 && leads.some(({ id }) => !isDeleted.has(id)), `${leads.length} leads`);
    t.same(
      [...leadIds, ...passingIds].filter((id) => !isDeleted.has(id) && !history.has(id)),
      [],
      'no lead is lost',
    );
    const versions = changes
      .filter(({ leadId }) => !isDeleted.has(leadId))
      .map(({ leadId, version }) => `${leadId} ${version}`);
    t.equal(new Set(versions).size, versions.length, 'no change of a lead overwrote another');
    const storedNotes = [...history.values()].flatMap((steps) => steps.flatMap(({ note }) => note ?? []));
    t.equal(new Set(storedNotes).size, storedNotes.length, 'no change of stage is there twice');
    const acknowledged = changes.flatMap((one) => (one.note === null ? [] : [one]));
    const told = new Set(acknowledged.map(({ note }) => note));
    t.same(
      storedNotes.filter((note) => !told.has(note)),
      [],
      'none that was not acknowledged',
    );
    const kept = new Set(storedNotes);
    const lost = acknowledged.filter(
      ({ leadId, note, sentAt }) =>
        !kept.has(note) && !deletions.some((one) => one.leadId === leadId && one.answeredAt > sentAt),
    );
    t.same(lost, [], 'no change of stage is lost');
    const byScore = [...history].flatMap(([id, steps]) =>
      steps.flatMap(({ rule, from, to }) =>
        rule === 'score_threshold' && !isDeleted.has(id) ? [`${id} ${from} ${to}`] : [],
      ),
    );
    t.same(
      byScore.sort(),
      qualified.filter((line) => !isDeleted.has(line.split(' ')[0] ?? '')).sort(),
      'qualifications',
    );

    const isLegal = (step: Members, before: Members | undefined): boolean => {
      const { from, to, rule } = step as { from: LeadStage | null; to: LeadStage; rule: string | null }; // of the list
      if (rule === 'first_qualifying_order') return from !== null && from !== 'customer' && to === 'customer';
      if (rule === 'no_qualifying_order_left') {
        return from === 'customer' && before?.['rule'] === 'first_qualifying_order' && to === before['from'];
      }
      return from === null ? before === undefined : nextStages(from).includes(to);
    };
    const faults: string[] = [];
    for (const lead of leads) {
      const steps = history.get(lead.id) ?? [];
      for (const [i, step] of steps.entries()) {
        const before = steps[i - 1];
        const what = `${lead.id} ${JSON.stringify(step)}`;
        if (step['sequence'] !== i + 1) faults.push(`a gap before ${what}`);
        if (step['from'] !== (before?.['to'] ?? null)) faults.push(`does not follow: ${what}`);
        if (before && step['at'] < before['at']) faults.push(`goes back in time: ${what}`);
        if (!isLegal(step, before)) faults.push(`illegal: ${what} after ${JSON.stringify(before)}`);
      }
      const last = steps.at(-1);
      for (const [of, member] of [
        ['stage', 'to'],
        ['stageSince', 'at'],
        ['lossReason', 'lossReason'],
      ] as const) {
        if (lead[of] !== last?.[member])
          faults.push(`${lead.id}: ${of} is ${lead[of]}, but the last change says ${last?.[member]}`);
      }
      const wasLost = steps.filter(({ to, rule }) => to === 'former' && rule === null).at(-1)?.['at'] ?? '';
      const [first] = storedOrders
        .filter(
          (order) =>
            order.customerId === lead.id && !order.test && order.cancelledAt === null && order.placedAt > wasLost,
        )
        .filter((order) => order.refunded < order.total)
        .sort((a, b) => (a.placedAt + a.id < b.placedAt + b.id ? -1 : 1));
      if (last?.['rule'] === 'first_qualifying_order') {
        if (first?.id !== last['orderId'] || lead.conversionOrderId !== last['orderId'])
          faults.push(
            `${lead.id} is a customer by ${last['orderId']} (${lead.conversionOrderId}), not by ${first?.id}`,
          );
      } else if (first && lead.stage !== 'customer') {
        faults.push(`${lead.id} is ${lead.stage} though it ordered ${first.id}`);
      }
    }
    t.same(faults, []);

    // ------------------------------------------------------------------------------------------------ the assignments
    const given = await allPages(api, '/v1/assignments?limit=100');
    const turns = (rule: Members, value: string | null, members: string[]) => {
      const owners = given
        .filter(({ ruleId, keyValue }) => ruleId === rule['id'] && keyValue === value)
        .map(({ owner }) => owner);
      const counts = members.map((member) => owners.filter((owner) => owner === member).length);
      t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `turns of ${rule['name']} ${value}: ${counts}`);
      t.equal(
        counts.reduce((a, b) => a + b, 0),
        owners.length,
        'and of nobody else',
      );
      return owners.length;
    };
    const taken = groups.map(({ value, members }) => turns(bySegment, value, members));
    t.ok(taken.every((n) => n > 0) && turns(inTurn, null, ['r', 's', 't']) > 0);
    const unexplained = leads.flatMap(({ id, owner }) => {
      if (isDeleted.has(id)) return [];
      // Whatever the order in which they were told: a way from nobody to the owner leaves every other as often as it comes.
      const balance = new Map<string | null, number>([[owner, -1]]);
      const add = (who: string | null, n: number) => balance.set(who, (balance.get(who) ?? 0) + n);
      add(null, 1);
      for (const one of given) {
        if (one.customerId !== id || one.purpose !== 'lead') continue;
        add(one.previousOwner, -1);
        add(one.owner, 1);
      }
      return [...balance.values()].some((n) => n !== 0) ? [`${id} ${owner}`] : [];
    });
    t.same(unexplained, [], 'the history of assignments leads to the owners');

    // ----------------------------------------------------------------------------------------------------- the scores
    const asOf = new Date().toISOString();
    const [inForce] = (await allPages(api, '/v1/lead-rule-sets?status=published&limit=100')).sort(
      (a, b) => b.number - a.number,
    );
    t.ok(inForce.indexedAt, 'the rule set in force is indexed');
    const details = await Promise.all(
      leads.map(({ id }) => expectOk(request('GET', `/v1/leads/${id}/score?asOf=${asOf}`))),
    );
    const scores = new Map<string, number>();
    const wrong: string[] = [];
    for (const [i, { rule, leadId }] of details.entries()) {
      scores.set(leadId, rule.score);
      const sum = rule.contributions.reduce((total: number, { points }: { points: number }) => total + points, 0);
      if (sum !== rule.score || rule.ruleSetId !== inForce.id) wrong.push(`${leadId}: ${sum} of ${rule.score}`);
      const lead = leads[i];
      const customer = await expectOk(request('GET', `/v1/customers/${leadId}`));
      const fields = { segment: lead.segment, source: lead.source, email: customer['email'] };
      const touches = storedInteractions.filter(({ customerId }) => customerId === leadId);
      const expected = ruleScore(inForce.document, { fields, attributes: null }, touches, asOf);
      if (pointsOf(expected.score) !== rule.score)
        wrong.push(`${leadId}: ${rule.score}, by the formula ${pointsOf(expected.score)}`);
      if (gradeOf(inForce.document.grades, rule.score) !== rule.grade) wrong.push(`${leadId}: ${rule.grade}`);
    }
    t.same(wrong, [], 'scores are their contributions, and what the formula makes of the facts');
    const sorted = [...scores]
      .sort(([a, x], [b, y]) => y - x || (a < b ? 1 : -1))
      .map(([id, score]) => `${id} ${score}`);
    const listed = await allPages(api, `/v1/leads?sort=-score&limit=7&asOf=${asOf}`);
    t.same(
      listed.map(({ id, score }) => `${id} ${score}`),
      sorted,
      'the list is the sorted list, page by page',
    );
    const { body: page } = await graphql(
      'query ($asOf: DateTime) { leads(first: 100, asOf: $asOf) { nodes { id score } } }',
      { asOf },
    );
    t.same(
      page.data.leads.nodes.map((one: Members) => `${one['id']} ${one['score']}`),
      sorted.slice(0, 100),
      'at the other door as well',
    );
    const bounds = new Map(
      (
        await rowsOf(
          'select customer_id::text as id, rule_set_id::text as "ruleSetId", bound::int from lead_score_bounds',
        )
      )
        .filter(({ ruleSetId }) => ruleSetId === inForce.id)
        .map(({ id, bound }) => [id, pointsOf(bound)]),
    );
    t.same(
      [...scores].filter(([id, score]) => (bounds.get(id) ?? Number.NEGATIVE_INFINITY) < score),
      [],
      'no score is above its bound',
    );

    // ------------------------------------------------------------------------------------------------ the derived state
    const pool = openPool(api.connection, { size: 1, statementTimeout: 60_000 });
    t.teardown(() => pool.end());
    const db = poolDb(pool);
    t.same(await rollupDifferences(db, 'UTC', 20), []);
    t.same(await leadDifferences(db, 20), []);
    t.same(await wrongBounds(db, asOf, 20), []);

    // ----------------------------------------------------------------------------------------------------- the timelines
    const entries = [
      ...storedInteractions.map((one) => ({ of: one.customerId, kind: 'interaction', at: one.occurredAt, id: one.id })),
      ...storedOrders.map((one) => ({ of: one.customerId, kind: 'order', at: one.placedAt, id: one.id })),
      ...storedRefunds.map((one) => ({
        of: one['of'],
        kind: 'refund',
        at: canonicalInstant(one['at']),
        id: one['id'],
      })),
      ...[...history].flatMap(([of, steps]) => steps.map(({ at, id }) => ({ of, kind: 'stage_change', at, id }))),
    ];
    const customerIds = (await allPages(api, '/v1/customers?limit=100')).map(({ id }) => id);
    for (const id of customerIds) {
      const timeline = await allPages(api, `/v1/customers/${id}/timeline?limit=100`);
      const expected = entries
        .filter(({ of }) => of === id)
        .sort((a, b) => (a.at === b.at ? (a.id < b.id ? 1 : -1) : a.at < b.at ? 1 : -1));
      const line = ({ kind, at, id: of }: Members) => `${at} ${kind} ${of}`;
      t.same(timeline.map(line), expected.map(line), 'the timeline is everything that is listed, in order');
    }
  },
);

t.test(
  'a service that is killed again and again loses and doubles nothing of leads, and ends its pending jobs',
  async (t) => {
    const service = await serviceProcess(t);
    await service.start();
    const send = async (method: string, path: string, body: unknown, headers: Record<string, string> = {}) => {
      try {
        const response = await fetch(service.origin + path, {
          method,
          headers: { Authorization: `Bearer ${service.token}`, 'Content-Type': 'application/json', ...headers },
          body: JSON.stringify(body),
        });
        return { status: response.status, body: (await response.json()) as Members }; // as any answer
      } catch {
        return null; // the connection died: nobody knows what became of it
      }
    };
    let lost = 0;
    const odd: string[] = [];
    /** Repeats a request until it is answered, as a client does whose requests may be repeated. */
    const insist = async (...request: Parameters<typeof send>): Promise<Members> => {
      for (;;) {
        const answer = await send(...request);
        if (answer && answer.status < 300) return answer.body;
        if (answer === null) lost += 1;
        else if (answer.status !== 503 && !['idempotency_key_in_flight', 'conflict'].includes(answer.body['code'])) {
          odd.push(`${request[1]} ${answer.status} ${JSON.stringify(answer.body)}`);
          return answer.body;
        }
        await sleep(20);
      }
    };
    const named = (n: number) => ({ source: 'shop', externalId: `customer-${n}` });
    await insist('POST', '/v1/assignment-rules', {
      name: 'in turn',
      purpose: 'lead',
      method: 'round_robin',
      groups: [{ value: null, members: ['ann', 'ben', 'cleo'] }],
    });
    // Enough of them for several chunks of the job.
    for (const half of [0, 1]) {
      const leads = Array.from({ length: 800 }, (_, i) => ({ customer: named(i + 800 * half) }));
      await insist('POST', '/v1/leads/batch', { leads });
    }

    const calls = new Map<string, string>();
    const nameless = new Set<string>();
    const notes = new Set<string>();
    const orders = new Map<string, string>();
    const made = new Set<string>();
    let done = 0;
    let stop = false;
    const shop = async (n: number) => {
      while (!stop) {
        const customer = named(whole(4));
        const occurredAt = ago(whole(20 * day));
        const externalId = fresh('call');
        const call = { customer, kind: 'phone', occurredAt };
        calls.set(externalId, (await insist('PUT', `/v1/interactions/external/hotline/${externalId}`, call))['id']);
        nameless.add((await insist('POST', '/v1/interactions', { ...call, kind: 'form' }, newKey()))['id']);
        const note = fresh('because');
        const to = pick(['lead', 'former']);
        const step = { to, note, ...(to === 'former' && { lossReason: 'price' }) };
        const path = `/v1/leads/external/shop/customer-${100 + n}/stage`;
        if ((await insist('POST', path, step, newKey()))['applied']) notes.add(note);
        const order = orderOf({ customer, placedAt: ago(0) });
        orders.set(order.externalId, (await insist('POST', '/v1/orders', order, newKey()))['id']);
        made.add(
          (await insist('POST', '/v1/leads', { customer: { source: 'web', externalId: fresh('lead') } }, newKey()))[
            'id'
          ],
        );
        done += 1;
      }
    };
    const shops = Array.from({ length: 8 }, (_, n) => shop(n));
    const connection = await service.connection();
    const database = new pg.Client(connection);
    await database.connect();
    for (let kill = 1; kill <= 2; kill += 1) {
      for (const before = done; done < before + 12; ) await sleep(5);
      const draft = await insist(
        'POST',
        '/v1/lead-rule-sets',
        { name: `set ${kill}`, document: drawnRules() },
        newKey(),
      );
      await insist('POST', `/v1/lead-rule-sets/${draft['id']}/publish`, {}, { ...newKey(), 'If-Match': '*' });
      // Killed while the job is under way, or before it has begun.
      await sleep(whole(150));
      await service.kill();
      // As if it had been away for a while: what a dead process had under way is taken up again after a minute.
      await database.query(
        `update graphile_worker._private_jobs set locked_at = now() - interval '10 minutes' where locked_at is not null`,
      );
      await service.start();
    }
    for (const before = done; done < before + 8; ) await sleep(5);
    stop = true;
    await Promise.all(shops);
    const rows = async (text: string): Promise<Members[]> => (await database.query(text)).rows;
    const pending = () => rows(`select id from graphile_worker.jobs where task_identifier = 'indexLeadScores'`);
    for (let waited = 0; waited < 300 && (await pending()).length > 0; waited += 1) await sleep(100);
    t.same(await pending(), [], 'the jobs are done');
    t.match(
      await rows(
        'select indexed_at is not null as indexed from lead_rule_sets order by number desc nulls last limit 1',
      ),
      [{ indexed: true }],
    );

    t.comment(`${done} rounds, ${lost} requests without an answer`);
    t.ok(lost > 0, 'requests were under way when it died');
    t.same(odd, []);
    const interactions = await rows(`select id::text, external_id as "externalId" from interactions`);
    t.same(new Map(interactions.flatMap(({ id, externalId }) => (externalId ? [[externalId, id]] : []))), calls);
    t.same(new Set(interactions.flatMap(({ id, externalId }) => (externalId ? [] : [id]))), nameless);
    t.equal(interactions.length, calls.size + nameless.size, 'each interaction once');
    const stored = await rows(`select id::text, external_id as "externalId" from orders`);
    t.same(new Map(stored.map(({ id, externalId }) => [externalId, id])), orders);
    t.same(
      (await rows('select note from lead_stage_changes where note is not null')).map(({ note }) => note).sort(),
      [...notes].sort(),
    );
    t.same(
      await rows(
        `select customer_id from lead_stage_changes group by 1 having count(*) <> max(sequence) or min(sequence) <> 1`,
      ),
      [],
    );
    const leads = await rows(`select l.customer_id::text as id, l.owner from leads l`);
    t.equal(leads.length, 1_600 + made.size, 'each lead once');
    t.same(
      [...made].filter((id) => !leads.some((lead) => lead['id'] === id)),
      [],
    );
    const turns = await rows('select owner, count(*)::int as turns from assignments group by 1');
    const counts = turns.map((one) => one['turns']);
    t.equal(
      counts.reduce((a, b) => a + b, 0),
      leads.length,
      'each lead was given once',
    );
    t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `fairly: ${counts}`);
    await database.end();
    const pool = openPool(connection, { size: 1, statementTimeout: 60_000 });
    const db = poolDb(pool);
    t.same(await rollupDifferences(db, 'UTC', 10), []);
    t.same(await leadDifferences(db, 10), []);
    t.same(await wrongBounds(db, ago(0), 10), []);
    await pool.end();
  },
);
