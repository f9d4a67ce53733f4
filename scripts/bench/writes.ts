import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import type pg from 'pg';
import { compete, type Lane } from './compete.ts';
import { assertSameText, type Differences, differencesBetween } from './differences.ts';
import { line, type Mark, type Measure, rate } from './measure.ts';
import {
  ask,
  firing,
  newest,
  postgresOf,
  postJson,
  type Shot,
  type Stand,
  send,
  timed,
  type Version,
  withClient,
} from './stand.ts';
import { interactionDocument, orderDocument, type Store } from './store.ts';

type Customers = Pick<Store, 'customers'>;

/** Facts that are pushed one by one and in batches. */
interface Fact {
  /** The section of the API, what a batch calls them, and their table. */
  plural: 'orders' | 'interactions';
  /** As references call it. */
  kind: 'order' | 'interaction';
  document: (store: Customers, number: string, seed: number) => { externalId: string; source: string };
  /** When it happened: no two are the same. */
  at: 'placedAt' | 'occurredAt';
  /** Tables with the lines of it. */
  lines: string[];
}

export const order: Fact = {
  plural: 'orders',
  kind: 'order',
  document: orderDocument,
  at: 'placedAt',
  lines: ['order_items'],
};
const interaction: Fact = {
  plural: 'interactions',
  kind: 'interaction',
  document: interactionDocument,
  at: 'occurredAt',
  lines: [],
};

let numbers = Math.floor(Date.now() / 1000) * 10_000;

export function nextDocument({ document }: Fact, store: Customers) {
  numbers += 1;
  return document(store, `B${numbers}`, numbers);
}

const factShot = ({ plural }: Fact, document: { externalId: string }): Shot =>
  postJson(`/v1/${plural}`, document, { 'idempotency-key': document.externalId });

export const orderShot = (store: Customers): Shot => factShot(order, nextDocument(order, store));

/** One after another over ten connections. */
function one(name: string, fact: Fact, mark: Mark): Measure {
  return {
    name,
    async run(stand) {
      const differences = await assertSameFact(stand, fact);
      const shots = () => factShot(fact, nextDocument(fact, stand.store));
      const { floor, versions, effort } = stand;
      const figures = await compete(
        [floor, ...versions].map((server) => firing(server, shots, effort)),
        effort,
      );
      return [line(`POST /v1/${fact.plural}`, '/s', figures, mark, differences && { differences })];
    },
  };
}

/** Two facts cannot have the same id and time; all else of the answer has to be the same. */
async function assertSameFact(stand: Stand, fact: Fact): Promise<Differences | undefined> {
  const seed = numbers;
  const answers: string[] = [];
  for (const server of [...stand.versions, stand.floor]) {
    const document = fact.document(stand.store, `S${randomUUID()}`, seed);
    const { status, text } = await send(server, factShot(fact, document));
    if (status !== 201) throw new Error(`${server.name} answered ${status} ${text}`);
    const answer = JSON.parse(text);
    const own = ['externalId', fact.at, 'id', 'createdAt', 'updatedAt'].map((member) => answer[member]);
    answers.push(own.reduce((rest, value) => rest.replaceAll(`"${value}"`, '"…"'), text));
  }
  const [floor = '', ours = '', old] = answers.toReversed();
  assertSameText(floor, ours, `one of the ${fact.plural}`);
  return old === undefined ? undefined : differencesBetween(old, ours);
}

/**
 * All customers of the store of leads are leads: the service computes the bound of the score anew. The floor does not, so it is
 * sent what no rule counts: bounds that are too low would make the lists wrong.
 */
export const interactionsOfLeads = rate<{ leads: number }>({
  name: 'interactions-of-leads',
  title: 'POST /v1/interactions of leads',
  mark: { atLeast: 0.1 },
  shots: (stand) => () => factShot(interaction, nextDocument(interaction, { customers: stand.store.leads })),
  floorShots: (stand) => () => {
    const countsNothing = { kind: 'ad_impression', direction: 'outbound' };
    const document = { ...nextDocument(interaction, { customers: stand.store.leads }), ...countsNothing };
    return factShot(interaction, document);
  },
});

const batchSize = 1000;

/** Batches of a thousand, one after another, against a bare COPY of as many rows into tables that have the same indexes and no keys of others. */
function batches(name: string, fact: Fact, mark: Mark): Measure {
  return {
    name,
    run: (stand) =>
      withClient(newest(stand), async (client) => {
        const { rounds } = stand.effort;
        const copies = await prepareCopies(client, fact, rounds + 1);
        const perSecond = async (work: () => Promise<unknown>) => {
          return { value: (batchSize * 1000) / (await timed(work)), answers: 1 };
        };
        const copy = () => perSecond(copies.next);
        const push = (version: Version) => () => perSecond(() => pushBatch(version, fact, stand.store));
        const lanes: Lane[] = [
          { name: 'floor', spent: postgresOf(stand.floor), warmUp: copy, slice: copy },
          ...stand.versions.map((version): Lane => {
            const slice = push(version);
            return { name: version.name, against: 'floor', spent: version.spent, warmUp: slice, slice };
          }),
        ];
        const figures = await compete(lanes, stand.effort);
        await copies.remove();
        const notes = ['rows per second; processor time is that of a batch; the floor is a bare COPY'];
        return [line(`batches of 1,000 ${fact.plural}`, '/s', figures, mark, { notes })];
      }),
  };
}

async function pushBatch(version: Version, fact: Fact, store: Customers): Promise<void> {
  const documents = Array.from({ length: batchSize }, () => nextDocument(fact, store));
  const shot = postJson(`/v1/${fact.plural}/batch`, { [fact.plural]: documents }, { 'idempotency-key': randomUUID() });
  const { results } = await ask(version, shot);
  const created = results.filter(({ status }: { status: string }) => status === 'created');
  if (created.length !== batchSize)
    throw new Error(`A batch was answered with ${JSON.stringify(results).slice(0, 500)}`);
}

/** Files of the server with the newest facts of the store, `size` each, and empty tables for them. */
export async function prepareCopies(client: pg.Client, { plural, kind, lines }: Fact, count: number, size = batchSize) {
  const { rows } = await client.query('show data_directory');
  const folder: string = rows[0].data_directory;
  const files: string[] = [];
  await client.query(
    `create schema bench_copy;
     create temporary table bench_chunks as
       select customer_id, id, (row_number() over (order by id desc) - 1) / ${size} as chunk
       from (select customer_id, id from ${plural} order by id desc limit ${count * size}) newest`,
  );
  const ofChunk = (id: string) => `t.customer_id = c.customer_id and t.${id} = c.id`;
  const tables = [
    { table: plural, condition: ofChunk('id') },
    ...lines.map((table) => ({ table, condition: ofChunk(`${kind}_id`) })),
    { table: 'external_refs', condition: `t.kind = '${kind}' and t.record_id = c.id` },
  ];
  const chunks: string[][] = Array.from({ length: count }, () => []);
  for (const { table, condition } of tables) {
    await client.query(`create table bench_copy.${table} (like public.${table} including all)`);
    const columns = await columnsOf(client, table);
    for (const [chunk, copies] of chunks.entries()) {
      const file = `${folder}/bench-${table}-${chunk}.copy`;
      await client.query(
        `copy (select ${columns.map((column) => `t.${column}`)} from public.${table} t join bench_chunks c on ${condition}
           where c.chunk = ${chunk} order by c.id) to '${file}'`,
      );
      files.push(file);
      copies.push(`copy bench_copy.${table} (${columns}) from '${file}'`);
    }
  }
  return {
    async next() {
      const copies = chunks.pop();
      if (copies === undefined) throw new Error('There are no more rows to copy.');
      await client.query(`begin; ${copies.join('; ')}; commit`);
    },
    async remove() {
      await client.query('drop schema bench_copy cascade; drop table bench_chunks');
      for (const file of files) rmSync(file, { force: true });
    },
  };
}

/** Those that are not computed. */
async function columnsOf(client: pg.Client, table: string): Promise<string[]> {
  const { rows } = await client.query(
    `select quote_ident(attname) as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`,
    [`public.${table}`],
  );
  return rows.map(({ name }) => name);
}

export const writes: Measure[] = [
  one('post', order, { atLeast: 0.52 }),
  one('interaction', interaction, { atLeast: 0.52 }),
  batches('batch', order, { atLeast: 0.3 }),
  batches('interaction-batch', interaction, {}),
];
