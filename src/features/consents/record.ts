import { foreignKey, index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { personal } from '../../platform/personal.ts';
import { id } from '../../platform/values.ts';
import { code, instant, key, ownerId, recordId, text, wordCodes, words } from '../../records/fields.ts';
import { outputShape, storedTable } from '../../records/table.ts';
import { consentInput, consentPurpose, consentStatus } from '../customers/consent-input.ts';
import { customers } from '../customers/record.ts';
import { channel, channels } from '../customers/words.ts';

/** Stands for "all channels" where a key cannot be null. No channel is called so. */
export const allChannels = '*';

const purpose = code(64).plain().takes(consentPurpose).answers(consentPurpose).required();
const status = words(consentStatus).required();
const at = instant().required().says('When it was given or taken back.');

export const saidFields = {
  customerId: ownerId(() => customers.id),
  id: key(),
  purpose,
  channel: wordCodes(channel).says('null: all channels.'),
  status,
  /** May be long before it was recorded. */
  at: at.lifeSign(),
};
export const evidenceFields = {
  source: text(200).personal(),
  textVersion: text(100).personal(),
  wording: text(4_000).personal(),
  reference: text(255).personal(),
};
export const recordedFields = {
  by: text(200).plain().required().readOnly().says('The client that recorded it.'),
  createdAt: instant().required().readOnly().lifeSign().says('When it was recorded.'),
};

/**
 * What customers have agreed to and taken back, in the order in which it happened. A change is never rewritten: what is
 * in force follows from all of them, so that it can be shown later what was known when.
 */
export const consentChanges = storedTable('consent_changes', {
  name: 'consentChanges',
  label: 'Consents given and taken back',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'consent change',
  feed: { kind: 'consent_change', list: 'listCustomerConsentHistory' },
  fields: { ...saidFields, ...evidenceFields, ...recordedFields },
  extras: (t) => [
    index('consent_changes_id').on(t.id),
    index('consent_changes_customer_at').on(t.customerId, t.at, t.id),
    index('consent_changes_at').on(t.at, t.id),
  ],
});

export const consentFields = {
  customerId: ownerId(),
  purpose,
  channel: wordCodes(z.enum([...channels, allChannels]))
    .required()
    .answers(channel.nullable())
    .says('null: all channels of the purpose that are not listed separately.'),
  status,
  at,
  changeId: recordId().required().says('The change that is in force.'),
};

/**
 * Derived: what is in force, for each purpose and channel that a change names, and for all other channels (`*`). A row is
 * the latest, by (at, id), of the changes for its channel or for all; where a channel has no row, that of `*` holds.
 * Written with the change, under the customer's lock; `verify-rollups` compares.
 */
export const consents = storedTable('consents', {
  name: 'consents',
  label: 'Consents in force',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId', 'purpose', 'channel'],
  guard: null,
  fields: consentFields,
  extras: (t) => [
    foreignKey({ columns: [t.customerId], foreignColumns: [customers.id] }).onDelete('cascade'),
    // Who has agreed: rules of sharing.
    index('consents_purpose').on(t.purpose, t.channel, t.status, t.customerId),
  ],
});

export type ConsentStatus = z.output<typeof consentStatus>;

export const consentEvidence = z
  .strictObject(outputShape(evidenceFields))
  .meta({ id: 'ConsentEvidence', description: 'Evidence that the consent was given or taken back.' });

/** One step of the history. */
export const consentChange = z
  .strictObject({
    ...outputShape(saidFields),
    evidence: personal(consentEvidence),
    ...outputShape(recordedFields),
  })
  .meta({ id: 'ConsentChange', description: 'A consent that was given or taken back.' });
export type ConsentChange = z.output<typeof consentChange>;

/** What is in force now. */
export const consent = z
  .strictObject(outputShape(consentFields))
  .meta({ id: 'Consent', description: 'What is in force for a purpose on a channel.' });
export type Consent = z.output<typeof consent>;

/** An item of a batch: a consent with whose it is. */
export const customerConsentInput = z
  .strictObject({ customerId: id, ...consentInput.shape })
  .meta({ id: 'CustomerConsentInput' });
