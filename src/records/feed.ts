import { getTableName } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { firstNobody } from './nobody.ts';
import { columnNamed, type FeedRecords, type StoredTable, storedTables } from './table.ts';

/*
 * The change feed is written by triggers that are made from the definitions: whatever changes a row, by whichever statement,
 * changes the feed in the same transaction. One statement costs one insert, however many rows it changes. A transaction has one
 * event per record: later changes of it join the first one (the ON CONFLICT parts).
 *
 * Names of members are kept, never values.
 */

/**
 * What becomes of a record. `touched`: a part of it changed, which is an `updated`. `none`: it came and went; `kept`: it went and came back in
 * the same version. These two are not told.
 */
type Action = 'created' | 'updated' | 'deleted' | 'erased' | 'touched' | 'none' | 'kept';

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;
const action = (name: Action) => quote(name);

/** Tables whose rows are records, with the kind. */
export function feedKinds(): (StoredTable & { feed: FeedRecords })[] {
  return storedTables()
    .filter((stored): stored is StoredTable & { feed: FeedRecords } => isRecords(stored.feed))
    .sort((a, b) => (a.feed.kind < b.feed.kind ? -1 : 1));
}

function isRecords(feed: StoredTable['feed']): feed is FeedRecords {
  return feed !== 'none' && 'kind' in feed;
}

/** The statements that have a table write to the feed. */
export function feedTriggers(stored: StoredTable): string[] {
  const { feed } = stored;
  if (feed === 'none') return [];
  if ('kind' in feed) return recordTriggers(stored, feed);
  return 'marks' in feed ? markTriggers(stored, feed) : partTriggers(stored, feed);
}

type Event = 'insert' | 'update' | 'delete';

const transitions: Readonly<Record<Event, string>> = {
  insert: 'new table as new_rows',
  update: 'old table as old_rows new table as new_rows',
  delete: 'old table as old_rows',
};

/** A trigger for each statement that does this to the table. */
function trigger(table: PgTable, event: Event, noting: string): string[] {
  const name = getTableName(table);
  const called = `feed.${event}_${name}`;
  // Old and new rows are joined: without statistics of them, a nested loop would be taken for a thousand rows as for one.
  const joins = event === 'update' ? ' set enable_nestloop = off' : '';
  return [
    `create or replace function ${called}() RETURNS trigger language plpgsql security definer set search_path = public, pg_temp${joins} as $$ begin
      if not exists (select from ${event === 'delete' ? 'old_rows' : 'new_rows'}) then return null; end if;
      perform feed.open(); ${noting} return null; end $$`,
    `create or replace trigger feed_${event} after ${event} on ${name} referencing ${transitions[event]} for each statement execute function ${called}()`,
  ];
}

interface Noted {
  kind: string;
  id: string;
  action: string;
  version: string;
  customer: string;
  former?: string;
  changed?: string;
  reader?: string;
}

/** Adds an event per row of `from`; what the transaction has noted of the record already is brought to date by `joined`. */
function note(from: string, noted: Noted, joined: string): string {
  const { kind, id, version, customer, former = 'null::uuid', changed = "'{}'::text[]", reader } = noted;
  return `insert into feed.events as e (at, xid, kind, record_id, reader, seq, action, version, customer_id, former_customer_id, changed)
    select now(), pg_current_xact_id(), r.kind, r.id, r.reader, nextval('feed.positions'), r.action, r.version, r.customer_id, r.former, r.changed
    from (select ${kind} as kind, ${id} as id, ${reader ?? 'feed.everybody()'} as reader, ${noted.action} as action, ${version} as version,
      ${customer} as customer_id, ${former} as former, ${changed} as changed from ${from}) r
    on conflict (at, xid, kind, record_id, reader) do update set ${joined};`;
}

const union = `(select coalesce(array_agg(distinct m order by m), '{}') from unnest(e.changed || excluded.changed) m)`;

function recordTriggers(stored: StoredTable, { kind, madeOf = {} }: FeedRecords): string[] {
  const { table, fields, owner, key } = stored;
  const column = (member: string) => `"${columnNamed(table, member).name}"`;
  const idMembers = 'id' in fields ? ['id'] : key;
  const noted = (row: string): Omit<Noted, 'action'> => ({
    kind: quote(kind),
    id: idMembers.map((member) => `${row}.${column(member)}::text`).join(" || '/' || "),
    version: 'version' in fields ? `${row}.version` : 'null::int',
    customer: owner === null ? 'null::uuid' : `${row}.${column(owner)}`,
  });
  // Rows that own records of nobody are no records.
  const shown = (row: string) => (owner === 'id' ? ` where ${row}.id < '${firstNobody}'` : '');
  const answered = Object.entries(fields).filter(([, { spec }]) => spec.output !== null);
  const stamps = new Set(['id', 'version', 'createdAt', 'updatedAt', ...key.filter((member) => member !== owner)]);
  const told: [member: string, columns: readonly string[]][] = [
    ...answered.flatMap(([member]): [string, string[]][] => (stamps.has(member) ? [] : [[member, [member]]])),
    ...Object.entries(madeOf),
  ];
  const differ = (members: readonly string[]) =>
    members.map((member) => `n.${column(member)} is distinct from o.${column(member)}`).join(' or ');
  const changed = `array_remove(array[${told
    .map(([member, columns]) => `case when ${differ(columns)} then ${quote(member)} end`)
    .join(', ')}]::text[], null)`;
  const compared = [...new Set([...answered.map(([member]) => member), ...told.flatMap(([, columns]) => columns)])];
  const same = key.map((member) => `o.${column(member)} = n.${column(member)}`).join(' and ');
  const erased =
    'erasedAt' in fields ? `when o.erased_at is null and n.erased_at is not null then ${action('erased')}` : '';
  const updated = erased ? `case ${erased} else ${action('updated')} end` : action('updated');
  const moved = 'e.customer_id is distinct from excluded.customer_id';
  return [
    ...trigger(
      table,
      'insert',
      // Who moves a record inserts it under its new owner, before or after it is deleted under the old one.
      note(
        `new_rows n${shown('n')}`,
        { ...noted('n'), action: action('created') },
        `action = case when e.action in (${action('touched')}, ${action('none')}) then ${action('created')}
          when e.action = ${action('deleted')} and not (${moved}) and e.version is not distinct from excluded.version then ${action('kept')}
          when e.action = ${action('deleted')} then ${action('updated')} else e.action end,
        version = excluded.version, customer_id = excluded.customer_id,
        former_customer_id = case when ${moved} and e.action <> ${action('none')} then e.customer_id else e.former_customer_id end,
        changed = case when e.action in (${action('touched')}, ${action('none')}) then '{}'
          when ${moved} and e.action in (${action('deleted')}, ${action('updated')}) then array['customerId'] || array_remove(e.changed, 'customerId') else e.changed end`,
      ),
    ),
    ...trigger(
      table,
      'update',
      note(
        `new_rows n join old_rows o on ${same} where (${differ(compared)})${shown('n').replace(' where', ' and')}`,
        {
          ...noted('n'),
          action: updated,
          ...(owner !== null && {
            former: `case when n.${column(owner)} is distinct from o.${column(owner)} then o.${column(owner)} end`,
          }),
          changed: erased ? `case ${erased.replace(action('erased'), "'{}'")} else ${changed} end` : changed,
        },
        `action = case when e.action in (${action('touched')}, ${action('kept')}) then excluded.action when excluded.action = ${action('erased')} then ${action('erased')} else e.action end,
        version = excluded.version, customer_id = excluded.customer_id,
        former_customer_id = coalesce(excluded.former_customer_id, e.former_customer_id),
        changed = case when ${action('created')} = e.action or ${action('erased')} in (e.action, excluded.action) then '{}'
          when excluded.former_customer_id is not null then excluded.changed else ${union} end`,
      ),
    ),
    ...trigger(
      table,
      'delete',
      note(
        `old_rows o${shown('o')}`,
        { ...noted('o'), action: action('deleted') },
        `action = case when ${moved} then case when e.action = ${action('created')} and e.former_customer_id is distinct from excluded.customer_id then ${action('updated')} else e.action end
          when e.action in (${action('created')}, ${action('none')}) then ${action('none')} else ${action('deleted')} end,
        version = case when ${moved} then e.version else excluded.version end,
        former_customer_id = case when ${moved} then excluded.customer_id else e.former_customer_id end,
        changed = case when not (${moved}) then '{}' when e.action = ${action('created')} and e.former_customer_id is distinct from excluded.customer_id then array['customerId'] else e.changed end`,
      ),
    ),
  ];
}

type Part = Exclude<StoredTable['feed'], 'none' | FeedRecords | { marks: unknown }>;

function partTriggers({ table, fields, owner, key }: StoredTable, feed: Part): string[] {
  const column = (member: string) => `"${columnNamed(table, member).name}"`;
  const kindOf = (row: string) => ('of' in feed ? `${quote(feed.of)}::text` : `${row}.${column(feed.kindIn)}`);
  const customerOf = (row: string) => (owner === null ? 'null::uuid' : `${row}.${column(owner)}`);
  const by = column(feed.by);
  const shown = feed.by === owner ? ` and r.${by} < '${firstNobody}'` : '';
  const touched = (rows: string) =>
    note(
      // A new record is new with all its parts: this is what most rows are.
      `(select distinct on (${kindOf('r')}, r.${by}) r.* from (${rows}) r where r.${by} is not null${shown}
        and not exists (select from feed.events e where e.at = now() and e.xid = pg_current_xact_id() and e.kind = ${kindOf('r')}
          and e.record_id = r.${by}::text and e.reader = feed.everybody() and e.action = ${action('created')})) p`,
      {
        kind: kindOf('p'),
        id: `p.${by}::text`,
        action: action('touched'),
        version: 'null::int',
        customer: customerOf('p'),
        ...(feed.member !== undefined && { changed: `array[${quote(feed.member)}]` }),
      },
      // With a record that moves to another customer all its parts do.
      `action = case e.action when ${action('kept')} then ${action('touched')} else e.action end,
      changed = case when e.former_customer_id is not null or e.action in (${action('created')}, ${action('deleted')}, ${action('erased')}, ${action('none')}) then e.changed else ${union} end`,
    );
  const same = key.map((member) => `o.${column(member)} = n.${column(member)}`).join(' and ');
  const [first = ''] = key;
  // The owner of a part is that of its record, whose own event tells where it went.
  const differ = Object.keys(fields)
    .filter((member) => member !== owner || member === feed.by)
    .map((member) => `n.${column(member)} is distinct from o.${column(member)}`)
    .join(' or ');
  return [
    ...trigger(table, 'insert', touched('select * from new_rows')),
    ...trigger(
      table,
      'update',
      touched(`select n.* from new_rows n left join old_rows o on ${same} where ${differ}
        union all select o.* from old_rows o left join new_rows n on ${same} where n.${column(first)} is null or n.${by} is distinct from o.${by}`),
    ),
    ...trigger(table, 'delete', touched('select * from old_rows')),
  ];
}

type Mark = Extract<StoredTable['feed'], { marks: unknown }>;

function markTriggers({ table, owner }: StoredTable, { of, by, marks, reader }: Mark): string[] {
  const column = (member: string) => `"${columnNamed(table, member).name}"`;
  const [begun, ended] = marks;
  const noted = (row: string): Omit<Noted, 'action'> => ({
    kind: quote(of),
    id: `${row}.${column(by)}::text`,
    version: 'null::int',
    customer: `${row}.${column(owner ?? by)}`,
    ...(reader !== undefined && { reader: `${row}.${column(reader)}` }),
  });
  // What began and ended at once did not happen.
  const joined = (opposite: string) =>
    `action = case when e.action = ${quote(opposite)} then ${action('none')} else excluded.action end, changed = '{}', customer_id = excluded.customer_id`;
  return [
    ...trigger(table, 'insert', note('new_rows n', { ...noted('n'), action: quote(begun) }, joined(ended))),
    ...trigger(table, 'delete', note('old_rows o', { ...noted('o'), action: quote(ended) }, joined(begun))),
  ];
}
