import type { Warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, orProblem, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { isErased, personErased, personErasedProblem } from '../../records/erased.ts';
import { isNobody } from '../../records/nobody.ts';
import type { Nobody, Owner, OwnerBook, OwnerInput, OwnerMatch } from '../../records/ownership.ts';
import { customerRequired } from '../../records/ownership.ts';
import { byName, deletedReference, newRef, type RefRow, refKey } from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { nextStamps } from '../../records/stamps.ts';
import { nextRow } from '../../records/write.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import { type Recognition, recognisable, recognition, recognitionsAmong } from '../merges/visitors.ts';
import { mergeCustomers } from '../merges/write.ts';
import { broughtBy, shareNewCustomers } from '../partners/sharing.ts';
import { identityHashes, liftTombstones, referenceHash, tombstonesOf } from '../privacy/tombstones.ts';
import { isNoted, withBringer } from './brought.ts';
import { type GivenIdentity, identityAdvice, readIdentity, unusableIdentity } from './identity.ts';
import { customerOwner } from './owner.ts';
import {
  type CustomerChange,
  type CustomerState,
  changedIds,
  customerStates,
  findAndLockOwners,
  heldIdentities,
  type IdentityRow,
  identityKey,
  lockCustomers,
  lockOwners,
  newIds,
  noteBringers,
  saveCustomers,
  type Told,
} from './queries.ts';
import { type Address, customerRecord } from './record.ts';
import { has, isAnotherAccount, looksAnonymous, type Standing } from './who-is-who.ts';
import type { CustomerKind } from './words.ts';
import { mergedWarning, sharedWarning, unique } from './write.ts';

/** Who the owner of a record is said to be; `consented`: who was erased under these names is a new customer. */
interface CustomerInput extends OwnerInput {
  customerId?: string | undefined;
  customer?: OwnerDetails | null | undefined;
  consented?: boolean;
}

/** By id. Of customers of whom nothing is in question there is none. */
type Standings = Map<string, Standing>;

interface OwnerDetails {
  source?: string | undefined;
  externalId?: string | undefined;
  email?: string | undefined;
  phone?: string | undefined;
  kind?: CustomerKind | undefined;
  name?: string | undefined;
  givenName?: string | undefined;
  familyName?: string | undefined;
  address?: Address | null | undefined;
}

interface ReadOwner {
  id: string | undefined;
  reference: ReferenceInput | undefined;
  identities: GivenIdentity<'email' | 'phone'>[];
  details: OwnerDetails;
  warnings: Warning[];
  consented: boolean;
  recordKind: string | undefined;
  /** Set: it names nobody; what is wrong with that where there has to be somebody. */
  nobody: Problem | null;
}

/**
 * Finds the customers of a set of facts (who-is-who.ts). What is known of nobody makes a new customer, and new names of a
 * known one are added to it, once the fact is admitted: a refused or stale fact leaves no trace. An e-mail or phone of somebody
 * else is added as a shared one, with a warning. Later inputs of the set find customers that earlier ones make. Names of
 * an erased person lead to the anonymous customer that keeps the facts, and are not stored again.
 */
export function matchOwners(inputs: CustomerInput[]): OwnerMatch {
  const readOwners = inputs.map((owner) => orProblem(() => read(owner)));
  const good = readOwners.filter((owner): owner is ReadOwner => !(owner instanceof Problem));
  const references = good.flatMap(({ reference }) => reference ?? []);
  const identities = unique(
    good.flatMap((owner) => owner.identities),
    identityKey,
  );
  const deciding = unique(
    good.flatMap((owner) => decidingIdentity(owner) ?? []),
    identityKey,
  );
  return {
    names: unique(references, refKey).map(({ source, externalId }) => ({ kind: 'customer', source, externalId })),
    async lock(tx, { ids, names }) {
      const [held, { found, locked, tombstones }] = await Promise.all([
        heldIdentities(tx, identities),
        findAndLockOwners(tx, { ids: [...good.flatMap(({ id }) => id ?? []), ...ids], names, identities: deciding }),
      ]);
      const owners = new Map(held.map((row) => [identityKey(row), row.customerId]));
      return {
        found,
        locked: new Set(locked.keys()),
        async decide(tx, context) {
          const refs = byName(found, 'customer');
          const standings = await readAgain(tx, good, { refs, owners, locked });
          const visitors = context.principal.scopedTo === null ? visitorsAmong(good, { refs, owners, standings }) : [];
          const recognised = await recognisable(tx, visitors);
          const unknown = tombstones
            ? [
                ...references.flatMap((ref) => (refs.has(refKey(ref)) ? [] : [referenceHash(context, ref)])),
                ...identities.flatMap((one) => (owners.has(identityKey(one)) ? [] : identityHashes(context, one))),
              ]
            : [];
          const erased = await tombstonesOf(tx, unknown);
          await lockCustomers(tx, erased.values(), 'some');
          return ownerBook(tx, context, readOwners, { refs, owners, held, locked, erased, standings, recognised });
        },
      };
    },
  };
}

/** By which a customer is looked for where no reference says who it is. */
function decidingIdentity({ reference, identities }: ReadOwner): ReadOwner['identities'][number] | undefined {
  const email = identities.find(({ kind }) => kind === 'email');
  return email ?? (reference ? undefined : identities[0]);
}

type Known = Pick<LookedUp, 'refs' | 'owners' | 'locked'>;

/**
 * Where names point to more than one customer, these are read again under their locks: somebody may have given them a
 * reference, or taken an e-mail from them, while this waited. On the ordinary path nothing is read.
 */
async function readAgain(tx: Transaction, good: ReadOwner[], { refs, owners, locked }: Known): Promise<Standings> {
  const uses = new Map<string, number>();
  for (const identity of good.flatMap(({ identities }) => identities)) {
    const key = identityKey(identity);
    uses.set(key, (uses.get(key) ?? 0) + 1);
  }
  const ids = new Set<string>();
  for (const given of good) {
    const { reference, identities } = given;
    const deciding = decidingIdentity(given);
    const byIdentity = deciding && owners.get(identityKey(deciding));
    const own = (reference ? refs.get(refKey(reference))?.recordId : byIdentity) ?? undefined;
    for (const identity of identities) {
      const other = owners.get(identityKey(identity));
      if (other === own) continue;
      const isAsked = other !== undefined || (uses.get(identityKey(identity)) ?? 0) > 1;
      if (isAsked && own !== undefined) ids.add(own);
      if (other !== undefined && identity === deciding) ids.add(other);
      else if (isAsked && own === undefined && byIdentity !== undefined) ids.add(byIdentity);
    }
  }
  if ([...ids].some((id) => !locked.has(id))) throw new Retry('an identity moved');
  const states = await customerStates(tx, [...ids]);
  for (const { references } of states.values()) for (const ref of references) refs.set(refKey(ref), ref);
  for (const given of good) {
    const deciding = decidingIdentity(given);
    const state = deciding && states.get(owners.get(identityKey(deciding)) ?? '');
    if (deciding && state && !has(state, deciding, { shared: false })) throw new Retry('an identity moved');
    const ref = given.reference && refs.get(refKey(given.reference));
    const named = states.get(ref?.recordId ?? '');
    if (ref && named && !named.references.includes(ref)) throw new Retry('a reference moved');
  }
  return states;
}

/** Who is known by a reference alone, and gives an e-mail that somebody else has or may have by then. */
function visitorsAmong(
  good: ReadOwner[],
  { refs, owners, standings }: Pick<LookedUp, 'refs' | 'owners' | 'standings'>,
): Recognition[] {
  const messages = good.map(({ reference, identities }) => ({
    id: (reference && refs.get(refKey(reference))?.recordId) ?? undefined,
    emails: identities.filter(({ kind }) => kind === 'email').map(identityKey),
  }));
  return recognitionsAmong(messages, owners, (id) => {
    const standing = standings.get(id);
    return standing !== undefined && looksAnonymous(standing);
  });
}

function read({ customerId, customer, factSource, recordKind, consented = false }: CustomerInput): ReadOwner {
  if (customerId !== undefined && customer !== undefined) {
    throw invalid('/customerId', 'customer_twice', 'Give customerId or customer, not both.');
  }
  const details = customer ?? {};
  const owner: ReadOwner = {
    id: customerId,
    reference: undefined,
    identities: [],
    details,
    warnings: [],
    consented,
    recordKind,
    nobody: null,
  };
  if (customerId !== undefined) return owner;
  if (customer === null) return { ...owner, nobody: nameless() };
  if (details.source !== undefined && details.externalId === undefined) {
    throw invalid('/customer/externalId', 'required', 'source needs an externalId: send both, or neither.');
  }
  if (details.externalId !== undefined) {
    const source = details.source ?? factSource;
    if (source === null)
      throw invalid(
        '/customer/source',
        'required',
        'Send customer.source: the system that customer.externalId belongs to.',
      );
    owner.reference = { source, externalId: details.externalId };
  }
  const unusable: Problem[] = [];
  for (const kind of ['email', 'phone'] as const) {
    const given = details[kind];
    if (given === undefined) continue;
    const identity = readIdentity(kind, given, details.address?.country);
    if (identity === null) {
      unusable.push(unusableIdentity(`/customer/${kind}`, kind));
      owner.warnings.push({
        code: `unusable_${kind}`,
        message: `customer.${kind} ${identityAdvice[kind]}, and was ignored.`,
      });
    } else {
      owner.identities.push(identity);
    }
  }
  if (!owner.reference && owner.identities.length === 0) {
    // As the only name it has to be mended, unless the record is kept without a customer.
    const [problem] = unusable;
    if (!problem) throw nameless();
    owner.nobody = problem;
    owner.warnings.push(anonymous);
  }
  return owner;
}

const anonymous: Warning = {
  code: 'anonymous',
  message: 'customer has no usable reference, e-mail or phone: the record is kept without a customer.',
};

function nameless(): Problem {
  const message = 'Send customerId, or customer with a reference, an e-mail or a phone number.';
  return new Problem(customerRequired, message, {
    errors: [{ pointer: '/customer', code: 'customer_required', message }],
  });
}

/** What is to be written of a customer that facts name. */
interface Addition {
  identities: (ReadOwner['identities'][number] & Pick<IdentityRow, 'broughtBy' | 'shared'>)[];
  references: ReferenceInput[];
  details: OwnerDetails;
  isNew: boolean;
}

interface LookedUp {
  refs: Map<string, RefRow>;
  owners: Map<string, string>;
  /** The identities of `owners`, as they were stored. */
  held: Awaited<ReturnType<typeof heldIdentities>>;
  locked: ReadonlyMap<string, string>;
  /** Names of erased persons that are among those of the inputs: hash → the anonymous customer. */
  erased: ReadonlyMap<string, string>;
  standings: Standings;
  /** Visitors who are recognised when they give the e-mail of a customer (`recognition`). */
  recognised: ReadonlySet<string>;
}

function ownerBook(
  tx: Transaction,
  context: Context,
  readOwners: (ReadOwner | Problem)[],
  { refs, owners, held, locked, erased, standings, recognised }: LookedUp,
): OwnerBook {
  const stored = new Map(held.map((row) => [identityKey(row), row]));
  const told: Told[] = [];
  const additions = new Map<string, Addition>();
  const lifted = new Set<string>();
  /** Visitors who turned out to be customers. */
  const merges = new Map<string, Recognition & { mergeId: string }>();
  const buyers = new Set<string>();
  const { scopedTo } = context.principal;

  /** Whose tombstone it is; hashes are made only where there are some. */
  function buried(hashes: () => string[]): string | undefined {
    if (erased.size === 0) return undefined;
    const found = hashes().find((hash) => erased.has(hash));
    return found && erased.get(found);
  }

  function present(id: string): string {
    return merges.get(id)?.customerId ?? id;
  }

  function ownerOf(identity: { kind: string; value: string }): string | undefined {
    const id = owners.get(identityKey(identity));
    return id === undefined ? undefined : present(id);
  }

  function add(id: string, added: Addition): void {
    const { identities, references, details } = added;
    const known = additions.get(id);
    if (known) {
      known.identities.push(...identities);
      known.references.push(...references);
    } else {
      additions.set(id, { ...added, identities: [...identities], references: [...references] });
    }
    if (added.isNew && !standings.has(id)) {
      standings.set(id, { row: newCustomer(id, details, context.now), identities: [], references: [] });
    }
    const standing = standings.get(id);
    standing?.identities.push(...identities);
    for (const identity of identities) if (!identity.shared) owners.set(identityKey(identity), id);
    for (const ref of references) {
      const row = newRef('customer', ref, { recordId: id, customerId: id, position: 0 }, context.now);
      refs.set(refKey(ref), row);
      standing?.references.push(row);
    }
  }

  /** Whether somebody known by a reference alone is the customer whose e-mail they give. */
  function isRecognised(visitorId: string, customerId: string): boolean {
    const visitor = standings.get(visitorId);
    if (scopedTo !== null || !visitor || buyers.has(visitorId) || !looksAnonymous(visitor)) return false;
    const isNew = (id: string) => additions.get(id)?.isNew === true;
    if (!isNew(visitorId) && !isNew(customerId)) return recognised.has(recognition({ visitorId, customerId }));
    const mayMerge = isNew(visitorId) || recognised.has(recognition({ visitorId, customerId: visitorId }));
    return mayMerge && standings.get(customerId)?.row.kind === 'person';
  }

  /** Who it is; undefined: nobody yet. `by`: the customer of the reference. */
  function find(given: ReadOwner, by: string | undefined, buriedRef: string | undefined): string | undefined {
    const deciding = decidingIdentity(given);
    const found = deciding && ownerOf(deciding);
    if (by !== undefined) return found !== undefined && found !== by && isRecognised(by, found) ? found : by;
    if (buriedRef !== undefined && !given.consented) return buriedRef;
    if (deciding && found === undefined && !given.consented) return buried(() => identityHashes(context, deciding));
    if (found === undefined || !given.reference) return found;
    return isAnotherAccount(standings.get(found)?.references ?? [], [given.reference]) ? undefined : found;
  }

  /** A known identity of a customer is told by this message as well. */
  function note(id: string, { identities, reference }: ReadOwner): void {
    const bringer = reference ?? null;
    for (const identity of identities) {
      const key = identityKey(identity);
      const isIt = (one: { kind: string; value: string }) => identityKey(one) === key;
      const pending = additions.get(id)?.identities.find(isIt);
      if (pending) {
        pending.broughtBy = withBringer(pending.broughtBy, bringer);
        continue;
      }
      const row = stored.get(key);
      const known =
        row && present(row.customerId) === id
          ? { shared: false, broughtBy: row.broughtBy }
          : standings.get(id)?.identities.find(isIt);
      if (!known || isNoted(known.broughtBy, bringer)) continue;
      told.push({ kind: identity.kind, value: identity.value, customerId: id, shared: known.shared, bringer });
    }
  }

  /** What is added to customer `id` of the identities of a message, and what is said about it. */
  function planIdentities(given: ReadOwner, known: string | undefined, id: string) {
    const standing = known === undefined ? undefined : standings.get(known);
    const warnings: Warning[] = [];
    const identities = given.identities.flatMap((identity): Addition['identities'] => {
      const other = ownerOf(identity);
      const { kind } = identity;
      if (other === id) return [];
      if (other === undefined && !given.consented && buried(() => identityHashes(context, identity)) !== undefined) {
        const message = `The ${kind} is that of a person who was erased, and was left out.`;
        warnings.push({ code: personErasedProblem, message });
        return [];
      }
      if (other !== undefined) warnings.push(sharedWarning(kind, other, id));
      if (standing !== undefined && has(standing, identity)) return [];
      return [{ ...identity, shared: other !== undefined, broughtBy: [given.reference ?? null] }];
    });
    return { identities, warnings };
  }

  function given(index: number): ReadOwner {
    const found = readOwners[index];
    if (found === undefined) throw new RangeError(`There is no owner ${index}`);
    if (found instanceof Problem) throw found;
    return found;
  }

  function ownerOrNobody(index: number): Owner | Nobody {
    const { nobody, warnings } = given(index);
    return nobody ? { customerId: null, warnings } : somebody(given(index));
  }

  function owner(index: number): Owner {
    const { nobody } = given(index);
    if (nobody) throw nobody;
    return somebody(given(index));
  }

  function somebody(given: ReadOwner): Owner {
    const bought = (id: string) => {
      if (given.recordKind === 'order') buyers.add(id);
    };
    if (given.id !== undefined) {
      const id = present(given.id);
      if (!locked.has(id) || isNobody(id)) throw invalid('/customerId', 'not_found', 'There is no such customer.');
      const gone = isErased(tx, id);
      return { customerId: id, erased: gone, warnings: gone ? [personErased] : [], admit: () => bought(id) };
    }
    const { reference } = given;
    const ref = reference && refs.get(refKey(reference));
    if (scopedTo?.kind === 'customer') checkOwnNames(given, scopedTo.id, ref?.recordId);
    if (ref && !ref.recordId) throw deletedReference('/customer/externalId');
    const buriedRef = reference && !ref ? buried(() => [referenceHash(context, reference)]) : undefined;
    const visitorId = ref?.recordId ?? undefined;
    const by = visitorId === undefined ? undefined : present(visitorId);
    const known = find(given, by, buriedRef);
    const id = known ?? newId();
    const isBuried = () =>
      given.identities.some((one) => !ownerOf(one) && buried(() => identityHashes(context, one)) === id);
    if (known !== undefined && (isErased(tx, id) || id === buriedRef || isBuried())) {
      // Found by a name that was erased while this waited.
      if (given.consented) throw new Retry('a person was erased');
      return { customerId: id, erased: true, warnings: [...given.warnings, personErased], admit: () => undefined };
    }
    if (known !== undefined && !locked.has(id) && !additions.get(id)?.isNew) throw new Retry('a customer vanished');
    const { identities, warnings } = planIdentities(given, known, id);
    const references = reference && !ref ? [reference] : [];
    const merge = by !== undefined && by !== id ? { visitorId: by, customerId: id, mergeId: newId() } : null;
    return {
      customerId: id,
      erased: false,
      warnings: [...given.warnings, ...warnings, ...(merge ? [mergedWarning(merge)] : [])],
      admit: () => {
        if (merge) {
          merges.set(merge.visitorId, merge);
          standings.get(id)?.references.push(...(standings.get(merge.visitorId)?.references ?? []));
        }
        bought(id);
        note(id, given);
        if (identities.length + references.length === 0 && known !== undefined) return;
        if (erased.size > 0) {
          for (const one of references) lifted.add(referenceHash(context, one));
          for (const hash of identities.flatMap((one) => identityHashes(context, one))) lifted.add(hash);
        }
        add(id, { identities, references, details: given.details, isNew: known === undefined });
      },
    };
  }

  /**
   * A customer's own token adds no names: facts find their customer by these (see guarded.ts). It is told the same of
   * names that nobody has and of others', be they erased.
   */
  function checkOwnNames(
    { reference, identities }: ReadOwner,
    self: string,
    byReference: string | null | undefined,
  ): void {
    const known = identities.every((identity) => owners.get(identityKey(identity)) === self);
    if (known && (reference === undefined || byReference === self)) return;
    const message = 'It has a reference, e-mail or phone that the customer of your token does not have.';
    throw new Problem('not_shared', message, {
      errors: [{ pointer: '/customer', code: 'not_shared', message }],
    });
  }

  return {
    owner,
    ownerOrNobody,
    async save(saving, nobodies = []) {
      await liftTombstones(
        saving,
        [...lifted].filter((hash) => erased.has(hash)),
      );
      for (const id of nobodies) add(id, { identities: [], references: [], details: {}, isNew: true });
      told.push(...(await saveAdditions(saving, context, additions)));
      await noteBringers(saving, told);
    },
    async merge(merging) {
      for (const { visitorId, customerId, mergeId } of merges.values()) {
        await mergeCustomers(merging, context, { mergeId, survivorId: customerId, customerId: visitorId });
      }
    },
  };
}

/** @returns who has told identities that turned out to be known */
async function saveAdditions(tx: Transaction, context: Context, additions: Map<string, Addition>): Promise<Told[]> {
  const told: Told[] = [];
  if (additions.size === 0) return told;
  const { now } = context;
  const states = await customerStates(
    tx,
    [...additions].filter(([, { isNew }]) => !isNew).map(([id]) => id),
  );
  const changes = [...additions].flatMap(([id, { identities, references, details }]): CustomerChange[] => {
    const before = states.get(id) ?? null;
    const had = new Set(before?.identities.map(({ kind }) => kind));
    const addedIdentities = identities.flatMap(({ kind, value, shared, broughtBy }): IdentityRow[] => {
      // One that is shared and that nobody owns is in question for nobody, and so was not read before.
      const known = before?.identities.find((one) => one.kind === kind && one.value === value);
      if (known) {
        for (const bringer of broughtBy ?? [])
          told.push({ kind, value, customerId: id, shared: known.shared, bringer });
        return [];
      }
      const primary = !had.has(kind);
      had.add(kind);
      return [{ kind, value, customerId: id, primary, broughtBy, shared, createdAt: now }];
    });
    if (before && addedIdentities.length + references.length === 0) return [];
    const position = before?.references.length ?? 0;
    const after: CustomerState = {
      row: before
        ? { ...before.row, ...nextStamps(before.row, now) }
        : { ...newCustomer(id, details, now), acquiredBy: broughtBy(context) },
      identities: [...(before?.identities ?? []), ...addedIdentities],
      references: [
        ...(before?.references ?? []),
        ...references.map((ref, i) =>
          newRef('customer', ref, { recordId: id, customerId: id, position: position + i }, now),
        ),
      ],
    };
    return [{ before, after }];
  });
  await shareNewCustomers(tx, context, newIds(changes));
  await saveCustomers(tx, context, changes);
  await recomputeBounds(tx, context, changedIds(changes));
  return told;
}

function newCustomer(id: string, details: OwnerDetails, now: string): CustomerState['row'] {
  const write = { mode: 'new' as const, input: details };
  return nextRow(customerRecord, write, null, { id, customerId: null, now }) as unknown as CustomerState['row']; // of the definition
}

customerOwner.implement({ match: matchOwners, lock: lockOwners });
