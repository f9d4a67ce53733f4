import { sql } from 'drizzle-orm';
import { param, Retry, statement, type Transaction } from '../../platform/db/client.ts';
import { invalid, Problem } from '../../platform/errors.ts';
import { isErased } from '../../records/erased.ts';
import {
  type OwnerBook,
  type OwnerInput,
  type OwnerMatch,
  type Parent,
  waitingOwner,
} from '../../records/ownership.ts';
import {
  awaitNames,
  byName,
  deletedReference,
  type RefRow,
  refKey,
  refsByName,
} from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { ownersOf } from '../../records/statements.ts';
import { findAndLockOwners, lockOwners } from '../customers/queries.ts';
import { orderOwner, orderRecord } from './record.ts';

/*
 * Whose a refund is: that of its order. One that comes before its order is nobody's; the name of the order is noted as one that is
 * waited for, so whoever makes the order finds out without asking (records/references/queries.ts). What waits has no customer whose
 * lock would order its changes: they take turns.
 */

interface OrderInput extends OwnerInput {
  orderId?: string | undefined;
  order?: { source?: string | undefined; externalId: string } | undefined;
}

const turn = statement('waiting_refunds_turn', sql`select pg_advisory_xact_lock(hashtext(${param('name')}))`);

/** The turn to change refunds that wait. After the locks of customers. */
export async function lockWaiting(tx: Transaction): Promise<void> {
  await tx.all(turn, { name: 'waiting refunds' });
}

/** The order as a refund names it, with the source of the refund as the default. */
function nameOf({ order, factSource }: OrderInput): ReferenceInput | null {
  const source = order?.source ?? factSource;
  return order && source !== null ? { source, externalId: order.externalId } : null;
}

function matchOrders(inputs: OrderInput[]): OwnerMatch {
  const names = inputs.flatMap((input) => nameOf(input) ?? []);
  const ids = inputs.flatMap(({ orderId }) => orderId ?? []);
  return {
    names: [...new Map(names.map((name) => [refKey(name), { kind: 'order', ...name }])).values()],
    async lock(tx, given) {
      const owners = await ownersOf(tx, orderRecord, ids);
      const { found, locked } = await findAndLockOwners(tx, {
        ids: [...owners.values(), ...given.ids.filter((id) => id !== waitingOwner)],
        names: given.names,
        identities: [],
      });
      const orders = byName(found, 'order');
      const unknown = names.filter((name) => !isThere(orders.get(refKey(name))));
      const waits = [...given.ids, ...found.map(({ customerId }) => customerId)].includes(waitingOwner);
      if (waits || unknown.length > 0) {
        await lockWaiting(tx);
        const come = await refsByName(tx, 'order', unknown);
        if ([...come.values()].some(isThere)) throw new Retry('the order has come');
      }
      return {
        found,
        locked: new Set([...locked.keys(), waitingOwner]),
        decide: async (deciding, { now }) => orderBook(deciding, now, inputs, { owners, orders }),
      };
    },
  };
}

/** A record or a tombstone, and no name that is waited for. */
function isThere(row: RefRow | undefined): boolean {
  return row !== undefined && (row.recordId !== null || row.deletedAt !== null);
}

interface LookedUp {
  owners: ReadonlyMap<string, string>;
  orders: ReadonlyMap<string, RefRow>;
}

function orderBook(tx: Transaction, now: string, inputs: OrderInput[], known: LookedUp): OwnerBook {
  const awaited = new Map<string, ReferenceInput>();
  const found = inputs.map((input) => parentOf(input, known));
  const book: OwnerBook = {
    parents: found.flatMap((one) => (one instanceof Problem || one === null ? [] : [one])),
    owner(index) {
      const parent = found[index];
      if (parent instanceof Problem) throw parent;
      if (parent) {
        const members = { orderId: parent.id, awaitedSource: null, awaitedExternalId: null };
        return {
          customerId: parent.customerId,
          members,
          erased: isErased(tx, parent.customerId),
          warnings: [],
          admit() {},
        };
      }
      const name = inputs[index] && nameOf(inputs[index]);
      if (!name) throw new Error('What is not there has a name');
      return {
        customerId: waitingOwner,
        members: { orderId: null, awaitedSource: name.source, awaitedExternalId: name.externalId },
        erased: false,
        warnings: [
          {
            code: 'waiting_for_order',
            message:
              'There is no order with this reference yet: the refund waits for it, and counts nowhere until then.',
          },
        ],
        admit: () => void awaited.set(refKey(name), name),
      };
    },
    async save(saving: Transaction) {
      if (awaited.size > 0) await awaitNames(saving, 'order', [...awaited.values()], now);
    },
    // An order may be nobody's, and so are its refunds, under the owner row of the order.
    ownerOrNobody: (index) => book.owner(index),
    merge: () => Promise.resolve(),
  };
  return book;
}

/** The order that a refund names; null: it has not come yet. */
function parentOf(input: OrderInput, { owners, orders }: LookedUp): Parent | Problem | null {
  const { orderId, order } = input;
  if (orderId !== undefined && order !== undefined) {
    return invalid('/orderId', 'order_twice', 'Send orderId or order, not both.');
  }
  if (orderId !== undefined) {
    const customerId = owners.get(orderId);
    if (customerId !== undefined) return { customerId, id: orderId };
    return invalid(
      '/orderId',
      'unknown_order',
      'There is no order with this id: send the id of an order, or `order` with its reference.',
    );
  }
  if (order === undefined) {
    return invalid('/orderId', 'order_required', 'Send orderId, or order with the reference of the order.');
  }
  const name = nameOf(input);
  if (!name) {
    return invalid('/order/source', 'required', 'Send order.source: the system that order.externalId belongs to.');
  }
  const row = orders.get(refKey(name));
  if (row?.recordId && row.customerId) return { customerId: row.customerId, id: row.recordId };
  return row?.deletedAt ? deletedReference('/order/externalId') : null;
}

orderOwner.implement({
  match: matchOrders,
  async lock(tx, ids) {
    const all = [...ids];
    await lockOwners(
      tx,
      all.filter((id) => id !== waitingOwner),
    );
    if (all.includes(waitingOwner)) await lockWaiting(tx);
  },
});
