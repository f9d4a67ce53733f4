import { refKey } from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import type { IdentityRow } from './queries.ts';

/*
 * Who brought an identity: the references whose documents or records have told it, and `null` for whoever told it without
 * one (a PATCH by id, an order that names nobody but by e-mail). By reference and not by source: after a merge two
 * accounts of one shop are one customer, and neither may clear what the other has brought.
 */

export type Bringer = ReferenceInput | null;

function isSame(a: Bringer, b: Bringer): boolean {
  return a === null || b === null ? a === b : refKey(a) === refKey(b);
}

/** Whether it is noted that this one has told it. Of what was stored before this was noted, facts note nothing. */
export function isNoted(known: IdentityRow['broughtBy'], bringer: Bringer): boolean {
  return known === null || known.some((one) => isSame(one, bringer));
}

/** @param known null: it was stored before this was noted, and is whose document tells it first */
export function withBringer(known: IdentityRow['broughtBy'], bringer: Bringer): Bringer[] {
  if (known?.some((one) => isSame(one, bringer))) return known;
  const { source = '', externalId = '' } = bringer ?? {};
  return [...(known ?? []), bringer && { source, externalId }];
}

/**
 * The identities of a customer after a document of `bringer` that lists these: others stay as far as somebody else has
 * brought them. Of a kind that is listed the document says which is the primary one.
 */
export function afterDocument(before: readonly IdentityRow[], listed: IdentityRow[], bringer: Bringer): IdentityRow[] {
  const isListed = ({ kind, value }: IdentityRow) => listed.some((one) => one.kind === kind && one.value === value);
  const left = before.flatMap((row): IdentityRow[] => {
    if (isListed(row)) return [];
    const broughtBy = row.broughtBy?.filter((one) => !isSame(one, bringer)) ?? null;
    return broughtBy?.length === 0 ? [] : [{ ...row, broughtBy }];
  });
  const rows = [...listed, ...left];
  for (const row of left) {
    const ofKind = rows.filter(({ kind }) => kind === row.kind);
    row.primary = row === (ofKind.find((one) => one.primary) ?? ofKind[0]);
  }
  return rows;
}
