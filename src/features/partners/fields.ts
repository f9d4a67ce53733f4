import { z } from 'zod';
import { type FieldError, Problem } from '../../platform/errors.ts';
import { type MaskableField, maskableFields } from '../../platform/masked-fields.ts';
import { type Operation, readOperation } from '../../platform/operation.ts';
import { servedOperations } from '../../platform/served-operations.ts';

/** What of records partners may be allowed to see: read off the documents of the service, so that no list can be old. */

const byOperations = new WeakMap<readonly Operation[], Map<string, MaskableField>>();

function knownFields(): Map<string, MaskableField> {
  const operations = servedOperations();
  const before = byOperations.get(operations);
  if (before) return before;
  const members = new Map(maskableFields(operations).map((member) => [member.name, member]));
  byOperations.set(operations, members);
  return members;
}

/** Each of them once, in order. @throws Problem unknown_field */
export function checkedFields(fields: readonly string[]): string[] {
  const known = knownFields();
  const errors: FieldError[] = fields.flatMap((name, index) =>
    known.has(name)
      ? []
      : [
          {
            pointer: `/fields/${index}`,
            code: 'unknown_field',
            message: 'There is no such member. GET /v1/partner-fields lists all of them.',
          },
        ],
  );
  const [first] = errors;
  if (first) throw new Problem('invalid_input', `${first.pointer}: ${first.message}`, { errors: errors.slice(0, 100) });
  return [...new Set(fields)].sort();
}

const partnerField = z
  .strictObject({
    name: z.string().meta({ description: 'A document and its member.', example: 'Customer.name' }),
    description: z.string().nullable(),
    personal: z.boolean().meta({ description: 'Only returned to tokens that also have the scope `customers:pii`.' }),
  })
  .meta({ id: 'PartnerField', description: 'A member of a document that a partner may be allowed to see.' });

export const listPartnerFields = readOperation({
  name: 'listPartnerFields',
  scope: 'partners:read',
  partners: false,
  selfService: false,
  summary: 'List the members that partners may be allowed to see',
  description:
    'The members you can list in `fields` of a partner: those that may be null. Members that are never null are always returned with the record, if the scopes of the token allow it. Members of a nested document are returned where the member that holds it is: `Address.city` with `Customer.address`. Members that refer to other customers are never returned.',
  input: z.strictObject({}),
  output: z.strictObject({ fields: z.array(partnerField) }).meta({ id: 'PartnerFields' }),
  run: () => Promise.resolve({ fields: [...knownFields().values()] }),
});
