import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { GzippedBuffer } from '../../platform/gzipped-buffer.ts';
import { type Context, personalScope, readOperation, requireScope } from '../../platform/operation.ts';
import { tellMembers } from '../../records/fields.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { customerById } from '../customers/queries.ts';
import { customerExport, exportDocument, exportFormat, exportSchema } from './export-model.ts';
import { pageHeaders, pageWriter } from './export-page.ts';
import { closeHeld, type ExportWriter, fetchHeld, held, heldAtATime, type Section } from './held.ts';

/** Bytes of an export that GraphQL answers, as it holds the whole of it. */
const graphqlLimit = 16 * 1024 * 1024;

const former = statement<{ oldId: string }>(
  'aliases_of_customer',
  sql`select a.old_id as "oldId" from customer_aliases a where a.customer_id = ${param('id')}::uuid order by a.created_at, a.old_id`,
);

const headers = (format: z.output<typeof exportFormat>, exportedAt: string): Record<string, string> => ({
  ...(format === 'html' ? pageHeaders : { 'Content-Type': 'application/json; charset=utf-8' }),
  // Names nobody: downloads lie around.
  'Content-Disposition': `attachment; filename="customer-export-${exportedAt.slice(0, 10)}.${format}"`,
  'Cache-Control': 'no-store',
});

export const exportCustomer = readOperation({
  name: 'exportCustomer',
  scope: 'customers:export',
  partners: false,
  selfService: true,
  summary: 'Export everything held about a customer',
  description:
    'Every record and every member of it, as of one instant: profile, identities and references, consents with their history, orders, contacts, answers, points, what was merged into it, who has seen and changed it. `format=html` is a page to read and print. It is sent as a stream, whatever its size; over GraphQL it has at most 16 MB. Needs the scope `customers:pii` as well.',
  input: z.strictObject({
    ...targetParameters,
    format: exportFormat.optional().meta({ description: 'Default: json.' }),
  }),
  output: customerExport,
  document: {
    media: { 'application/json': exportDocument, 'text/html': null },
    // What `run` has put there.
    of: ({ format, exportedAt, text }) => ({
      text: text as unknown as GzippedBuffer,
      headers: headers(format, exportedAt),
    }),
  },
  problems: ['not_found'],
  async run(context, { format = 'json', ...target }) {
    requireScope(context, personalScope);
    const written = format === 'html' ? pageWriter() : jsonWriter();
    const found = await transaction(
      context.pool,
      async (tx) => {
        // Here a scoped caller finds itself, or nobody.
        const customer = await customerById(tx, await targetId(tx, 'customer', target));
        if (!customer) throw notFound('customer');
        const text = await tx.asService((service) => writeExport(service, context, customer, written));
        return { customerId: customer.id, text };
      },
      { snapshot: true },
    );
    if (context.origin.door === 'graphql' && found.text.size > graphqlLimit) {
      throw new Problem(
        'invalid_input',
        'The export has more than 16 MB: fetch it over REST, which sends it as a stream.',
        {
          errors: [{ parameter: 'id', code: 'too_large', message: 'Fetch this one over REST.' }],
        },
      );
    }
    // The gzipped buffer is told as the string it holds, on both doors.
    const text = found.text as unknown as string;
    return { customerId: found.customerId, exportedAt: context.now, format, text };
  },
});

function writeExport(
  tx: Transaction,
  { now, baseCurrency, principal }: Context,
  { id, erasedAt }: { id: string; erasedAt: string | null },
  writer: ExportWriter,
): Promise<GzippedBuffer> {
  return GzippedBuffer.of(async (write) => {
    const [counts, aliases] = await Promise.all([tx.first(held().countAll, { id }), tx.all(former, { id })]);
    const mergedFrom = aliases.map(({ oldId }) => oldId);
    await write(
      writer.begin({ customerId: id, exportedAt: now, baseCurrency, erasedAt, mergedFrom, counts: counts ?? {} }),
    );
    const tell = principal.scopedTo === null ? asItIs : withoutOthers([id, ...mergedFrom]);
    for (const section of held().sections) {
      const count = counts?.[section.name] ?? 0;
      await write(writer.section(section, count));
      const record: ExportWriter['record'] = (of, row, index) => writer.record(of, tell(of, row), index);
      if (count > 0) await writeRecords(tx, id, section, record, write);
      await write(writer.endSection(section));
    }
    await write(writer.end());
  });
}

type Row = Record<string, unknown>;

const asItIs = (_section: Section, row: Row): Row => row;

const ids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** Who asks for what is held about itself is not told of other customers, as everywhere (platform/masked-fields.ts). */
function withoutOthers(own: readonly string[]): (section: Section, row: Row) => Row {
  const others = (value: unknown) =>
    typeof value === 'string' && (value.match(ids) ?? []).some((id) => !own.includes(id));
  return (section, row) => {
    const hidden = section.naming.filter((member) => member !== 'occasion' && others(row[member]));
    if (hidden.length === 0) return row;
    // The other side of a transfer is the other's record.
    const related = 'relatedId' in row ? ['relatedId'] : [];
    return { ...row, ...Object.fromEntries([...hidden, ...related].map((member) => [member, null])) };
  };
}

async function writeRecords(
  tx: Transaction,
  id: string,
  section: Section,
  told: ExportWriter['record'],
  write: (text: string) => Promise<void>,
): Promise<void> {
  const declare = held().declare.get(section.name);
  if (!declare) throw new Error(`${section.name} cannot be read`);
  await tx.all(declare, { id });
  for (let index = 0; ; ) {
    const records = await tx.all(fetchHeld);
    let text = '';
    for (const record of records) {
      if (section.fields) tellMembers(section.fields, record);
      text += told(section, record, index);
      index += 1;
    }
    await write(text);
    if (records.length < heldAtATime) break;
  }
  await tx.all(closeHeld);
}

/** `exportDocument`, piece by piece. */
export function jsonWriter(): ExportWriter {
  let first = true;
  return {
    begin({ counts: _, ...head }) {
      const members = JSON.stringify({ schema: exportSchema, ...head });
      return `${members.slice(0, -1)},"sections":{`;
    },
    section({ name, label }, count) {
      const comma = first ? '' : ',';
      first = false;
      return `${comma}\n${JSON.stringify(name)}:{"label":${JSON.stringify(label)},"count":${count},"records":[`;
    },
    record: (_section, record, index) => `${index === 0 ? '' : ','}\n${JSON.stringify(record)}`,
    endSection: () => ']}',
    end: () => '}}\n',
  };
}
