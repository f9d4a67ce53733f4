import { sql } from 'drizzle-orm';
import { operationsOf } from '../../records/operations.ts';
import { campaignHasRecords, refuseNamed } from './queries.ts';
import { campaignRecord, campaigns } from './record.ts';
import './write.ts';

// Campaigns without a start are as if they never began.
const starts = sql`coalesce(${campaigns.startsOn}, 'infinity'::date)`;

export const campaignOperations = operationsOf(campaignRecord, {
  sorts: { startsOn: { expression: starts, type: 'date', field: 'startsKey', select: sql`${starts} as "startsKey"` } },
  defaultSort: '-createdAt',
  beforeDelete: refuseNamed,
  problems: {
    create: ['already_exists', 'deleted'],
    upsert: ['version_mismatch', 'already_exists', 'deleted'],
    delete: ['not_found', campaignHasRecords, 'version_mismatch', 'version_required'],
  },
  texts: {
    create: {
      description:
        'Interactions and orders refer to it by its id (`campaignId`). Refused with `already_exists` when one of the references exists. `sourceVersion` belongs to the first reference.',
    },
    upsert: {
      description:
        'Omitted members are cleared; references of other sources stay. An equal or older `sourceVersion` changes nothing and returns `applied: false`.',
    },
    delete: {
      description:
        'Refused with `campaign_has_records` while interactions or orders refer to it. Its references are kept as tombstones.',
    },
    batch: {
      summary: 'Create or replace up to 1,000 campaigns',
      description:
        'Each item is an upsert by its first reference, in index order. The status is always 200, with a result per item.',
    },
  },
});
