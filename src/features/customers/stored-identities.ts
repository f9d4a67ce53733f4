import { sql } from 'drizzle-orm';
import type pg from 'pg';
import {
  type Db,
  fields,
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
import { type IdentityRow, identityKey, lockCustomers } from './queries.ts';
import { customerIdentities } from './record.ts';
import type { IdentityKind } from './words.ts';

/** An identity that stays in a former spelling. */
export interface KeptIdentity {
  customerId: string;
  kind: IdentityKind;
  /** The customer who has the same identity in normal form; null: by the present rules it is no identity. */
  sameAs: string | null;
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
 * It tells how many were changed, and of which customers an identity stays as it was.
 */
export const normalFormUpgrade: Upgrade = {
  name: `normal form ${normalFormVersion}`,
  async run(pool, note) {
    const changed = await normalizeStored(pool);
    const { kept } = await compareStored(poolDb(pool));
    if (changed > 0) note(`${changed} e-mails, phones and handles were brought to their present normal form.`);
    if (kept.length > 0) note(describeKept(kept, 50));
  },
};

/** For people: ids alone, as logs hold nothing personal. */
export function describeKept(kept: readonly KeptIdentity[], limit: number): string {
  const shown = kept.slice(0, limit).map(({ customerId, kind, sameAs }) => {
    return `the ${kind} of ${customerId} ${sameAs === null ? 'is none' : `is that of ${sameAs}`}`;
  });
  if (kept.length > limit) shown.push('… (npm run verify-rollups lists them all)');
  return (
    `${kept.length} identities stay in a former spelling, by which nobody is found. Merge the customers who are one ` +
    `person, and correct what is no identity: ${shown.join('; ')}`
  );
}

/**
 * Where two customers turn out to have one identity, the older one has it from then on and the other keeps a former spelling:
 * nobody is merged, and nothing is lost. It may be interrupted and repeated.
 *
 * @returns how many were changed
 */
export async function normalizeStored(pool: pg.Pool): Promise<number> {
  let changed = 0;
  for await (const strays of strayIdentities(poolDb(pool))) {
    changed += await transaction(pool, (tx) => normalize(tx, strays));
  }
  return changed;
}

/** What `normalizeStored` would change, and what stays as it is. */
export async function compareStored(db: Db): Promise<{ wrong: IdentityRow[]; kept: KeptIdentity[] }> {
  const wrong: IdentityRow[] = [];
  const kept: KeptIdentity[] = [];
  for await (const strays of strayIdentities(db)) {
    const rows = await rowsAround(db, strays);
    const { dropped } = plan(strays, rows);
    wrong.push(...dropped);
    for (const stray of strays) {
      const own = rows.get(identityKey(stray));
      if (!own || dropped.includes(own)) continue;
      const { kind, customerId } = own;
      kept.push({ kind, customerId, sameAs: rows.get(normalKey(stray) ?? '')?.customerId ?? null });
    }
  }
  return { wrong, kept };
}

const page = statement<{ kind: IdentityKind; value: string }>(
  'identities_by_value',
  // Phones of other countries are E.164 in every version of the form; to parse a million of them takes a minute.
  sql`select kind, value from customer_identities
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
  sql`select ${fields(customerIdentities)}, c.created_at as since
    from customer_identities join customers c on c.id = customer_identities.customer_id
      join json_to_recordset(${param('wanted')}::json) as n("kind" text, "value" text)
        on n."kind" = customer_identities.kind and n."value" = customer_identities.value`,
);

function normalKey({ kind, normal }: Stray): string | null {
  return normal === null ? null : identityKey({ kind, value: normal });
}

/** These identities, and those that stand where they are to stand. */
async function rowsAround(db: Db, strays: readonly Stray[]): Promise<Map<string, Held>> {
  const wanted = strays.flatMap(({ kind, value, normal }) =>
    [value, normal].flatMap((one) => (one === null ? [] : [{ kind, value: one }])),
  );
  const rows = await db.all(held, { wanted: JSON.stringify(wanted) });
  return new Map(rows.map((row) => [identityKey(row), row]));
}

/** The rows that go, and those that take their places. */
function plan(strays: readonly Stray[], rows: ReadonlyMap<string, Held>): { dropped: Held[]; added: Held[] } {
  const next = new Map(rows);
  for (const stray of strays) {
    const own = next.get(identityKey(stray));
    const to = normalKey(stray);
    if (!own || stray.normal === null || to === null) continue;
    const other = next.get(to);
    const moved = { ...own, value: stray.normal };
    if (!other) {
      next.delete(identityKey(stray));
      next.set(to, moved);
    } else if (other.customerId === own.customerId) {
      next.delete(identityKey(stray));
      next.set(to, { ...other, primary: other.primary || own.primary });
    } else if (isOlder(own, other)) {
      // They trade spellings.
      next.set(identityKey(stray), { ...other, value: stray.value });
      next.set(to, moved);
    }
  }
  return {
    dropped: [...rows].flatMap(([at, row]) => (next.get(at) === row ? [] : [row])),
    added: [...next].flatMap(([at, row]) => (rows.get(at) === row ? [] : [row])),
  };
}

function isOlder(one: Held, other: Held): boolean {
  return one.since < other.since || (one.since === other.since && one.customerId < other.customerId);
}

const drop = statement(
  'drop_stray_identities',
  sql`delete from customer_identities i using ${rowsOf(customerIdentities, param('rows'), 'n')}
    where i.kind = n."kind" and i.value = n."value"`,
);

const add = statement('add_normal_identities', insertRows(customerIdentities, param('rows')));

const touch = statement(
  'touch_normalized_customers',
  sql`update customers set ${raiseStamps('customers')}
    where id = any(${param('ids')}::uuid[])`,
);

async function normalize(tx: Transaction, strays: readonly Stray[]): Promise<number> {
  const before = await rowsAround(tx, strays);
  const locked = await lockCustomers(
    tx,
    [...before.values()].map(({ customerId }) => customerId),
  );
  const rows = await rowsAround(tx, strays);
  if ([...rows.values()].some(({ customerId }) => !locked.has(customerId))) throw new Retry('an identity moved');
  const { dropped, added } = plan(strays, rows);
  if (dropped.length === 0) return 0;
  const ids = [...new Set([...dropped, ...added].map(({ customerId }) => customerId))];
  const now = new Date().toISOString();
  await tx.all(drop, { rows: JSON.stringify(dropped) });
  await tx.all(add, { rows: JSON.stringify(added) });
  await tx.all(touch, { ids, now });
  await recomputeBounds(tx, { now }, ids);
  return dropped.length;
}
