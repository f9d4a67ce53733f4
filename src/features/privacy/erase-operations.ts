import { z } from 'zod';
import { notFound } from '../../platform/errors.ts';
import { writeOperation, writeParameters } from '../../platform/operation.ts';
import { id, instant, smallInteger } from '../../platform/values.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { customerById } from '../customers/queries.ts';
import { eraseCustomers } from './erase.ts';

export const erasure = z
  .strictObject({
    id: id.meta({ description: 'Of the customer that stays, anonymous, with the facts.' }),
    erasedAt: instant,
    applied: z.boolean().meta({ description: 'false: the person had been erased before, and nothing was changed.' }),
    removed: z
      .array(
        z
          .strictObject({
            kind: z.string().meta({ description: 'As in the export; `storedAnswers`: kept for repeated calls.' }),
            records: smallInteger.meta({ description: 'Records that something was removed from.' }),
          })
          .meta({ id: 'ErasedRecords' }),
      )
      .meta({ description: 'By kind; what there was none of is left out.' }),
  })
  .meta({ id: 'Erasure', description: 'What was removed of a person, or with `dryRun` what would be.' });

export const eraseCustomer = writeOperation({
  name: 'eraseCustomer',
  scope: 'customers:erase',
  partners: false,
  selfService: false,
  summary: 'Erase a person',
  description: `Removes all that tells something of the person, for good: profile, identities, references, every free text (interactions, notes, reasons, survey answers), the evidence of consents, what is kept for repeated calls and for taking merges apart. Open invitations end with their links; open follow-ups are cancelled, but for detractors. The facts stay with an anonymous customer (\`erasedAt\`), so that no metric changes.

What the person was known by stays as a keyed hash that nobody can read: a later order or contact that names it is kept with the anonymous customer, without anything personal and with the warning \`person_erased\`; a customer or lead of that name is refused with \`person_erased\`, unless a consent that is granted comes with it. Ids of facts in other systems stay, so that no message counts twice: do not make them of names.`,
  input: z.strictObject({ ...targetParameters, ...writeParameters }),
  output: erasure,
  idempotency: 'accepted',
  problems: ['not_found'],
  async run(tx, context, { id: customerId, source, externalId }) {
    const wanted = await targetId(tx, 'customer', { id: customerId, source, externalId });
    const { erased, removed } = await eraseCustomers(tx, context, [wanted]);
    const found = await customerById(tx, wanted);
    if (!found?.erasedAt) throw notFound('customer');
    return {
      id: wanted,
      erasedAt: found.erasedAt,
      applied: erased.length > 0,
      removed: [...removed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, records]) => ({ kind, records })),
    };
  },
});
