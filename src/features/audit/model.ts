import { index, pgTable, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn } from '../../platform/db/columns.ts';
import { id, instant } from '../../platform/values.ts';

export const auditDoor = z
  .enum(['rest', 'graphql', 'job'])
  .meta({ id: 'AuditDoor', description: 'By which way it came; `job`: by a rule, in the background.' });
export const auditKind = z
  .enum(['read', 'write'])
  .meta({ id: 'AuditKind', description: '`read`: personal data was answered.' });
export const auditOutcome = z
  .enum(['done', 'partial'])
  .meta({ id: 'AuditOutcome', description: '`partial`: some items of the batch were refused or changed nothing.' });

/**
 * Who changed or read what. Rows are added and never change: the role of the service may not update, delete or truncate
 * them. No values of records are in it, only ids and names of members, so that nothing has to be erased from it.
 *
 * Customers are in an array with a GIN index, not in a table of pairs: a page of a hundred customers that was read is one
 * row, and the rare and the frequent customer are told apart by the planner (`uneven` of the list).
 */
export const auditEntries = pgTable(
  'audit_entries',
  {
    id: uuid('id').primaryKey(),
    at: instantColumn('at').notNull(),
    requestId: textColumn('request_id').notNull(),
    client: code('client').notNull(),
    /** Whose records the token was confined to: `partner` or `customer`, and its id. */
    confinement: textColumn('confinement').$type<'partner' | 'customer'>(),
    confinementId: uuid('confinement_id'),
    /** null for customers themselves (links, self-service), whose addresses are personal data. */
    address: textColumn('address'),
    door: textColumn('door').$type<z.output<typeof auditDoor>>().notNull(),
    operation: code('operation').notNull(),
    kind: textColumn('kind').$type<z.output<typeof auditKind>>().notNull(),
    /** What the operation's scope is about. */
    resource: textColumn('resource').notNull(),
    /** Records other than customers. */
    recordIds: uuid('record_ids').array().notNull(),
    customerIds: uuid('customer_ids').array().notNull(),
    members: textColumn('members').array().notNull(),
    outcome: textColumn('outcome').$type<z.output<typeof auditOutcome>>().notNull(),
  },
  (t) => [
    index('audit_entries_at').on(t.at, t.id),
    index('audit_entries_client').on(t.client, t.at, t.id),
    index('audit_entries_operation').on(t.operation, t.at, t.id),
    index('audit_entries_customers').using('gin', t.customerIds),
  ],
);

export const auditEntry = z
  .strictObject({
    id,
    at: instant,
    requestId: z.string().meta({
      description:
        'Of the request, as in the log and in `instance` of problems. All operations of one GraphQL request have the same.',
    }),
    client: z
      .string()
      .meta({ description: 'Client of the token; `public` for links without a login.', example: 'shop' }),
    partnerId: id.nullable().meta({ description: 'The partner whose token it was.' }),
    selfServiceOf: id.nullable().meta({ description: 'The customer whose token it was.' }),
    address: z.string().nullable().meta({
      description:
        'Address of the caller (behind `TRUSTED_PROXIES`, what they say). null for background jobs, and for customers themselves (links, self-service), whose addresses are personal data.',
      example: '192.0.2.10',
    }),
    door: auditDoor,
    operation: z.string().meta({ description: 'The operationId; for jobs their name.', example: 'updateCustomer' }),
    kind: auditKind,
    resource: z.string().meta({ description: 'What the operation is about, as its scope says.', example: 'customers' }),
    recordIds: z.array(id).meta({ description: 'The records, unless they are customers.' }),
    customerIds: z.array(id).meta({ description: 'The customers whose records were changed or answered.' }),
    members: z.array(z.string()).meta({
      description: 'Of a write: top-level members of the body that was sent, names only.',
      example: ['name', 'emails'],
    }),
    outcome: auditOutcome,
  })
  .meta({
    id: 'AuditEntry',
    description: 'One change, or one answer with personal data. Holds no values, only names.',
  });
export type AuditEntry = z.output<typeof auditEntry>;
