import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { csvLine } from '../../platform/csv.ts';
import { statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { LiveText } from '../../platform/live-text.ts';
import { idsIn, withRedirects } from '../../platform/merged-ids.ts';
import {
  type Context,
  noteShown,
  type Operation,
  type ReadOperation,
  readOperation,
  selectableOf,
} from '../../platform/operation.ts';
import { listedRecord } from '../../platform/personal.ts';
import { textSelect } from '../../platform/text-page.ts';
import { id, text } from '../../platform/values.ts';
import { membersOf } from '../../records/walk.ts';
import { campaignOperations } from '../campaigns/operations.ts';
import { getEventPosition } from '../change-feed/operations.ts';
import { conditionInput } from '../customers/condition-input.ts';
import { listCustomers } from '../customers/operations.ts';
import { interactionOperations } from '../interactions/operations.ts';
import { orderOperations } from '../orders/operations.ts';
import { refundOperations } from '../orders/refund-operations.ts';
import { returnOperations } from '../returns/operations.ts';

/** Rows read at a time. */
const atATime = 500;
/** Exports that run at the same time in one process: each holds a connection. */
const mostAtOnce = 3;
let running = 0;

const format = z.enum(['ndjson', 'csv']).optional().meta({
  description:
    'ndjson: a JSON object per line, as lists answer them. csv: a column per member, documents and lists as JSON. Default: ndjson.',
});

/** What an export has to say for itself, instead of the page that its list would answer. */
interface Exported {
  text: LiveText;
  headers: Readonly<Record<string, string>>;
}

interface Row {
  id: string;
  text: string;
  shown: string[];
}

/**
 * The export of what a list lists: with the same scope, filters, masks and access, as it is for whoever asks. It is of one instant, and is
 * read as slowly as the receiver takes it.
 */
function exportOf<L extends ReadOperation>(kind: string, list: L): ReadOperation {
  const { shape } = list.input;
  const name = `export${kind.charAt(0).toUpperCase()}${kind.slice(1)}`;
  const left = ['limit', 'after', 'count', 'cursors', 'sort'];
  const filters = Object.fromEntries(Object.entries(shape).filter(([name]) => !left.includes(name)));
  return readOperation({
    ...list,
    name,
    summary: `Export ${kind}`,
    description: `All ${kind} that \`GET /v1/${kind}\` lists with these filters, as of one instant, in the order of their ids, as a stream: however many there are, it is read as fast as you take it. An answer that breaks off ends without the closing chunk: go on with \`after\`, the id of the last whole record that you have; what follows is of a later instant. With the scope \`events:read\` the header \`Events-After\` has the position for \`GET /v1/events\` from which to follow the changes since. Text cells of CSV that a spreadsheet would run (\`=\`, \`+\`, \`-\`, \`@\`, tab) begin with an apostrophe, which imports take away. Over REST only.`,
    input: z.strictObject({
      ...filters,
      ...('filter' in filters && { filter: conditionText }),
      format,
      after: id.optional().meta({ description: 'Only records behind this id.' }),
    }),
    problems: ['not_supported'],
    document: {
      media: { 'application/x-ndjson': null, 'text/csv': null },
      live: true,
      of: (output) => output as unknown as Exported, // what `run` has put there
    },
    async run(context, input) {
      const { format: asked = 'ndjson', ...filter } = withCondition(input);
      const redirects = await context.redirects(context.db, [...idsIn(filter)]);
      const position = context.principal.has('events:read') ? (await getEventPosition.run(context, {})).position : null;
      const exported: Exported = {
        text: await liveExport(context, list, withRedirects(filter, redirects) as typeof filter, {
          name,
          isCsv: asked === 'csv',
        }),
        headers: {
          'Content-Type':
            asked === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson; charset=utf-8',
          'Content-Disposition': `attachment; filename="${kind}-${context.now.slice(0, 10)}.${asked}"`,
          'Cache-Control': 'no-store',
          ...(position !== null && { 'Events-After': position }),
        },
      };
      return exported as unknown; // see `document`
    },
  });
}

const conditionText = text(12_000).optional().meta({
  description: 'A tree of conditions as JSON, as `POST /v1/customers/search` takes it in its body.',
  example: '{"all":[{"field":"kind","is":"company"}]}',
});

/** @throws Problem where the tree is none */
function withCondition(input: Record<string, unknown>): Record<string, unknown> {
  if (typeof input['filter'] !== 'string') return input;
  const fault = (message: string) =>
    new Problem('invalid_input', `filter: ${message}`, {
      errors: [{ parameter: 'filter', code: 'invalid_json', message }],
    });
  let tree: unknown;
  try {
    tree = JSON.parse(input['filter']);
  } catch {
    throw fault('Send a tree of conditions as JSON.');
  }
  const parsed = conditionInput.safeParse(tree);
  if (!parsed.success) throw fault(parsed.error.issues[0]?.message ?? 'This is no tree of conditions.');
  return { ...input, filter: parsed.data };
}

interface How {
  /** Of the operation, for the audit. */
  name: string;
  isCsv: boolean;
}

const fetchRows = statement<Row>('fetch_export', sql`fetch ${sql.raw(String(atATime))} from export_rows`);

async function liveExport(
  context: Context,
  list: Operation,
  filter: Record<string, unknown>,
  how: How,
): Promise<LiveText> {
  const all = selectableOf(list)?.all;
  const select = textSelect(list, context);
  if (!all || !select) throw new Problem('not_supported', 'This cannot be exported with your token: read the list.');
  const { query, values } = await all(context, filter as never, select); // the filters of the list
  if (running >= mostAtOnce) {
    throw new Problem('unavailable', `${mostAtOnce} exports are under way. Try again when one of them has ended.`, {
      headers: { 'Retry-After': '10' },
    });
  }
  running += 1;
  const declare = statement('declare_export', sql`declare export_rows no scroll cursor for ${query}`, {
    unprepared: true,
  });
  return LiveText.of(async (write) => {
    try {
      await transaction(
        context.pool,
        async (tx) => {
          await tx.all(declare, values);
          await writeRows(tx, context, list, how, write);
        },
        { snapshot: true },
      );
    } finally {
      running -= 1;
    }
  });
}

async function writeRows(
  tx: Transaction,
  context: Context,
  list: Operation,
  { name, isCsv }: How,
  write: (text: string) => Promise<void>,
): Promise<void> {
  const record = listedRecord(list.output);
  const members = record ? membersOf(record).map(([name]) => name) : [];
  let next = tx.all(fetchRows);
  if (isCsv) {
    const rows = await next;
    await write(csvLine(members));
    next = Promise.resolve(rows);
  }
  for (;;) {
    const rows = await next;
    // Read while these are sent.
    next = rows.length < atATime ? Promise.resolve([]) : tx.all(fetchRows);
    next.catch(() => undefined);
    const shown = [...new Set(rows.flatMap((row) => row.shown))];
    if (shown.length > 0) noteShown({ name, scope: list.scope }, context, shown);
    await write(rows.map((row) => (isCsv ? asCsv(row, members) : `${row.text}\n`)).join(''));
    if (rows.length < atATime) return;
  }
}

function asCsv({ text: json }: Row, members: readonly string[]): string {
  const record = JSON.parse(json) as Record<string, unknown>; // an object, made by the database
  return csvLine(members.map((name) => record[name]));
}

/** Lists whose records Postgres makes as JSON. */
const lists: Readonly<Record<string, ReadOperation>> = {
  customers: listCustomers,
  orders: orderOperations.list,
  refunds: refundOperations.list,
  returns: returnOperations.list,
  interactions: interactionOperations.list,
  campaigns: campaignOperations.list,
} as unknown as Record<string, ReadOperation>; // their inputs differ, see `Operation`

export const exportOperations = Object.entries(lists).map(([kind, list]) => ({
  kind,
  operation: exportOf(kind, list),
}));
