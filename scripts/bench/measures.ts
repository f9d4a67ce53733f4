import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { Config } from '../../src/config.ts';
import { batchOrders } from '../../src/features/orders/operations.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { call, createContext } from '../../src/platform/operation.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { graphqlQuery } from './floor-statements.ts';
import { type Comparison, compare, fire, median, type Rate, type Shot } from './load.ts';
import type { Server } from './processes.ts';
import { orderDocument, type Store } from './store.ts';

/** A line of the table. */
export interface Line {
  measure: string;
  service: string;
  floor: string;
  ratio: number | null;
  target: string;
  /** null: could not be measured. */
  met: boolean | null;
  note?: string;
}

/** Everything a measure works with. */
export interface Stand {
  service: Server;
  floor: Server;
  token: string;
  config: Config;
  connection: pg.ClientConfig;
  store: Store;
  effort: { rounds: number; seconds: number };
}

const connections = 10;

export async function customer(stand: Stand): Promise<Line[]> {
  const ids = await sample(stand, `select id from customers order by random() limit 2000`);
  const shots = ids.map((id): Shot => ({ method: 'GET', path: `/v1/customers/${id}` }));
  return [await versus(stand, 'customer by id', shots, 0.9)];
}

export async function page(stand: Stand): Promise<Line[]> {
  const instants = await sample(
    stand,
    `select to_char(placed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') from orders order by random() limit 500`,
  );
  const shots = instants.map((at): Shot => ({ method: 'GET', path: `/v1/orders?limit=50&placedTo=${at}` }));
  return [await versus(stand, 'page of 50 orders', shots, 0.85)];
}

export async function graphql(stand: Stand): Promise<Line[]> {
  const instants = await sample(
    stand,
    `select to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') from customers order by random() limit 500`,
  );
  const shots = instants.map((before): Shot => {
    return {
      method: 'POST',
      path: '/graphql',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: graphqlQuery, variables: { before } }),
    };
  });
  return [await versus(stand, 'GraphQL 20 customers × 5 orders', shots, 0.5)];
}

/** Pages anywhere in long histories: half of them in that of the one customer with a tenth of all interactions. */
export async function timeline(stand: Stand): Promise<Line[]> {
  const places = await sample(
    stand,
    `with counts as (select customer_id, count(*) as n from interactions group by 1 having count(*) >= 100),
       longest as (select customer_id from counts order by n desc limit 1),
       places as (select i.customer_id, occurred_at, i.customer_id in (select customer_id from longest) as long
         from interactions i join counts using (customer_id)),
       mixed as (select *, row_number() over (partition by long order by random()) as place from places)
     select '/v1/customers/' || customer_id || '/timeline?limit=50&to=' || to_char(occurred_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
     from mixed where place <= 500 order by place`,
  );
  const shots = places.map((path): Shot => ({ method: 'GET', path }));
  return [await versus(stand, 'timeline page of 50', shots, 0.8)];
}

/** Sees that both answer the same bytes, then puts both under load. */
async function versus(stand: Stand, measure: string, shots: Shot[], target: number): Promise<Line> {
  for (const shot of shots.slice(0, 20)) await assertSame(stand, shot);
  const result = await compare(stand, stand.token, { shots, connections }, stand.effort);
  return line(measure, result, target);
}

async function assertSame({ service, floor, token }: Stand, shot: Shot): Promise<void> {
  const [ours, theirs] = [await send(service, token, shot), await send(floor, token, shot)];
  if (ours.status !== theirs.status || ours.text !== theirs.text) {
    throw new Error(`Different answers to ${shot.path}:\n${ours.status} ${ours.text}\n${theirs.status} ${theirs.text}`);
  }
}

async function send({ origin }: Server, token: string, { method, path, headers, body }: Shot) {
  const response = await fetch(origin + path, {
    method,
    headers: { ...headers, Authorization: `Bearer ${token}` },
    ...(body !== undefined && { body }),
  });
  return { status: response.status, text: await response.text() };
}

function line(measure: string, { service, floor, ratio }: Comparison, target: number): Line {
  return {
    measure,
    service: rate(service),
    floor: rate(floor),
    ratio,
    target: `≥ ${target}`,
    met: ratio >= target,
    note: `processor time per answer: ${milliseconds(service)} ms, floor ${milliseconds(floor)} ms`,
  };
}

const rate = ({ perSecond }: Rate) => `${Math.round(perSecond)}/s`;
const milliseconds = ({ processor }: Rate) => processor?.toFixed(3) ?? '?';

export async function post(stand: Stand): Promise<Line[]> {
  await assertSameOrder(stand);
  const result = await compare(stand, stand.token, { shots: () => orderShot(stand.store), connections }, stand.effort);
  singlePosts = result.service.perSecond;
  return [line('POST /v1/orders', result, 0.45)];
}

/** Orders per second pushed one by one, once known. */
let singlePosts: number | null = null;
let numbers = Math.floor(Date.now() / 1000) * 10_000;

function nextDocument(store: Store) {
  numbers += 1;
  return orderDocument(store, `B${numbers}`, numbers);
}

function orderShot(store: Store): Shot {
  const document = nextDocument(store);
  return {
    method: 'POST',
    path: '/v1/orders',
    headers: { 'content-type': 'application/json', 'idempotency-key': document.externalId },
    body: JSON.stringify(document),
  };
}

/** Two orders cannot have the same id and time; all else of the answer has to be the same. */
async function assertSameOrder({ service, floor, token, store }: Stand): Promise<void> {
  const seed = numbers;
  const texts: string[] = [];
  for (const server of [service, floor]) {
    const document = orderDocument(store, `S${randomUUID()}`, seed);
    const { status, text } = await send(server, token, {
      method: 'POST',
      path: '/v1/orders',
      headers: { 'content-type': 'application/json', 'idempotency-key': document.externalId },
      body: JSON.stringify(document),
    });
    if (status !== 201) throw new Error(`The ${server.name} answered ${status} ${text}`);
    const own = [
      document.externalId,
      document.placedAt,
      ...['id', 'createdAt', 'updatedAt'].map((m) => JSON.parse(text)[m]),
    ];
    texts.push(own.reduce((rest, value) => rest.replaceAll(`"${value}"`, '"…"'), text));
  }
  if (texts[0] !== texts[1]) throw new Error(`Different answers to an order:\n${texts.join('\n')}`);
}

/** Batches against single posts, and memory over all of them. */
export async function batch(stand: Stand): Promise<Line[]> {
  const { service, token, store, effort } = stand;
  singlePosts ??= (await fire(service, token, { shots: () => orderShot(store), connections, seconds: effort.seconds }))
    .perSecond;
  const total = Math.min(100, Math.ceil(store.orders / 10_000));
  const resident: number[] = [];
  const started = process.hrtime.bigint();
  for (let sent = 0; sent < total; sent += 2) {
    await Promise.all([0, 1].map(() => pushBatch(stand, 1000)));
    const memory = service.memory();
    if (memory) resident.push(memory.resident / 1e6);
  }
  const perSecond = (total * 1000) / (Number(process.hrtime.bigint() - started) / 1e9);
  const counts = await Promise.all([10, 100, 1000].map((size) => statementsOfBatch(stand, size)));
  const ratio = perSecond / singlePosts;
  const fifth = Math.ceil(resident.length / 5);
  const [early, late] = [median(resident.slice(fifth, 2 * fifth)), median(resident.slice(-fifth))];
  return [
    {
      measure: 'batches of 1,000 orders',
      service: `${Math.round(perSecond)} orders/s`,
      floor: `single ${Math.round(singlePosts)}/s`,
      ratio,
      target: '≥ 5',
      met: ratio >= 5,
    },
    {
      measure: 'statements per batch',
      service: counts.join(', '),
      floor: 'of 10, 100, 1,000',
      ratio: null,
      target: 'constant',
      met: new Set(counts).size === 1,
    },
    {
      measure: `memory over ${total * 1000} batched orders`,
      service: `${late.toFixed(0)} MB`,
      floor: `early ${early.toFixed(0)} MB`,
      ratio: late / early,
      target: 'flat (≤ 1.1)',
      // Too few batches say nothing.
      met: resident.length < 25 ? null : late / early <= 1.1,
    },
  ];
}

async function pushBatch({ service, token, store }: Stand, size: number): Promise<void> {
  const orders = Array.from({ length: size }, () => nextDocument(store));
  const { status, text } = await send(service, token, {
    method: 'POST',
    path: '/v1/orders/batch',
    headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    body: JSON.stringify({ orders }),
  });
  const created =
    status === 200 ? JSON.parse(text).results.filter((r: { status: string }) => r.status === 'created') : [];
  if (created.length !== size) throw new Error(`A batch was answered with ${status} ${text.slice(0, 500)}`);
}

/** Runs the batch operation here, on a connection that counts what is sent. */
async function statementsOfBatch({ config, connection, store }: Stand, size: number): Promise<number> {
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  let count = 0;
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...given: unknown[]) => unknown; // all overloads are handed on
    Object.assign(client, {
      query: (...given: unknown[]) => {
        count += 1;
        return query(...given);
      },
    });
  });
  const services = {
    db: poolDb(pool),
    pool,
    baseCurrency: config.baseCurrency,
    reportingTimeZone: config.reportingTimeZone,
    cursors: cursorCodec(Buffer.alloc(32)),
    clock: () => new Date().toISOString(),
  };
  const orders = Array.from({ length: size }, () => nextDocument(store));
  await call(batchOrders, createContext(services, createPrincipal('bench', ['*']), 'bench'), {
    body: { orders },
    idempotencyKey: randomUUID(),
  });
  await pool.end();
  return count;
}

/** Retention of two months against the time it takes to add up all orders. */
export async function retention(stand: Stand): Promise<Line[]> {
  const now = new Date();
  const month = (back: number) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 10);
  const path = `/v1/metrics/retention-rate?from=${month(1)}&to=${month(0)}`;
  const measure = 'retention of two months';
  const probe = await send(stand.service, stand.token, { method: 'GET', path });
  if (probe.status !== 200) return [absent(measure, '≤ 0.3', `${path} answers ${probe.status}`)];
  const client = new pg.Client(stand.connection);
  await client.connect();
  const sum = () => client.query('SELECT sum(total) FROM orders');
  const metric = () => send(stand.service, stand.token, { method: 'GET', path });
  const times: { metric: number; sum: number }[] = [];
  await sum();
  for (let round = 0; round < 2 * stand.effort.rounds + 1; round += 1) {
    times.push({ metric: await timed(metric), sum: await timed(sum) });
  }
  await client.end();
  const ratio = median(times.map((time) => time.metric / time.sum));
  return [
    {
      measure,
      service: `${median(times.map((time) => time.metric)).toFixed(1)} ms`,
      floor: `sum(total) ${median(times.map((time) => time.sum)).toFixed(1)} ms`,
      ratio,
      target: '≤ 0.3',
      met: ratio <= 0.3,
      ...(stand.store.orders < 1_000_000 && { note: 'the target is for a million orders' }),
    },
  ];
}

export function absent(measure: string, target: string, note: string): Line {
  return { measure, service: '–', floor: '–', ratio: null, target, met: null, note };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - started) / 1e6;
}

async function sample({ connection }: Stand, text: string): Promise<string[]> {
  const client = new pg.Client(connection);
  await client.connect();
  const { rows } = await client.query({ text, rowMode: 'array' });
  await client.end();
  return rows.map(([value]) => String(value));
}
