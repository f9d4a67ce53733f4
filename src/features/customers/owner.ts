import { z } from 'zod';
import { anyText, id, text } from '../../platform/values.ts';
import { Ownership } from '../../records/ownership.ts';
import { address, customers } from './record.ts';
import { customerKind } from './words.ts';

/** How a record names its customer: matched as who-is-who.ts says, and created if unknown. */
export const customerClaim = z
  .strictObject({
    source: text(64).optional(),
    externalId: text(255).optional(),
    email: anyText.optional().meta({ description: 'Left out with a warning when it is none.' }),
    phone: anyText.optional().meta({ description: 'Left out with a warning when it is none.' }),
    kind: customerKind.optional(),
    name: text(200).optional(),
    givenName: text(100).optional(),
    familyName: text(100).optional(),
    address: address.nullable().optional().meta({
      description: 'The address of a new customer. Its country is that of a phone without a country code.',
    }),
  })
  .meta({
    id: 'CustomerClaim',
    description:
      'Matched by the reference; an unknown one by the e-mail, unless that customer has another reference of the source; by the phone only where there is neither. Created if unknown. An e-mail or phone of another customer is kept as `shared`, with a warning. Default of `source`: the source of the record.',
    example: { externalId: '17850', email: 'ada@example.org' },
  });

/** Records of customers: found, locked and completed by match.ts. */
export const customerOwner = new Ownership(
  'customer',
  { customerId: id.optional(), customer: customerClaim.optional() },
  () => customers.id,
  false,
);

/** Records that are kept without a customer, if `customer: null` says that nobody is known. */
export const customerOrNobody = customerOwner.orNobody({
  customerId: id.optional(),
  customer: customerClaim.nullable().optional(),
});
