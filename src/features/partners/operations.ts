import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, type Outcome, runBatch } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { lockCustomers } from '../customers/queries.ts';
import { checkedFields } from './fields.ts';
import {
  deletePartnerRow,
  hasBroughtCustomers,
  insertPartner,
  keepPartners,
  lockPartner,
  type PartnerRow,
  partnerById,
  unshareCustomer as removeShare,
  partnersByIds as rowsByIds,
  type SharedRow,
  updatePartner as savePartner,
  shareCustomers,
  sharedColumns,
  withReasons,
} from './queries.ts';
import {
  type Partner,
  type PartnerInput,
  partner,
  partnerCustomer,
  partnerCustomers,
  partnerFields,
  partnerInput,
  partnerPatch,
  partnerShare,
  partnerShareInput,
  partnerShareItem,
  partnerStatus,
  partners,
} from './record.ts';
import { lockSharing, recomputePartnerShares, recomputeShares } from './sharing.ts';

const partnerHasCustomers = problemType('partner_has_customers', 409, 'The partner has customers');

/** Partners, what is shared with them and what they may see of it. Nothing here is open to partners themselves. */

const reads = { scope: 'partners:read', partners: false, selfService: false } as const;
const writes = { scope: 'partners:write', partners: false, selfService: false } as const;
const rules =
  '`rules` share every customer that matches any of their parts, now and later. The partner may change customers that it has brought; others are read-only unless an explicit share is writable.';

export const createPartner = writeOperation({
  name: 'createPartner',
  ...writes,
  summary: 'Add a partner',
  description: `Tokens with the claim \`partner\` (its id) see only the customers shared with it, and of their records the members that are never null and those in \`fields\`. ${rules}`,
  input: z.strictObject({ ...writeParameters, body: partnerInput }),
  output: partner,
  idempotency: 'accepted',
  changesAccess: true,
  created: () => true,
  async run(tx, { now }, { body }) {
    const row: PartnerRow = {
      id: newId(),
      version: 1,
      ...members(body, null),
      createdAt: now,
      updatedAt: now,
    };
    await lockSharing(tx);
    await insertPartner(tx, row);
    await recomputePartnerShares(tx, row.id);
    return answeredMembers(partnerFields, row);
  },
});

type Members = Pick<PartnerRow, keyof PartnerInput>;

/** What a document says, on what is there. @throws Problem unknown_field */
function members(input: z.output<typeof partnerPatch>, before: PartnerRow | null): Members {
  const given = sentMembers(partnerFields, input, before);
  const { fields, rules: said } = input;
  const consent = said?.consent;
  return {
    ...given,
    ...(fields && { fields: checkedFields(fields) }),
    ...(said && {
      rules: {
        acquired: said.acquired ?? false,
        segments: [...new Set(said.segments)],
        consent: consent ? { purpose: consent.purpose, channel: consent.channel ?? null } : null,
      },
    }),
  };
}

export const getPartner = readOperation({
  name: 'getPartner',
  ...reads,
  summary: 'Read a partner',
  input: z.strictObject({ id }),
  output: partner,
  problems: ['not_found'],
  async run({ db }, { id: partnerId }) {
    const found = await partnerById(db, partnerId);
    if (!found) throw notFound('partner');
    return answeredMembers(partnerFields, found);
  },
});

/** For the GraphQL loaders. */
export const partnersByIds = readOperation({
  name: 'partnersByIds',
  ...reads,
  summary: 'Read partners by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(partner.nullable()),
  async run({ db }, { ids }) {
    const found = await rowsByIds(db, [...new Set(ids)]);
    return ids.map((partnerId) => {
      const row = found.get(partnerId);
      return row ? answeredMembers(partnerFields, row) : null;
    });
  },
});

const custom = customList(partners);

const list = keysetList<Partner>({
  name: 'partners',
  select: answered(partners),
  from: sql`${partners}`,
  id: sql`${partners.id}`,
  filters: { status: (value) => sql`${partners.status} = ${value}`, ...custom.filters },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    name: { expression: sql`${partners.name} collate "C"`, type: 'text', field: 'name' },
    createdAt: { expression: sql`${partners.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: 'name',
});

export const listPartners = readOperation({
  name: 'listPartners',
  ...reads,
  summary: 'List partners',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['name', 'createdAt'], 'name'),
    status: partnerStatus.optional(),
    ...custom.parameters,
  }),
  output: pageOf(partner).meta({ id: 'PartnerPage' }),
  run: (context, input) => list(context.db, context, input),
});

export const updatePartner = writeOperation({
  name: 'updatePartner',
  ...writes,
  summary: 'Change a partner',
  description: `Omitted members keep their values; \`fields\` and \`rules\` are replaced as a whole. Shares are recomputed in the same transaction. ${rules}`,
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: partnerPatch }),
  output: partner,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: partnerId, expectedVersion: expected, body }) {
    await lockSharing(tx);
    const before = await lockPartner(tx, partnerId);
    if (!before) throw notFound('partner');
    checkVersion(before.version, expected);
    const row = { ...before, ...members(body, before), ...nextStamps(before, now) };
    await savePartner(tx, row);
    if (body.rules !== undefined || row.status !== before.status) await recomputePartnerShares(tx, partnerId);
    return answeredMembers(partnerFields, row);
  },
});

export const deletePartner = writeOperation({
  name: 'deletePartner',
  ...writes,
  summary: 'Delete a partner',
  description:
    'Its tokens see nothing from then on. Refused with `partner_has_customers` while customers have it as `acquiredBy`: suspend it instead.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', partnerHasCustomers, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: partnerId, expectedVersion: expected }) {
    await lockSharing(tx);
    const found = await lockPartner(tx, partnerId);
    if (!found) throw notFound('partner');
    checkVersion(found.version, expected);
    if (await hasBroughtCustomers(tx, partnerId)) {
      throw new Problem(partnerHasCustomers, 'Customers have this partner as acquiredBy: suspend it instead.');
    }
    await deletePartnerRow(tx, partnerId);
    return { id: partnerId, deleted: true };
  },
});

const sharedList = keysetList<SharedRow>({
  name: 'partner_customers',
  select: sharedColumns,
  from: sql`${partnerCustomers}`,
  id: sql`${partnerCustomers.customerId}`,
  filters: {
    partnerId: (value) => sql`${partnerCustomers.partnerId} = ${value}::uuid`,
    customerId: (value) => sql`${partnerCustomers.customerId} = ${value}::uuid`,
    writable: (value) => sql`${partnerCustomers.writable} = ${value}::boolean`,
  },
  sorts: { id: { expression: sql`${partnerCustomers.customerId}`, type: 'uuid', field: 'id' } },
  defaultSort: 'id',
});

export const listPartnerCustomers = readOperation({
  name: 'listPartnerCustomers',
  ...reads,
  summary: 'List what is shared with a partner',
  description: 'The customers that its tokens see, and why each of them is shared. None while it is suspended.',
  input: z.strictObject({
    id,
    ...pageParameters,
    customerId: id.optional().meta({ description: 'Only this customer: whether and why it is shared.' }),
    writable: z.boolean().optional().meta({ description: 'Only those that it may change, or only the others.' }),
  }),
  output: pageOf(partnerCustomer).meta({ id: 'PartnerCustomerPage' }),
  problems: ['not_found'],
  async run(context, { id: partnerId, ...input }) {
    const [found, { data, page }] = await Promise.all([
      partnerById(context.db, partnerId),
      sharedList(context.db, context, { ...input, partnerId }),
    ]);
    if (!found) throw notFound('partner');
    return { data: await withReasons(context.db, partnerId, data), page };
  },
});

const writtenShare = partnerShare
  .extend({ created })
  .meta({ id: 'WrittenPartnerShare', description: 'A customer that is shared with a partner explicitly.' });

export const shareCustomer = writeOperation({
  name: 'shareCustomer',
  ...writes,
  summary: 'Share a customer with a partner',
  description: 'An explicit share, whatever the rules are. Send it again with another `writable` to change that.',
  input: z.strictObject({ id, customerId: id, ...writeParameters, body: partnerShareInput }),
  output: writtenShare,
  idempotency: 'accepted',
  created: (output) => output.created,
  problems: ['not_found'],
  async run(tx, context, { id: partnerId, customerId, body }) {
    const shared = (await share(tx, context, partnerId, [{ customerId, ...body }])).get(customerId);
    if (!shared) throw notFound('customer');
    return shared;
  },
});

/** Shares those of these customers that there are. @throws Problem not_found, when there is no such partner */
async function share(
  tx: Transaction,
  { now, principal }: Context,
  partnerId: string,
  items: z.output<typeof partnerShareItem>[],
) {
  const locked = await lockCustomers(
    tx,
    items.map(({ customerId }) => customerId),
  );
  if (!(await keepPartners(tx, [partnerId])).has(partnerId)) throw notFound('partner');
  // The last word about a customer that is named twice.
  const rows = new Map(
    items
      .filter(({ customerId }) => locked.has(customerId))
      .map(({ customerId, writable = false }) => [
        customerId,
        { partnerId, customerId, writable, createdAt: now, by: principal.client },
      ]),
  );
  const shared = await shareCustomers(tx, [...rows.values()]);
  recomputeShares(tx, shared.keys());
  return shared;
}

export const unshareCustomer = writeOperation({
  name: 'unshareCustomer',
  ...writes,
  summary: 'Stop sharing a customer explicitly',
  description: 'The customer stays shared as long as a rule of the partner matches it.',
  input: z.strictObject({ id, customerId: id, ...writeParameters }),
  output: deletedRecord.meta({ id: 'UnsharedCustomer', description: 'The customer.' }),
  idempotency: 'accepted',
  problems: ['not_found'],
  async run(tx, _context, { id: partnerId, customerId }) {
    await lockCustomers(tx, [customerId]);
    if (!(await removeShare(tx, partnerId, customerId))) throw notFound('share');
    recomputeShares(tx, [customerId]);
    return { id: customerId, deleted: true };
  },
});

export const batchPartnerShares = writeOperation({
  name: 'batchPartnerShares',
  ...writes,
  summary: 'Share up to 1,000 customers with a partner',
  description: 'Each item as `PUT /v1/partners/{id}/customers/{customerId}`, in index order.',
  input: z.strictObject({ id, ...batchInput('customers', partnerShareItem).shape }),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['not_found', 'batch_refused'],
  run: (tx, context, { id: partnerId, body, atomic }) =>
    runBatch(tx, body, partnerShareItem, { plural: 'customers', atomic }, async (items) => {
      const shared = await share(tx, context, partnerId, items);
      const seen = new Set<string>();
      return items.map(({ customerId }): Outcome => {
        const row = shared.get(customerId);
        if (!row) return invalid('/customerId', 'not_found', 'There is no such customer.');
        const again = seen.has(customerId);
        seen.add(customerId);
        return { id: customerId, created: row.created && !again, applied: true };
      });
    }),
});
