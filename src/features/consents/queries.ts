import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { answeredMembers, assignments, fromExcluded } from '../../records/table.ts';
import type { Difference } from '../rollups/queries.ts';
import {
  allChannels,
  type Consent,
  type ConsentChange,
  consentChanges,
  consentFields,
  consents,
  evidenceFields,
  recordedFields,
  saidFields,
} from './record.ts';

export type ConsentChangeRow = typeof consentChanges.$inferSelect;
export type ConsentRow = typeof consents.$inferSelect;

/** The select list of a change; for `withEvidence`. */
export const consentChangeColumns = fields(consentChanges);

export function withEvidence(row: ConsentChangeRow): ConsentChange {
  const evidence = answeredMembers(evidenceFields, row);
  return {
    ...answeredMembers(saidFields, row),
    evidence: Object.values(evidence).some((member) => member !== null) ? evidence : null,
    ...answeredMembers(recordedFields, row),
  };
}

export function consentAnswer(row: ConsentRow): Consent {
  return { ...answeredMembers(consentFields, row), channel: row.channel === allChannels ? null : row.channel };
}

const insert = statement('insert_consent_changes', insertRows(consentChanges, param('rows')));

export async function insertConsentChanges(tx: Transaction, rows: ConsentChangeRow[]): Promise<void> {
  await tx.all(insert, { rows: JSON.stringify(rows) });
}

/** What is in force by the changes: per purpose and channel the latest of those for the channel or for all. */
const counted = (which: ReturnType<typeof sql>) => sql`
  select distinct on (k.customer_id, k.purpose, k.channel) k.customer_id, k.purpose, k.channel, c.status, c.at, c.id as change_id
    from (select distinct customer_id, purpose, coalesce(channel, ${sql.raw(`'${allChannels}'`)}) as channel from consent_changes where ${which}) k
    join consent_changes c on c.customer_id = k.customer_id and c.purpose = k.purpose
      and (c.channel is null or c.channel = k.channel)
    order by k.customer_id, k.purpose, k.channel, c.at desc, c.id desc`;

const recompute = statement(
  'recompute_consents',
  sql`with counted as materialized (${counted(sql`customer_id = any(${param('ids')}::uuid[])`)}),
    gone as (
      delete from consents s where s.customer_id = any(${param('ids')}::uuid[]) and not exists (
        select from counted n where n.customer_id = s.customer_id and n.purpose = s.purpose and n.channel = s.channel)
    )
    insert into consents (customer_id, purpose, channel, status, at, change_id) select * from counted
      on conflict (customer_id, purpose, channel) do update
        set ${assignments(consents, fromExcluded)}
        where consents.change_id <> excluded.change_id or consents.status <> excluded.status or consents.at <> excluded.at`,
);

/** Sets what is in force to what the changes say. The customers are locked. */
export async function recomputeConsents(tx: Transaction, ids: Iterable<string>): Promise<void> {
  const wanted = [...new Set(ids)];
  if (wanted.length > 0) await tx.all(recompute, { ids: wanted });
}

const compare = statement<Difference>(
  'compare_consents',
  sql`select 'consents' as table, coalesce(s.customer_id, n.customer_id) as "customerId",
      coalesce(s.purpose, n.purpose) || ' ' || coalesce(s.channel, n.channel) as key,
      case when s.customer_id is not null then json_build_object('status', s.status, 'at', s.at, 'change', s.change_id)::text end as stored,
      case when n.customer_id is not null then json_build_object('status', n.status, 'at', n.at, 'change', n.change_id)::text end as counted
    from consents s full join (${counted(sql`true`)}) n on n.customer_id = s.customer_id and n.purpose = s.purpose and n.channel = s.channel
    where (s.status, s.at, s.change_id) is distinct from (n.status, n.at, n.change_id)
    order by 2, 3 limit ${param('limit')}::int`,
);

/** For verify-rollups: what is in force and is not what the changes say, at most `limit`. */
export function consentDifferences(db: Db, limit: number): Promise<Difference[]> {
  return db.all(compare, { limit });
}

const ofCustomers = statement<ConsentRow>(
  'consents_of_customers',
  sql`select ${fields(consents)} from ${consents} where ${consents.customerId} = any(${param('ids')}::uuid[])
    order by ${consents.customerId}, ${consents.purpose}, ${consents.channel}`,
);

/** What is in force for these customers. */
export function consentsOf(db: Db, ids: string[]): Promise<ConsentRow[]> {
  return db.all(ofCustomers, { ids });
}

const knownChanges = statement<Pick<ConsentChangeRow, 'customerId' | 'purpose' | 'channel' | 'status' | 'at'>>(
  'known_consent_changes',
  sql`select distinct ${consentChanges.customerId} as "customerId", ${consentChanges.purpose} as purpose, ${consentChanges.channel} as channel,
      ${consentChanges.status} as status, ${consentChanges.at} as at
    from ${consentChanges} where ${consentChanges.customerId} = any(${param('ids')}::uuid[])`,
);

export function changesKnownOf(tx: Transaction, ids: string[]) {
  return tx.all(knownChanges, { ids });
}

/**
 * The condition that a customer agrees to a purpose on a channel: what is in force is the row of the channel, and where
 * it has none that of all channels. A channel that is none of a consent's is covered by that of all alone.
 */
export function hasConsent(of: { customerId: string; purpose: string; channel: string }) {
  const { customerId, purpose, channel } = of;
  return sql.raw(`coalesce((select s.status from consents s where s.customer_id = ${customerId} and s.purpose = ${purpose}
    and s.channel in (${channel}, '${allChannels}') order by s.channel = '${allChannels}' limit 1) = 'granted', false)`);
}
