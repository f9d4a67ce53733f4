import { randomUUID } from 'node:crypto';
import { interactionOperations } from '../../src/features/interactions/operations.ts';
import { orderOperations } from '../../src/features/orders/operations.ts';
import { type Context, call } from '../../src/platform/operation.ts';
import { compare, fire, median, type Shot } from './load.ts';
import { connections, type Line, line, type Stand, sameAnswer, send, statementsOf } from './stand.ts';
import { interactionDocument, orderDocument, type Store } from './store.ts';

type Customers = Pick<Store, 'customers'>;

/** Facts that are pushed one by one and in batches. */
interface Fact {
  /** The section of the API, and what a batch calls them. */
  plural: 'orders' | 'interactions';
  document: (store: Customers, number: string, seed: number) => { externalId: string; source: string };
  /** When it happened: no two are the same. */
  at: 'placedAt' | 'occurredAt';
  runBatch: (context: Context, documents: unknown[]) => Promise<unknown>;
}

const order: Fact = {
  plural: 'orders',
  document: orderDocument,
  at: 'placedAt',
  runBatch: (context, orders) =>
    call(orderOperations.batch, context, { body: { orders }, idempotencyKey: randomUUID() }),
};
const interaction: Fact = {
  plural: 'interactions',
  document: interactionDocument,
  at: 'occurredAt',
  runBatch: (context, interactions) =>
    call(interactionOperations.batch, context, { body: { interactions }, idempotencyKey: randomUUID() }),
};

export async function post(stand: Stand): Promise<Line[]> {
  return [await single(stand, order, 'POST /v1/orders', 0.45)];
}

/** Batches against single posts, and memory over all of them. */
export function batch(stand: Stand): Promise<Line[]> {
  return batches(stand, order, Math.min(100, Math.ceil(stand.store.orders / 10_000)));
}

/** Of customers who are no leads, as most are; see the measures of leads for the others. */
export async function interactions(stand: Stand): Promise<Line[]> {
  const one = await single(stand, interaction, 'POST /v1/interactions', 0.45);
  return [one, ...(await batches(stand, interaction, Math.min(50, Math.ceil(stand.store.orders / 20_000))))];
}

/** In the default rule set. */
const countsNothing = { kind: 'ad_impression', direction: 'outbound' };

/**
 * All customers of the store are leads: the service computes the bound of the score anew. The floor does not, so it is
 * sent what no rule counts: bounds that are too low would make the lists of the next run wrong.
 */
export async function interactionsOfLeads(stand: Stand<Customers>): Promise<Line> {
  const shots = () => factShot(interaction, nextDocument(interaction, stand.store));
  const floorShots = () => factShot(interaction, { ...nextDocument(interaction, stand.store), ...countsNothing });
  const result = await compare(stand, stand.token, { shots, floorShots, connections }, stand.effort);
  return line('POST /v1/interactions of leads', result, 0.1);
}

/** Facts per second pushed one by one, once known. */
const singlePosts = new Map<Fact, number>();

async function single(stand: Stand, fact: Fact, measure: string, target: number): Promise<Line> {
  await assertSameFact(stand, fact);
  const shots = () => factShot(fact, nextDocument(fact, stand.store));
  const result = await compare(stand, stand.token, { shots, connections }, stand.effort);
  singlePosts.set(fact, result.service.perSecond);
  return line(measure, result, target);
}

let numbers = Math.floor(Date.now() / 1000) * 10_000;

function nextDocument({ document }: Fact, store: Customers) {
  numbers += 1;
  return document(store, `B${numbers}`, numbers);
}

function factShot({ plural }: Fact, document: { externalId: string }): Shot {
  return {
    method: 'POST',
    path: `/v1/${plural}`,
    headers: { 'content-type': 'application/json', 'idempotency-key': document.externalId },
    body: JSON.stringify(document),
  };
}

/** Two facts cannot have the same id and time; all else of the answer has to be the same. */
async function assertSameFact({ service, floor, token, store }: Stand, fact: Fact): Promise<void> {
  const seed = numbers;
  const answers: string[] = [];
  for (const server of [service, floor]) {
    const document = fact.document(store, `S${randomUUID()}`, seed);
    const { status, text } = await send(server, token, factShot(fact, document));
    if (status !== 201) throw new Error(`The ${server.name} answered ${status} ${text}`);
    const answer = JSON.parse(text);
    const own = ['externalId', fact.at, 'id', 'createdAt', 'updatedAt'].map((member) => answer[member]);
    answers.push(own.reduce((rest, value) => rest.replaceAll(`"${value}"`, '"…"'), text));
  }
  const [ours = '', theirs = ''] = answers;
  if (!sameAnswer(ours, theirs)) throw new Error(`Different answers to one of the ${fact.plural}:\n${ours}\n${theirs}`);
}

/** `total` batches of a thousand. */
async function batches(stand: Stand, fact: Fact, total: number): Promise<Line[]> {
  const { service, token, store, effort } = stand;
  const { plural } = fact;
  const shots = () => factShot(fact, nextDocument(fact, store));
  const one =
    singlePosts.get(fact) ?? (await fire(service, token, { shots, connections, seconds: effort.seconds })).perSecond;
  const resident: number[] = [];
  const started = process.hrtime.bigint();
  for (let sent = 0; sent < total; sent += 2) {
    await Promise.all([0, 1].map(() => pushBatch(stand, fact, 1000)));
    const memory = service.memory();
    if (memory) resident.push(memory.resident / 1e6);
  }
  const perSecond = (total * 1000) / (Number(process.hrtime.bigint() - started) / 1e9);
  const documents = (count: number) => Array.from({ length: count }, () => nextDocument(fact, store));
  const counts = await Promise.all(
    [10, 100, 1000].map((size) => statementsOf(stand, (context) => fact.runBatch(context, documents(size)))),
  );
  const ratio = perSecond / one;
  const fifth = Math.ceil(resident.length / 5);
  const [early, late] = [median(resident.slice(fifth, 2 * fifth)), median(resident.slice(-fifth))];
  return [
    {
      measure: `batches of 1,000 ${plural}`,
      service: `${Math.round(perSecond)} ${plural}/s`,
      floor: `single ${Math.round(one)}/s`,
      ratio,
      target: '≥ 5',
      met: ratio >= 5,
    },
    {
      measure: `statements per batch of ${plural}`,
      service: counts.join(', '),
      floor: 'of 10, 100, 1,000',
      ratio: null,
      target: 'constant',
      met: new Set(counts).size === 1,
    },
    {
      measure: `memory over ${total * 1000} batched ${plural}`,
      service: `${late.toFixed(0)} MB`,
      floor: `early ${early.toFixed(0)} MB`,
      ratio: late / early,
      target: 'flat (≤ 1.1)',
      // Too few batches say nothing.
      met: resident.length < 25 ? null : late / early <= 1.1,
    },
  ];
}

async function pushBatch({ service, token, store }: Stand, fact: Fact, size: number): Promise<void> {
  const documents = Array.from({ length: size }, () => nextDocument(fact, store));
  const { status, text } = await send(service, token, {
    method: 'POST',
    path: `/v1/${fact.plural}/batch`,
    headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    body: JSON.stringify({ [fact.plural]: documents }),
  });
  const created =
    status === 200 ? JSON.parse(text).results.filter((r: { status: string }) => r.status === 'created') : [];
  if (created.length !== size) throw new Error(`A batch was answered with ${status} ${text.slice(0, 500)}`);
}
