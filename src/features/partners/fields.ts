import { z } from 'zod';
import { type FieldError, Problem } from '../../platform/errors.ts';
import { type Operation, readOperation } from '../../platform/operation.ts';
import { type WithheldMember, withheldMembers } from '../../platform/withheld.ts';

/** What of records partners may be allowed to see: read off the documents of the service, so that no list can be old. */

let operationsOf: (() => Iterable<Operation>) | null = null;
let members: Map<string, WithheldMember> | null = null;

/** Called once by what puts the service together and knows every operation (app.ts). */
export function takeFieldsFrom(operations: () => Iterable<Operation>): void {
  operationsOf = operations;
  members = null;
}

function knownFields(): Map<string, WithheldMember> {
  if (operationsOf === null) throw new Error('The list of operations is not set yet');
  members ??= new Map(withheldMembers(operationsOf()).map((member) => [member.name, member]));
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
