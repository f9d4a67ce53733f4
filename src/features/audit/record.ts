import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { id } from '../../platform/values.ts';
import { code, instant, key, recordId, recordIds, text, texts, words } from '../../records/fields.ts';
import { outputShape, storedTable } from '../../records/table.ts';

export const auditDoor = z
  .enum(['rest', 'graphql', 'job'])
  .meta({ id: 'AuditDoor', description: 'The interface that was used; `job`: a background job.' });
export const auditKind = z
  .enum(['read', 'write'])
  .meta({ id: 'AuditKind', description: '`read`: personal data was returned.' });
export const auditOutcome = z
  .enum(['done', 'partial'])
  .meta({ id: 'AuditOutcome', description: '`partial`: some items of the batch were refused or changed nothing.' });

const auditFields = {
  id: key(),
  at: instant().required(),
  requestId: text(100)
    .plain()
    .required()
    .says(
      'The request id, as in the log and in `instance` of problems. All operations of one GraphQL request share it.',
    ),
  client: code(255).plain().required().says('Client of the token; `public` for links without a login.', 'shop'),
  /** Whose records the token was scoped to, and the id of that partner or customer. */
  confinement: words(z.enum(['partner', 'customer'])).internal(),
  confinementId: recordId().internal(),
  address: text(100)
    .plain()
    .says(
      'IP address of the caller (behind `TRUSTED_PROXIES`: the address they forward). null for background jobs and for customers themselves (links, self-service), whose addresses are personal data.',
      '192.0.2.10',
    ),
  door: words(auditDoor).required(),
  operation: code(100).plain().required().says('The operationId, or the name of the job.', 'updateCustomer'),
  kind: words(auditKind).required(),
  resource: text(100).plain().required().says('The resource, as in the scope of the operation.', 'customers'),
  recordIds: recordIds().required().says('Ids of the records, if they are not customers.'),
  customerIds: recordIds().required().says('The customers whose records were changed or returned.'),
  members: texts(100)
    .plain()
    .required()
    .says('For a write: names of the top-level members of the body, without values.', ['name', 'emails']),
  outcome: words(auditOutcome).required(),
};

/**
 * Who changed or read what. Rows are added and never change: the role of the service may not update, delete or truncate
 * them. No values of records are in it, only ids and names of members, so that nothing has to be erased from it.
 *
 * Customers are in an array with a GIN index, not in a table of pairs: a page of a hundred customers that was read is one
 * row, and the rare and the frequent customer are told apart by the planner (`uneven` of the list).
 */
export const auditEntries = storedTable('audit_entries', {
  name: 'auditEntries',
  label: 'Who changed or read what',
  access: 'append',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: 'none',
  fields: auditFields,
  extras: (t) => [
    index('audit_entries_at').on(t.at, t.id),
    index('audit_entries_client').on(t.client, t.at, t.id),
    index('audit_entries_operation').on(t.operation, t.at, t.id),
    index('audit_entries_customers').using('gin', t.customerIds),
  ],
});

export const auditEntry = z
  .strictObject({
    ...outputShape(auditFields),
    partnerId: id.nullable().meta({ description: 'The partner that the token is scoped to.' }),
    selfServiceOf: id.nullable().meta({ description: 'The customer that the token is scoped to.' }),
  })
  .meta({
    id: 'AuditEntry',
    description: 'One change, or one response with personal data. It holds names of members, never values.',
  });
export type AuditEntry = z.output<typeof auditEntry>;
