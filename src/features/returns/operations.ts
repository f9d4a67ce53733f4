import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { currency, id, instant } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../../platform/versions.ts';
import { lockCustomers } from '../customers/queries.ts';
import { referenceInput, targetParameters } from '../references/model.ts';
import { targetId } from '../references/queries.ts';
import { recountCustomers } from '../rollups/queries.ts';
import { productReturn, returnDocument, returnInput, returnPatch, returns } from './model.ts';
import { deleteReturnRow, type ReturnRecord, returnById, returnColumns, returnOrigin, toReturn } from './queries.ts';
import { type ReturnWrite, writeReturns } from './write.ts';

export const writtenReturn = productReturn
  .extend({
    ...written,
    warnings: z.array(warning),
  })
  .meta({ id: 'WrittenReturn' });

export const createReturn = writeOperation({
  name: 'createReturn',
  scope: 'returns:write',
  partners: false,
  selfService: false,
  summary: 'Push a return that names no order',
  description:
    "Lowers its customer's net revenue on its own date and touches no order; a return of a known order is a refund of it. The customer is found as for orders.",
  input: z.strictObject({ ...writeParameters, body: returnInput }),
  output: writtenReturn,
  idempotency: 'required',
  created: () => true,
  problems: ['already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { body: { source, externalId, ...input } }) =>
    writeOne(tx, context, { mode: 'create', source, externalId, input }),
});

export const getReturn = readOperation({
  name: 'getReturn',
  scope: 'returns:read',
  partners: true,
  selfService: true,
  summary: 'Read a return',
  input: z.strictObject(targetParameters),
  output: productReturn,
  problems: ['not_found'],
  async run({ db }, target) {
    const found = await returnById(db, await targetId(db, 'return', target));
    if (!found) throw notFound('return');
    return toReturn(found);
  },
});

const list = keysetList<ReturnRecord>({
  name: 'returns',
  select: returnColumns,
  from: sql`${returns}`,
  id: sql`${returns.id}`,
  owner: sql`${returns.customerId}`,
  filters: {
    customerId: (value) => sql`${returns.customerId} = ${value}::uuid`,
    currency: (value) => sql`${returns.currency} = ${value}`,
    returnedFrom: (value) => sql`${returns.returnedAt} >= ${value}::timestamptz`,
    returnedTo: (value) => sql`${returns.returnedAt} < ${value}::timestamptz`,
    updatedFrom: (value) => sql`${returns.updatedAt} >= ${value}::timestamptz`,
    updatedTo: (value) => sql`${returns.updatedAt} < ${value}::timestamptz`,
  },
  sorts: {
    returnedAt: { expression: sql`${returns.returnedAt}`, type: 'timestamptz', field: 'returnedAt' },
    updatedAt: { expression: sql`${returns.updatedAt}`, type: 'timestamptz', field: 'updatedAt' },
  },
  defaultSort: '-returnedAt',
});

export const listReturns = readOperation({
  name: 'listReturns',
  scope: 'returns:read',
  partners: true,
  selfService: true,
  summary: 'List returns',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['returnedAt', 'updatedAt'], '-returnedAt'),
    customerId: id.optional(),
    currency: currency.optional(),
    returnedFrom: instant.optional(),
    returnedTo: instant.optional(),
    updatedFrom: instant.optional(),
    updatedTo: instant.optional(),
  }),
  output: pageOf(productReturn).meta({ id: 'ReturnPage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(toReturn), page };
  },
});

export const updateReturn = writeOperation({
  name: 'updateReturn',
  scope: 'returns:write',
  partners: false,
  selfService: false,
  summary: 'Change a return',
  description: 'Members left out stay, null clears; naming another customer moves the return.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: returnPatch }),
  output: writtenReturn,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { body, expectedVersion: expected, id: returnId, source, externalId }) {
    const recordId = await targetId(tx, 'return', { id: returnId, source, externalId });
    return writeOne(tx, context, { mode: 'patch', id: recordId, input: body, expectedVersion: expected });
  },
});

export const upsertReturn = writeOperation({
  name: 'upsertReturn',
  scope: 'returns:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace a return by reference',
  description:
    'Members left out are cleared. An equal or older `sourceVersion` changes nothing and answers `applied: false`.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: returnDocument,
  }),
  output: writtenReturn,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { source, externalId, body, expectedVersion: expected }) =>
    writeOne(tx, context, { mode: 'upsert', source, externalId, input: body, expectedVersion: expected }),
});

export const deleteReturn = writeOperation({
  name: 'deleteReturn',
  scope: 'returns:write',
  partners: false,
  selfService: false,
  summary: 'Delete a return',
  description: 'The references stay behind as tombstones, so that a late message does not bring it back.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { expectedVersion: expected, id: returnId, source, externalId }) {
    const recordId = await targetId(tx, 'return', { id: returnId, source, externalId });
    const origin = await returnOrigin(tx, recordId);
    if (origin === null) throw notFound('return');
    await lockCustomers(tx, [origin.customerId]);
    const found = await returnById(tx, recordId);
    if (found?.customerId !== origin.customerId) throw new Retry('a return moved or vanished');
    checkVersion(found.version, expected);
    await deleteReturnRow(tx, found, context.now);
    await recountCustomers(tx, [origin.customerId], context.reportingTimeZone);
    return { id: recordId, deleted: true as const };
  },
});

export const batchReturns = writeOperation({
  name: 'batchReturns',
  scope: 'returns:write',
  partners: false,
  selfService: false,
  summary: 'Push up to 1,000 returns',
  description: 'Each item is an upsert by reference, in index order; always 200, with a result per item.',
  input: batchInput('returns', returnInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, returnInput, { plural: 'returns', atomic }, (items) =>
      writeReturns(
        tx,
        context,
        items.map(({ source, externalId, ...input }): ReturnWrite => ({ mode: 'upsert', source, externalId, input })),
      ),
    ),
});

async function writeOne(
  tx: Transaction,
  context: Context,
  write: ReturnWrite,
): Promise<z.output<typeof writtenReturn>> {
  const [result] = await writeReturns(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('return');
  const record = await returnById(tx, result.id);
  if (!record) throw notFound('return');
  const { created, applied, warnings = [] } = result;
  return { ...toReturn(record), created, applied, warnings };
}
