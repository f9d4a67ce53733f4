import { foreignKey, type PgColumn, type PgTable } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { type Field, type Fields, type InputShape, key, type OutputShape, recordId, smallint } from './fields.ts';
import { columnNamed, inputShape, outputShape, storedTable, type TableOf } from './table.ts';

/*
 * Lines of a record (items of an order): rows of a table of their own, written and returned with the record, in the
 * order in which they were sent.
 */

/** What a line has; several kinds may share it. */
export interface AnyLineSet {
  fields: Fields;
  input: z.ZodObject;
  output: z.ZodObject;
}

export interface LineSet<F extends Fields> extends AnyLineSet {
  fields: F;
  input: z.ZodObject<AsShape<InputShape<F>>, z.core.$strict>;
  output: z.ZodObject<AsShape<OutputShape<F>>, z.core.$strict>;
}

type AsShape<T> = T extends z.ZodRawShape ? T : never;

/** @param type its name in the documents, `OrderItem` */
export function lineSet<const F extends Fields>(type: string, fields: F): LineSet<F> {
  return {
    fields,
    input: z.strictObject(inputShape(fields)).meta({ id: `${type}Input` }) as LineSet<F>['input'], // its shape and more
    output: z.strictObject(outputShape(fields)).meta({ id: type }) as LineSet<F>['output'], // its shape and more
  };
}

export interface Line<S extends AnyLineSet = AnyLineSet, R extends boolean = boolean> {
  tableName: string;
  /** Name and heading in exports. */
  name: string;
  label: string;
  set: S;
  /** Whether they have to be sent; none otherwise. */
  required: R;
}

export type LinesOf = Readonly<Record<string, Line>>;

export type LineShapes<L extends LinesOf, Door extends 'input' | 'output'> = {
  [K in keyof L]: Door extends 'output'
    ? z.ZodArray<L[K]['set']['output']>
    : L[K]['required'] extends true
      ? z.ZodArray<L[K]['set']['input']>
      : z.ZodOptional<z.ZodArray<L[K]['set']['input']>>;
};

type LineFields<F extends Fields> = F & {
  customerId: Field<string, 'required', null, z.ZodUUID>;
  position: Field<number, 'required', null, z.ZodInt>;
};
export type LineTables<L extends LinesOf> = { [K in keyof L]: TableOf<LineFields<L[K]['set']['fields']>> };

export function lineSchema({ set, required }: Line, door: 'input' | 'output'): z.ZodType {
  if (door === 'output') return z.array(set.output);
  const sent = z.array(set.input).max(1000);
  return required ? sent : sent.optional();
}

/** The member of a line that refers to its record: `orderId`. */
export function parentMember(kind: string): string {
  return `${kind}Id`;
}

/** The table of the lines of a kind of record. */
export function linesTable(
  kind: string,
  parent: PgTable,
  { tableName, name, label, set }: Line,
  feed: { of: string; member: string },
): PgTable {
  const of = parentMember(kind);
  const fields: Fields = {
    customerId: key(),
    [of]: recordId().required(),
    /** Its place among the lines, from 0. */
    position: smallint(0, 32_767).required().named('line'),
    ...set.fields,
  };
  return storedTable(tableName, {
    name,
    label,
    access: 'owner',
    nature: 'fact',
    owner: 'customerId',
    partOf: { table: parent, by: of },
    key: ['customerId', of, 'position'],
    guard: null,
    feed: { ...feed, by: of },
    fields,
    extras: (t) => [
      foreignKey({
        columns: [t['customerId'] as PgColumn, t[of] as PgColumn], // its own members
        foreignColumns: [columnNamed(parent, 'customerId'), columnNamed(parent, 'id')],
        name: `${tableName}_${kind}`,
      }).onDelete('cascade'),
    ],
  });
}
