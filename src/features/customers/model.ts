import { sql } from 'drizzle-orm';
import { boolean, date, index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { customerKey } from '../../platform/audit.ts';
import { amount as amountColumn, code, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import {
  amount,
  calendarDate,
  id,
  instant,
  isStorableJson,
  positiveAmount,
  text,
  version,
} from '../../platform/values.ts';
import { ofOthers } from '../../platform/withheld.ts';
import { reference, referenceInput, sourceVersionInput } from '../../records/references/record.ts';

/**
 * A person or a company. The customer is the shard key of every fact and, through its row, the lock under which a
 * customer's facts and derived state change together (src/README.md, 'Lock first').
 */
export const customers = pgTable(
  'customers',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    kind: textColumn('kind').$type<CustomerKind>().notNull(),
    name: textColumn('name'),
    givenName: textColumn('given_name'),
    familyName: textColumn('family_name'),
    // Other customers live on other shards: checked when written, not by a foreign key.
    companyId: uuid('company_id'),
    referredBy: uuid('referred_by'),
    birthday: date('birthday'),
    address: json('address'),
    locale: textColumn('locale'),
    preferredChannel: textColumn('preferred_channel').$type<Channel>(),
    acquisitionSource: textColumn('acquisition_source'),
    acquisitionCost: amountColumn('acquisition_cost'),
    acquiredOn: date('acquired_on'),
    /** The partner who brought the customer. */
    acquiredBy: uuid('acquired_by'),
    attributes: json('attributes'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
    /** When the person was erased: from then on the row keeps their facts together, and nothing personal. */
    erasedAt: instantColumn('erased_at'),
    /** Profile fields of lead scoring that were filled in when the person was erased: funnel health still counts them. */
    erasedFields: json('erased_fields').$type<string[]>(),
  },
  (t) => [
    index('customers_created').on(t.createdAt, t.id),
    index('customers_updated').on(t.updatedAt, t.id),
    index('customers_company').on(t.companyId, t.id),
    index('customers_referred_by').on(t.referredBy, t.id),
    index('customers_acquired_by').on(t.acquiredBy, t.id).where(sql`acquired_by is not null`),
    // Birthdays of a day.
    index('customers_birth_day')
      .on(sql`(extract(month from birthday) * 100 + extract(day from birthday))`)
      .where(sql`birthday is not null`),
  ],
);

/** Ways to recognise and reach a customer; a value belongs to one customer only. */
export const customerIdentities = pgTable(
  'customer_identities',
  {
    kind: textColumn('kind').$type<IdentityKind>().notNull(),
    /** Normalised: lower-case e-mail, E.164 phone. */
    value: code('value').notNull(),
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id, { onDelete: 'cascade' }),
    primary: boolean('is_primary').notNull(),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.kind, t.value] }), index('customer_identities_customer').on(t.customerId)],
);

export const customerKinds = ['person', 'company'] as const;
export type CustomerKind = (typeof customerKinds)[number];
export const identityKinds = ['email', 'phone', 'handle'] as const;
export type IdentityKind = (typeof identityKinds)[number];
export const channels = ['email', 'phone', 'sms', 'chat', 'post', 'social', 'store'] as const;
export type Channel = (typeof channels)[number];

export const customerKind = z
  .enum(customerKinds)
  .meta({ id: 'CustomerKind', description: 'A person or a company.', example: 'person' });
export const identityKind = z.enum(identityKinds).meta({ id: 'IdentityKind', example: 'email' });
export const channel = z
  .enum(channels)
  .meta({ id: 'Channel', description: 'A way to reach a customer.', example: 'email' });

export const address = z
  .strictObject({
    line1: text(200).nullable().optional(),
    line2: text(200).nullable().optional(),
    postalCode: text(32).nullable().optional(),
    city: text(100).nullable().optional(),
    region: text(100).nullable().optional(),
    country: z
      .string()
      .regex(/^[A-Z]{2}$/)
      .nullable()
      .optional()
      .meta({ description: 'ISO 3166-1 alpha-2 code.', example: 'GB' }),
  })
  .meta({ id: 'Address' });

export const identityInput = z
  .strictObject({
    kind: identityKind,
    value: text(254).meta({
      description: 'Normalised when stored: e-mail in lower case, phone as E.164.',
      example: 'ada@example.org',
    }),
    primary: z
      .boolean()
      .optional()
      .meta({ description: 'The one answered as `email` or `phone`; the first of its kind unless told.' }),
  })
  .meta({ id: 'IdentityInput' });

export const identity = z
  .strictObject({ kind: identityKind, value: z.string(), primary: z.boolean() })
  .meta({ id: 'Identity', description: 'A way to recognise and reach a customer; belongs to one customer only.' });

export const acquisitionInput = z
  .strictObject({
    source: text(100).meta({ description: 'Where the customer came from.', example: 'search-ads' }),
    cost: positiveAmount
      .nullable()
      .optional()
      .meta({ description: 'What winning the customer cost, minor units of the base currency.' }),
    acquiredOn: calendarDate
      .nullable()
      .optional()
      .meta({ description: 'When; the day of the first order unless told.' }),
  })
  .meta({ id: 'AcquisitionInput' });

export const acquisition = z
  .strictObject({ source: z.string(), cost: amount.nullable(), acquiredOn: calendarDate.nullable() })
  .meta({
    id: 'Acquisition',
    description: 'Where a customer came from, and at what cost (minor units of the base currency).',
  });

const maxAttributes = 16_384;
export const attributes = z
  .record(text(100), z.unknown())
  .refine((value) => isStorableJson(value), {
    error: 'is nested deeper than 64 levels, or has NUL characters or lone surrogates',
    params: { code: 'invalid_json' },
  })
  .refine((value) => JSON.stringify(value).length <= maxAttributes, {
    error: `is larger than ${maxAttributes} characters of JSON`,
    params: { code: 'too_large' },
  })
  .meta({ description: 'Custom attributes, at most 16 KiB of JSON.', example: { tier: 'gold' } });

/** What a consent is for, e.g. `newsletter`: as you cut it. */
export const consentPurpose = z
  .string()
  .max(64)
  .regex(/^[a-z][a-z0-9_]*$/, { error: 'Lower-case words with _, such as newsletter.' })
  .meta({ description: 'What it is for, as you cut it: lower-case words with _.', example: 'newsletter' });
export const consentStatus = z
  .enum(['granted', 'withdrawn'])
  .meta({ id: 'ConsentStatus', description: 'Whether it was given or taken back.', example: 'granted' });

/** A consent as it is sent: here, as it may come with its customer. */
export const consentInput = z
  .strictObject({
    purpose: consentPurpose,
    channel: channel.nullable().optional().meta({ description: 'null or left out: all channels.' }),
    status: consentStatus,
    at: instant.optional().meta({ description: 'When it was given or taken back; now unless told.' }),
    evidence: z
      .strictObject({
        source: text(200).nullable().optional().meta({ description: 'Where it was given.', example: 'checkout' }),
        textVersion: text(100)
          .nullable()
          .optional()
          .meta({ description: 'The version of the text.', example: '2026-01' }),
        wording: text(4_000).nullable().optional().meta({ description: 'The text that was agreed to.' }),
        reference: text(255)
          .nullable()
          .optional()
          .meta({ description: 'What proves it, e.g. the id of a double opt-in.' }),
      })
      .meta({ id: 'ConsentEvidenceInput', description: 'How it can be shown; personal data.' })
      .optional(),
  })
  .meta({
    id: 'ConsentInput',
    example: { purpose: 'newsletter', channel: 'email', status: 'granted', evidence: { source: 'checkout' } },
  });
export type ConsentInput = z.output<typeof consentInput>;

/** Consents that come with a document. */
export const consentInputs = z.array(consentInput).max(50).optional();

const locale = text(35)
  .regex(/^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/)
  .meta({ description: 'BCP 47 language tag.', example: 'en-GB' });

/** What a client may set; on PUT a member left out is cleared, on PATCH it stays. */
const profile = {
  kind: customerKind.optional(),
  name: text(200).nullable().optional().meta({ description: 'Full or company name.', example: 'Ada Lovelace' }),
  givenName: text(100).nullable().optional(),
  familyName: text(100).nullable().optional(),
  companyId: id.nullable().optional().meta({ description: 'The company a person belongs to.' }),
  identities: z.array(identityInput).max(50).optional(),
  references: z.array(referenceInput).max(50).optional(),
  birthday: calendarDate.nullable().optional(),
  address: address.nullable().optional(),
  locale: locale.nullable().optional(),
  preferredChannel: channel.nullable().optional(),
  acquisition: acquisitionInput.nullable().optional(),
  referredBy: id.nullable().optional().meta({ description: 'The customer who referred this one.' }),
  acquiredBy: id.nullable().optional().meta({
    description: 'The partner who brought the customer; left out it stays, on PUT as well.',
  }),
  attributes: attributes.nullable().optional(),
};

export const customerPatch = z.strictObject(profile).meta({ id: 'CustomerPatch' });
export type CustomerPatch = z.output<typeof customerPatch>;

export const customerInput = z
  .strictObject({
    ...profile,
    sourceVersion: sourceVersionInput.optional(),
    consents: consentInputs.meta({
      description:
        'Recorded with the customer. Of a customer that exists: what is not known yet, and where `at` is left out, what changes what is in force.',
    }),
  })
  .meta({
    id: 'CustomerInput',
    description:
      'One of a name, an identity or a reference is required. `sourceVersion` belongs to the first reference.',
    example: {
      name: 'Ada Lovelace',
      identities: [{ kind: 'email', value: 'ada@example.org' }],
      references: [{ source: 'shop', externalId: 'C-1001' }],
    },
  });
export type CustomerInput = z.output<typeof customerInput>;

export const customer = z
  .strictObject({
    id: customerKey(id),
    kind: customerKind,
    name: personal(z.string()),
    givenName: personal(z.string()),
    familyName: personal(z.string()),
    companyId: ofOthers(id.nullable()),
    email: personal(z.string().meta({ description: 'The primary e-mail.' })),
    phone: personal(z.string().meta({ description: 'The primary phone, E.164.' })),
    identities: personal(z.array(identity)),
    references: z.array(reference),
    birthday: personal(calendarDate),
    address: personal(address),
    locale: z.string().nullable(),
    preferredChannel: channel.nullable(),
    acquisition: acquisition.nullable(),
    referredBy: ofOthers(id.nullable()),
    acquiredBy: ofOthers(id.nullable().meta({ description: 'The partner who brought the customer.' })),
    attributes: personal(z.record(z.string(), z.unknown())),
    version,
    createdAt: instant,
    updatedAt: instant,
    erasedAt: instant.nullable().meta({ description: 'When the person was erased; what is left are anonymous facts.' }),
  })
  .meta({
    id: 'Customer',
    description: 'A person or a company. Personal data is null without the scope `customers:pii`.',
  });
export type Customer = z.output<typeof customer>;
