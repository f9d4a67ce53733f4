import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import {
  type Db,
  fields,
  insertRows,
  param,
  Retry,
  rowsOf,
  statement,
  type Transaction,
} from '../../platform/db/client.ts';
import { checkNotAhead, type FieldError, notFound, Problem } from '../../platform/errors.ts';
import { instantNanoseconds } from '../../platform/values.ts';
import { isNobody } from '../nobody.ts';
import { updateRows } from '../table.ts';
import { externalRefs, type Reference, type ReferenceInput } from './record.ts';

export type RefRow = typeof externalRefs.$inferSelect;

/** One key per reference for look-ups in memory; the separator cannot be part of a source. */
export function refKey(ref: ReferenceInput): string {
  return `${ref.source}\u0000${ref.externalId}`;
}

const findRefs = statement<RefRow>(
  'find_refs',
  sql`select ${fields(externalRefs)} from ${externalRefs}
    join json_to_recordset(${param('refs')}::json) as wanted("source" text, "externalId" text)
      on wanted."source" = ${externalRefs.source} and wanted."externalId" = ${externalRefs.externalId}
    where ${externalRefs.kind} = ${param('kind')}`,
);

/** A reference with the kind of its record. */
export interface Name extends ReferenceInput {
  kind: string;
}

export function byName(rows: RefRow[], kind: string): Map<string, RefRow> {
  return new Map(rows.flatMap((row) => (row.kind === kind ? [[refKey(row), row]] : [])));
}

/** What is known of these references, tombstones included, by `refKey`. */
export async function refsByName(db: Db, kind: string, refs: ReferenceInput[]): Promise<Map<string, RefRow>> {
  if (refs.length === 0) return new Map();
  return byName(await db.all(findRefs, { kind, refs: JSON.stringify(refs) }), kind);
}

const findRef = statement<RefRow>(
  'find_ref',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.kind} = ${param('kind')}
    and ${externalRefs.source} = ${param('source')} and ${externalRefs.externalId} = ${param('externalId')}`,
);

export interface Target {
  id?: string | undefined;
  source?: string | undefined;
  externalId?: string | undefined;
}

/** The reference that a request addresses a record by. */
export function referenceOf({ source, externalId }: Target): ReferenceInput | undefined {
  return source === undefined || externalId === undefined ? undefined : { source, externalId };
}

/** The id of the record that a request addresses by id or by reference; 404 if there is none with this reference. */
export async function targetId(
  db: Db,
  kind: string,
  target: Target,
  { toWrite = false }: { toWrite?: boolean } = {},
): Promise<string> {
  const { id, source, externalId } = target;
  if (id !== undefined && source === undefined && externalId === undefined) {
    if (isNobody(id)) throw notFound(kind);
    return id;
  }
  if (id !== undefined || source === undefined || externalId === undefined) {
    throw new Problem('invalid_input', 'Send the id of the record, or its source and externalId.', {
      errors: [{ parameter: 'id', code: 'id_or_reference', message: 'Either the id, or source and externalId.' }],
    });
  }
  const found = await db.first(findRef, { kind, source, externalId });
  if (!found?.recordId) {
    if (toWrite && found?.deletedAt) throw deletedReference();
    throw new Problem(
      'not_found',
      found?.deletedAt ? `This ${kind} was deleted.` : `There is no ${kind} with that reference.`,
    );
  }
  return found.recordId;
}

/** The id of the record with the reference in the parameters `source` and `externalId`. */
export function idByReference(kind: string): SQL {
  return sql`(select record_id from ${externalRefs} where kind = ${sql.raw(`'${kind}'`)} and source = ${param('source')} and external_id = ${param('externalId')})`;
}

/** @param pointer where the reference stands in the input; left out: in the address */
export function deletedReference(pointer?: string): Problem {
  const message =
    'The record with this reference was deleted, and a late message does not create it again. To bring it back, send PUT with `restore=true` (GraphQL: upsert with `restore: true`).';
  return new Problem('deleted', message, {
    errors: pointer === undefined ? [] : [{ pointer, code: 'deleted', message }],
  });
}

/** References taken by two transactions at once collide on the primary key, and the loser runs again (see `transaction`). */
export const insertRefs = insertRows(externalRefs, param('newRefs'));

export const addRefs = statement('add_refs', insertRefs);

/**
 * Moves references with their record, takes newer versions, and brings tombstones back to life. Returns the references it found, as
 * they were left: one that another record took in the meantime is not among them.
 */
export const updateRefs = statement<{ source: string }>(
  'update_refs',
  sql`${updateRows(externalRefs, param('rows'), { except: ['position'] })}
      and (o.record_id = n."recordId" or o.record_id is null)
    returning o.source`,
);

/** Removes references of a record that still exists: they are free again, without a tombstone. */
export const removeRefs = statement(
  'remove_refs',
  sql`delete from external_refs using ${rowsOf(externalRefs, param('rows'), 'n')}
    where external_refs.kind = n."kind" and external_refs.source = n."source" and external_refs.external_id = n."externalId"`,
);

/*
 * A name that others wait for: a record came that refers to one that is not there yet. Its row has neither a record nor the
 * date of a deletion. Who makes the record finds it, or collides with it and is run again, so neither misses the other.
 */

const isAwaited = sql`external_refs.record_id is null and external_refs.deleted_at is null`;

const awaitName = statement<{ source: string }>(
  'await_names',
  sql`${insertRows(externalRefs, param('rows'))} order by n."source", n."externalId"
    on conflict (kind, source, external_id) do update set position = external_refs.position where ${isAwaited}
    returning external_refs.source`,
);

/** Notes that records of a kind are waited for. @throws Retry when one of them has come, or was deleted, in the meantime */
export async function awaitNames(
  tx: Transaction,
  kind: string,
  refs: readonly ReferenceInput[],
  now: string,
): Promise<void> {
  const rows = refs.map((ref) => ({
    ...newRef(kind, ref, { recordId: '', customerId: null, position: 0 }, now),
    recordId: null,
  }));
  const noted = await tx.all(awaitName, { rows: JSON.stringify(rows) });
  if (noted.length < rows.length) throw new Retry('what was waited for has come');
}

const findAwaited = statement<RefRow>(
  'find_awaited_refs',
  sql`select ${fields(externalRefs)} from ${externalRefs}
    join json_to_recordset(${param('names')}::json) as n("kind" text, "source" text, "externalId" text)
      on n."kind" = ${externalRefs.kind} and n."source" = ${externalRefs.source} and n."externalId" = ${externalRefs.externalId}
    where ${isAwaited}`,
);

/** Those of the names that are waited for, whoever asks. */
export function awaitedAmong(tx: Transaction, names: readonly Name[]): Promise<RefRow[]> {
  if (names.length === 0) return Promise.resolve([]);
  return tx.asService((service) => service.all(findAwaited, { names: JSON.stringify(names) }));
}

const dropAwaited = statement(
  'remove_awaited_refs',
  sql`delete from external_refs using ${rowsOf(externalRefs, param('rows'), 'n')}
    where external_refs.kind = n."kind" and external_refs.source = n."source" and external_refs.external_id = n."externalId" and ${isAwaited}`,
);

/** The record is there: its names are no longer waited for. */
export async function removeAwaited(tx: Transaction, refs: readonly RefRow[]): Promise<void> {
  await tx.asService((service) => service.all(dropAwaited, { rows: JSON.stringify(refs) }));
}

export function newRef(
  kind: string,
  ref: ReferenceInput,
  owner: { recordId: string; customerId: string | null; position: number },
  now: string,
  sourceVersion?: SourceVersion | null,
): RefRow {
  return {
    kind,
    source: ref.source,
    externalId: ref.externalId,
    ...owner,
    versionKind: sourceVersion?.kind ?? null,
    versionValue: sourceVersion?.value ?? null,
    createdAt: now,
    deletedAt: null,
  };
}

const inBody = { pointer: '/sourceVersion' };

export interface SourceVersion {
  kind: 'number' | 'instant';
  value: string;
}

/**
 * A version as it is stored. One from the future would keep out whatever comes until then.
 *
 * @throws Problem in_the_future
 */
export function sourceVersion(
  input: number | string | undefined,
  now: string,
  place: Pick<FieldError, 'pointer' | 'parameter'> = inBody,
): SourceVersion | null {
  if (input === undefined) return null;
  if (typeof input === 'number') return { kind: 'number', value: String(input) };
  checkNotAhead(input, now, 'sourceVersion', place);
  return { kind: 'instant', value: String(instantNanoseconds(input)) };
}

/**
 * Whether to apply a message: not if its version is equal to or older than the stored one. If nothing is stored,
 * or the message has no version, it is applied.
 */
export function isNews(
  stored: Pick<RefRow, 'versionKind' | 'versionValue'>,
  incoming: SourceVersion | null,
  place: Pick<FieldError, 'pointer' | 'parameter'> = inBody,
): boolean {
  if (!incoming || !stored.versionKind || stored.versionValue === null) return true;
  if (stored.versionKind !== incoming.kind) {
    throw new Problem('invalid_input', `sourceVersion: this record is versioned by ${stored.versionKind}s.`, {
      errors: [
        {
          ...place,
          code: 'source_version_kind',
          message: `Versions of this record are ${stored.versionKind}s.`,
        },
      ],
    });
  }
  return BigInt(incoming.value) > BigInt(stored.versionValue);
}

/** A version as clients see it: a counter is a number, an instant (stored in nanoseconds) the shortest text that says it. */
const fraction = `lpad((((r.version_value % 1000000000) + 1000000000) % 1000000000)::text, 9, '0')`;
const answeredVersion =
  sql.raw(`case r.version_kind when 'number' then to_json(r.version_value) when 'instant' then to_json(
  to_char(to_timestamp(floor(r.version_value / 1000000000)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.') ||
  case when ${fraction} like '%000000' then left(${fraction}, 3) when ${fraction} like '%000' then left(${fraction}, 6) else ${fraction} end || 'Z') end`);

/** The select-list fragment of a record's references, in their order. */
export function referencesOf(recordId: SQLWrapper): SQL {
  return sql`array_to_json(array(select row_to_json(l) from (
    select r.source, r.external_id as "externalId", ${answeredVersion} as "sourceVersion"
    from external_refs r where r.record_id = ${recordId} order by r.position, r.source, r.external_id) l))`;
}

/** A stored reference as `referencesOf` answers it. */
export function toReference({ source, externalId, versionKind, versionValue }: RefRow): Reference {
  const isNumber = versionKind === 'number';
  const version = versionValue === null ? null : isNumber ? Number(versionValue) : instantText(BigInt(versionValue));
  return { source, externalId, sourceVersion: version };
}

function instantText(nanoseconds: bigint): string {
  const fraction = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = Number((nanoseconds - fraction) / 1_000_000_000n);
  const digits = String(fraction).padStart(9, '0');
  const shown = digits.endsWith('000000') ? digits.slice(0, 3) : digits.endsWith('000') ? digits.slice(0, 6) : digits;
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${shown}Z`;
}
