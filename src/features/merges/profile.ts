import type { RefRow } from '../../records/references/queries.ts';
import type { CustomerRow, IdentityRow } from '../customers/queries.ts';
import type { IdentityKind } from '../customers/words.ts';
import type { LeadRow, Party } from './queries.ts';
import type { MergeDecision, MergeMember, MergeObstacle } from './record.ts';

/*
 * Which values win: the survivor's where it has one, unless told to `take` the other's; the other's fill the gaps.
 * Identities and references of both stay, `attributes` are decided name by name. Of two leads, owner, source and segment
 * are decided like members, and `lead_stage` says whose lifecycle goes on (leads.ts); it began when the first of them did.
 */

type Profile = Omit<CustomerRow, 'id' | 'version' | 'kind' | 'createdAt' | 'updatedAt' | 'erasedAt'>;

/** Members of a customer with their columns, which go together. */
export const profileMembers = {
  name: ['name'],
  given_name: ['givenName'],
  family_name: ['familyName'],
  company_id: ['companyId'],
  birthday: ['birthday'],
  address: ['address'],
  locale: ['locale'],
  preferred_channel: ['preferredChannel'],
  acquisition: ['acquisitionSource', 'acquisitionCost', 'acquiredOn'],
  referred_by: ['referredBy'],
  acquired_by: ['acquiredBy'],
  attributes: ['attributes'],
} as const satisfies Partial<Record<MergeMember, readonly (keyof Profile)[]>>;
type ProfileMember = keyof typeof profileMembers;

const identityKinds: IdentityKind[] = ['email', 'phone', 'handle'];
const leadMembers = {
  lead_stage: 'stage',
  lead_owner: 'owner',
  lead_source: 'source',
  lead_segment: 'segment',
} as const satisfies Partial<Record<MergeMember, keyof LeadRow>>;

export interface Profiles {
  survivor: Party;
  other: Party;
  take: readonly MergeMember[];
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
  const note = (member: MergeMember, own: unknown, others: unknown): 'survivor' | 'other' => {
    const from = has(own) && !(take.includes(member) && has(others)) ? 'survivor' : has(others) ? 'other' : 'survivor';
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
  for (const member of Object.keys(profileMembers) as ProfileMember[]) {
    // keys of a constant
    const own = memberOf(survivor.row, member, ids);
    const others = memberOf(other.row, member, ids);
    if (member === 'attributes' && isDocument(own) && isDocument(others)) {
      const result = take.includes(member) ? { ...own, ...others } : { ...others, ...own };
      const differs = Object.keys(own).some((key) => key in others && told(own[key]) !== told(others[key]));
      decisions.push({ member, from: 'both', differs, survivor: told(own), other: told(others), result: told(result) });
      row.attributes = result;
      continue;
    }
    const from = note(member, own, others) === 'other' ? other.row : survivor.row;
    for (const column of profileMembers[member]) copy(row, from, column);
  }
  // Nobody is their own company or referrer.
  for (const column of ['companyId', 'referredBy'] as const) if (ids.includes(row[column] ?? '')) row[column] = null;

  const primaryOf = (party: Party, kind: IdentityKind) =>
    party.identities.find((identity) => identity.kind === kind && identity.primary)?.value ?? null;
  const primaries = new Set<string>();
  for (const kind of identityKinds) {
    const from = note(kind, primaryOf(survivor, kind), primaryOf(other, kind));
    primaries.add(`${kind} ${primaryOf(from === 'other' ? other : survivor, kind)}`);
  }
  const identities = [...survivor.identities, ...other.identities].map((identity) => ({
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

function copy<K extends keyof CustomerRow>(row: CustomerRow, from: CustomerRow, column: K): void {
  row[column] = from[column];
}

function memberOf(row: CustomerRow, member: ProfileMember, ids: readonly string[]): unknown {
  if (member === 'acquisition') {
    const { acquisitionSource: source, acquisitionCost: cost, acquiredOn } = row;
    return source === null ? null : { source, cost, acquiredOn };
  }
  const value = row[profileMembers[member][0]];
  return (member === 'company_id' || member === 'referred_by') && ids.includes(String(value)) ? null : value;
}

function has(value: unknown): boolean {
  return value !== null && value !== undefined;
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
