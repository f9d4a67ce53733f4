import { joinedCustom } from '../../records/custom-fields.ts';
import type { Fields } from '../../records/fields.ts';
import { namingMembers } from '../../records/personal-data.ts';
import type { RefRow } from '../../records/references/queries.ts';
import { definitionOf } from '../../records/table.ts';
import type { CustomerRow, IdentityRow } from '../customers/queries.ts';
import { customerRecord, customers } from '../customers/record.ts';
import type { IdentityKind } from '../customers/words.ts';
import type { LeadRow, Party } from './queries.ts';
import { identityMembers, leadMembers, type MergeDecision, type MergeObstacle, profileMembers } from './record.ts';

/*
 * Which values win: the survivor's where it has one, or the other's where `take` names the member; the other's fill the gaps,
 * also the year of a birthday without one.
 * Identities and references of both stay, `attributes` are decided name by name, `tags` are those of both, or the other's. Of two leads, owner, source and segment
 * are decided like members, and `lead_stage` says whose lifecycle goes on (leads.ts); it began when the first of them did.
 */

export interface Profiles {
  survivor: Party;
  other: Party;
  take: readonly string[];
}

/** @returns why the two cannot be merged; empty: they can */
export function obstaclesOf({ survivor, other }: Pick<Profiles, 'survivor' | 'other'>): MergeObstacle[] {
  const found: MergeObstacle[] = [];
  const refuse = (code: string, message: string) => found.push({ code, message });
  if (survivor.row.erasedAt !== null || other.row.erasedAt !== null) {
    refuse('erased', 'One of them was erased: nobody knows any more who it was.');
  }
  if (survivor.row.kind !== other.row.kind) refuse('other_kind', 'One is a person, the other a company.');
  if (survivor.row.companyId === other.row.id || other.row.companyId === survivor.row.id) {
    refuse('own_company', 'One is the company of the other.');
  }
  if (survivor.account && other.account && survivor.account.programmeId !== other.account.programmeId) {
    refuse('other_programme', 'They are members of different loyalty programmes, whose points cannot be added.');
  }
  return found;
}

/** What is decided, where the other has a value; and the profile that comes of it. */
export function decide({ survivor, other, take }: Profiles): {
  decisions: MergeDecision[];
  row: CustomerRow;
  identities: IdentityRow[];
  references: RefRow[];
  lead: Pick<LeadRow, 'owner' | 'source' | 'segment'>;
} {
  const ids = [survivor.row.id, other.row.id];
  const row = { ...survivor.row };
  const decisions: MergeDecision[] = [];
  const note = (member: string, own: unknown, others: unknown): 'survivor' | 'other' => {
    const isLeft = has(own) && !take.includes(member) && !isFuller(member, own, others);
    const from = has(others) && !isLeft ? 'other' : 'survivor';
    if (has(others)) {
      const result = from === 'survivor' ? own : others;
      decisions.push({
        member,
        from,
        differs: has(own) && told(own) !== told(others),
        survivor: told(own),
        other: told(others),
        result: told(result),
      });
    }
    return from;
  };
  for (const [member, columns] of profileMembers) {
    const own = memberOf(survivor.row, columns, ids);
    const others = memberOf(other.row, columns, ids);
    if (member === 'attributes' && isDocument(own) && isDocument(others)) {
      const result = take.includes(member) ? { ...own, ...others } : { ...others, ...own };
      const differs = Object.keys(own).some((key) => key in others && told(own[key]) !== told(others[key]));
      decisions.push({ member, from: 'both', differs, survivor: told(own), other: told(others), result: told(result) });
      row.attributes = result;
      continue;
    }
    if (member === 'tags' && Array.isArray(own) && Array.isArray(others) && !take.includes(member)) {
      const { tags } = joinedCustom(survivor.row, other.row);
      decisions.push({
        member,
        from: 'both',
        differs: false,
        survivor: told(own),
        other: told(others),
        result: told(tags),
      });
      row.tags = tags;
      continue;
    }
    copyMembers(row, note(member, own, others) === 'other' ? other.row : survivor.row, columns);
  }
  // Nobody is their own company or referrer.
  for (const column of naming) if (ids.includes(String(storedIn(row, column)))) copyMembers(row, nobody, [column]);

  const primaryOf = (party: Party, kind: IdentityKind) =>
    party.identities.find((identity) => identity.kind === kind && identity.primary)?.value ?? null;
  const primaries = new Set<string>();
  for (const kind of identityMembers) {
    const from = note(kind, primaryOf(survivor, kind), primaryOf(other, kind));
    primaries.add(`${kind} ${primaryOf(from === 'other' ? other : survivor, kind)}`);
  }
  const identities = joined([...survivor.identities, ...other.identities]).map((identity) => ({
    ...identity,
    customerId: row.id,
    primary: primaries.has(`${identity.kind} ${identity.value}`),
  }));
  const references = [...survivor.references, ...other.references].map((reference, position) => ({
    ...reference,
    recordId: row.id,
    customerId: row.id,
    position,
  }));
  const sides = Object.fromEntries(
    (Object.keys(leadMembers) as (keyof typeof leadMembers)[]).map((member) => {
      // keys of a constant
      const from = note(member, survivor.lead?.[leadMembers[member]], other.lead?.[leadMembers[member]]);
      return [leadMembers[member], (from === 'other' ? other : survivor).lead];
    }),
  );
  const lead = {
    owner: sides['owner']?.owner ?? null,
    source: sides['source']?.source ?? null,
    segment: sides['segment']?.segment ?? null,
  };
  return { decisions, row, identities, references, lead };
}

/** What both have is one identity: the one by which one of them is found, and brought by whoever brought either. */
function joined(identities: readonly IdentityRow[]): IdentityRow[] {
  const made = new Map<string, IdentityRow>();
  for (const one of identities) {
    const key = `${one.kind} ${one.value}`;
    const known = made.get(key);
    const broughtBy = known?.broughtBy && one.broughtBy ? [...known.broughtBy, ...one.broughtBy] : null;
    made.set(key, known ? { ...(known.shared ? one : known), broughtBy } : one);
  }
  return [...made.values()];
}

/** Members that name other customers. */
const naming = namingMembers(definitionOf(customers));
const nobody = Object.fromEntries(naming.map((member) => [member, null]));

/** Takes these members of a row over into another one. */
export function copyMembers(row: CustomerRow, from: object, members: readonly string[]): void {
  const values = from as Readonly<Record<string, unknown>>; // by member
  Object.assign(row, Object.fromEntries(members.map((member) => [member, values[member]])));
}

/** What is stored of a customer under a member that the definition has. */
export function storedIn(row: CustomerRow, member: string): unknown {
  return (row as Readonly<Record<string, unknown>>)[member]; // by member
}

/** The value of a member; null: it says nothing, or no more than one that was never sent. */
function memberOf(row: CustomerRow, columns: readonly string[], ids: readonly string[]): unknown {
  const [first = ''] = columns;
  const value = storedIn(row, first);
  if (value === (customerRecord.fields as Fields)[first]?.spec.fallback) return null; // by name
  if (naming.includes(first) && ids.includes(String(value))) return null;
  const { tell } = (customerRecord.fields as Fields)[first]?.spec ?? {}; // by name
  if (columns.length === 1) return tell && typeof value === 'string' ? tell(value) : value;
  return acquisitionOf(row);
}

function acquisitionOf({ acquisitionSource: source, acquisitionCost: cost, acquiredOn }: CustomerRow): object {
  return { source, cost, acquiredOn };
}

function has(value: unknown): boolean {
  return value !== null && value !== undefined;
}

/** Whether the other has the same with more: the year of a birthday. */
function isFuller(member: string, own: unknown, others: unknown): boolean {
  const { fuller } = (customerRecord.fields as Fields)[member]?.spec ?? {}; // by name
  return (
    fuller !== null &&
    fuller !== undefined &&
    typeof own === 'string' &&
    typeof others === 'string' &&
    fuller(own, others)
  );
}

function isDocument(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function told(value: unknown): string | null {
  if (!has(value)) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Whether what was stored then is what is stored now. */
export function isSame(a: unknown, b: unknown): boolean {
  return told(a) === told(b);
}

/** What else follows from a merge, in words. */
export function notesOf({ survivor, other, take }: Profiles): string[] {
  const notes: string[] = [];
  if (survivor.lead && other.lead) {
    notes.push(
      `The lifecycle of the ${take.includes('lead_stage') ? 'other' : 'survivor'} goes on; the steps of both are kept in the order of their times, those of the one that ended are dated back to the last step of the one that goes on.`,
    );
  }
  if (survivor.account && other.account) {
    notes.push(
      'One loyalty account, since the earlier of the two, with the postings and bonuses of both: points add up. The higher tier goes on, and rises with what counts of both.',
    );
  }
  if (other.account || survivor.account) {
    notes.push('Orders of either since the account began earn points.');
  }
  return notes;
}
