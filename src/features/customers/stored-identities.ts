import { sql } from 'drizzle-orm';
import type pg from 'pg';
import {
  type Db,
  insertRows,
  param,
  poolDb,
  Retry,
  rowsOf,
  statement,
  type Transaction,
  transaction,
} from '../../platform/db/client.ts';
import type { Upgrade } from '../../platform/db/upgrade.ts';
import { raiseStamps } from '../../records/stamps.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import { normalForm, normalFormVersion } from './normal-form.ts';
import { type IdentityRow, identityKey, identityRowsOf, lockCustomers } from './queries.ts';
import { customerIdentities, everyIdentity, sharedIdentities } from './record.ts';
import { recomputeTerms } from './terms.ts';
import type { IdentityKind } from './words.ts';

/** An identity that is none by the present rules, and stays as it is. */
export type KeptIdentity = Pick<IdentityRow, 'customerId' | 'kind'>;

/** One that turned out to be another customer's, and became a shared one. */
interface SharedIdentity extends KeptIdentity {
  owner: string;
}

/** One that is not in normal form. */
interface Stray {
  kind: IdentityKind;
  value: string;
  /** null: it has none. */
  normal: string | null;
}

/**
 * Brings stored identities to the present normal form, once for each version of it. A migration cannot: the form is code.
 * It tells how many were changed, and which customers turned out to have one identity.
 */
export const normalFormUpgrade: Upgrade = {
  // Before, what two customers had stayed with one of them in a former spelling.
  name: `normal form ${normalFormVersion}, others shared`,
  async run(pool, note) {
    const { changed, shared } = await normalizeStored(pool);
    const { kept } = await compareStored(poolDb(pool));
    if (changed > 0) note(`${changed} e-mails, phones and handles were brought to their present normal form.`);
    if (shared.length > 0) note(describeShared(shared));
    if (kept.length > 0) note(describeKept(kept, mostTold));
  },
};

const mostTold = 50;

/** For people: ids alone, as logs hold nothing personal. */
function describeShared(shared: readonly SharedIdentity[]): string {
  const shown = shared
    .slice(0, mostTold)
    .map(({ customerId, kind, owner }) => `the ${kind} of ${customerId} is that of ${owner}`);
  if (shared.length > mostTold) shown.push('…');
  return (
    `${shared.length} identities are those of other customers and are shared now, so the older customer is found by them. ` +
    `GET /v1/customers/duplicates lists these customers; merge those who are one person: ${shown.join('; ')}`
  );
}

export function describeKept(kept: readonly KeptIdentity[], limit: number): string {
  const shown = kept.slice(0, limit).map(({ customerId, kind }) => `the ${kind} of ${customerId}`);
  if (kept.length > limit) shown.push('… (npm run verify-rollups lists them all)');
  return `${kept.length} identities are none by the present rules, and nobody is found by them. Correct them: ${shown.join('; ')}`;
}

/**
 * Where two customers turn out to have one identity, the older one is found by it from then on and the other shares it: nobody
 * is merged, and nothing is lost. It may be interrupted and repeated.
 */
export async function normalizeStored(pool: pg.Pool): Promise<{ changed: number; shared: SharedIdentity[] }> {
  let changed = 0;
  const shared: SharedIdentity[] = [];
  for await (const strays of strayIdentities(poolDb(pool))) {
    const done = await transaction(pool, (tx) => normalize(tx, strays));
    changed += done.dropped.length;
    shared.push(...done.shared);
  }
  return { changed, shared };
}

/** What `normalizeStored` would change, and what stays as it is. */
export async function compareStored(db: Db): Promise<{ wrong: IdentityRow[]; kept: KeptIdentity[] }> {
  const wrong: IdentityRow[] = [];
  const kept: KeptIdentity[] = [];
  for await (const strays of strayIdentities(db)) {
    const rows = await rowsAround(db, strays);
    wrong.push(...plan(strays, rows).dropped);
    const none = new Set(strays.flatMap((stray) => (stray.normal === null ? [identityKey(stray)] : [])));
    kept.push(...rows.filter((row) => none.has(identityKey(row))));
  }
  return { wrong, kept };
}

const page = statement<{ kind: IdentityKind; value: string }>(
  'identities_by_value',
  // Phones of other countries are E.164 in every version of the form; to parse a million of them takes a minute.
  sql`select distinct kind, value from ${sql.raw(everyIdentity)} i
    where (kind, value) > (${param('kind')}::text, ${param('value')}::text) and (kind <> 'phone' or value ~ '^[+]5[245]')
    order by kind, value limit 1000`,
);

async function* strayIdentities(db: Db): AsyncGenerator<Stray[]> {
  let last = { kind: '', value: '' };
  for (;;) {
    const rows = await db.all(page, last);
    const strays = rows.flatMap(({ kind, value }): Stray[] => {
      const normal = normalForm(kind, value);
      return normal === value ? [] : [{ kind, value, normal }];
    });
    if (strays.length > 0) yield strays;
    const end = rows.at(-1);
    if (!end) return;
    last = end;
  }
}

interface Held extends IdentityRow {
  /** Since when there is the customer who has it. */
  since: string;
}

const held = statement<Held>(
  'identities_and_ages',
  sql`select i.*, c.created_at as since from (${identityRowsOf(sql`in (
      select customer_id from ${sql.raw(everyIdentity)} w
        join json_to_recordset(${param('wanted')}::json) as n("kind" text, "value" text) on n."kind" = w.kind and n."value" = w.value)`)}) i
      join json_to_recordset(${param('wanted')}::json) as n("kind" text, "value" text) on n."kind" = i."kind" and n."value" = i."value"
      join customers c on c.id = i."customerId"`,
);

function normalKey({ kind, normal }: Stray): string | null {
  return normal === null ? null : identityKey({ kind, value: normal });
}

/** These identities, and those that stand where they are to stand. */
function rowsAround(db: Db, strays: readonly Stray[]): Promise<Held[]> {
  const wanted = strays.flatMap(({ kind, value, normal }) =>
    [value, normal].flatMap((one) => (one === null ? [] : [{ kind, value: one }])),
  );
  return db.all(held, { wanted: JSON.stringify(wanted) });
}

interface Planned {
  /** The rows that go. */
  dropped: Held[];
  /** Those that take their places. */
  added: Held[];
  shared: SharedIdentity[];
}

function plan(strays: readonly Stray[], rows: readonly Held[]): Planned {
  const before = new Map(rows.flatMap((row) => (row.shared ? [] : [[identityKey(row), row] as const]))); // a pair
  const next = new Map(before);
  const sharing = new Map<string, Held>();
  const share = (row: Held, value: string) =>
    sharing.set(`${row.customerId} ${value}`, { ...row, value, shared: true });
  for (const stray of strays) {
    const own = next.get(identityKey(stray));
    const to = normalKey(stray);
    if (stray.normal === null || to === null) continue;
    for (const row of rows) if (row.shared && identityKey(row) === identityKey(stray)) share(row, stray.normal);
    if (!own) continue;
    const other = next.get(to);
    const moved = { ...own, value: stray.normal };
    next.delete(identityKey(stray));
    if (!other) {
      next.set(to, moved);
    } else if (other.customerId === own.customerId) {
      next.set(to, { ...other, primary: other.primary || own.primary });
    } else if (isOlder(own, other)) {
      next.set(to, moved);
      share(other, stray.normal);
    } else {
      share(own, stray.normal);
    }
  }
  const gone = (row: Held) => (row.shared ? isStray(strays, row) : next.get(identityKey(row)) !== row);
  const ownerOf = (row: Held) => next.get(identityKey(row))?.customerId;
  const shared = [...sharing.values()].filter((row) => ownerOf(row) !== row.customerId);
  return {
    dropped: rows.filter(gone),
    added: [...[...next].flatMap(([at, row]) => (before.get(at) === row ? [] : [row])), ...shared],
    shared: shared.flatMap(({ customerId, kind, ...row }) => {
      const owner = ownerOf({ customerId, kind, ...row });
      return owner === undefined ? [] : [{ customerId, kind, owner }];
    }),
  };
}

function isStray(strays: readonly Stray[], row: Held): boolean {
  return strays.some((stray) => stray.normal !== null && identityKey(stray) === identityKey(row));
}

function isOlder(one: Held, other: Held): boolean {
  return one.since < other.since || (one.since === other.since && one.customerId < other.customerId);
}

const drop = statement(
  'drop_stray_identities',
  sql`with gone as (
      delete from customer_shared_identities i using ${rowsOf(sharedIdentities, param('shared'), 'n')}
        where i.customer_id = n."customerId" and i.kind = n."kind" and i.value = n."value"
    )
    delete from customer_identities i using ${rowsOf(customerIdentities, param('own'), 'n')}
      where i.kind = n."kind" and i.value = n."value"`,
);

const add = statement(
  'add_normal_identities',
  sql`with shared as (${insertRows(sharedIdentities, param('shared'))} on conflict do nothing)
    ${insertRows(customerIdentities, param('own'))}`,
);

function byTable(rows: readonly Held[]): { own: string; shared: string } {
  return {
    own: JSON.stringify(rows.filter(({ shared }) => !shared)),
    shared: JSON.stringify(rows.filter(({ shared }) => shared)),
  };
}

const touch = statement(
  'touch_normalized_customers',
  sql`update customers set ${raiseStamps('customers')}
    where id = any(${param('ids')}::uuid[])`,
);

async function normalize(tx: Transaction, strays: readonly Stray[]): Promise<Planned> {
  const before = await rowsAround(tx, strays);
  const locked = await lockCustomers(
    tx,
    before.map(({ customerId }) => customerId),
  );
  const rows = await rowsAround(tx, strays);
  if (rows.some(({ customerId }) => !locked.has(customerId))) throw new Retry('an identity moved');
  const planned = plan(strays, rows);
  const { dropped, added } = planned;
  if (dropped.length === 0) return planned;
  const ids = [...new Set([...dropped, ...added].map(({ customerId }) => customerId))];
  const now = new Date().toISOString();
  await tx.all(drop, byTable(dropped));
  await tx.all(add, byTable(added));
  await tx.all(touch, { ids, now });
  await recomputeTerms(tx, ids);
  await recomputeBounds(tx, { now }, ids);
  return planned;
}
