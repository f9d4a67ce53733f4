import { z } from 'zod';
import { personal } from '../../platform/personal.ts';
import { id, instant } from '../../platform/values.ts';

export const exportFormat = z.enum(['json', 'html']).meta({
  id: 'ExportFormat',
  description:
    'json: for machines; its shape is `CustomerExportDocument` of openapi.yaml. html: a page to read and print, without scripts.',
  example: 'json',
});

/** Both the name of the shape and its version: members are added, but neither renamed nor removed under it. */
export const exportSchema = 'rapport.customer-export.1';

const section = z
  .strictObject({
    label: z.string().meta({ description: 'Its heading on the page.', example: 'Orders' }),
    count: z.int(),
    records: z.array(z.record(z.string(), z.unknown())).meta({
      description:
        'As they are stored, with all their members: ids, RFC 3339 instants in UTC, amounts in minor units of the `currency` of the record or else of `baseCurrency`. `mergedFrom`: the record came from that customer by a merge.',
    }),
  })
  .meta({ id: 'CustomerExportSection' });

/** What a JSON export is. */
export const exportDocument = z
  .strictObject({
    schema: z.literal(exportSchema).meta({ description: 'The name of this shape and its version.' }),
    customerId: id,
    exportedAt: instant,
    baseCurrency: z.string().meta({ description: 'ISO 4217 code.', example: 'EUR' }),
    erasedAt: instant
      .nullable()
      .meta({ description: 'When the person was erased: the records that are left are anonymous.' }),
    mergedFrom: z
      .array(id)
      .meta({ description: 'Customers that were merged into this one; their records are included.' }),
    sections: z.record(z.string(), section).meta({
      description:
        'By name, e.g. `customer`, `identities`, `references`, `consentChanges`, `orders`, `orderItems`, `interactions`, `surveyAnswers`, `loyaltyTransactions`, `accesses`. All sections are present; empty ones have no records.',
    }),
  })
  .meta({ id: 'CustomerExportDocument', description: 'Everything that is held about a person.' });
export type ExportDocument = z.output<typeof exportDocument>;

export const customerExport = z
  .strictObject({
    customerId: id,
    exportedAt: instant,
    format: exportFormat,
    text: personal(z.string().meta({ description: 'The export itself, in the format that was asked for.' })),
  })
  .meta({ id: 'CustomerExport', description: 'Everything that is held about a person.' });
