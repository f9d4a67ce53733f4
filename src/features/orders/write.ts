import { orderTotal } from '../../domain/money.ts';
import type { Outcome, Warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { matchOwners, type Owner } from '../customers/match.ts';
import { lockCustomers } from '../customers/queries.ts';
import { type RateClaim, rateFreezer } from '../rates/freeze.ts';
import { type SourceVersion, sourceVersion } from '../references/queries.ts';
import { type FactReference, planReferences, type RefBook, refBook, saveRefs } from '../references/write.ts';
import { recountCustomers } from '../rollups/queries.ts';
import type { OrderDocument, OrderPatch } from './model.ts';
import {
  type Inserted,
  insertOrders,
  type OrderItemRow,
  type OrderRow,
  type OrderState,
  orderOwner,
  orderStates,
  updateOrders,
} from './queries.ts';

/** One document to be written, and how. */
export type OrderWrite =
  | ({ mode: 'create' | 'upsert'; input: OrderDocument } & FactReference)
  | { mode: 'patch'; id: string; input: OrderPatch; expectedVersion: number | '*' };

export interface OrderOutcome {
  id: string;
  created: boolean;
  applied: boolean;
  warnings: Warning[];
  /** The state written and what the database made of it, when the order is new. */
  inserted?: { state: OrderState; row: Inserted };
}

interface Change {
  before: OrderState | null;
  after: OrderState;
}

/**
 * Plans and writes any number of orders with a constant number of statements, in index order. Look-ups come first, then
 * the locks on the customers, in id order; what was looked up about orders is read again under them. An item's fault is
 * returned in its place.
 */
export async function writeOrders(
  tx: Transaction,
  context: Context,
  writes: OrderWrite[],
): Promise<(OrderOutcome | Problem)[]> {
  const named = writes.flatMap((write) => (write.mode === 'patch' ? [] : [write]));
  const patched = writes.flatMap((write) => (write.mode === 'patch' ? [write.id] : []));
  const claims = writes.map((write) => ownerClaim(write));
  const [book, owners, patchedOwners] = await Promise.all([
    refBook(tx, 'order', named),
    matchOwners(
      tx,
      claims.filter((claim) => claim !== null),
    ),
    Promise.all(patched.map((id) => orderOwner(tx, id))),
  ]);
  const locked = await lockCustomers(tx, [
    ...owners.existing,
    ...book.owners(),
    ...patchedOwners.filter((id) => id !== null),
  ]);
  const [states, admitted] = await Promise.all([
    orderStates(tx, [...new Set([...book.records(), ...patched])]),
    owners.admit(tx, context, locked),
  ]);
  for (const { row } of states.values()) if (!locked.has(row.customerId)) throw new Retry('an order moved');
  book.refresh([...states.values()].flatMap(({ references }) => references));

  const freeze = await rateFreezer(
    tx,
    context,
    writes.flatMap((write) => rateClaim(write, states)),
  );
  const changes = new Map<string, Change>();
  let nextOwner = 0;
  const results = writes.map((write, index) => {
    const owner = claims[index] === null ? null : admitted[nextOwner++];
    try {
      return plan(context, write, owner ?? null, { book, states, changes, freeze });
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
  });
  const inserted = await save(tx, context, [...changes.values()], book);
  return results.map((result) => {
    if (result instanceof Problem || !result.created) return result;
    const state = changes.get(result.id)?.after;
    const row = inserted.get(result.id);
    return state && row ? { ...result, inserted: { state, row } } : result;
  });
}

function ownerClaim(write: OrderWrite) {
  const { customerId, customer } = write.input;
  // A patch that says nothing of the customer leaves it; a document has to name one.
  if (write.mode === 'patch' && customerId === undefined && customer === undefined) return null;
  return { customerId, customer, factSource: write.mode === 'patch' ? 'patch' : write.source };
}

function rateClaim({ input }: OrderWrite, states: Map<string, OrderState>): RateClaim[] {
  if (input.currency !== undefined && input.placedAt !== undefined) {
    return [{ currency: input.currency, at: input.placedAt, given: input.exchangeRate }];
  }
  // A patch may change one of the two, of whichever order it is.
  return [...states.values()].map(({ row }) => ({
    currency: input.currency ?? row.currency,
    at: input.placedAt ?? row.placedAt,
    given: input.exchangeRate,
  }));
}

interface Plan {
  book: RefBook;
  states: Map<string, OrderState>;
  changes: Map<string, Change>;
  freeze: (claim: RateClaim) => { exchangeRate: string | null; baseFactor: string | null };
}

function plan(
  context: Context,
  write: OrderWrite,
  owner: Owner | Problem | null,
  { book, states, changes, freeze }: Plan,
): OrderOutcome {
  if (owner instanceof Problem) throw owner;
  const { input } = write;
  const incoming: SourceVersion | null = write.mode === 'patch' ? null : sourceVersion(write.input.sourceVersion);
  const known = write.mode === 'patch' ? null : book.resolve(write, incoming);
  const id = write.mode === 'patch' ? write.id : known?.id;
  const before = id === undefined ? null : (states.get(id) ?? null);
  if (write.mode === 'patch' && !before) throw new Problem('not_found', 'There is no such order.');
  if (known && !before) throw new Retry('an order vanished');
  if (write.mode === 'patch' && before) checkVersion(before.row.version, write.expectedVersion);
  const warnings = owner?.warnings ?? [];
  if (before && known && !known.news) return { id: before.row.id, created: false, applied: false, warnings };

  const orderId = before?.row.id ?? newId();
  const customerId = owner?.customerId ?? before?.row.customerId;
  if (customerId === undefined) throw new Problem('customer_required', 'Say whose order it is.');
  const row = orderRow(context, write, before?.row ?? null, { id: orderId, customerId }, freeze);
  const items = itemRows(input.items, row) ?? (before?.items ?? []).map((item) => ({ ...item, customerId }));
  checkSum(row, items);
  if (row.refunded > row.total) {
    throw invalid('/total', 'total_below_refunds', `The refunds of the order come to ${row.refunded} already.`);
  }
  const references = planReferences(book, write.mode === 'patch' ? null : write, before?.references ?? [], {
    recordId: orderId,
    customerId,
    now: context.now,
    incoming,
  });
  const after: OrderState = { row, items, references };
  const pending = changes.get(orderId);
  states.set(orderId, after);
  changes.set(orderId, { before: pending ? pending.before : before, after });
  return { id: orderId, created: before === null, applied: true, warnings };
}

function orderRow(
  context: Context,
  { mode, input, ...write }: OrderWrite,
  before: OrderRow | null,
  ids: { id: string; customerId: string },
  freeze: Plan['freeze'],
): OrderRow {
  const { now } = context;
  /** A member left out stays on PATCH, and takes its default otherwise. */
  const set = <T>(value: T | undefined, old: T | undefined, fallback: T): T =>
    value !== undefined ? value : mode === 'patch' && old !== undefined ? old : fallback;
  const placedAt = set(input.placedAt, before?.placedAt, now);
  const currency = set(input.currency, before?.currency, context.baseCurrency);
  if (Date.parse(placedAt) > Date.parse(now) + 600_000) {
    throw invalid('/placedAt', 'in_the_future', 'placedAt is more than ten minutes ahead of the clock of the service.');
  }
  if (input.exchangeRate && currency === context.baseCurrency && Number(input.exchangeRate) !== 1) {
    throw invalid('/exchangeRate', 'base_currency', `The order is in the base currency, whose rate is 1.`);
  }
  const keep =
    before?.baseFactor && !input.exchangeRate && before.currency === currency && before.placedAt === placedAt;
  const rate = keep
    ? { exchangeRate: before.exchangeRate, baseFactor: before.baseFactor }
    : freeze({ currency, at: placedAt, given: input.exchangeRate });
  return {
    ...ids,
    version: (before?.version ?? 0) + 1,
    source: before?.source ?? ('source' in write ? write.source : ''),
    externalId: before?.externalId ?? ('externalId' in write ? write.externalId : ''),
    placedAt,
    currency,
    total: set(input.total, before?.total, 0),
    discount: set(input.discount, before?.discount, 0),
    shipping: set(input.shipping, before?.shipping, 0),
    fees: set(input.fees, before?.fees, 0),
    tax: set(input.tax, before?.tax, 0),
    taxIncluded: set(input.taxIncluded, before?.taxIncluded, false),
    rounding: set(input.rounding, before?.rounding, 0),
    paymentStatus: set(input.paymentStatus, before?.paymentStatus, 'pending'),
    fulfillmentStatus: set(input.fulfillmentStatus, before?.fulfillmentStatus, 'unfulfilled'),
    cancelledAt: set(input.cancelledAt, before?.cancelledAt, null),
    channel: set(input.channel, before?.channel, null),
    test: set(input.test, before?.test, false),
    ...rate,
    refunds: before?.refunds ?? 0,
    refunded: before?.refunded ?? 0,
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
}

function itemRows(items: OrderPatch['items'], row: OrderRow): OrderItemRow[] | undefined {
  return items?.map((item, index) => ({
    customerId: row.customerId,
    orderId: row.id,
    line: index,
    sku: item.sku,
    name: item.name ?? null,
    category: item.category ?? null,
    quantity: String(item.quantity),
    total: item.total,
    unitPrice: item.unitPrice ?? null,
    cost: item.cost ?? null,
  }));
}

function checkSum(row: OrderRow, items: OrderItemRow[]): void {
  const sum = orderTotal({ ...row, items });
  if (sum === BigInt(row.total)) return;
  throw invalid(
    '/total',
    'total_mismatch',
    `total is ${row.total}, but Σ items.total + shipping + fees + (taxIncluded ? 0 : tax) − discount + rounding is ${sum}.`,
  );
}

async function save(
  tx: Transaction,
  context: Context,
  changes: Change[],
  book: RefBook,
): Promise<Map<string, Inserted>> {
  const created = changes.filter(({ before }) => before === null).map(({ after }) => after);
  const updated = changes.flatMap(({ before, after }) => (before ? [{ before, after }] : []));
  if (updated.length > 0) {
    await updateOrders(tx, updated);
    await saveRefs(
      tx,
      updated.flatMap(({ before }) => before.references),
      updated.flatMap(({ after }) => after.references),
    );
  }
  const revived = await saveRevived(tx, created, book);
  const inserted = revived.length > 0 ? await insertOrders(tx, revived, context.reportingTimeZone) : [];
  if (updated.length > 0) {
    const touched = updated.flatMap(({ before, after }) => [before.row.customerId, after.row.customerId]);
    await recountCustomers(tx, touched, context.reportingTimeZone);
  }
  return new Map(inserted.map((row) => [row.id, row]));
}

/** Names of new orders that are tombstones are updated, not inserted. */
async function saveRevived(tx: Transaction, created: OrderState[], book: RefBook): Promise<OrderState[]> {
  const revived = created.flatMap(({ references }) => references.filter((ref) => book.isTombstone(ref)));
  if (revived.length === 0) return created;
  await saveRefs(tx, revived, revived);
  return created.map((state) => ({ ...state, references: state.references.filter((ref) => !book.isTombstone(ref)) }));
}

/** For `runBatch`. */
export function asOutcome(result: OrderOutcome | Problem): Outcome {
  if (result instanceof Problem) return result;
  const { id, created, applied, warnings } = result;
  return { id, created, applied, warnings };
}
