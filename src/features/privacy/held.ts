import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { fields, param, type Statement, statement } from '../../platform/db/client.ts';
import type { Fields } from '../../records/fields.ts';
import { lazily } from '../../records/lazily.ts';
import { amountsOf, inheritedCurrency, namingMembers, ownedTables } from '../../records/personal-data.ts';
import { columnNamed, type StoredTable } from '../../records/table.ts';
import { customerMergeRecords } from '../merges/record.ts';
import { partnerCustomers, partners } from '../partners/record.ts';

/** Where an amount has its currency: a member of the record, or the base currency. */
export type AmountOf = 'currency' | 'base';

/** A part of an export: the records of a table that are about the person. */
export interface Section {
  name: string;
  label: string;
  /** Members of its records, in their order. */
  members: readonly string[];
  /** Members that are money. */
  amounts: Readonly<Record<string, AmountOf>>;
  /** Members that may refer to other customers. */
  naming: readonly string[];
  /** Of a table that was defined: how its values read. */
  fields?: Fields;
  /** Whether there is one record at most. */
  single: boolean;
  from: SQL;
  where: SQL;
  select: SQL;
  order: SQL;
}

/** What an export is about. */
export interface Head {
  customerId: string;
  exportedAt: string;
  baseCurrency: string;
  erasedAt: string | null;
  /** Customers that became part of this one. */
  mergedFrom: string[];
  /** Records per section. */
  counts: Readonly<Record<string, number>>;
}

/** Writes an export in some format, in this order. */
export interface ExportWriter {
  begin(head: Head): string;
  section(section: Section, count: number): string;
  /** `index` counts the records of the section. */
  record(section: Section, record: Record<string, unknown>, index: number): string;
  endSection(section: Section): string;
  end(): string;
}

/** Records read at a time. */
const chunk = 1_000;

const person = sql`${param('id')}::uuid`;

/** Of which customer a record was before it was merged into this one; its own if it was not. */
const origin = (name: string, record: SQL) =>
  sql`(select m.merged_id from customer_merges m join customer_merge_records r on r.merge_id = m.id
    where m.customer_id = ${person} and m.undone_at is null and r.kind = ${name} and r.record_id = ${record} order by m.at limit 1)`;

function tableSection(stored: StoredTable): Section {
  const { table, name, label, owner, key, fields: members } = stored;
  const currency = inheritedCurrency(stored);
  const isSelf = key.join() === 'id';
  const id = key.includes('id') && !isSelf ? columnNamed(table, 'id') : null;
  return {
    name,
    label,
    members: [...Object.keys(members), ...(currency ? ['currency'] : []), ...(id ? ['mergedFrom'] : [])],
    amounts: amountsOf(stored),
    naming: namingMembers(stored),
    fields: members,
    single: key.join() === owner,
    from: sql`${table}`,
    where: sql`${columnNamed(table, owner ?? '')} = ${person}`,
    select: sql.join(
      [
        fields(table),
        ...(currency ? [sql`${currency} as "currency"`] : []),
        ...(id ? [sql`${origin(name, sql`${id}`)} as "mergedFrom"`] : []),
      ],
      sql`, `,
    ),
    order: sql.join(
      key.map((member) => sql`${columnNamed(table, member)}`),
      sql`, `,
    ),
  };
}

/** Says nothing by itself: which records a merge has moved. */
const mergedRecords: Section = {
  name: 'mergedRecords',
  label: 'What merges have moved',
  members: Object.keys(getTableColumns(customerMergeRecords)),
  amounts: {},
  naming: [],
  single: false,
  from: sql`${customerMergeRecords}`,
  where: sql`${customerMergeRecords.mergeId} in (select m.id from customer_merges m where m.customer_id = ${person})`,
  select: fields(customerMergeRecords),
  order: sql`${customerMergeRecords.mergeId}, ${customerMergeRecords.kind}, ${customerMergeRecords.recordId}`,
};

const sharedWith: Section = {
  name: 'partners',
  label: 'Partners who see it now',
  members: ['partnerId', 'customerId', 'writable', 'partner', 'fields'],
  amounts: {},
  naming: [],
  single: false,
  from: sql`${partnerCustomers} join ${partners} on ${partners.id} = ${partnerCustomers.partnerId}`,
  where: sql`${partnerCustomers.customerId} = ${person}`,
  select: sql`${fields(partnerCustomers)}, ${partners.name} as "partner", ${partners.fields} as "fields"`,
  order: sql`${partnerCustomers.partnerId}`,
};

/** Entries about several customers name the others as well: of these only how many there were is told. */
const accesses: Section = {
  name: 'accesses',
  label: 'Who has seen and changed it',
  members: [
    'id',
    'at',
    'requestId',
    'client',
    'confinement',
    'confinementId',
    'door',
    'operation',
    'kind',
    'resource',
    'recordIds',
    'members',
    'outcome',
    'customers',
  ],
  amounts: {},
  naming: [],
  single: false,
  from: sql`audit_entries a`,
  where: sql`a.customer_ids @> array[${person}]`,
  select: sql`a.id, a.at, a.request_id as "requestId", a.client, a.confinement,
    case when a.confinement = 'customer' and a.confinement_id <> ${person} then null else a.confinement_id end as "confinementId",
    a.door, a.operation, a.kind, a.resource,
    case when cardinality(a.customer_ids) = 1 then a.record_ids end as "recordIds", a.members, a.outcome, cardinality(a.customer_ids) as customers`,
  order: sql`a.at, a.id`,
};

/** That there is one, and not what it says: it says what is in the other sections, as it was. */
const storedAnswers: Section = {
  name: 'storedAnswers',
  label: 'Answers kept for repeated calls, for 48 hours',
  members: ['client', 'operation', 'createdAt'],
  amounts: {},
  naming: [],
  single: false,
  from: sql`idempotency_keys k`,
  where: sql`position(${param('id')}::text in k.body) > 0`,
  select: sql`k.client, k.operation, k.created_at as "createdAt"`,
  order: sql`k.created_at, k.client, k.operation, k.key`,
};

interface Held {
  /** Everything that is held about a person, in the order in which it is told. */
  sections: readonly Section[];
  /** How many records each section has. */
  countAll: Statement<Record<string, number>>;
  /** A cursor per section, so that neither side holds more than some records at a time. */
  declare: ReadonlyMap<string, Statement<unknown>>;
}

export const held = lazily((): Held => {
  const sections = [
    ...ownedTables().flatMap((stored) => (stored.table === partnerCustomers ? [] : [tableSection(stored)])),
    mergedRecords,
    sharedWith,
    accesses,
    storedAnswers,
  ];
  return {
    sections,
    countAll: statement<Record<string, number>>(
      'count_held',
      sql`select ${sql.join(
        sections.map(
          ({ name, from, where }) => sql`(select count(*) from ${from} where ${where}) as ${sql.identifier(name)}`,
        ),
        sql`, `,
      )}`,
    ),
    declare: new Map(
      sections.map(({ name, select, from, where, order }) => [
        name,
        statement<unknown>(
          `held_${name}`,
          sql`declare held no scroll cursor for select ${select} from ${from} where ${where} order by ${order}`,
        ),
      ]),
    ),
  };
});

export const fetchHeld = statement<Record<string, unknown>>(
  'fetch_held',
  sql`fetch forward ${sql.raw(String(chunk))} from held`,
);
export const closeHeld = statement<unknown>('close_held', sql`close held`);
/** Records of a fetch; fewer: it was the last. */
export const heldAtATime = chunk;
