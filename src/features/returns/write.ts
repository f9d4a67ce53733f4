import type { Outcome } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, settle } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import {
  type FactChange,
  type FactWrite,
  noteChange,
  type Prepared,
  prepareFacts,
  saveNames,
  startFact,
} from '../customers/facts.ts';
import { withoutPersonal } from '../privacy/erased.ts';
import { awaitRates, type Freeze, keptRate, rateFreezer, ratesWanted } from '../rates/freeze.ts';
import { planReferences } from '../references/write.ts';
import { recountCustomers } from '../rollups/queries.ts';
import { type ReturnDocument, type ReturnPatch, returns } from './model.ts';
import {
  insertReturns,
  type ReturnItemRow,
  type ReturnRow,
  type ReturnState,
  replaceReturns,
  returnOrigin,
  returnStates,
} from './queries.ts';

/** One document to be written, and how. */
export type ReturnWrite = FactWrite<ReturnDocument, ReturnPatch>;

const store = { kind: 'return', originOf: returnOrigin, states: returnStates } as const;

/** Plans and writes any number of returns, in index order; an item's fault is returned in its place. */
export async function writeReturns(tx: Transaction, context: Context, writes: ReturnWrite[]): Promise<Outcome[]> {
  await awaitRates(tx, context, writes);
  const prepared = await prepareFacts(tx, context, writes, store);
  const stored = [...prepared.states.values()].map(({ row }) => ({ currency: row.currency, at: row.returnedAt }));
  const freeze = await rateFreezer(
    tx,
    context,
    writes.flatMap(({ input }) => ratesWanted(input.returnedAt, input, stored)),
  );
  const changes = new Map<string, FactChange<ReturnState>>();
  const results = writes.map((write, index) => settle(() => plan(context, write, index, prepared, changes, freeze)));
  await prepared.saveOwners();
  const { created, updated } = await saveNames(tx, changes.values(), prepared.book);
  await replaceReturns(tx, updated);
  await insertReturns(tx, created);
  const touched = [...changes.values()].flatMap(({ before, after }) => [
    after.row.customerId,
    ...(before ? [before.row.customerId] : []),
  ]);
  await recountCustomers(tx, touched, context.reportingTimeZone);
  return results;
}

function plan(
  context: Context,
  write: ReturnWrite,
  index: number,
  prepared: Prepared<ReturnState>,
  changes: Map<string, FactChange<ReturnState>>,
  freeze: Freeze,
): Outcome {
  const start = startFact(prepared, write, index, 'return');
  const { before, customerId, incoming, owner, stale } = start;
  const warnings = owner?.warnings ?? [];
  if (before && stale) return { id: before.row.id, created: false, applied: false, warnings };
  const id = before?.row.id ?? newId();
  const row = withoutPersonal(
    prepared.tx,
    returns,
    returnRow(context, write, before?.row ?? null, { id, customerId }, freeze),
  );
  const items = itemRows(write.input.items, row) ?? (write.mode === 'patch' ? before?.items : undefined) ?? [];
  const references = planReferences(prepared.book, write.mode === 'patch' ? null : write, before?.references ?? [], {
    recordId: id,
    customerId,
    now: context.now,
    incoming,
  });
  noteChange(prepared, changes, start, { row, items: items.map((item) => ({ ...item, customerId })), references });
  return { id, created: before === null, applied: true, warnings };
}

function returnRow(
  context: Context,
  { mode, input, ...write }: ReturnWrite,
  before: ReturnRow | null,
  ids: { id: string; customerId: string },
  freeze: Freeze,
): ReturnRow {
  const { now } = context;
  const returnedAt = input.returnedAt ?? before?.returnedAt ?? now;
  const currency = input.currency ?? before?.currency ?? context.baseCurrency;
  checkNotAhead(returnedAt, now, '/returnedAt');
  const claim = { currency, at: returnedAt, given: input.exchangeRate };
  const kept = keptRate(before && { ...before, at: before.returnedAt }, claim, context.reportingTimeZone);
  return {
    ...ids,
    version: (before?.version ?? 0) + 1,
    source: before?.source ?? ('source' in write ? write.source : ''),
    externalId: before?.externalId ?? ('externalId' in write ? write.externalId : ''),
    returnedAt,
    currency,
    total: input.total ?? before?.total ?? 0,
    reason: input.reason === undefined && mode === 'patch' ? (before?.reason ?? null) : (input.reason ?? null),
    ...(kept ?? freeze(claim)),
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

function itemRows(items: ReturnPatch['items'], row: ReturnRow): ReturnItemRow[] | undefined {
  return items?.map(({ sku, quantity, total }, line) => ({
    customerId: row.customerId,
    returnId: row.id,
    line,
    sku,
    quantity: String(quantity),
    total: total ?? null,
  }));
}
