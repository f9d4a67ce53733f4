import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { FactOrigin } from '../customers/facts.ts';
import { externalRefs } from '../references/model.ts';
import { insertRefs, type ReferenceTuple, type RefRow, referencesOf, toReferences } from '../references/queries.ts';
import { type Interaction, interactions } from './model.ts';

export type InteractionRow = typeof interactions.$inferSelect;

export interface InteractionRecord extends InteractionRow {
  referenceTuples: ReferenceTuple[] | null;
}

/** The select list of an interaction; for `toInteraction`. */
export const interactionColumns = sql`${fields(interactions)}, ${referencesOf(interactions.id)} as "referenceTuples"`;

export function toInteraction(record: InteractionRecord): Interaction {
  return {
    id: record.id,
    customerId: record.customerId,
    source: record.source,
    externalId: record.externalId,
    references: toReferences(record.referenceTuples),
    kind: record.kind,
    direction: record.direction,
    channel: record.channel,
    occurredAt: record.occurredAt,
    topic: record.topic,
    outcome: record.outcome,
    staff: record.staff,
    seconds: record.seconds,
    pages: record.pages,
    cost: record.cost,
    campaignId: record.campaignId,
    orderId: record.orderId,
    ticket: record.ticket,
    text: record.text,
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

const byId = statement<InteractionRecord>(
  'interaction_by_id',
  sql`select ${interactionColumns} from ${interactions} where ${interactions.id} = ${param('id')}::uuid`,
);

const byReference = statement<InteractionRecord>(
  'interaction_by_reference',
  sql`select ${interactionColumns} from ${interactions} where ${interactions.id} = (select record_id from ${externalRefs}
    where kind = 'interaction' and source = ${param('source')} and external_id = ${param('externalId')})`,
);

export function interactionById(db: Db, id: string): Promise<InteractionRecord | null> {
  return db.first(byId, { id });
}

export function interactionByReference(
  db: Db,
  ref: { source: string; externalId: string },
): Promise<InteractionRecord | null> {
  return db.first(byReference, ref);
}

const origin = statement<FactOrigin>(
  'interaction_origin',
  sql`select ${interactions.customerId} as "customerId", ${interactions.source} as source from ${interactions} where ${interactions.id} = ${param('id')}::uuid`,
);

/** Whose it is and from which source, or null; true until the next commit of somebody else, so lock and look again. */
export function interactionOrigin(db: Db, id: string): Promise<FactOrigin | null> {
  return db.first(origin, { id });
}

const owners = statement<{ id: string; customerId: string }>(
  'owners_of_interactions',
  sql`select ${interactions.id} as id, ${interactions.customerId} as "customerId" from ${interactions} where ${interactions.id} = any(${param('ids')}::uuid[])`,
);

/** Whose these interactions are, by their ids; what is not there is absent. */
export async function ownersOfInteractions(db: Db, ids: string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(owners, { ids: [...new Set(ids)] });
  return new Map(rows.map(({ id, customerId }) => [id, customerId]));
}

/** An interaction with its names, as stored: what a write starts from. */
export interface InteractionState {
  row: InteractionRow;
  references: RefRow[];
}

/** What is known after a write is what was written: nothing of an interaction is made by the database. */
export function fromState({ row, references }: InteractionState): Interaction {
  const referenceTuples = references.map(
    (ref): ReferenceTuple => [ref.source, ref.externalId, ref.versionKind, ref.versionValue],
  );
  return toInteraction({ ...row, referenceTuples });
}

const stateRows = statement<InteractionRow>(
  'interaction_rows',
  sql`select ${fields(interactions)} from ${interactions} where ${interactions.id} = any(${param('ids')}::uuid[])`,
);
const stateRefs = statement<RefRow>(
  'interaction_ref_rows',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[]) order by ${externalRefs.position}`,
);

/** The states of interactions whose customers are locked. */
export async function interactionStates(tx: Transaction, ids: string[]): Promise<Map<string, InteractionState>> {
  if (ids.length === 0) return new Map();
  const [rows, references] = await Promise.all([tx.all(stateRows, { ids }), tx.all(stateRefs, { ids })]);
  const states = new Map<string, InteractionState>(rows.map((row) => [row.id, { row, references: [] }]));
  for (const ref of references) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  return states;
}

const insertNew = statement(
  'insert_interactions',
  sql`with refs as (${insertRefs} order by n."source", n."externalId") ${insertRows(interactions, param('rows'))}`,
);

/** New interactions with their names: one statement for one or a thousand. */
export async function insertInteractions(tx: Transaction, states: InteractionState[]): Promise<void> {
  if (states.length === 0) return;
  await tx.all(insertNew, {
    rows: JSON.stringify(states.map(({ row }) => row)),
    newRefs: JSON.stringify(states.flatMap(({ references }) => references)),
  });
}

const mutable = [
  ...[
    'version',
    'kind',
    'direction',
    'channel',
    'occurred_at',
    'topic',
    'outcome',
    'staff',
    'seconds',
    'pages',
    'cost',
  ],
  ...['campaign_id', 'order_id', 'ticket', 'text', 'updated_at'],
];

const replace = statement(
  'replace_interactions',
  sql`with moved as (
      delete from interactions i using json_to_recordset(${param('moved')}::json) as n("customerId" uuid, "id" uuid)
        where i.customer_id = n."customerId" and i.id = n."id"
    )
    ${insertRows(interactions, param('rows'))}
    on conflict (customer_id, id) do update set ${sql.join(
      mutable.map((column) => sql`${sql.identifier(column)} = excluded.${sql.identifier(column)}`),
      sql`, `,
    )}`,
);

/** Changed interactions; one whose customer changed is inserted there and deleted here (never an UPDATE of the key). */
export async function replaceInteractions(
  tx: Transaction,
  changes: { before: InteractionState; after: InteractionState }[],
): Promise<void> {
  if (changes.length === 0) return;
  const moved = changes.filter(({ before, after }) => before.row.customerId !== after.row.customerId);
  await tx.all(replace, {
    rows: JSON.stringify(changes.map(({ after }) => after.row)),
    moved: JSON.stringify(moved.map(({ before: { row } }) => ({ customerId: row.customerId, id: row.id }))),
  });
}

const remove = statement(
  'delete_interaction',
  sql`with tombstones as (update external_refs set record_id = null, customer_id = null, deleted_at = ${param('now')}::timestamptz where record_id = ${param('id')}::uuid)
    delete from interactions where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid`,
);

/** Deletes an interaction; its references stay behind as tombstones. */
export async function deleteInteractionRow(
  tx: Transaction,
  row: { customerId: string; id: string },
  now: string,
): Promise<void> {
  await tx.all(remove, { customerId: row.customerId, id: row.id, now });
}
