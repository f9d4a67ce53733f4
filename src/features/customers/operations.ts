import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import {
  type Context,
  readOperation,
  selectableOf,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { id, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customerHasRecords } from '../../records/delete-guard.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { operationsOf } from '../../records/operations.ts';
import { referenceOf, targetId } from '../../records/references/queries.ts';
import { deletionVersion, referenceInput, restoreInput, targetParameters } from '../../records/references/record.ts';
import { isDeletionNews } from '../../records/references/write.ts';
import { redirectsOf } from './aliases.ts';
import { identityAdvice } from './identity.ts';
import { normalForm } from './normal-form.ts';
import {
  customerById,
  customerStates,
  deleteCustomerRow,
  lockCustomers,
  customersByIds as recordsByIds,
} from './queries.ts';
import { customerRecord, customers, identityTaken } from './record.ts';
import { customerSearch, statisticsSorts } from './search.ts';
import { type CustomerWrite, writeCustomers } from './write.ts';

const ofIdentity = (kind: 'email' | 'phone', max: number) => ({
  input: text(max)
    .optional()
    .meta({ description: `Needs \`customers:pii\`. Refused if it is no ${kind}.` }),
  condition: (value: SQL) =>
    sql`${customers.id} = (select customer_id from customer_identities where kind = ${sql.raw(`'${kind}'`)} and value = ${value})`,
  normalize(value: unknown) {
    const normalized = normalForm(kind, String(value));
    if (normalized !== null) return normalized;
    // An empty list would say that nobody has it.
    const message = `The ${kind} ${kind === 'phone' ? 'is not a phone number: write it with its country code, e.g. +442071234567' : identityAdvice[kind]}.`;
    throw new Problem('invalid_input', message, { errors: [{ parameter: kind, code: `invalid_${kind}`, message }] });
  },
  personal: true,
});

const operations = operationsOf(customerRecord, {
  search: customerSearch,
  sorts: statisticsSorts,
  filters: {
    acquisitionSource: {
      input: text(100).optional().meta({ description: 'Only customers who came from this source.' }),
      condition: (value) => sql`${customers.acquisitionSource} = ${value}`,
      uneven: true,
      selects: ['Customer.acquisition'],
    },
    email: ofIdentity('email', 254),
    phone: ofIdentity('phone', 64),
  },
  defaultSort: '-createdAt',
});
export const getCustomer = operations.get;
export const listCustomers = operations.list;

/** What a write answers on both doors: the record, and what became of the message. */
const writtenCustomer = operations.writtenRecord.extend({ warnings: z.array(warning) }).meta({ id: 'WrittenCustomer' });
const { input: customerInput, patch: customerPatch } = customerRecord;

export const createCustomer = writeOperation({
  name: 'createCustomer',
  scope: 'customers:write',
  partners: true,
  selfService: false,
  summary: 'Create a customer',
  description:
    'Refused with `already_exists` when one of the references exists, and with `identity_taken` when an identity belongs to another customer.',
  input: z.strictObject({ ...writeParameters, body: customerInput }),
  output: writtenCustomer,
  idempotency: 'accepted',
  created: () => true,
  problems: ['already_exists', identityTaken, 'deleted', personErasedProblem],
  run: (tx, context, { body }) => writeOne(tx, context, { mode: 'create', input: body }),
});

/** For GraphQL: the customers of a set of ids, merged ones as those they are now, absent ones as null. */
export const customersByIds = readOperation({
  name: 'customersByIds',
  scope: 'customers:read',
  partners: true,
  selfService: true,
  summary: 'Read customers by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(customerRecord.output.nullable()),
  async run({ db }, { ids }) {
    const found = await recordsByIds(db, ids);
    const missing = ids.filter((customerId) => !found.has(customerId));
    const redirects = await redirectsOf(db, missing);
    const survivors = await recordsByIds(db, [...redirects.values()]);
    return ids.map((customerId) => found.get(customerId) ?? survivors.get(redirects.get(customerId) ?? '') ?? null);
  },
  selectable: () => selectableOf(operations.byIds),
});

export const updateCustomer = writeOperation({
  name: 'updateCustomer',
  scope: 'customers:write',
  partners: true,
  selfService: true,
  summary: 'Change a customer',
  description:
    'Omitted members keep their values; null clears; `identities` and `references` are replaced as a whole. Scoped tokens (partner and customer tokens) may not change `companyId`, `referredBy`, `acquisition` and `acquiredBy` (403 `not_shared`). Customer tokens also may not change `kind`, `attributes`, `tags` and `references`, or add `identities`. In all of these, null changes nothing.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: customerPatch }),
  output: writtenCustomer,
  idempotency: 'accepted',
  problems: [
    'not_found',
    'version_mismatch',
    'version_required',
    'already_exists',
    identityTaken,
    'deleted',
    personErasedProblem,
  ],
  async run(tx, context, { body, expectedVersion: expected, ...target }) {
    return writeOne(tx, context, {
      mode: 'patch',
      id: await targetId(tx, 'customer', target, { toWrite: true }),
      by: referenceOf(target),
      input: body,
      expectedVersion: expected,
    });
  },
});

export const upsertCustomer = writeOperation({
  name: 'upsertCustomer',
  scope: 'customers:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace a customer by reference',
  description:
    'Omitted members are cleared, but for what others have brought: references, consents, and identities that did not come under this reference. An equal or older `sourceVersion` changes nothing and returns `applied: false`.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    restore: restoreInput,
    body: customerInput,
  }),
  output: writtenCustomer,
  idempotency: 'accepted',
  created: (made) => (made as unknown as { created: boolean }).created, // of what was written
  problems: ['version_mismatch', 'already_exists', identityTaken, 'deleted', personErasedProblem],
  run(tx, context, { source, externalId, body, expectedVersion: expected, restore }) {
    const others = (body.references ?? []).filter((ref) => ref.source !== source || ref.externalId !== externalId);
    return writeOne(tx, context, {
      mode: 'upsert',
      input: { ...body, references: [{ source, externalId }, ...others] },
      expectedVersion: expected,
      restore,
    });
  },
});

export const deleteCustomer = writeOperation({
  name: 'deleteCustomer',
  scope: 'customers:write',
  partners: false,
  selfService: false,
  summary: 'Delete a customer',
  description:
    'Refused with `customer_has_records` while the customer has records or history: orders, returns, interactions, a lead, consents, assignments, follow-ups, points, invitations to surveys and responses, merges and their former ids, or customers whose company or referrer it is. `errors` has an entry for each kind, with the count. Consents, assignments, points and merges cannot be deleted: erase the person instead. A customer that is only a profile is deleted together with its shares with partners; its references are kept as tombstones: whatever message comes late under one of them, of whatever version, is answered with 410 `deleted`.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, sourceVersion: deletionVersion }),
  output: deletedRecord,
  changed: ({ deleted }) => deleted,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', customerHasRecords, 'version_mismatch', 'version_required', personErasedProblem],
  async run(tx, context, { expectedVersion: expected, sourceVersion, ...target }) {
    const customerId = await targetId(tx, 'customer', target, { toWrite: true });
    await lockCustomers(tx, [customerId]);
    // Its facts may be gone; that it was erased is to be remembered.
    refuseErased(tx, customerId);
    const found = await customerById(tx, customerId);
    if (!found) throw notFound('customer');
    checkVersion(found.version, expected);
    const references = (await customerStates(tx, [customerId])).get(customerId)?.references ?? [];
    if (!(await isDeletionNews(tx, references, target, sourceVersion, context.now)))
      return { id: customerId, deleted: false };
    const namedBy = target.id === undefined ? 'externalId' : 'id';
    await deleteCustomerRow(tx, customerId, { now: context.now, namedBy });
    return { id: customerId, deleted: true };
  },
});

export const batchCustomers = writeOperation({
  name: 'batchCustomers',
  scope: 'customers:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace up to 1,000 customers',
  description:
    'Each item is an upsert by its first reference, in index order. The status is always 200, with a result per item.',
  input: batchInput('customers', customerInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, customerInput, { plural: 'customers', atomic }, (items) =>
      writeCustomers(
        tx,
        context,
        items.map((input): CustomerWrite => ({ mode: 'upsert', input })),
      ),
    ),
});

async function writeOne(tx: Transaction, context: Context, write: CustomerWrite) {
  const [result] = await writeCustomers(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('customer');
  const record = await customerById(tx, result.id);
  if (!record) throw notFound('customer');
  const { created, applied, warnings } = result;
  return { ...record, created, applied, warnings };
}
