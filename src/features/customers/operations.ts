import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { type Around, keysetList, type Page, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../../platform/versions.ts';
import { refuseErased } from '../../records/erased.ts';
import { targetId } from '../../records/references/queries.ts';
import { referenceInput, targetParameters } from '../../records/references/record.ts';
import { successorsOf } from './aliases.ts';
import { normalizeIdentity } from './identity.ts';
import { channel, customer, customerInput, customerKind, customerPatch, customers } from './model.ts';
import {
  type CustomerRecord,
  customerById,
  customerByReference,
  customerColumns,
  deleteCustomerRow,
  lockCustomers,
  customersByIds as recordsByIds,
  toCustomer,
} from './queries.ts';
import { type CustomerWrite, writeCustomers } from './write.ts';

/** What a write answers on both doors: the record, and what became of the message. */
export const writtenCustomer = customer.extend(written).meta({ id: 'WrittenCustomer' });

export const createCustomer = writeOperation({
  name: 'createCustomer',
  scope: 'customers:write',
  partners: true,
  selfService: false,
  summary: 'Create a customer',
  description:
    'Refused with `already_exists` when one of the references is known, with `identity_taken` when an identity is.',
  input: z.strictObject({ ...writeParameters, body: customerInput }),
  output: writtenCustomer,
  idempotency: 'accepted',
  created: () => true,
  problems: ['already_exists', 'identity_taken', 'deleted', 'person_erased'],
  run: (tx, context, { body }) => writeOne(tx, context, { mode: 'create', input: body }),
});

export const getCustomer = readOperation({
  name: 'getCustomer',
  scope: 'customers:read',
  partners: true,
  selfService: true,
  summary: 'Read a customer',
  input: z.strictObject(targetParameters),
  output: customer,
  problems: ['not_found'],
  async run({ db }, { id: customerId, source, externalId }) {
    const found =
      source !== undefined && externalId !== undefined
        ? await customerByReference(db, { source, externalId })
        : await customerById(db, await targetId(db, 'customer', { id: customerId, source, externalId }));
    if (!found) throw notFound('customer');
    return toCustomer(found);
  },
});

/** For the GraphQL loaders: the customers of a set of ids, one statement, absent ones as null. */
export const customersByIds = readOperation({
  name: 'customersByIds',
  scope: 'customers:read',
  partners: true,
  selfService: true,
  summary: 'Read customers by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(customer.nullable()),
  async run({ db }, { ids }) {
    const found = await recordsByIds(db, [...new Set(ids)]);
    const missing = ids.filter((customerId) => !found.has(customerId));
    const successors = await successorsOf(db, missing);
    const survivors = await recordsByIds(db, [...new Set(successors.values())]);
    return ids.map((customerId) => {
      const record = found.get(customerId) ?? survivors.get(successors.get(customerId) ?? '');
      return record ? toCustomer(record) : null;
    });
  },
});

const list = keysetList<CustomerRecord>({
  name: 'customers',
  select: customerColumns,
  from: sql`${customers}`,
  id: sql`${customers.id}`,
  owner: sql`${customers.id}`,
  filters: {
    kind: (value) => sql`${customers.kind} = ${value}`,
    companyId: (value) => sql`${customers.companyId} = ${value}::uuid`,
    referredBy: (value) => sql`${customers.referredBy} = ${value}::uuid`,
    preferredChannel: (value) => sql`${customers.preferredChannel} = ${value}`,
    acquisitionSource: (value) => sql`${customers.acquisitionSource} = ${value}`,
    createdFrom: (value) => sql`${customers.createdAt} >= ${value}::timestamptz`,
    createdTo: (value) => sql`${customers.createdAt} < ${value}::timestamptz`,
    updatedFrom: (value) => sql`${customers.updatedAt} >= ${value}::timestamptz`,
    updatedTo: (value) => sql`${customers.updatedAt} < ${value}::timestamptz`,
    email: (value) =>
      sql`${customers.id} = (select customer_id from customer_identities where kind = 'email' and value = ${value})`,
    phone: (value) =>
      sql`${customers.id} = (select customer_id from customer_identities where kind = 'phone' and value = ${value})`,
  },
  sorts: {
    createdAt: { expression: sql`${customers.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    updatedAt: { expression: sql`${customers.updatedAt}`, type: 'timestamptz', field: 'updatedAt' },
  },
  defaultSort: '-createdAt',
});

export const listCustomers = readOperation({
  name: 'listCustomers',
  scope: 'customers:read',
  partners: true,
  selfService: true,
  summary: 'List customers',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt', 'updatedAt'], '-createdAt'),
    kind: customerKind.optional(),
    companyId: id.optional(),
    referredBy: id.optional(),
    preferredChannel: channel.optional(),
    acquisitionSource: text(100).optional(),
    createdFrom: instant.optional(),
    createdTo: instant.optional(),
    updatedFrom: instant.optional(),
    updatedTo: instant.optional(),
    email: text(254).optional().meta({ description: 'Needs `customers:pii`.' }),
    phone: text(64).optional().meta({ description: 'Needs `customers:pii`.' }),
  }),
  output: pageOf(customer).meta({ id: 'CustomerPage' }),
  selects: { acquisitionSource: ['Customer.acquisition'] },
  async run(context, input) {
    const { data, page } = await customerPage(context, input);
    return { data: data.map(toCustomer), page };
  },
});

/** A page of stored customers; `around` may fetch something more with each. */
export function customerPage(
  context: Context,
  { email, phone, ...input }: z.output<typeof listCustomers.input>,
  around?: Around,
): Promise<Page<CustomerRecord>> {
  // A value that is no e-mail or phone belongs to nobody: the list is empty, as for any unknown one.
  const filter = {
    ...input,
    ...(email !== undefined && { email: normalizeIdentity('email', email) ?? '' }),
    ...(phone !== undefined && { phone: normalizeIdentity('phone', phone) ?? '' }),
  };
  return list(context.db, context, filter, around);
}

export const updateCustomer = writeOperation({
  name: 'updateCustomer',
  scope: 'customers:write',
  partners: true,
  selfService: true,
  summary: 'Change a customer',
  description:
    'Members left out stay, null clears; `identities` and `references` are replaced as a whole. Confined tokens are refused (403 `not_shared`) other values of `companyId`, `referredBy`, `acquisition` and `acquiredBy`, those of a customer also of `kind`, `attributes` and `references`, and `identities` that it did not have; null leaves these as they are.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: customerPatch }),
  output: writtenCustomer,
  idempotency: 'accepted',
  problems: [
    'not_found',
    'version_mismatch',
    'version_required',
    'already_exists',
    'identity_taken',
    'deleted',
    'person_erased',
  ],
  async run(tx, context, { body, expectedVersion: expected, ...target }) {
    return writeOne(tx, context, {
      mode: 'patch',
      id: await targetId(tx, 'customer', target),
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
    'Members left out are cleared; names given by other sources stay. An equal or older `sourceVersion` changes nothing and answers `applied: false`.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: customerInput,
  }),
  output: writtenCustomer,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'already_exists', 'identity_taken', 'deleted', 'person_erased'],
  run(tx, context, { source, externalId, body, expectedVersion: expected }) {
    const others = (body.references ?? []).filter((ref) => ref.source !== source || ref.externalId !== externalId);
    return writeOne(tx, context, {
      mode: 'upsert',
      input: { ...body, references: [{ source, externalId }, ...others] },
      expectedVersion: expected,
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
    'Refused with `customer_has_records` while there is evidence or history of the customer: orders, returns, interactions, a lead, consents, assignments, follow-ups, points, invitations to surveys and responses, merges and the former ids they left, and customers that name it as their company or referrer. `errors` has an entry for each kind, with their number. What cannot be deleted by itself (consents, assignments, points, merges) stays: erase the person instead. A customer that is only a profile is deleted, and with it the shares with partners; its references stay behind as tombstones.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'customer_has_records', 'version_mismatch', 'version_required', 'person_erased'],
  async run(tx, context, { expectedVersion: expected, ...target }) {
    const customerId = await targetId(tx, 'customer', target);
    await lockCustomers(tx, [customerId]);
    // Its facts may be gone; that it was erased is to be remembered.
    refuseErased(tx, customerId);
    const found = await customerById(tx, customerId);
    if (!found) throw notFound('customer');
    checkVersion(found.version, expected);
    await deleteCustomerRow(tx, customerId, context.now);
    return { id: customerId, deleted: true as const };
  },
});

export const batchCustomers = writeOperation({
  name: 'batchCustomers',
  scope: 'customers:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace up to 1,000 customers',
  description: 'Each item is an upsert by its first reference, in index order; always 200, with a result per item.',
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
  return { ...toCustomer(record), created: result.created, applied: result.applied };
}
