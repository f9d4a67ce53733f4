import { type SQL, sql } from 'drizzle-orm';
import { elementOf, membersOf, type Schema } from '../records/walk.ts';
import type { Statement } from './db/client.ts';
import { maskingOf, viewerTag } from './masked-fields.ts';
import { type Context, fieldsOf, type Operation, type SelectAnswer, selectableOf } from './operation.ts';
import { isPersonal } from './personal.ts';
import type { RecordSource, Select, Selected, SelectedPage, SelectedRow } from './record-source.ts';

/*
 * Pages as JSON text: the database makes the records, masked for the caller, and their text goes to the client as it is. What a
 * page has otherwise, parsing and printing every record, is most of its cost.
 */

interface Viewer {
  principal: Context['principal'];
  personalData: boolean;
  fields: readonly string[];
}

/** For each operation, by kind of caller: what is selected of its records. */
const selects = new WeakMap<object, Map<string, Select | null>>();
/** Kinds of callers are few, but partners may each be allowed something else. */
const mostViewers = 100;

/** How a page is answered as text; null: an operation, or a mask, needs its records as values. */
export function textPage(operation: Operation, context: Context): SelectAnswer | null {
  const page = selectableOf(operation)?.page;
  const select = page ? textSelect(operation, context) : null;
  return page && select ? async (input) => answerOf(await page(context, input, select)) : null;
}

/** What is selected of an operation's records for the caller: `text`, and in `shown` whose personal data is in it. */
export function textSelect(operation: Operation, context: Context): Select | null {
  const fields = fieldsOf(context);
  const selectable = selectableOf(operation);
  if (!selectable) return null;
  const { principal, personalData } = context;
  const known = selects.get(operation) ?? new Map<string, Select | null>();
  selects.set(operation, known);
  const viewer = `${personalData}${viewerTag(principal, fields)}`;
  let select = known.get(viewer);
  if (select === undefined) {
    if (known.size >= mostViewers) known.clear();
    select = selectFor(selectable.source, { principal, personalData, fields });
    known.set(viewer, select);
  }
  return select;
}

function answerOf(found: SelectedPage) {
  const { data, page } = found;
  const shown = data.flatMap(({ shown: owners }) => owners as string[]); // an array of ids
  return {
    output: found,
    text: `{"data":[${data.map(({ text }) => text).join(',')}],"page":${JSON.stringify(page)}}`,
    customerIds: shown.length > 0 ? shown : null,
  };
}

function selectFor(source: RecordSource, viewer: Viewer): Select | null {
  const members = selectedOf(source.output, viewer);
  if (!members) return null;
  const personal = viewer.personalData
    ? membersOf(source.output).flatMap(([name, schema]) => (isPersonal(schema) ? [name] : []))
    : [];
  const shown = (row: SQL) => (personal.length > 0 ? source.ownerOf(row, personal) : sql`'{}'::uuid[]`);
  return {
    columns: (row) => sql`${source.object(row, members)}::text as text, ${shown(row)} as shown`,
    shapes: new Map<string, Statement<SelectedRow>>(),
    unprepared: () => false,
    values: {},
  };
}

/** All members of a document, those that the caller is not told as null; null where a mask needs the value. */
function selectedOf(document: Schema, viewer: Viewer): Selected[] | null {
  const found = membersOf(document).map((member): Selected | null => {
    const [as, schema] = member;
    const masking = maskingOf(document, member, viewer);
    if (masking === 'clear') return { as, constant: null };
    if (masking === 'none') return { as, member: as, capitals: false, nested: null };
    const element = elementOf(schema);
    const inside = element ?? schema;
    // Deeper than one document nothing is masked in the database.
    if (membersOf(inside).some((inner) => maskingOf(inside, inner, viewer) === 'partly')) return null;
    const members = selectedOf(inside, viewer);
    return members && { as, member: as, capitals: false, nested: { list: element !== null, members, sparse: true } };
  });
  return found.every((one) => one !== null) ? found : null;
}
