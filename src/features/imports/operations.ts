import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { GzippedBuffer } from '../../platform/gzipped-buffer.ts';
import { newId } from '../../platform/ids.ts';
import {
  type Context,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { operationsOf } from '../../records/operations.ts';
import { answered, answeredMembers } from '../../records/table.ts';
import { writtenBy } from '../../records/write.ts';
import { getSurvey } from '../surveys/operations.ts';
import { importing } from './kinds.ts';
import { checkMapping } from './mapping.ts';
import { getImport, type ImportRow, insertImport, setStatus, unfinished } from './queries.ts';
import { receiveImport } from './receive.ts';
import {
  type Import,
  importErrors,
  importFields,
  importFormat,
  importKind,
  importMappingRecord,
  importOutput,
  importStatus,
  imports,
  type Mapping,
  mapping as mappingSchema,
} from './record.ts';

const guarded = { partners: false, selfService: false };

writtenBy(importMappingRecord, {
  plan(next) {
    checkMapping(importing(next.kind).item, next.mapping ?? {});
    return next;
  },
});

export const mappingOperations = operationsOf(importMappingRecord, {
  texts: {
    create: {
      summary: 'Save a mapping',
      description: 'Says which columns of a file are which members; `mappingId` of an import names it.',
    },
    read: { summary: 'Read a mapping' },
    list: { summary: 'List mappings' },
    update: { summary: 'Change a mapping', description: 'Imports that have begun keep what it said then.' },
    delete: { summary: 'Delete a mapping' },
  },
});

/** In a query the values are texts: names of columns, or JSON. */
const mappingInQuery = z
  .record(z.string().max(255), z.string().max(2_000))
  .optional()
  .meta({
    description:
      'Where members come from, by their paths: `mapping.externalId=Order`. The value is the name of a column, or JSON such as `{"value":"EUR"}` or `{"column":"Total","as":"amount"}` (see ImportMapping).',
    example: { externalId: 'Order', currency: '{"value":"EUR"}' },
  });

export const createImport = writeOperation({
  name: 'createImport',
  scope: 'imports:write',
  ...guarded,
  summary: 'Import a file',
  description: `Takes a file of any length as the body: NDJSON (a JSON object per line) or CSV with a header, gzipped or not. Each line is an item of the batch of its kind and is written by the same rules, in the background: read the import until its \`status\` is \`finished\`. The scope that the batch needs is needed as well.

A line that is refused hurts no other: \`GET /v1/imports/{id}/errors\` lists the faults by line. A line without a \`sourceVersion\` that says what is stored already is \`unchanged\`, so a file can be sent again. A file that breaks off, or whose header does not fit, is refused as a whole, and nothing of it is written. Send it in parts if it has more than 16 GB; lines have at most 1 MB.

A retry under the same Idempotency-Key is answered with the import of the first call, as it is now. Uploads are deleted as they are written, and after 24 hours at the latest; errors are kept for 7 days. Over REST only.`,
  input: z.strictObject({
    ...writeParameters,
    dryRun: z.boolean().optional().meta({
      description:
        'Check every line, count the outcomes, and write nothing. Each thousand lines by itself: a line does not see what earlier thousands would have written.',
    }),
    kind: importKind,
    format: importFormat.optional().meta({ description: 'Default: that of the Content-Type.' }),
    mappingId: id.optional().meta({ description: 'A saved mapping (`/v1/import-mappings`).' }),
    mapping: mappingInQuery,
    surveyId: id.optional().meta({ description: 'With `survey_responses`: the survey.' }),
  }),
  output: importOutput,
  idempotency: 'accepted',
  created: () => true,
  keepsDryRun: true,
  problems: ['broken_upload', 'not_found', 'unsupported_media_type'],
  upload: {
    media: {
      'application/x-ndjson': { format: 'ndjson' },
      'application/ndjson': { format: 'ndjson' },
      'application/jsonl': { format: 'ndjson' },
      'text/csv': { format: 'csv' },
      'application/gzip': {},
      'application/octet-stream': {},
    },
    receive: receiveImport,
  },
  async run(tx, context, { kind, format, mappingId, mapping, surveyId, dryRun = false }) {
    const { operation, item } = importing(kind);
    requireScope(context, operation.scope);
    if (format === undefined) {
      const message = 'Say the format: ndjson or csv.';
      throw new Problem('invalid_input', message, { errors: [{ parameter: 'format', code: 'required', message }] });
    }
    if ((surveyId !== undefined) !== (kind === 'survey_responses')) {
      const message = 'Send surveyId with survey_responses, and with no other kind.';
      throw new Problem('invalid_input', message, {
        errors: [{ parameter: 'surveyId', code: surveyId === undefined ? 'required' : 'not_applicable', message }],
      });
    }
    if (surveyId !== undefined) await getSurvey.run(context, { id: surveyId });
    const found = mappingId === undefined ? mappingOf(mapping) : await savedMapping(context, mappingId, kind);
    if (found) atParameter(() => checkMapping(item, found));
    const { now, principal } = context;
    const row: ImportRow = {
      id: newId(),
      version: 1,
      kind,
      format,
      dryRun,
      surveyId: surveyId ?? null,
      mapping: found,
      columns: null,
      client: principal.client,
      status: 'receiving',
      failure: null,
      bytes: 0,
      lines: 0,
      done: 0,
      created: 0,
      updated: 0,
      unchanged: 0,
      stale: 0,
      failed: 0,
      createdAt: now,
      updatedAt: now,
      receivedAt: null,
      finishedAt: null,
    };
    await insertImport(tx, row);
    return answeredMembers(importFields, row);
  },
});

async function savedMapping(context: Context, mappingId: string, kind: ImportRow['kind']): Promise<Mapping> {
  const saved = await mappingOperations.get.run(context, { id: mappingId });
  if (saved.kind !== kind) {
    const message = `This mapping is for ${saved.kind}.`;
    throw new Problem('invalid_input', message, { errors: [{ parameter: 'mappingId', code: 'other_kind', message }] });
  }
  return saved.mapping;
}

/** @throws Problem where it is no mapping */
function mappingOf(given: Record<string, string> | undefined): Mapping | null {
  if (!given) return null;
  const read = Object.entries(given).map(([name, text]) => [
    name,
    text.startsWith('{') ? jsonOf(text) : { column: text },
  ]);
  const parsed = mappingSchema.safeParse(Object.fromEntries(read));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const message = `mapping.${issue?.path.join('.')}: ${issue?.message}`;
  throw new Problem('invalid_input', message, { errors: [{ parameter: 'mapping', code: 'invalid_mapping', message }] });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function atParameter(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw error.withErrors(({ code, message }) => ({ parameter: 'mapping', code, message }));
  }
}

export const getImportOperation = readOperation({
  name: 'getImport',
  scope: 'imports:read',
  ...guarded,
  summary: 'Read an import',
  description: 'How far it is, and what became of the lines. An upload is sent to REST (`POST /v1/imports`).',
  input: z.strictObject({ id }),
  output: importOutput,
  problems: ['not_found'],
  async run({ db }, { id: importId }) {
    const found = await getImport(db, importId);
    if (!found) throw notFound('import');
    return answeredMembers(importFields, found);
  },
});

const list = keysetList<Import>({
  name: 'imports',
  select: answered(imports),
  from: sql`${imports}`,
  id: sql`${imports.id}`,
  filters: {
    kind: (value) => sql`${imports.kind} = ${value}`,
    status: (value) => sql`${imports.status} = ${value}`,
  },
  sorts: { createdAt: { expression: sql`${imports.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listImports = readOperation({
  name: 'listImports',
  scope: 'imports:read',
  ...guarded,
  summary: 'List imports',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    kind: importKind.optional(),
    status: importStatus.optional(),
  }),
  output: pageOf(importOutput).meta({ id: 'ImportPage' }),
  run: (context, input) => list(context.db, context, input),
});

export const cancelImport = writeOperation({
  name: 'cancelImport',
  scope: 'imports:write',
  ...guarded,
  summary: 'Cancel an import',
  description:
    'The lines that wait are deleted; what was written until then stays. An import that has ended stays as it is.',
  input: z.strictObject({ ...writeParameters, id }),
  output: importOutput,
  idempotency: 'accepted',
  problems: ['not_found'],
  async run(tx, { now }, { id: importId }) {
    const row =
      (await setStatus(tx, importId, { status: 'cancelled', from: unfinished, now })) ??
      (await getImport(tx, importId));
    if (!row) throw notFound('import');
    return answeredMembers(importFields, row);
  },
});

/** Lines read at a time. */
const atATime = 5_000;
const errorsAfter = statement<{ line: number; position: number; text: string }>(
  'import_errors_after',
  sql`select e.line, e.position, json_strip_nulls(json_build_object('line', e.line, 'code', e.code, 'pointer', e.pointer, 'message', e.message))::text as text
    from ${importErrors} e where e.import_id = ${param('id')}::uuid and (e.line, e.position) > (${param('line')}::int, ${param('position')}::int)
    order by e.line, e.position limit ${sql.raw(String(atATime))}`,
);

export const exportImportErrors = readOperation({
  name: 'exportImportErrors',
  scope: 'imports:read',
  ...guarded,
  summary: 'Download the errors of an import',
  description:
    'A JSON object per fault: `line`, `code`, `pointer` into the item, `message`. They hold places and codes, no values of the file. Only the client that sent the file may read them, for 7 days. At most 10 of a line are kept, and those of the first 100,000 refused lines.',
  input: z.strictObject({ id }),
  output: z
    .strictObject({ importId: id, text: z.string().meta({ description: 'NDJSON.' }) })
    .meta({ id: 'ImportErrors' }),
  document: {
    media: { 'application/x-ndjson': null },
    of: ({ text }) => ({
      text: text as unknown as GzippedBuffer, // what `run` has put there
      headers: {
        'Content-Type': 'application/x-ndjson; charset=utf-8',
        'Content-Disposition': 'attachment; filename="import-errors.ndjson"',
        'Cache-Control': 'no-store',
      },
    }),
  },
  problems: ['not_found'],
  async run({ pool, principal, db }, { id: importId }) {
    const found = await getImport(db, importId);
    if (found?.client !== principal.client) throw notFound('import');
    const text = await transaction(pool, (tx) =>
      GzippedBuffer.of(async (write) => {
        for (let after = { line: 0, position: 0 }; ; ) {
          const rows = await tx.all(errorsAfter, { id: importId, ...after });
          await write(rows.map((row) => `${row.text}\n`).join(''));
          const last = rows.at(-1);
          if (!last || rows.length < atATime) return;
          after = { line: last.line, position: last.position };
        }
      }),
    );
    return { importId, text: text as unknown as string }; // it is told as the string it holds
  },
});
