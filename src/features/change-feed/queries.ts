import { type SQL, sql } from 'drizzle-orm';
import { type Db, param, type Statement, statement, type Values } from '../../platform/db/client.ts';
import { declaredShares } from '../../platform/db/shares.ts';
import type { Principal } from '../../platform/principal.ts';
import { isSomebody } from '../../records/nobody.ts';
import { waitingOwner } from '../../records/ownership.ts';

export interface EventRow {
  seq: number;
  at: string;
  kind: string;
  action: string;
  recordId: string;
  version: number | null;
  customerId: string | null;
  changed: string[];
}

/** Whether a record has left the caller for a customer whom it may not see: to it, the record is gone. */
const left: Readonly<Record<NonNullable<Principal['scopedTo']>['kind'], () => SQL>> = {
  partner: () => {
    const { table, customer } = declaredShares();
    return sql`(e.reader = feed.everybody() and not exists (select from ${table} where ${customer} = e.customer_id))`;
  },
  customer: () => sql`e.customer_id is distinct from ${param('self')}::uuid`,
};

const filters: Readonly<Record<string, SQL>> = {
  positions: sql`e.seq = any(${param('positions')}::bigint[])`,
  customerId: sql`e.customer_id = ${param('customerId')}::uuid`,
  types: sql`told.kind || '.' || told.action = any(${param('types')}::text[])`,
};

const statements = new Map<string, Statement<EventRow>>();

function statementOf(scope: keyof typeof left | null, given: readonly string[]): Statement<EventRow> {
  const name = `${scope}|${given.join()}`;
  const known = statements.get(name);
  if (known) return known;
  const gone = scope === null ? sql`false` : left[scope]();
  const customer = (id: SQL) =>
    sql`case when ${isSomebody(id)} and ${id} <> ${sql.raw(`'${waitingOwner}'`)} then ${id} end`;
  const made = statement<EventRow>(
    'events_after',
    sql`select e.seq, e.at, told.* from feed.events e cross join lateral (select e.kind as kind,
        case when ${gone} then 'deleted' when e.action = 'touched' then 'updated' else e.action end as action, e.record_id as "recordId",
        case when not ${gone} then e.version end as version,
        case when ${gone} then e.former_customer_id else ${customer(sql`e.customer_id`)} end as "customerId",
        case when ${gone} then '{}' else e.changed end as changed) told
      where e.seq > ${param('after')}::bigint and e.seq <= ${param('until')}::bigint and e.kind = any(${param('kinds')}::text[]) and e.action not in ('none', 'kept')
        ${sql.join(
          given.map((filter) => sql`and ${filters[filter]}`),
          sql` `,
        )}
      order by e.seq limit ${param('limit')}::int`,
    // Kinds and types may match every event or none.
    { unprepared: true },
  );
  statements.set(name, made);
  return made;
}

export interface Wanted {
  after: number;
  until: number;
  kinds: readonly string[];
  types?: readonly string[] | undefined;
  customerId?: string | undefined;
  /** Only events of these positions. */
  positions?: readonly number[] | undefined;
  limit: number;
}

export function eventsAfter(db: Db, { scopedTo }: Principal, wanted: Wanted): Promise<EventRow[]> {
  const given = Object.keys(filters).filter((name) => wanted[name as keyof Wanted] !== undefined); // its own members
  const values: Values = { ...wanted, ...(scopedTo && { self: scopedTo.id }) };
  return db.all(statementOf(scopedTo?.kind ?? null, given), values);
}
