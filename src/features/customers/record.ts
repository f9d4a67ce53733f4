import { type SQL, sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { problemType } from '../../platform/errors.ts';
import { maskedForScoped } from '../../platform/masked-fields.ts';
import { personal } from '../../platform/personal.ts';
import { amount, text as boundedText, calendarDate, country, id, positiveAmount } from '../../platform/values.ts';
import { attributesIndex } from '../../records/custom-fields.ts';
import {
  boolean,
  code,
  date,
  dateOrDay,
  instant,
  json,
  money,
  otherCustomer,
  ownerId,
  recordId,
  text,
  words,
} from '../../records/fields.ts';
import { isSomebody } from '../../records/nobody.ts';
import { record } from '../../records/record.ts';
import { referenceInput } from '../../records/references/record.ts';
import { storedTable } from '../../records/table.ts';
import { consentInputs } from './consent-input.ts';
import { channel, customerKind, identityKind } from './words.ts';

export const identityTaken = problemType('identity_taken', 409, 'The identity belongs to another customer');

export const address = z
  .strictObject({
    line1: boundedText(200).nullable().optional(),
    line2: boundedText(200).nullable().optional(),
    postalCode: boundedText(32).nullable().optional(),
    city: boundedText(100).nullable().optional(),
    region: boundedText(100).nullable().optional(),
    country: country.nullable().optional(),
  })
  .meta({ id: 'Address' });
export type Address = z.output<typeof address>;

/** Personal but for its country, which alone is nobody's address: metrics group by it. */
export function postalAddress(column: string) {
  const country = sql`${sql.identifier(column)} ->> 'country'`;
  return json(address)
    .personal()
    .leaves(sql`case when ${country} is not null then jsonb_build_object('country', ${country}) end`);
}

export const identityInput = z
  .strictObject({
    kind: identityKind,
    value: boundedText(254).meta({
      description:
        'Stored in one normal form: an e-mail in lower case with its domain in ASCII, a phone as E.164 with its extension (`;ext=11`), read in the country of the address when it has no country code.',
      example: 'ada@example.org',
    }),
    primary: z.boolean().optional().meta({
      description: 'Whether it is the one returned as `email` or `phone`. Default: the first of its kind is.',
    }),
    shared: z.boolean().optional().meta({
      description:
        'Whether others have it as well, like the phone of a household or a switchboard: then nobody is found by it. Default: false, and what it is already.',
    }),
  })
  .meta({ id: 'IdentityInput' });

/** Those by which customers are found, and those by which they are only reached; SQL for a `from`. */
export const everyIdentity = `(select customer_id, kind, value, is_primary, created_at, false as shared from customer_identities
  union all select customer_id, kind, value, is_primary, created_at, true from customer_shared_identities)`;

export const identity = z
  .strictObject({
    kind: identityKind,
    value: z.string(),
    primary: z.boolean(),
    shared: z.boolean().optional().meta({
      description: 'true: the customer is reached by it and not found by it. Left out otherwise.',
    }),
  })
  .meta({
    id: 'Identity',
    description: 'A way to recognise and reach a customer. It identifies one customer; others may have it as `shared`.',
  });

export const acquisitionInput = z
  .strictObject({
    source: boundedText(100).meta({ description: 'Where the customer came from.', example: 'search-ads' }),
    cost: positiveAmount
      .nullable()
      .optional()
      .meta({ description: 'Cost of winning the customer, minor units of the base currency.' }),
    acquiredOn: calendarDate
      .nullable()
      .optional()
      .meta({ description: 'The date of the cost. Default: the day of the first order.' }),
  })
  .meta({ id: 'AcquisitionInput' });

export const acquisition = z
  .strictObject({ source: z.string(), cost: amount.nullable(), acquiredOn: calendarDate.nullable() })
  .meta({
    id: 'Acquisition',
    description: 'Where a customer came from, and at what cost (minor units of the base currency).',
  });

const locale = boundedText(35)
  .regex(/^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/)
  .meta({ description: 'BCP 47 language tag.', example: 'en-GB' });

const nameKey = `lower(btrim(coalesce(nullif(name, ''), coalesce(given_name, '') || ' ' || coalesce(family_name, ''))))`;
const isNamed = `coalesce(name, given_name, family_name) is not null`;

const primaryOf = (kind: 'email' | 'phone') => (row: SQL) =>
  sql`(select i.value from ${sql.raw(everyIdentity)} i where i.customer_id = ${row}.id and i.kind = ${sql.raw(`'${kind}'`)} and i.is_primary)`;

/** What two records of one person are likely to have in common beside e-mails and phones, as a number; SQL of a customer. */
export const alike = {
  birthday: {
    key: `(hashtextextended(${nameKey}, (birthday - date '2000-01-01')::bigint))`,
    isThere: `${isNamed} and birthday is not null`,
  },
  postalCode: {
    key: `(hashtextextended(${nameKey} || '|' || lower(replace(address ->> 'postalCode', ' ', '')), 0))`,
    isThere: `${isNamed} and address ->> 'postalCode' is not null`,
  },
} as const;

/**
 * A person or a company. The customer is the key under which all facts are kept and, through its row, the lock under which
 * a customer's facts and derived state change together (src/README.md, 'Lock first').
 */
export const customerRecord = record('customer', {
  plural: 'customers',
  label: 'Customer',
  owner: null,
  self: true,
  naming: 'list',
  mostReferences: 50,
  access: { scope: 'customers', partners: ['read', 'create', 'update'], selfService: ['read', 'update'] },
  listedBy: { createdAt: 'order and filter', updatedAt: 'order and filter' },
  fields: {
    kind: words(customerKind).defaultsTo('person').filter(),
    name: text(200).personal().says('Full or company name.', 'Ada Lovelace'),
    givenName: text(100).personal(),
    familyName: text(100).personal(),
    // Other customers may live on other shards: checked when written, not by a foreign key.
    companyId: otherCustomer('company member')
      .replacedAs('companies')
      .filter('named')
      .says('The company a person belongs to.'),
    referredBy: otherCustomer('referred customer')
      .replacedAs('referrers')
      .filter('named')
      .says('The customer who referred this one.'),
    birthday: dateOrDay().personal(),
    address: postalAddress('address'),
    locale: text(35).plain().takes(locale),
    preferredChannel: words(channel).filter(),
    acquisitionSource: text(100).plain().filter().internal(),
    acquisitionCost: money().inBaseCurrency().internal(),
    acquiredOn: date().plain().internal(),
    acquiredBy: recordId()
      .answers(maskedForScoped(id.nullable()))
      .says('The partner who brought the customer. If omitted it does not change, not even with PUT.'),
    /** From then on the row keeps the facts of a person together, and nothing personal. */
    erasedAt: instant().readOnly().says('When the person was erased. Only anonymous records are left.'),
    /** Profile fields of lead scoring that were filled in when the person was erased: funnel health still counts them. */
    erasedFields: json(z.array(z.string())).plain().internal(),
  },
  more: {
    input: {
      identities: z.array(identityInput).max(50).optional(),
      references: z.array(referenceInput).max(50).optional(),
      acquisition: acquisitionInput.nullable().optional(),
    },
    document: {
      consents: consentInputs.meta({
        description:
          'Consents to record with the customer. For a customer that exists, only new ones are recorded; without `at`, only those that change what is in force, and none that gives again what was taken back: send `at` for that.',
      }),
    },
    output: {
      email: personal(z.string().meta({ description: 'The primary e-mail.' })),
      phone: personal(
        z.string().meta({ description: 'The primary phone, E.164 with its extension: `+16082719000;ext=11`.' }),
      ),
      identities: personal(z.array(identity)),
      acquisition: acquisition.nullable(),
    },
    select: () => ({
      identities: sql`(select coalesce(json_agg(case when i.shared
            then json_build_object('kind', i.kind, 'value', i.value, 'primary', i.is_primary, 'shared', true)
            else json_build_object('kind', i.kind, 'value', i.value, 'primary', i.is_primary) end
          order by i.kind, i.is_primary desc, i.created_at, i.value), '[]')
        from ${sql.raw(everyIdentity)} i where i.customer_id = customers.id)`,
      acquisition: sql`case when acquisition_source is not null then
        json_build_object('source', acquisition_source, 'cost', acquisition_cost, 'acquiredOn', acquired_on) end`,
    }),
    finish(row) {
      const identities = row['identities'] as z.output<typeof identity>[]; // as selected
      for (const kind of ['email', 'phone']) {
        row[kind] = identities.find((one) => one.kind === kind && one.primary)?.value ?? null;
      }
    },
    madeOf: { acquisition: ['acquisitionSource', 'acquisitionCost', 'acquiredOn'] },
    finished: { email: primaryOf('email'), phone: primaryOf('phone') },
  },
  extras: (t) => [
    index('customers_created').on(t.createdAt, t.id).where(isSomebody(sql`id`)),
    index('customers_updated').on(t.updatedAt, t.id).where(isSomebody(sql`id`)),
    index('customers_company').on(t.companyId, t.id),
    index('customers_referred_by').on(t.referredBy, t.id),
    index('customers_acquired_by').on(t.acquiredBy, t.id).where(sql`acquired_by is not null`),
    // Who may be one person (merges/duplicates.ts).
    index('customers_same_birthday')
      .on(sql`${sql.raw(alike.birthday.key)}`, t.id)
      .where(sql.raw(alike.birthday.isThere)),
    index('customers_same_postal_code')
      .on(sql`${sql.raw(alike.postalCode.key)}`, t.id)
      .where(sql.raw(alike.postalCode.isThere)),
    // Birthdays of a day.
    index('customers_birth_day')
      .on(sql`(extract(month from birthday) * 100 + extract(day from birthday))`)
      .where(sql`birthday is not null`),
    attributesIndex('customers_attributes', t.attributes),
  ],
  says: {
    record: 'A person or a company. Personal data is null without the scope `customers:pii`.',
    input: 'A name, an identity or a reference is required. `sourceVersion` belongs to the first reference.',
    example: {
      name: 'Ada Lovelace',
      identities: [{ kind: 'email', value: 'ada@example.org' }],
      references: [{ source: 'shop', externalId: 'C-1001' }],
    },
  },
});

export const customers = customerRecord.table;
export type Customer = z.output<typeof customerRecord.output>;
export type CustomerInput = z.output<typeof customerRecord.input>;
export type CustomerPatch = z.output<typeof customerRecord.patch>;

const identityFields = {
  kind: words(identityKind).required(),
  /** In normal form (normal-form.ts). */
  value: code(254).personal().removedWithPerson().required(),
  customerId: ownerId(() => customers.id, 'cascade'),
  primary: boolean().required().named('is_primary'),
  /** Who told it (brought.ts); null: it was stored before this was noted. */
  broughtBy: json(z.array(referenceInput.nullable())).plain().internal(),
  createdAt: instant().required(),
};

/** Ways to recognise and reach a customer; a value belongs to one customer only. */
export const customerIdentities = storedTable('customer_identities', {
  name: 'identities',
  label: 'E-mail addresses, phone numbers and handles',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['kind', 'value'],
  guard: null,
  feed: { of: 'customer', by: 'customerId', member: 'identities' },
  merge: 'rewrite',
  fields: identityFields,
  conflicts: { customer_identities_kind_value_pk: identityTaken },
  extras: (t) => [index('customer_identities_customer').on(t.customerId)],
});

/** Ways to reach a customer by which another one is found, or nobody: the phone of a household, of a switchboard. */
export const sharedIdentities = storedTable('customer_shared_identities', {
  name: 'sharedIdentities',
  label: 'E-mail addresses, phone numbers and handles shared with other customers',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['customerId', 'kind', 'value'],
  guard: null,
  feed: { of: 'customer', by: 'customerId', member: 'identities' },
  merge: 'rewrite',
  fields: identityFields,
  extras: (t) => [index('customer_shared_identities_value').on(t.kind, t.value, t.customerId)],
});

/**
 * The words that customers are found by (terms.ts), folded: one row for each. Derived from names, identities and references, and
 * personal as these are. `ofName`: typing errors are looked for among these, where the server has pg_trgm.
 */
export const customerTerms = storedTable('customer_terms', {
  name: 'searchTerms',
  label: 'Words that searches find the customer by',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId', 'term'],
  guard: null,
  fields: {
    customerId: ownerId(() => customers.id).internal(),
    term: code(300).personal().removedWithPerson().required().internal(),
    ofName: boolean().required().internal(),
  },
  extras: (t) => [index('customer_terms_term').on(t.term, t.customerId)],
});
