import type { Outcome, Warning } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, Problem, settle } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { unknownCampaigns } from '../campaigns/queries.ts';
import {
  type FactChange,
  type FactWrite,
  type NamelessWrite,
  noteChange,
  type Prepared,
  prepareFacts,
  type Start,
  saveNames,
  startFact,
} from '../customers/facts.ts';
import { refreshBounds } from '../lead-scores/bounds.ts';
import { ownersOfOrders } from '../orders/queries.ts';
import { withoutPersonal } from '../privacy/erased.ts';
import { planReferences } from '../references/write.ts';
import { type InteractionDocument, type InteractionInput, type InteractionPatch, interactions } from './model.ts';
import {
  type InteractionRow,
  type InteractionState,
  insertInteractions,
  interactionOrigin,
  interactionStates,
  replaceInteractions,
} from './queries.ts';

/** One document to be written, and how. */
export type InteractionWrite = FactWrite<InteractionDocument, InteractionPatch> | NamelessWrite<InteractionDocument>;

/** A document without an external id is a new interaction each time; with one, `mode` says what is done to a known one. */
export function asWrite(
  { source, externalId, ...input }: InteractionInput,
  mode: 'create' | 'upsert',
): InteractionWrite {
  if (source !== undefined && externalId !== undefined) return { mode, source, externalId, input };
  return { mode: 'new', source: source ?? null, input };
}

export interface InteractionOutcome {
  created: boolean;
  applied: boolean;
  warnings: Warning[];
  /** As it stands now. */
  state: InteractionState;
}

const store = { kind: 'interaction', originOf: interactionOrigin, states: interactionStates } as const;

/** What interactions name beside their customer. */
interface Links {
  unknownCampaigns: ReadonlySet<string>;
  /** Whose these orders are; those that are not there are absent. */
  orderOwners: ReadonlyMap<string, string>;
}

/** Plans and writes any number of interactions, in index order; an item's fault is returned in its place. */
export async function writeInteractions(
  tx: Transaction,
  context: Context,
  writes: InteractionWrite[],
): Promise<(InteractionOutcome | Problem)[]> {
  const prepared = await prepareFacts(tx, context, writes, store);
  const links = await linksOf(tx, writes, prepared);
  const changes = new Map<string, FactChange<InteractionState>>();
  const results = writes.map((write, index) => settle(() => plan(context, write, index, prepared, changes, links)));
  await prepared.saveOwners();
  const { created, updated } = await saveNames(tx, changes.values(), prepared.book);
  const touched = [...changes.values()].flatMap(({ before, after }) =>
    before ? [before.row.customerId, after.row.customerId] : [after.row.customerId],
  );
  // In one round trip and in this order; when the facts are refused, theirs is the error that is thrown.
  await Promise.all([
    replaceInteractions(tx, updated),
    insertInteractions(tx, created),
    touched.length > 0 && refreshBounds(tx, context, [...new Set(touched)]),
  ]);
  return results;
}

async function linksOf(
  tx: Transaction,
  writes: InteractionWrite[],
  { states }: Prepared<InteractionState>,
): Promise<Links> {
  const campaignIds = writes.flatMap(({ input }) => input.campaignId ?? []);
  const orderIds = [
    ...writes.flatMap(({ input }) => input.orderId ?? []),
    ...[...states.values()].flatMap(({ row }) => row.orderId ?? []),
  ];
  const [campaigns, orderOwners] = await Promise.all([unknownCampaigns(tx, campaignIds), ownersOfOrders(tx, orderIds)]);
  return { unknownCampaigns: campaigns, orderOwners };
}

function plan(
  context: Context,
  write: InteractionWrite,
  index: number,
  prepared: Prepared<InteractionState>,
  changes: Map<string, FactChange<InteractionState>>,
  links: Links,
): InteractionOutcome {
  const start = startFact(prepared, write, index, 'interaction');
  const { before, customerId, incoming, owner, stale } = start;
  const warnings = owner?.warnings ?? [];
  if (before && stale) return { created: false, applied: false, warnings, state: before };
  const id = before?.row.id ?? newId();
  const row = withoutPersonal(
    prepared.tx,
    interactions,
    interactionRow(context, write, before?.row ?? null, { id, customerId }),
  );
  checkLinks(row, start, links);
  const references = planReferences(prepared.book, write.mode === 'patch' ? null : write, before?.references ?? [], {
    recordId: id,
    customerId,
    now: context.now,
    incoming,
  });
  const state = { row, references };
  noteChange(prepared, changes, start, state);
  return { created: before === null, applied: true, warnings, state };
}

function interactionRow(
  { now }: Context,
  { mode, input, ...write }: InteractionWrite,
  before: InteractionRow | null,
  ids: { id: string; customerId: string },
): InteractionRow {
  /** A member left out stays on PATCH, and is cleared otherwise. */
  const set = <T>(value: T | undefined, old: T | undefined, fallback: T): T =>
    value !== undefined ? value : mode === 'patch' && old !== undefined ? old : fallback;
  const occurredAt = set(input.occurredAt, before?.occurredAt, now);
  checkNotAhead(occurredAt, now, '/occurredAt');
  return {
    ...ids,
    version: (before?.version ?? 0) + 1,
    source: before ? before.source : 'source' in write ? write.source : null,
    externalId: before ? before.externalId : 'externalId' in write ? write.externalId : null,
    kind: set(input.kind, before?.kind, 'other'),
    direction: set(input.direction, before?.direction, null),
    channel: set(input.channel, before?.channel, null),
    occurredAt,
    topic: set(input.topic, before?.topic, null),
    outcome: set(input.outcome, before?.outcome, null),
    staff: set(input.staff, before?.staff, null),
    seconds: set(input.seconds, before?.seconds, null),
    pages: set(input.pages, before?.pages, null),
    cost: set(input.cost, before?.cost, null),
    campaignId: set(input.campaignId, before?.campaignId, null),
    orderId: set(input.orderId, before?.orderId, null),
    ticket: set(input.ticket, before?.ticket, null),
    text: set(input.text, before?.text, null),
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

/** What is new of its links has to be there. An order that went away later stays named, and does not bar other changes. */
function checkLinks(row: InteractionRow, { before }: Start<InteractionState>, links: Links): void {
  if (row.campaignId !== null && links.unknownCampaigns.has(row.campaignId)) {
    throw invalid('/campaignId', 'unknown_campaign', 'There is no such campaign.');
  }
  if (row.orderId === null) return;
  const orderOwner = links.orderOwners.get(row.orderId);
  const isSame = before?.row.orderId === row.orderId && before.row.customerId === row.customerId;
  const isFollowing = before?.row.orderId === row.orderId && orderOwner === undefined;
  if (orderOwner === row.customerId || isSame || isFollowing) return;
  throw invalid('/orderId', 'unknown_order', 'The customer has no such order.');
}

/** For `runBatch`. */
export function asOutcome(result: InteractionOutcome | Problem): Outcome {
  if (result instanceof Problem) return result;
  const { state, created, applied, warnings } = result;
  return { id: state.row.id, created, applied, warnings };
}
