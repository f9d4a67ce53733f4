import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import type { FactOrigin } from '../customers/facts.ts';
import { externalRefs } from '../references/model.ts';
import { insertRefs, type ReferenceTuple, type RefRow, referencesOf, toReferences } from '../references/queries.ts';
import { type ProductReturn, returnItems, returns } from './model.ts';

type StoredReturn = typeof returns.$inferSelect;
/** What is written of a return; its base total follows from it. */
export type ReturnRow = Omit<StoredReturn, 'baseTotal'>;
export type ReturnItemRow = typeof returnItems.$inferSelect;

export interface ReturnRecord extends Omit<StoredReturn, 'baseFactor'> {
  items: ProductReturn['items'] | null;
  referenceTuples: ReferenceTuple[] | null;
}

/** The select list of a return; for `toReturn`. */
export const returnColumns = sql`${fields(returns, ['baseFactor'])},
  (select json_agg(json_build_object('sku', i.sku, 'quantity', i.quantity, 'total', i.total) order by i.line)
    from return_items i where i.customer_id = ${returns.customerId} and i.return_id = ${returns.id}) as items,
  ${referencesOf(returns.id)} as "referenceTuples"`;

export function toReturn(record: ReturnRecord): ProductReturn {
  return {
    id: record.id,
    customerId: record.customerId,
    source: record.source,
    externalId: record.externalId,
    references: toReferences(record.referenceTuples),
    returnedAt: record.returnedAt,
    currency: record.currency,
    total: record.total,
    reason: record.reason,
    items: record.items ?? [],
    exchangeRate: record.exchangeRate,
    baseTotal: record.baseTotal,
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

const byId = statement<ReturnRecord>(
  'return_by_id',
  sql`select ${returnColumns} from ${returns} where ${returns.id} = ${param('id')}::uuid`,
);

export function returnById(db: Db, id: string): Promise<ReturnRecord | null> {
  return db.first(byId, { id });
}

const origin = statement<FactOrigin>(
  'return_origin',
  sql`select ${returns.customerId} as "customerId", ${returns.source} as source from ${returns} where ${returns.id} = ${param('id')}::uuid`,
);

/** Whose return it is and from which source, or null; true until the next commit of somebody else, so lock and look again. */
export function returnOrigin(db: Db, id: string): Promise<FactOrigin | null> {
  return db.first(origin, { id });
}

/** A return with what it owns, as stored: what a write starts from. */
export interface ReturnState {
  row: ReturnRow;
  items: ReturnItemRow[];
  references: RefRow[];
}

const stateRows = statement<ReturnRow>(
  'return_rows',
  sql`select ${fields(returns, ['baseTotal'])} from ${returns} where ${returns.id} = any(${param('ids')}::uuid[])`,
);
const stateItems = statement<ReturnItemRow>(
  'return_item_rows',
  sql`select ${fields(returnItems)} from ${returnItems} join ${returns} on ${returns.customerId} = ${returnItems.customerId} and ${returns.id} = ${returnItems.returnId}
    where ${returns.id} = any(${param('ids')}::uuid[]) order by ${returnItems.returnId}, ${returnItems.line}`,
);
const stateRefs = statement<RefRow>(
  'return_ref_rows',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[]) order by ${externalRefs.position}`,
);

/** The states of returns whose customers are locked. */
export async function returnStates(tx: Transaction, ids: string[]): Promise<Map<string, ReturnState>> {
  if (ids.length === 0) return new Map();
  const [rows, items, references] = await Promise.all([
    tx.all(stateRows, { ids }),
    tx.all(stateItems, { ids }),
    tx.all(stateRefs, { ids }),
  ]);
  const states = new Map<string, ReturnState>(rows.map((row) => [row.id, { row, items: [], references: [] }]));
  for (const item of items) states.get(item.returnId)?.items.push(item);
  for (const ref of references) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  return states;
}

const insert = statement(
  'insert_returns',
  sql`with rows as (${insertRows(returns, param('rows'))}), refs as (${insertRefs} order by n."source", n."externalId")
    ${insertRows(returnItems, param('items'))}`,
);

/** New returns with their items and names, whatever their number. */
export async function insertReturns(tx: Transaction, states: ReturnState[]): Promise<void> {
  if (states.length === 0) return;
  await tx.all(insert, {
    rows: JSON.stringify(states.map(({ row }) => row)),
    items: JSON.stringify(states.flatMap(({ items }) => items)),
    newRefs: JSON.stringify(states.flatMap(({ references }) => references)),
  });
}

const removeRows = statement(
  'remove_returns',
  sql`delete from returns r using ${rowsOf(returns, param('rows'), 'n')} where r.customer_id = n."customerId" and r.id = n."id"`,
);

/** Changed returns: taken out and put in again, under whichever customer they are now. Nothing hangs on them. */
export async function replaceReturns(
  tx: Transaction,
  changes: { before: ReturnState; after: ReturnState }[],
): Promise<void> {
  if (changes.length === 0) return;
  await tx.all(removeRows, { rows: JSON.stringify(changes.map(({ before }) => before.row)) });
  await insertReturns(
    tx,
    changes.map(({ after }) => ({ ...after, references: [] })),
  );
}

const remove = statement(
  'delete_return',
  sql`with tombstones as (update external_refs set record_id = null, customer_id = null, deleted_at = ${param('now')}::timestamptz where record_id = ${param('id')}::uuid)
    delete from returns where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid`,
);

/** Deletes a return; its references stay behind as tombstones. */
export async function deleteReturnRow(
  tx: Transaction,
  row: { customerId: string; id: string },
  now: string,
): Promise<void> {
  await tx.all(remove, { customerId: row.customerId, id: row.id, now });
}
