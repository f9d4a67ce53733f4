import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { typeNames } from '../../platform/type-names.ts';
import { id, text } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import {
  boolean,
  instant,
  integer,
  json,
  key,
  ownerId,
  recordId,
  text as textField,
  version,
  words,
} from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { consentPurpose } from '../customers/consent-input.ts';
import { customers } from '../customers/record.ts';
import { channel } from '../customers/words.ts';

export const partnerStatuses = ['active', 'suspended'] as const;
export type PartnerStatus = (typeof partnerStatuses)[number];
export const partnerStatus = z.enum(partnerStatuses).meta({
  id: 'PartnerStatus',
  description: 'Whether its tokens see anything. suspended: they see nothing.',
  example: 'active',
});

/** Sharing by rule: what any part of it matches is shared. */
export const partnerRules = z
  .strictObject({
    acquired: z
      .boolean()
      .meta({ description: 'Customers that the partner has brought (`acquiredBy`); it may change them.' }),
    segments: z
      .array(text(100))
      .max(100)
      .meta({ description: 'Customers that are leads of one of these segments.', example: ['smb'] }),
    consent: z
      .strictObject({ purpose: consentPurpose, channel: channel.nullable().optional() })
      .register(typeNames, { name: 'PartnerConsentRule' })
      .nullable()
      .meta({
        description:
          'Customers whose consent to this purpose is in force: on the channel; without a channel, for all channels.',
      }),
  })
  .meta({
    id: 'PartnerRules',
    description: 'Which customers are shared by rule: those that match any part.',
  });
export type PartnerRules = z.output<typeof partnerRules>;

const fieldName = text(200)
  .regex(/^[A-Z][A-Za-z0-9]*\.[a-z][A-Za-z0-9]*$/, {
    error: 'A document and its member, such as Customer.name: GET /v1/partner-fields lists them.',
  })
  .meta({ description: 'A document and its member; `GET /v1/partner-fields` lists them.', example: 'Customer.name' });

export const partnerFields = {
  id: key(),
  version: version(),
  name: textField(200).plain().required().says('Display name.', 'Riverside Dealers'),
  status: words(partnerStatus).defaultsTo('active').says('`suspended`: its tokens see nothing from now on.'),
  fields: json(z.array(fieldName).max(500))
    .plain()
    .defaultsTo([])
    .answers(z.array(z.string()))
    .says('Members of documents that it may see beyond those that are never null. Default: none.'),
  minimumGroupSize: integer(2, 1_000_000)
    .defaultsTo(10)
    .says('How many customers a number must rest on at least. Default: 10.', 10),
  rules: json(partnerRules)
    .plain()
    .defaultsTo({ acquired: false, segments: [], consent: null })
    .takes(partnerRules.partial().register(typeNames, { name: 'PartnerRules' }))
    .says('Replaced as a whole; omitted parts share nothing.', { acquired: true }),
  ...customFields({ personal: false }),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** Others who work with some of the customers: tokens with the claim `partner` see only what is shared with it. */
export const partners = storedTable('partners', {
  name: 'partnerAccounts',
  label: 'Partners',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'partner' },
  fields: partnerFields,
});

const writable = () => boolean().says('Whether the partner may change the customer and its records. Default: false.');

const shareFields = {
  partnerId: recordId()
    .required()
    .readOnly()
    .references(() => partners.id, 'cascade'),
  customerId: ownerId(() => customers.id, 'cascade'),
  writable: writable().defaultsTo(false),
  createdAt: instant().required().readOnly(),
  by: textField(255).plain().required().readOnly().says('The client that shared it first.'),
};

/** Customers shared one by one, whatever the rules say. */
export const partnerShares = storedTable('partner_shares', {
  name: 'partnerShares',
  label: 'Partners with whom the customer is shared',
  access: 'service',
  nature: 'fact',
  owner: 'customerId',
  key: ['partnerId', 'customerId'],
  // A right in force and no evidence: it ends with its customer, as it does when it is taken back.
  guard: null,
  feed: 'none',
  merge: 'rewrite',
  fields: shareFields,
  extras: (t) => [index('partner_shares_customer').on(t.customerId)],
});

const sharedFields = {
  partnerId: recordId().required().internal(),
  customerId: ownerId(),
  writable: writable().required(),
};

/**
 * Who is shared with whom: derived from explicit shares and rules (sharing.ts), and what row-level security asks. No
 * foreign keys: the row of a new customer is written before the customer, so that the policies let its partner write it.
 */
export const partnerCustomers = storedTable('partner_customers', {
  name: 'partners',
  label: 'Partners who see the customer',
  access: 'shares',
  nature: 'derived',
  owner: 'customerId',
  key: ['partnerId', 'customerId'],
  guard: null,
  feed: { of: 'customer', by: 'customerId', marks: ['shared', 'unshared'], reader: 'partnerId' },
  fields: sharedFields,
  extras: (t) => [index('partner_customers_customer').on(t.customerId)],
});

const members = inputShape(partnerFields);

export const partnerInput = z
  .strictObject(members)
  .meta({ id: 'PartnerInput', example: { name: 'Riverside Dealers', rules: { acquired: true } } });
export type PartnerInput = z.output<typeof partnerInput>;

export const partnerPatch = z
  .strictObject(members)
  .partial()
  .meta({ id: 'PartnerPatch', description: 'Omitted members keep their values.' });

export const partner = z
  .strictObject(outputShape(partnerFields))
  .meta({ id: 'Partner', description: 'An organisation that works with some of the customers, and sees only these.' });
export type Partner = z.output<typeof partner>;

/** Body of a share. */
export const partnerShareInput = z
  .strictObject(inputShape(shareFields))
  .meta({ id: 'PartnerShareInput', example: { writable: true } });

/** An item of a batch: a share with whom it is about. */
export const partnerShareItem = z
  .strictObject({ customerId: id, ...partnerShareInput.shape })
  .meta({ id: 'PartnerShareItem' });

export const partnerShare = z
  .strictObject(outputShape(shareFields))
  .meta({ id: 'PartnerShare', description: 'A customer that is shared with a partner explicitly.' });
export type PartnerShare = z.output<typeof partnerShare>;

export const shareReasonNames = ['explicit', 'acquired', 'segment', 'consent'] as const;
export type ShareReason = (typeof shareReasonNames)[number];
export const shareReason = z.enum(shareReasonNames).meta({
  id: 'ShareReason',
  description:
    'explicit: shared by a call. acquired: brought by the partner. segment: a lead of one of the segments of the rules. consent: the consent of the rules is in force.',
  example: 'acquired',
});

export const partnerCustomer = z
  .strictObject({
    ...outputShape(sharedFields),
    reasons: z
      .array(shareReason)
      .meta({ description: 'Why it is shared; taking one away leaves it shared by the others.' }),
  })
  .meta({ id: 'PartnerCustomer', description: 'A customer that is shared with a partner, and why.' });
export type PartnerCustomer = z.output<typeof partnerCustomer>;
