import { z } from 'zod';
import { invalid } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import {
  personalScope,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { lockCustomers } from '../customers/queries.ts';
import { beginning, dismissPair, type Place, pairsAfter, reasonsOf } from './duplicates-queries.ts';
import { type CustomerDuplicate, customerDuplicate } from './record.ts';

const { count: _, ...parameters } = pageParameters;
const cursorScope = (key: string) => `${key} customer_duplicates`;

export const listCustomerDuplicates = readOperation({
  name: 'listCustomerDuplicates',
  scope: 'customers:read',
  partners: false,
  selfService: false,
  summary: 'List customers who may be one person',
  description:
    'Pairs that have an e-mail, a phone or a handle in common, or a name with the birthday or the postal code; each pair once, with all its reasons. What more than ten customers have in common counts for nothing. A page may have fewer pairs than `limit`: follow `next` until it is null. Nobody is merged by this: POST `merge.body` to `merge.accept`, or dismiss the pair. Needs `customers:pii` as well, as it tells who has the data of whom.',
  input: z.strictObject(parameters),
  output: pageOf(customerDuplicate).meta({ id: 'CustomerDuplicatePage' }),
  async run(context, { limit = defaultLimit, after, cursors }) {
    requireScope(context, personalScope);
    const scope = cursorScope(context.principal.key);
    const place = after === undefined ? beginning : placeOf(context.cursors.decode(after, scope));
    const { pairs, rest } = await pairsAfter(context.db, place, limit + 1);
    const cursor = ({ part, key, id: one, other }: Place) =>
      context.cursors.encode({ scope, key: [`${part} ${key}`, `${one} ${other}`] });
    const { data, page } = pageFrom(pairs, { limit, cursor, cursors });
    if (rest) Object.assign(page, { next: cursor(rest), hasMore: true });
    const reasons = await reasonsOf(context.db, data);
    return { data: data.map((pair, index) => suggestionOf(pair, reasons[index] ?? [])), page };
  },
});

function placeOf([at, pair]: [string | number, string]): Place {
  const [part = '0', key = '0'] = String(at).split(' ');
  const [one = '', other = ''] = pair.split(' ');
  return { part: Number(part), key, id: one, other };
}

/** Ids count up: the smaller one is the older customer. */
function suggestionOf({ id: one, other }: Place, reasons: CustomerDuplicate['reasons']): CustomerDuplicate {
  const [customerId, otherId] = one < other ? [one, other] : [other, one];
  const path = `/v1/customers/${customerId}/merge`;
  return {
    customerId,
    otherId,
    reasons,
    merge: { preview: `${path}/preview`, accept: path, body: { customerId: otherId } },
  };
}

export const dismissCustomerDuplicate = writeOperation({
  name: 'dismissCustomerDuplicate',
  scope: 'customers:merge',
  partners: false,
  selfService: false,
  summary: 'Say that two customers are not one person',
  description: 'The pair is not suggested any more. It can still be merged.',
  input: z.strictObject({
    ...writeParameters,
    body: z.strictObject({ customerId: id, otherId: id }).meta({
      id: 'DismissDuplicateInput',
      example: { customerId: '019be8f2-4e8c-7a4e-8d3c-6a5a7e0f9b11', otherId: '019be8f2-5a11-7c0d-9a55-0d6f1c3b2a77' },
    }),
  }),
  output: z.strictObject({ customerId: id, otherId: id, dismissed: z.boolean() }).meta({ id: 'DismissedDuplicate' }),
  idempotency: 'accepted',
  async run(tx, context, { body: { customerId, otherId } }) {
    if (customerId === otherId) throw invalid('/otherId', 'same_customer', 'Send the ids of two customers.');
    const locked = await lockCustomers(tx, [customerId, otherId]);
    for (const [member, one] of Object.entries({ customerId, otherId })) {
      if (!locked.has(one)) throw invalid(`/${member}`, 'not_found', 'There is no such customer.');
    }
    const [older, younger] = customerId < otherId ? [customerId, otherId] : [otherId, customerId];
    const { now, principal } = context;
    await dismissPair(tx, { customerId: older, id: newId(), otherId: younger, at: now, by: principal.client });
    return { customerId, otherId, dismissed: true };
  },
});
