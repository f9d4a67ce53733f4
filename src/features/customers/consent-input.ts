import { z } from 'zod';
import { instant, text } from '../../platform/values.ts';
import { channel } from './words.ts';

/** What a consent is for, e.g. `newsletter`: as you cut it. */
export const consentPurpose = z
  .string()
  .max(64)
  .regex(/^[a-z][a-z0-9_]*$/, { error: 'Lower-case words with _, such as newsletter.' })
  .meta({ description: 'The purpose, in your own terms: lower-case words with _.', example: 'newsletter' });
export const consentStatus = z
  .enum(['granted', 'withdrawn'])
  .meta({ id: 'ConsentStatus', description: 'Whether it was given or taken back.', example: 'granted' });

/** A consent as it is sent: here, as it may come with its customer. */
export const consentInput = z
  .strictObject({
    purpose: consentPurpose,
    channel: channel.nullable().optional().meta({ description: 'null or omitted: all channels.' }),
    status: consentStatus,
    at: instant.optional().meta({ description: 'When it was given or taken back. Default: now.' }),
    evidence: z
      .strictObject({
        source: text(200).nullable().optional().meta({ description: 'Where it was given.', example: 'checkout' }),
        textVersion: text(100)
          .nullable()
          .optional()
          .meta({ description: 'The version of the text.', example: '2026-01' }),
        wording: text(4_000).nullable().optional().meta({ description: 'The text that was agreed to.' }),
        reference: text(255).nullable().optional().meta({ description: 'The proof, e.g. the id of a double opt-in.' }),
      })
      .meta({ id: 'ConsentEvidenceInput', description: 'The evidence; personal data.' })
      .optional(),
  })
  .meta({
    id: 'ConsentInput',
    example: { purpose: 'newsletter', channel: 'email', status: 'granted', evidence: { source: 'checkout' } },
  });
export type ConsentInput = z.output<typeof consentInput>;

/** Consents that come with a document. */
export const consentInputs = z.array(consentInput).max(50).optional();
