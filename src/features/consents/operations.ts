import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, type Outcome, runBatch } from '../../platform/batch.ts';
import { invalid, notFound, orProblem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { consentInput, consentPurpose, consentStatus } from '../customers/consent-input.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { channel } from '../customers/words.ts';
import {
  type ConsentChangeRow,
  type ConsentRow,
  consentAnswer,
  consentChangeColumns,
  consentsOf,
  withEvidence,
} from './queries.ts';
import { allChannels, type Consent, consent, consentChange, consentChanges, customerConsentInput } from './record.ts';
import { consentChangeOf, saveConsentChanges } from './write.ts';

export const recordConsent = writeOperation({
  name: 'recordConsent',
  scope: 'consents:write',
  partners: false,
  selfService: true,
  summary: 'Record that a consent was given or taken back',
  description:
    'Every call adds a change to the history, which is never rewritten. The change with the latest `at` is in force, whenever it was recorded; of two with the same `at`, the one recorded later. `channel: null` covers all channels.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, body: consentInput }),
  output: consentChange,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found', 'deleted', personErasedProblem],
  async run(tx, context, { body, id: customerId, source, externalId }) {
    const owner = await targetId(tx, 'customer', { id: customerId, source, externalId }, { toWrite: true });
    if (!(await lockCustomers(tx, [owner])).has(owner)) throw notFound('customer');
    refuseErased(tx, owner);
    const row = consentChangeOf(context, { customerId: owner, input: body });
    await saveConsentChanges(tx, [row]);
    return withEvidence(row);
  },
});

export const batchConsents = writeOperation({
  name: 'batchConsents',
  scope: 'consents:write',
  partners: false,
  selfService: false,
  summary: 'Record up to 1,000 consents',
  description:
    'Each item adds a change to the history, in index order. The status is always 200, with a result per item.',
  input: batchInput('consents', customerConsentInput),
  output: batchResults,
  idempotency: 'required',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, customerConsentInput, { plural: 'consents', atomic }, async (items) => {
      const locked = await lockCustomers(
        tx,
        items.map(({ customerId }) => customerId),
      );
      const rows: ConsentChangeRow[] = [];
      const outcomes = items.map(({ customerId, ...input }) =>
        orProblem((): Outcome => {
          if (!locked.has(customerId)) throw invalid('/customerId', 'not_found', 'There is no such customer.');
          refuseErased(tx, customerId, '/customerId');
          const row = consentChangeOf(context, { customerId, input });
          rows.push(row);
          return { id: row.id, created: true, applied: true };
        }),
      );
      await saveConsentChanges(tx, rows);
      return outcomes;
    }),
});

export const customerConsents = z.strictObject({ customerId: id, consents: z.array(consent) }).meta({
  id: 'CustomerConsents',
  description: 'The consents in force for a customer. A purpose that was never asked for is not listed.',
});

export const getCustomerConsents = readOperation({
  name: 'getCustomerConsents',
  scope: 'consents:read',
  partners: true,
  selfService: true,
  summary: "Read a customer's consents in force",
  description:
    'By purpose and channel. `channel: null` covers every channel that is not listed separately. With `channel`: what is in force on this channel, one entry per purpose.',
  input: z.strictObject({
    ...targetParameters,
    purpose: consentPurpose.optional(),
    channel: channel.optional().meta({ description: 'What is in force on this channel.' }),
  }),
  output: customerConsents,
  selects: { channel: ['Consent.channel'] },
  problems: ['not_found'],
  async run({ db }, { purpose, channel: on, ...target }) {
    const owner = await targetId(db, 'customer', target);
    const rows = (await consentsOf(db, [owner])).filter((row) => purpose === undefined || row.purpose === purpose);
    // What is not there says that nobody asked, so there has to be such a customer.
    if (rows.length === 0 && !(await customerById(db, owner))) throw notFound('customer');
    return { customerId: owner, consents: on === undefined ? rows.map(consentAnswer) : inForceOn(rows, on) };
  },
});

/** What holds on a channel, for each purpose: what was said of it, or else of all. */
function inForceOn(rows: ConsentRow[], on: NonNullable<Consent['channel']>): Consent[] {
  const held = new Map<string, ConsentRow>();
  for (const row of rows) {
    if (row.channel === on || (row.channel === allChannels && !held.has(row.purpose))) held.set(row.purpose, row);
  }
  return [...held.values()].map((row) => ({ ...consentAnswer(row), channel: on }));
}

/** For the GraphQL loaders: what is in force for each of a set of customers, one statement. */
export const consentsByCustomers = readOperation({
  name: 'consentsByCustomers',
  scope: 'consents:read',
  partners: true,
  selfService: true,
  summary: 'Read the consents of customers in force',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(consent)),
  async run({ db }, { ids }) {
    const found = new Map<string, Consent[]>(ids.map((customerId) => [customerId, []]));
    for (const row of await consentsOf(db, ids)) found.get(row.customerId)?.push(consentAnswer(row));
    return ids.map((customerId) => found.get(customerId) ?? []);
  },
});

const list = keysetList<ConsentChangeRow>({
  name: 'consent_changes',
  select: consentChangeColumns,
  from: sql`${consentChanges}`,
  id: sql`${consentChanges.id}`,
  owner: sql`${consentChanges.customerId}`,
  filters: {
    customerId: (value) => sql`${consentChanges.customerId} = ${value}::uuid`,
    purpose: (value) => sql`${consentChanges.purpose} = ${value}`,
    channel: (value) => sql`${consentChanges.channel} = ${value}`,
    status: (value) => sql`${consentChanges.status} = ${value}`,
    atFrom: (value) => sql`${consentChanges.at} >= ${value}::timestamptz`,
    atTo: (value) => sql`${consentChanges.at} < ${value}::timestamptz`,
    inForce: (value) =>
      sql`exists (select from consents s where s.customer_id = ${consentChanges.customerId} and s.change_id = ${consentChanges.id}) = ${value}::boolean`,
  },
  sorts: { at: { expression: sql`${consentChanges.at}`, type: 'timestamptz', field: 'at' } },
  defaultSort: '-at',
});

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['at'], '-at'),
  purpose: consentPurpose.optional(),
  channel: channel.optional().meta({ description: 'Only changes for exactly this channel.' }),
  status: consentStatus.optional(),
  atFrom: instant.optional(),
  atTo: instant.optional(),
  inForce: z
    .boolean()
    .optional()
    .meta({ description: 'Only changes that are in force, or only those that no longer are.' }),
};
const changePage = pageOf(consentChange).meta({ id: 'ConsentChangePage' });

async function pageOfChanges(
  context: Context,
  input: { customerId?: string | undefined },
): Promise<z.output<typeof changePage>> {
  const { data, page } = await list(context.db, context, input);
  return { data: data.map(withEvidence), page };
}

export const listConsents = readOperation({
  name: 'listConsents',
  scope: 'consents:read',
  partners: true,
  selfService: true,
  summary: 'List consents of all customers',
  description: 'All changes of consents. With `inForce=true` and `status=granted`: who has agreed to what.',
  input: z.strictObject({ ...listFilters, customerId: id.optional() }),
  output: changePage,
  run: pageOfChanges,
});

export const listCustomerConsentHistory = readOperation({
  name: 'listCustomerConsentHistory',
  scope: 'consents:read',
  partners: true,
  selfService: true,
  summary: "List the history of a customer's consents",
  input: z.strictObject({ ...targetParameters, ...listFilters }),
  output: changePage,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...filter }) {
    const owner = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const found = await pageOfChanges(context, { ...filter, customerId: owner });
    if (found.data.length === 0 && !(await customerById(context.db, owner))) throw notFound('customer');
    return found;
  },
});
