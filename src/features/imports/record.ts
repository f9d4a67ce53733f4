import { sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text } from '../../platform/values.ts';
import {
  boolean,
  code,
  count,
  instant,
  integer,
  integers,
  json,
  key,
  recordId,
  text as textField,
  version,
  words,
} from '../../records/fields.ts';
import { record } from '../../records/record.ts';
import { outputShape, storedTable } from '../../records/table.ts';

export const importKinds = [
  'customers',
  'orders',
  'refunds',
  'returns',
  'interactions',
  'loyalty_transactions',
  'survey_responses',
] as const;
export type ImportKind = (typeof importKinds)[number];
export const importKind = z.enum(importKinds).meta({
  id: 'ImportKind',
  description: 'What the lines of a file are: items of the batch of that name.',
  example: 'orders',
});

export const importFormats = ['ndjson', 'csv'] as const;
export const importFormat = z.enum(importFormats).meta({
  id: 'ImportFormat',
  description: 'ndjson: a JSON object per line. csv: RFC 4180 with a header, separated by commas.',
});
export type ImportFormat = z.output<typeof importFormat>;

export const importStatus = z.enum(['receiving', 'queued', 'running', 'finished', 'cancelled', 'failed']).meta({
  id: 'ImportStatus',
  description:
    'receiving: the upload is under way. queued: all of it is here. cancelled: what was written until then stays. failed: see `failure`.',
  example: 'finished',
});
export type ImportStatus = z.output<typeof importStatus>;

/** `customer.email`, `items.0.sku`: names of members, and places in lists. */
const memberPath = z
  .string()
  .max(255)
  .regex(/^[A-Za-z][A-Za-z0-9]*(\.[^.]+){0,5}$/, { error: 'is no path of members such as customer.email' });

const mappedFrom = z
  .strictObject({
    column: text(255).optional().meta({ description: 'Name of the column; in NDJSON, path of the member.' }),
    value: z
      .union([text(1_000), z.number(), z.boolean()])
      .optional()
      .meta({ description: 'The same for all lines.' }),
    as: z
      .enum(['amount'])
      .meta({
        id: 'MappedAs',
        description:
          'amount: a decimal number in major units (12.30), read as an amount in the `currency` of the line.',
      })
      .optional(),
  })
  .refine(({ column, value }) => (column === undefined) !== (value === undefined), {
    error: 'needs either a column or a value',
    params: { code: 'column_or_value' },
  })
  .refine(({ as, column }) => as === undefined || column !== undefined, {
    error: 'has `as` without a column',
    params: { code: 'column_required' },
  })
  .meta({ id: 'MappedFrom', description: 'Where a member comes from: a column, or a value.' });

export const mapping = z
  .record(memberPath, mappedFrom)
  .refine((value) => Object.keys(value).length <= 200, { error: 'has more than 200 members' })
  .meta({
    description:
      'Where members come from, by their paths (`customer.email`, `items.0.sku`). Columns that it does not name stand for the member of their name; others are ignored.',
    example: {
      externalId: { column: 'Order' },
      placedAt: { column: 'Date' },
      total: { column: 'Total', as: 'amount' },
      source: { value: 'shop' },
    },
  });
export type Mapping = z.output<typeof mapping>;

/** How the files of a system are read, kept under a name. */
export const importMappingRecord = record('importMapping', {
  plural: 'importMappings',
  label: 'Mappings of imports',
  owner: null,
  naming: 'none',
  access: { scope: 'imports', partners: [], selfService: [] },
  listedBy: { createdAt: 'order' },
  fields: {
    name: textField(200).plain().required().says('Display name.', 'Orders of the old shop'),
    kind: words(importKind).required(),
    mapping: json(mapping).plain().required(),
  },
  extras: (t) => [index('import_mappings_created').on(t.createdAt, t.id)],
  says: {
    record: 'Says which columns of a file are which members of a record.',
    example: {
      name: 'Orders of the old shop',
      kind: 'orders',
      mapping: { externalId: { column: 'Order' }, total: { column: 'Total', as: 'amount' }, source: { value: 'shop' } },
    },
  },
});
export const importMappings = importMappingRecord.table;

/** Why a file could not be taken as a whole. */
const failure = z
  .strictObject({ code: z.string(), message: z.string(), line: z.int().optional() })
  .meta({ id: 'ImportFailure', description: 'Why an import failed as a whole. Nothing of the file was written.' });

export const importFields = {
  id: key(),
  version: version(),
  kind: words(importKind).required(),
  format: words(importFormat).required(),
  dryRun: boolean().required().says('Every line is checked as if it were written, and none is.'),
  /** Of the survey, for its responses. */
  surveyId: recordId(),
  mapping: json(mapping).plain().says('As it was given, or as the saved one was then.'),
  /** Of CSV: the member of each column; null: it is ignored. */
  columns: json(z.array(z.string().nullable())).plain().internal(),
  client: textField(255).plain().required().says('The client that sent it.'),
  status: words(importStatus).required(),
  failure: json(failure).plain(),
  bytes: count().required().says('Received so far, uncompressed.'),
  lines: count().required().says('Records received so far; empty lines are none.'),
  done: count().required().says('Lines that are dealt with: the sum of the outcomes.'),
  created: count().required(),
  updated: count().required(),
  unchanged: count().required().says('Lines that say what is stored already.'),
  stale: count()
    .required()
    .says('Lines that say something else, and whose `sourceVersion` is not newer than what is stored.'),
  failed: count().required().says('Lines that were refused: see the errors.'),
  createdAt: instant().required(),
  updatedAt: instant().required(),
  receivedAt: instant().says('When all of the file was here.'),
  finishedAt: instant(),
};

export const imports = storedTable('imports', {
  name: 'imports',
  label: 'Imports',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'import' },
  fields: importFields,
  extras: (t) => [
    index('imports_created').on(t.createdAt, t.id),
    index('imports_unfinished').on(t.updatedAt).where(sql`finished_at is null`),
  ],
});

/**
 * Lines that wait for their import, a thousand in a row: they are written in one transaction, and the row goes with it. So what is
 * still here is what is still to be done, whatever process dies. What somebody uploaded is kept for a day at most.
 */
export const importBlocks = storedTable('import_blocks', {
  name: 'importBlocks',
  label: 'Uploaded lines that wait',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['importId', 'block'],
  guard: null,
  feed: 'none',
  fields: {
    importId: key().references(() => imports.id, 'cascade'),
    block: integer(0, 2_147_483_647).required(),
    /** The number of each line in the file, and its length in `content`. */
    lines: integers().required(),
    lengths: integers().required(),
    content: textField(8_000_000).personal(),
  },
});

/** What is wrong with lines: places and codes, and never a value. */
export const importErrors = storedTable('import_errors', {
  name: 'importErrors',
  label: 'Errors of imports',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['importId', 'line', 'position'],
  guard: null,
  feed: 'none',
  fields: {
    importId: key().references(() => imports.id, 'cascade'),
    line: integer(1, 2_147_483_647).required(),
    position: integer(0, 100).required(),
    code: code(100).plain().required(),
    pointer: textField(2_000).plain(),
    message: textField(1_000).plain().required(),
  },
});

export const importOutput = z
  .strictObject(outputShape(importFields))
  .meta({ id: 'Import', description: 'A file of records that is written in the background.' });
export type Import = z.output<typeof importOutput>;
