import { z } from 'zod';
import { Problem } from './errors.ts';
import { typeNames } from './type-names.ts';
import { id } from './values.ts';

/** What a change or deletion must send: the version its sender has seen. */
export const expectedVersion = z
  .union([z.int().min(1), z.literal('*')])
  .meta({ description: 'The version you have seen (REST: If-Match); `*` for any version.', example: 3 })
  .register(typeNames, { name: 'ExpectedVersion' });

/** `actual` 0: there is no such record yet. @throws Problem version_mismatch, with the version there is */
export function checkVersion(actual: number, expected: number | '*'): void {
  if (expected === '*' ? actual > 0 : expected === actual) return;
  throw new Problem(
    'version_mismatch',
    `The record is at version ${actual}, not ${expected}. Read it again and repeat the change.`,
    { extra: { version: actual } },
  );
}

/** What a deletion returns (REST: 204 without a body, unless nothing was deleted). */
export const deletedRecord = z
  .strictObject({
    id,
    deleted: z.boolean().meta({
      description:
        'false: the `sourceVersion` of the deletion was not newer than the stored one, and nothing was deleted.',
    }),
  })
  .meta({
    id: 'Deleted',
    description:
      'The record that was deleted. Its references are kept as tombstones, so that no late message creates it again.',
  })
  .register(typeNames, { name: 'DeletedPayload' });

/** What a write returns besides the record, over REST and GraphQL: the result of the message. */
export const created = z.boolean().meta({ description: 'Whether the record is new.' });
export const written = {
  created,
  applied: z
    .boolean()
    .meta({ description: 'false: the message was not newer than the stored record and changed nothing.' }),
};
