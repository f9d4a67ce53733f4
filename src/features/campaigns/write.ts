import type { Outcome } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, settle } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { type RefRow, refKey, refsByName, sourceVersion } from '../references/queries.ts';
import {
  type FactReference,
  type NamelessFact,
  namesOf,
  planReferences,
  type RefBook,
  refBook,
  saveRefs,
} from '../references/write.ts';
import type { CampaignInput, CampaignPatch } from './model.ts';
import { type CampaignRow, type CampaignState, campaignStates, lockCampaigns, saveCampaigns } from './queries.ts';

/** One document to be written, and how: `new` takes its names from `references`, an upsert goes by the name beside it. */
export type CampaignWrite =
  | (NamelessFact & { input: CampaignInput })
  | (FactReference & { mode: 'upsert'; input: CampaignInput })
  | { mode: 'patch'; id: string; input: CampaignPatch; expectedVersion: number | '*' };

interface Change {
  before: CampaignState | null;
  after: CampaignState;
}

/**
 * Plans and writes any number of campaigns in a constant number of statements, in index order; an item's fault is
 * returned in its place. A campaign belongs to no customer: its own row is the lock under which it changes.
 */
export async function writeCampaigns(tx: Transaction, context: Context, writes: CampaignWrite[]): Promise<Outcome[]> {
  const names = namesOf(
    'campaign',
    writes.flatMap((write) => (write.mode === 'patch' ? [] : [write])),
  );
  const patched = writes.flatMap((write) => (write.mode === 'patch' ? [write.id] : []));
  const seen = refBook('campaign', [...(await refsByName(tx, 'campaign', names)).values()]);
  const ids = [...new Set([...seen.records(), ...patched])];
  await lockCampaigns(tx, ids);
  // What was read before waiting for the locks is stale.
  const [found, states] = await Promise.all([refsByName(tx, 'campaign', names), campaignStates(tx, ids)]);
  const book = refBook('campaign', [...found.values()]);
  if (book.records().some((id) => !states.has(id))) throw new Retry('a campaign got its name meanwhile');
  const changes = new Map<string, Change>();
  const results = writes.map((write) => settle(() => plan(context, write, { book, states, changes })));
  const { before, after } = namesBeforeAndAfter(changes.values(), book);
  if (before.length > 0 || after.length > 0) await saveRefs(tx, before, after);
  await saveCampaigns(
    tx,
    [...changes.values()].map((change) => change.after.row),
  );
  return results;
}

interface Known {
  book: RefBook;
  states: Map<string, CampaignState>;
  changes: Map<string, Change>;
}

function plan(context: Context, write: CampaignWrite, { book, states, changes }: Known): Outcome {
  const incoming = sourceVersion(write.mode === 'patch' ? undefined : write.input.sourceVersion);
  let before: CampaignState | null = null;
  if (write.mode === 'patch') {
    before = states.get(write.id) ?? null;
    if (!before) throw notFound('campaign');
    checkVersion(before.row.version, write.expectedVersion);
  } else if (write.mode === 'upsert') {
    const known = book.resolve(write, incoming);
    before = known ? (states.get(known.id) ?? null) : null;
    if (write.expectedVersion !== undefined) checkVersion(before?.row.version ?? 0, write.expectedVersion);
    if (before && known && !known.news) return { id: before.row.id, created: false, applied: false };
  } else if (incoming && !write.input.references?.length) {
    throw invalid('/sourceVersion', 'no_reference', 'sourceVersion belongs to a reference: send references.');
  }
  const row = campaignRow(context, write, before?.row ?? null);
  const owner = { recordId: row.id, customerId: null, now: context.now, incoming };
  const references = planReferences(book, write.mode === 'patch' ? null : write, before?.references ?? [], owner);
  const [first] = references;
  if (write.mode === 'new' && incoming && first) {
    references[0] = { ...first, versionKind: incoming.kind, versionValue: incoming.value };
    book.set(references[0]);
  }
  const pending = changes.get(row.id);
  const after = { row, references };
  states.set(row.id, after);
  changes.set(row.id, { before: pending ? pending.before : before, after });
  return { id: row.id, created: before === null, applied: true };
}

function campaignRow(context: Context, { mode, input }: CampaignWrite, before: CampaignRow | null): CampaignRow {
  const { now } = context;
  /** A member left out stays on PATCH, and is cleared otherwise. */
  const set = <T>(value: T | null | undefined, old: T | null | undefined): T | null =>
    value !== undefined ? value : mode === 'patch' ? (old ?? null) : null;
  const startsOn = set(input.startsOn, before?.startsOn);
  const endsOn = set(input.endsOn, before?.endsOn);
  // Calendar dates of four-digit years compare as text.
  if (startsOn !== null && endsOn !== null && endsOn < startsOn) {
    throw invalid('/endsOn', 'ends_before_start', `The campaign would end on ${endsOn}, before it starts.`);
  }
  return {
    id: before?.id ?? newId(),
    version: (before?.version ?? 0) + 1,
    name: input.name ?? before?.name ?? '',
    channel: set(input.channel, before?.channel),
    startsOn,
    endsOn,
    cost: set(input.cost, before?.cost),
    audience: set(input.audience, before?.audience),
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

/** A tombstone that comes back to life is among both: it is changed, not inserted. */
function namesBeforeAndAfter(changes: Iterable<Change>, book: RefBook): { before: RefRow[]; after: RefRow[] } {
  const before = new Map<string, RefRow>();
  const after = new Map<string, RefRow>();
  for (const change of changes) {
    for (const ref of change.before?.references ?? []) before.set(refKey(ref), ref);
    for (const ref of change.after.references) {
      after.set(refKey(ref), ref);
      if (book.isTombstone(ref)) before.set(refKey(ref), ref);
    }
  }
  return { before: [...before.values()], after: [...after.values()] };
}
