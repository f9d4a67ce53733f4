import { boolean, index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn, json } from '../../platform/db/columns.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { channel, consentPurpose, customers } from '../customers/model.ts';

/** Others who work with some of the customers: tokens with the claim `partner` see only what is shared with it. */
export const partners = pgTable('partners', {
  id: uuid('id').primaryKey(),
  version: integer('version').notNull(),
  name: textColumn('name').notNull(),
  status: textColumn('status').$type<PartnerStatus>().notNull(),
  /** Nullable members of documents that it may see, `Customer.name`. */
  fields: json('fields').notNull(),
  /** Metrics rest on at least so many customers. */
  minimumGroupSize: integer('minimum_group_size').notNull(),
  /** What `partnerRules` says. */
  rules: json('rules').notNull(),
  createdAt: instantColumn('created_at').notNull(),
  updatedAt: instantColumn('updated_at').notNull(),
});

/** Customers shared one by one, whatever the rules say. */
export const partnerShares = pgTable(
  'partner_shares',
  {
    partnerId: uuid('partner_id')
      .notNull()
      .references(() => partners.id, { onDelete: 'cascade' }),
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id, { onDelete: 'cascade' }),
    writable: boolean('writable').notNull(),
    createdAt: instantColumn('created_at').notNull(),
    by: textColumn('by').notNull(),
  },
  (t) => [primaryKey({ columns: [t.partnerId, t.customerId] }), index('partner_shares_customer').on(t.customerId)],
);

/**
 * Who is shared with whom: derived from explicit shares and rules (sharing.ts), and what row-level security asks. No
 * foreign keys: the row of a new customer is written before the customer, so that the policies let its partner write it.
 */
export const partnerCustomers = pgTable(
  'partner_customers',
  {
    partnerId: uuid('partner_id').notNull(),
    customerId: uuid('customer_id').notNull(),
    writable: boolean('writable').notNull(),
  },
  (t) => [primaryKey({ columns: [t.partnerId, t.customerId] }), index('partner_customers_customer').on(t.customerId)],
);

export const partnerStatuses = ['active', 'suspended'] as const;
export type PartnerStatus = (typeof partnerStatuses)[number];
export const partnerStatus = z
  .enum(partnerStatuses)
  .meta({ id: 'PartnerStatus', description: 'Whether its tokens see anything.', example: 'active' });

export const defaultGroupSize = 10;

/** Sharing by rule: what any part of it matches is shared. */
export const partnerRules = z
  .strictObject({
    acquired: z
      .boolean()
      .meta({ description: 'Customers that the partner has brought (`acquiredBy`); these it may change.' }),
    segments: z
      .array(text(100))
      .max(100)
      .meta({ description: 'Customers that are leads of one of these segments.', example: ['smb'] }),
    consent: z.strictObject({ purpose: consentPurpose, channel: channel.nullable().optional() }).nullable().meta({
      description:
        'Customers whose consent to this purpose is in force: on the channel, or without one wherever the consent is for all channels.',
    }),
  })
  .meta({
    id: 'PartnerRules',
    description: 'Which customers are shared without being named: those that any part matches.',
  });
export type PartnerRules = z.output<typeof partnerRules>;

export const noRules: PartnerRules = { acquired: false, segments: [], consent: null };

const fieldName = text(200)
  .regex(/^[A-Z][A-Za-z0-9]*\.[a-z][A-Za-z0-9]*$/, {
    error: 'A document and its member, such as Customer.name: GET /v1/partner-fields lists them.',
  })
  .meta({ description: 'A document and its member; `GET /v1/partner-fields` lists them.', example: 'Customer.name' });

const members = {
  name: text(200).meta({ description: 'What people call it.', example: 'Riverside Dealers' }),
  status: partnerStatus.optional().meta({ description: '`suspended`: its tokens see nothing, at once.' }),
  fields: z
    .array(fieldName)
    .max(500)
    .optional()
    .meta({ description: 'Members of documents that it may see beyond those that are never null; none unless told.' }),
  minimumGroupSize: z
    .int()
    .min(2)
    .max(1_000_000)
    .optional()
    .meta({ description: 'On how many customers a number must rest; 10 unless told.', example: 10 }),
  rules: partnerRules
    .partial()
    .optional()
    .meta({ description: 'Replaced as a whole; parts left out share nothing.', example: { acquired: true } }),
};

export const partnerInput = z
  .strictObject(members)
  .meta({ id: 'PartnerInput', example: { name: 'Riverside Dealers', rules: { acquired: true } } });
export type PartnerInput = z.output<typeof partnerInput>;

export const partnerPatch = z
  .strictObject(members)
  .partial()
  .meta({ id: 'PartnerPatch', description: 'Members left out stay as they are.' });

export const partner = z
  .strictObject({
    id,
    name: z.string(),
    status: partnerStatus,
    fields: z.array(z.string()),
    minimumGroupSize: z.int(),
    rules: partnerRules,
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Partner', description: 'Somebody who works with some of the customers, and sees only these.' });
export type Partner = z.output<typeof partner>;

/** Body of a share. */
export const partnerShareInput = z
  .strictObject({
    writable: z.boolean().optional().meta({ description: 'Whether the partner may change it; false unless told.' }),
  })
  .meta({ id: 'PartnerShareInput', example: { writable: true } });

/** An item of a batch: a share with whom it is about. */
export const partnerShareItem = z
  .strictObject({ customerId: id, ...partnerShareInput.shape })
  .meta({ id: 'PartnerShareItem' });

export const partnerShare = z
  .strictObject({
    partnerId: id,
    customerId: id,
    writable: z.boolean().meta({ description: 'Whether the partner may change the customer and its records.' }),
    createdAt: instant,
    by: z.string().meta({ description: 'The client that shared it first.' }),
  })
  .meta({ id: 'PartnerShare', description: 'A customer that is shared with a partner by name.' });
export type PartnerShare = z.output<typeof partnerShare>;

export const shareReasonNames = ['explicit', 'acquired', 'segment', 'consent'] as const;
export type ShareReason = (typeof shareReasonNames)[number];
export const shareReason = z.enum(shareReasonNames).meta({
  id: 'ShareReason',
  description: 'explicit: shared by name. The others are parts of the partner’s rules.',
  example: 'acquired',
});

export const partnerCustomer = z
  .strictObject({
    customerId: id,
    writable: z.boolean().meta({ description: 'Whether the partner may change the customer and its records.' }),
    reasons: z
      .array(shareReason)
      .meta({ description: 'Why it is shared; taking one away leaves it shared by the others.' }),
  })
  .meta({ id: 'PartnerCustomer', description: 'A customer that is shared with a partner, and why.' });
export type PartnerCustomer = z.output<typeof partnerCustomer>;
