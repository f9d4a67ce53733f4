import { type SQL, sql } from 'drizzle-orm';
import { jsonObject, type Nested, type RecordSource, type Selected } from '../platform/record-source.ts';
import { parentMember } from './lines.ts';
import { isSomebody } from './nobody.ts';
import type { Kind } from './record.ts';
import { statementsOf } from './statements.ts';
import { columnNamed, definitionOf } from './table.ts';

/*
 * The answers of a record kind as JSON that Postgres makes: what `readAnswer` makes of rows (statements.ts), as expressions.
 * Both are the same to every member, which test/records/json.test.ts sees of every kind.
 */

const made = new WeakMap<Kind, RecordSource | null>();

/** null: the rows of the kind are completed by code that has no SQL beside it. */
export function recordSource(kind: Kind): RecordSource | null {
  const known = made.get(kind);
  if (known !== undefined) return known;
  const source = kind.finish && !kind.finished ? null : makeSource(kind);
  made.set(kind, source);
  return source;
}

function makeSource(kind: Kind): RecordSource {
  const { table, type, output } = kind;
  const { owner } = definitionOf(table);
  const id = columnNamed(table, 'id');
  const shown = owner === 'id' ? sql`and ${isSomebody(sql`${id}`)}` : sql``;
  return {
    type,
    output,
    has: (member) => member in output.shape,
    object: (row, members) => jsonObject(members.map((one) => [one.as, memberOf(kind, row, one)])),
    ownerOf(row, members) {
      if (owner === null) return sql`array[]::uuid[]`;
      const all = sql`array[${row}.${sql.identifier(owner)}]`;
      // What is no column is made of other rows: it is taken to have a value.
      if (members.some((member) => !kind.fields[member])) return all;
      const given = members.map((member) => sql`${row}.${sql.identifier(member)} is not null`);
      return sql`case when ${sql.join(given, sql` or `)} then ${all} else '{}' end`;
    },
    byId: (wanted) => sql`select ${statementsOf(kind).columns} from ${table} where ${id} = ${wanted} ${shown}`,
  };
}

function memberOf(kind: Kind, row: SQL, selected: Selected): SQL {
  if ('made' in selected) return selected.made(row);
  if ('constant' in selected) return constant(selected.constant);
  const { member, capitals, nested } = selected;
  const line = kind.lines[member];
  if (nested && line) return linesOf(kind, row, member, nested.members);
  const value = storedMember(kind, row, member);
  if (nested) return nestedIn(sql`(${value})::json`, nested);
  return capitals ? sql`upper(${value})` : value;
}

/** @param value a word of ours: a name of a type */
function constant(value: string | null): SQL {
  return value === null ? sql`null::text` : sql.raw(`'${value.replaceAll("'", "''")}'::text`);
}

/** A member as clients read it, of a row with the columns of the answer. */
function storedMember({ table, fields, finished, owner }: Kind, row: SQL, member: string): SQL {
  const finish = finished?.[member];
  if (finish) return finish(row);
  const stored = sql`${row}.${sql.identifier(member)}`;
  const spec = fields[member]?.spec;
  if (!spec) return stored; // JSON already: lines, references and what the kind selects besides
  if (member === 'customerId' && owner?.optional) return sql`case when ${isSomebody(stored)} then ${stored} end`;
  return spec.tellSql?.(stored) ?? answeredAs(columnNamed(table, member).getSQLType(), stored);
}

/** As the driver decodes it: instants in one form, exact decimals as text. */
function answeredAs(type: string, stored: SQL): SQL {
  if (type.startsWith('timestamp')) return instantText(stored);
  return type === 'numeric' ? sql`${stored}::text` : stored;
}

/** `canonicalInstant` in SQL: milliseconds, and microseconds where there are any. Sessions are in UTC. */
export function instantText(instant: SQL): SQL {
  return sql`replace(to_char(${instant}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '000Z', 'Z')`;
}

function linesOf(kind: Kind, row: SQL, member: string, members: readonly Selected[]): SQL {
  const table = kind.lineTables[member];
  if (!table) throw new RangeError(`There is no table of ${member}`);
  const columns = members.map((one) => {
    const value =
      'member' in one
        ? lineValue(sql`i.${sql.identifier(columnNamed(table, one.member).name)}`, one.capitals)
        : constant('constant' in one ? one.constant : null);
    return sql`${value} as ${sql.identifier(one.as)}`;
  });
  const of = columnNamed(table, parentMember(kind.name)).name;
  return sql`array_to_json(array(select row_to_json(l) from (select ${sql.join(columns, sql`, `)} from ${table} i
    where i.customer_id = ${row}."customerId" and i.${sql.identifier(of)} = ${row}.id order by i.line) l))`;
}

function lineValue(column: SQL, capitals: boolean): SQL {
  return capitals ? sql`upper(${column})` : column;
}

/** Members of a JSON object, or of each object of a JSON list; null stays null. */
function nestedIn(value: SQL, { list, members, sparse }: Nested): SQL {
  const object = sparse ? withoutCleared(members) : built(members);
  if (list) {
    return sql`(select case when given.v is not null then array_to_json(array(select ${object} from json_array_elements(given.v) as e(v))) end
      from (select ${value} as v offset 0) given)`;
  }
  return sql`(select ${object} from (select ${value} as v offset 0) e where json_typeof(e.v) = 'object')`;
}

function built(members: readonly Selected[]): SQL {
  const pairs = members.map((one) => sql`${constant(one.as)}, ${nestedValue(one)}`);
  return sql`json_build_object(${sql.join(pairs, sql`, `)})`;
}

function withoutCleared(members: readonly Selected[]): SQL {
  const cleared = members.flatMap((one) => ('constant' in one ? [constant(one.as)] : []));
  return sql`(select coalesce(json_object_agg(m.key, case when m.key = any(array[${sql.join(cleared, sql`, `)}]::text[]) then null else m.value end), '{}')
    from json_each(e.v) m)`;
}

function nestedValue(selected: Selected): SQL {
  if ('made' in selected) throw new RangeError('Inside of a document nothing is made of rows');
  if ('constant' in selected) return constant(selected.constant);
  const { member, capitals, nested } = selected;
  const name = constant(member);
  if (nested) return nestedIn(sql`(e.v -> ${name})`, nested);
  return capitals ? sql`upper(e.v ->> ${name})` : sql`e.v -> ${name}`;
}
