import { z } from 'zod';
import { notFound } from '../../platform/errors.ts';
import { writeOperation, writeParameters } from '../../platform/operation.ts';
import { id, instant, smallInteger } from '../../platform/values.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { customerById } from '../customers/queries.ts';
import { eraseCustomers } from './erase.ts';
import { referenceHash, tombstonesOf } from './tombstones.ts';

export const erasure = z
  .strictObject({
    id: id.meta({ description: 'The id of the anonymous customer that remains, with its records.' }),
    erasedAt: instant,
    applied: z.boolean().meta({ description: 'false: the person had been erased before, so nothing changed.' }),
    removed: z
      .array(
        z
          .strictObject({
            kind: z.string().meta({ description: 'As in the export; `storedAnswers`: responses kept for retries.' }),
            records: smallInteger.meta({ description: 'Records that something was removed from.' }),
          })
          .meta({ id: 'ErasedRecords' }),
      )
      .meta({ description: 'By kind; kinds without records are left out.' }),
  })
  .meta({ id: 'Erasure', description: 'What was removed of a person, or with `dryRun` what would be.' });

export const eraseCustomer = writeOperation({
  name: 'eraseCustomer',
  scope: 'customers:erase',
  partners: false,
  selfService: false,
  summary: 'Erase a person',
  description: `Permanently removes everything about the person: profile, identities, references, every free text (interactions, notes, reasons, survey answers), the evidence of consents, what is kept for retries and for undoing merges. Open invitations and their links end; open follow-ups are cancelled, except detractors. The records stay with an anonymous customer (\`erasedAt\`), so no metric changes.

References, e-mails and phones of the person stay as keyed hashes that nobody can read. A later order or contact with one of them is added to the anonymous customer, without personal data and with the warning \`person_erased\`; a customer or lead with one of them is refused with \`person_erased\`, unless a granted consent comes with it. Ids of records in other systems stay, so that no message counts twice: do not make them of names.

Erasing again, by id or by one of these references, changes nothing (\`applied: false\`).`,
  input: z.strictObject({ ...targetParameters, ...writeParameters }),
  output: erasure,
  idempotency: 'accepted',
  problems: ['not_found'],
  async run(tx, context, { id: customerId, source, externalId }) {
    const target = { id: customerId, source, externalId };
    // Shops send a request to erase again: the reference is only a hash by then.
    const former = source && externalId ? referenceHash(context, { source, externalId }) : undefined;
    const known = former && (await tombstonesOf(tx, [former])).get(former);
    const wanted = known ?? (await targetId(tx, 'customer', target));
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
