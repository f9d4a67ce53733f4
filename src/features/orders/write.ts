import { orderTotal } from '../../domain/money.ts';
import type { Outcome, Warning } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, Problem, settle } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { unknownCampaigns } from '../campaigns/queries.ts';
import {
  type FactChange,
  type FactWrite,
  noteChange,
  type Prepared,
  prepareFacts,
  saveNames,
  startFact,
} from '../customers/facts.ts';
import { leadsAmong, restateConversions } from '../leads/conversion.ts';
import { membersAmong, restateEarnings } from '../loyalty/earning.ts';
import { awaitRates, type Freeze, keptRate, rateFreezer, ratesWanted } from '../rates/freeze.ts';
import { planReferences } from '../references/write.ts';
import { recountCustomers } from '../rollups/queries.ts';
import type { OrderDocument, OrderPatch } from './model.ts';
import { touchedByChange } from './points.ts';
import {
  type Inserted,
  insertOrders,
  type OrderItemRow,
  type OrderRow,
  type OrderState,
  orderOrigin,
  orderStates,
  updateOrders,
} from './queries.ts';

/** One document to be written, and how. */
export type OrderWrite = FactWrite<OrderDocument, OrderPatch>;

export interface OrderOutcome {
  id: string;
  created: boolean;
  applied: boolean;
  warnings: Warning[];
  /** The state written and what the database made of it, when the order is new. */
  inserted?: { state: OrderState; row: Inserted };
}

const store = { kind: 'order', originOf: orderOrigin, states: orderStates } as const;

/** Plans and writes any number of orders, in index order; an item's fault is returned in its place. */
export async function writeOrders(
  tx: Transaction,
  context: Context,
  writes: OrderWrite[],
): Promise<(OrderOutcome | Problem)[]> {
  await awaitRates(tx, context, writes);
  const prepared = await prepareFacts(tx, context, writes, store);
  const stored = [...prepared.states.values()].map(({ row }) => ({ currency: row.currency, at: row.placedAt }));
  const freeze = await rateFreezer(
    tx,
    context,
    writes.flatMap(({ input }) => ratesWanted(input.placedAt, input, stored)),
  );
  const unknown = await unknownCampaigns(
    tx,
    writes.flatMap(({ input }) => input.campaignId ?? []),
  );
  const changes = new Map<string, FactChange<OrderState>>();
  const known: Known = { prepared, freeze, unknownCampaigns: unknown };
  const results = writes.map((write, index) => settle(() => plan(context, write, index, known, changes)));
  await prepared.saveOwners();
  const { created, updated } = await saveNames(tx, changes.values(), prepared.book);
  // Sent before the orders are written: what was known before settles what was due.
  const earning = membersAmong(tx, context, [...changes.values()].flatMap(touchedByChange));
  earning.catch(() => undefined);
  if (updated.length > 0) await updateOrders(tx, updated);
  const touched = updated.flatMap(({ before, after }) => [before.row.customerId, after.row.customerId]);
  const [members, rows, leads] = await Promise.all([
    earning,
    created.length > 0 ? insertOrders(tx, created, context.reportingTimeZone) : [],
    leadsAmong(tx, [...touched, ...created.map(({ row }) => row.customerId)]),
  ]);
  const inserted = new Map(rows.map((row) => [row.id, row]));
  await recountCustomers(tx, touched, context.reportingTimeZone);
  restateConversions(tx, context, leads);
  await restateEarnings(tx, context, members);
  return results.map((result) => {
    if (result instanceof Problem || !result.created) return result;
    const state = changes.get(result.id)?.after;
    const row = inserted.get(result.id);
    return state && row ? { ...result, inserted: { state, row } } : result;
  });
}

/** What was found out for all orders of a set at once. */
interface Known {
  prepared: Prepared<OrderState>;
  freeze: Freeze;
  unknownCampaigns: ReadonlySet<string>;
}

function plan(
  context: Context,
  write: OrderWrite,
  index: number,
  { prepared, freeze, unknownCampaigns: unknown }: Known,
  changes: Map<string, FactChange<OrderState>>,
): OrderOutcome {
  const start = startFact(prepared, write, index, 'order');
  const { before, customerId, incoming, owner, stale } = start;
  const warnings = owner?.warnings ?? [];
  if (before && stale) return { id: before.row.id, created: false, applied: false, warnings };
  const { input } = write;
  if (context.principal.confinement?.kind === 'customer') checkSelfService(input, before?.row ?? null);
  if (input.campaignId && unknown.has(input.campaignId)) {
    throw invalid('/campaignId', 'unknown_campaign', 'There is no such campaign.');
  }
  const id = before?.row.id ?? newId();
  const row = orderRow(context, write, before?.row ?? null, { id, customerId }, freeze);
  const items = itemRows(input.items, row) ?? (before?.items ?? []).map((item) => ({ ...item, customerId }));
  checkSum(row, items);
  if (row.refunded > row.total) {
    throw invalid('/total', 'total_below_refunds', `The refunds of the order come to ${row.refunded} already.`);
  }
  const references = planReferences(prepared.book, write.mode === 'patch' ? null : write, before?.references ?? [], {
    recordId: id,
    customerId,
    now: context.now,
    incoming,
  });
  noteChange(prepared, changes, start, { row, items, references });
  return { id, created: before === null, applied: true, warnings };
}

/** What a new order is until the shop says otherwise. */
const notYet = {
  paymentStatus: 'pending',
  fulfillmentStatus: 'unfulfilled',
  cancelledAt: null,
  campaignId: null,
  test: false,
};

/**
 * A customer's own token places orders and cancels those that are neither paid nor on their way. What is paid, delivered or
 * worth what in the base currency the shop says: points, and with them rewards, come from that.
 *
 * @throws Problem not_shared, with the member
 */
function checkSelfService(input: OrderPatch, before: OrderRow | null): void {
  const isOpen = before?.paymentStatus === 'pending' && before.fulfillmentStatus === 'unfulfilled';
  const { customerId: _, customer: __, channel: ___, ...said } = input;
  const guarded: Record<string, unknown> = before === null ? { ...notYet, exchangeRate: null } : before;
  for (const [member, value] of Object.entries(said)) {
    if (value === undefined || value === guarded[member] || (before === null && !(member in guarded))) continue;
    if (member === 'cancelledAt' && isOpen && before.cancelledAt === null) continue;
    const message = 'This is for the shop to say, not for the customer.';
    throw new Problem('not_shared', message, { errors: [{ pointer: `/${member}`, code: 'not_shared', message }] });
  }
}

function orderRow(
  context: Context,
  { mode, input, ...write }: OrderWrite,
  before: OrderRow | null,
  ids: { id: string; customerId: string },
  freeze: Freeze,
): OrderRow {
  const { now } = context;
  /** A member left out stays on PATCH, and takes its default otherwise. */
  const set = <T>(value: T | undefined, old: T | undefined, fallback: T): T =>
    value !== undefined ? value : mode === 'patch' && old !== undefined ? old : fallback;
  const placedAt = set(input.placedAt, before?.placedAt, now);
  const currency = set(input.currency, before?.currency, context.baseCurrency);
  checkNotAhead(placedAt, now, '/placedAt');
  const claim = { currency, at: placedAt, given: input.exchangeRate };
  const kept = keptRate(before && { ...before, at: before.placedAt }, claim, context.reportingTimeZone);
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
    campaignId: set(input.campaignId, before?.campaignId, null),
    test: set(input.test, before?.test, false),
    ...(kept ?? freeze(claim)),
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

/** For `runBatch`. */
export function asOutcome(result: OrderOutcome | Problem): Outcome {
  if (result instanceof Problem) return result;
  const { id, created, applied, warnings } = result;
  return { id, created, applied, warnings };
}
