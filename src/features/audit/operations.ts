import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { IdsMerged } from '../../platform/merged-ids.ts';
import { type Context, readOperation } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { answered } from '../../records/table.ts';
import { customerById } from '../customers/queries.ts';
import { customerAliases } from '../merges/record.ts';
import { type AuditEntry, auditEntries, auditEntry, auditKind } from './record.ts';

const scopedToKind = (kind: 'partner' | 'customer') =>
  sql`case when ${auditEntries.confinement} = ${sql.raw(`'${kind}'`)} then ${auditEntries.confinementId} end`;
const columns = sql`${answered(auditEntries)}, ${scopedToKind('partner')} as "partnerId", ${scopedToKind('customer')} as "selfServiceOf"`;

const byId = statement<AuditEntry>(
  'audit_entry_by_id',
  sql`select ${columns} from ${auditEntries} where ${auditEntries.id} = ${param('id')}::uuid`,
);

export const getAuditEntry = readOperation({
  name: 'getAuditEntry',
  scope: 'audit:read',
  partners: false,
  selfService: false,
  summary: 'Read an audit entry',
  input: z.strictObject({ id }),
  output: auditEntry,
  problems: ['not_found'],
  async run({ db }, { id: entryId }) {
    const found = await db.first(byId, { id: entryId });
    if (!found) throw notFound('audit entry');
    return found;
  },
});

const ids = statement<{ id: string }>(
  'ids_of_person',
  sql`with person as (
      select coalesce((select a.customer_id from ${customerAliases} a where a.old_id = ${param('id')}::uuid), ${param('id')}::uuid) as id
    )
    select id from person union select a.old_id from person join ${customerAliases} a on a.customer_id = person.id order by id`,
);

/** All ids that a customer has had: what was merged into it, and what it was merged into. */
async function idsOf(db: Db, customerId: string): Promise<string[]> {
  return (await db.all(ids, { id: customerId })).map(({ id: one }) => one);
}

const list = keysetList<AuditEntry>({
  name: 'audit_entries',
  select: columns,
  from: sql`${auditEntries}`,
  id: sql`${auditEntries.id}`,
  filters: {
    customerIds: (value) => sql`${auditEntries.customerIds} && ${value}::uuid[]`,
    client: (value) => sql`${auditEntries.client} = ${value}`,
    operation: (value) => sql`${auditEntries.operation} = ${value}`,
    kind: (value) => sql`${auditEntries.kind} = ${value}`,
    from: (value) => sql`${auditEntries.at} >= ${value}::timestamptz`,
    to: (value) => sql`${auditEntries.at} < ${value}::timestamptz`,
  },
  // One customer is in every page that somebody looked at, another in three entries.
  uneven: ['customerIds', 'client', 'operation'],
  sorts: { at: { expression: sql`${auditEntries.at}`, type: 'timestamptz', field: 'at' } },
  defaultSort: '-at',
});

const filters = {
  ...pageParameters,
  sort: sortParameter(['at'], '-at'),
  client: text(255)
    .optional()
    .meta({ description: 'The client of the token; `public` for survey links.', example: 'shop' }),
  operation: text(100).optional().meta({ description: 'The operationId.', example: 'getCustomer' }),
  kind: auditKind.optional(),
  from: instant.optional(),
  to: instant.optional().meta({ description: 'Before this instant.' }),
};
const auditEntryPage = pageOf(auditEntry).meta({ id: 'AuditEntryPage' });

export const listAuditEntries = readOperation({
  name: 'listAuditEntries',
  scope: 'audit:read',
  partners: false,
  selfService: false,
  summary: 'List who changed or read what',
  description:
    'Every change, recorded in the same transaction, and every response with personal data, recorded within a second. With `customerId`: who changed or read the records of this customer, including its ids from before merges, even if it was deleted. A GraphQL request that reads the records of several customers at once is recorded under the operation for the whole set (`interactionsOfCustomers`).',
  input: z.strictObject({
    ...filters,
    customerId: id.optional().meta({ description: 'Only entries about this customer.' }),
  }),
  output: auditEntryPage,
  run: (context, input) => pageOfEntries(context, input),
});

export const listCustomerAuditEntries = readOperation({
  name: 'listCustomerAuditEntries',
  scope: 'audit:read',
  partners: false,
  selfService: false,
  summary: 'List who changed or read the records of a customer',
  description: 'Includes its ids from before merges, and also works after the customer was deleted.',
  input: z.strictObject({ id, ...filters }),
  output: auditEntryPage,
  problems: ['not_found'],
  async run(context, { id: customerId, ...input }) {
    const redirects = await context.redirects(context.db, [customerId]);
    if (redirects.size > 0) throw new IdsMerged(redirects);
    const found = await pageOfEntries(context, { ...input, customerId });
    if (found.data.length === 0 && !(await isKnown(context, customerId))) throw notFound('customer');
    return found;
  },
});

/** Whether there is such a customer, or was: its creation left an entry. */
async function isKnown(context: Context, customerId: string): Promise<boolean> {
  if (await customerById(context.db, customerId)) return true;
  return (await pageOfEntries(context, { customerId, limit: 1 })).data.length > 0;
}

async function pageOfEntries(
  context: Context,
  { customerId, ...input }: z.output<z.ZodObject<typeof filters>> & { customerId?: string | undefined },
): Promise<z.output<typeof auditEntryPage>> {
  const customerIds = customerId === undefined ? undefined : await idsOf(context.db, customerId);
  return list(context.db, context, { ...input, customerIds });
}
