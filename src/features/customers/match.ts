import type { Warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, orProblem, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { isErased, personErased, personErasedProblem } from '../../records/erased.ts';
import { isNobody } from '../../records/nobody.ts';
import type { Nobody, Owner, OwnerBook, OwnerInput, OwnerMatch } from '../../records/ownership.ts';
import { customerRequired } from '../../records/ownership.ts';
import { byName, newRef, type RefRow, refKey } from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { deletedReference } from '../../records/references/write.ts';
import { nextStamps } from '../../records/stamps.ts';
import { nextRow } from '../../records/write.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import { broughtBy, shareNewCustomers } from '../partners/sharing.ts';
import { identityHashes, liftTombstones, referenceHash, tombstonesOf } from '../privacy/tombstones.ts';
import { type GivenIdentity, identityAdvice, readIdentity, unusableIdentity } from './identity.ts';
import { customerOwner } from './owner.ts';
import {
  type CustomerChange,
  type CustomerState,
  changedIds,
  customerStates,
  findAndLockOwners,
  type IdentityRow,
  identityKey,
  lockCustomers,
  lockOwners,
  newIds,
  ownersOf,
  saveCustomers,
} from './queries.ts';
import { type Address, customerRecord } from './record.ts';
import type { CustomerKind } from './words.ts';
import { unique } from './write.ts';

/** Who the owner of a record is said to be; `consented`: who was erased under these names is a new customer. */
interface CustomerInput extends OwnerInput {
  customer?: OwnerDetails | null | undefined;
  consented?: boolean;
}

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
  /** Set: it names nobody; what is wrong with that where there has to be somebody. */
  nobody: Problem | null;
}

/**
 * Finds the customers of a set of facts: by reference, then e-mail, then phone. Where these point to different customers
 * the reference wins, nothing is moved, and the owner carries a warning. What is known of nobody makes a new customer,
 * and new names of a known one are added to it, once the fact is admitted: a refused or stale fact leaves no trace.
 * Later inputs of the set find customers that earlier ones make. Names of an erased person lead to the anonymous customer
 * that keeps the facts, and are not stored again.
 */
export function matchOwners(inputs: CustomerInput[]): OwnerMatch {
  const readOwners = inputs.map((owner) => orProblem(() => read(owner)));
  const good = readOwners.filter((owner): owner is ReadOwner => !(owner instanceof Problem));
  const references = good.flatMap(({ reference }) => reference ?? []);
  const identities = unique(
    good.flatMap((owner) => owner.identities),
    identityKey,
  );
  return {
    names: unique(references, refKey).map(({ source, externalId }) => ({ kind: 'customer', source, externalId })),
    async lock(tx, { ids, names }) {
      const [owners, { found, locked, tombstones }] = await Promise.all([
        ownersOf(tx, identities),
        findAndLockOwners(tx, { ids: [...good.flatMap(({ id }) => id ?? []), ...ids], names, identities }),
      ]);
      return {
        found,
        locked: new Set(locked.keys()),
        async decide(deciding, context) {
          const refs = byName(found, 'customer');
          const unknown = tombstones
            ? [
                ...references.flatMap((ref) => (refs.has(refKey(ref)) ? [] : [referenceHash(context, ref)])),
                ...identities.flatMap((one) => (owners.has(identityKey(one)) ? [] : identityHashes(context, one))),
              ]
            : [];
          const erased = await tombstonesOf(deciding, unknown);
          await lockCustomers(deciding, erased.values(), 'some');
          return ownerBook(deciding, context, readOwners, { refs, owners, locked, erased });
        },
      };
    },
  };
}

function read({ customerId, customer, factSource, consented = false }: CustomerInput): ReadOwner {
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
  return new Problem(customerRequired, 'Send customerId, or customer with a reference, an e-mail or a phone number.', {
    errors: [{ pointer: '/customer', code: 'customer_required', message: 'Required: customerId or customer.' }],
  });
}

/** What is to be written of a customer that facts name. */
interface Addition {
  identities: (ReadOwner['identities'][number] & Pick<IdentityRow, 'broughtBy'>)[];
  references: ReferenceInput[];
  details: OwnerDetails;
  isNew: boolean;
}

interface LookedUp {
  refs: Map<string, RefRow>;
  owners: Map<string, string>;
  locked: ReadonlyMap<string, string>;
  /** Names of erased persons that are among those of the inputs: hash → the anonymous customer. */
  erased: ReadonlyMap<string, string>;
}

function ownerBook(
  tx: Transaction,
  context: Context,
  readOwners: (ReadOwner | Problem)[],
  { refs, owners, locked, erased }: LookedUp,
): OwnerBook {
  const additions = new Map<string, Addition>();
  const lifted = new Set<string>();
  /** Whose tombstone it is; hashes are made only where there are some. */
  function buried(hashes: () => string[]): string | undefined {
    if (erased.size === 0) return undefined;
    const found = hashes().find((hash) => erased.has(hash));
    return found && erased.get(found);
  }

  function add(id: string, added: Addition): void {
    const { identities, references } = added;
    const known = additions.get(id);
    if (known) {
      known.identities.push(...identities);
      known.references.push(...references);
    } else {
      additions.set(id, { ...added });
    }
    for (const identity of identities) owners.set(identityKey(identity), id);
    for (const ref of references) {
      refs.set(refKey(ref), newRef('customer', ref, { recordId: id, customerId: id, position: 0 }, context.now));
    }
  }

  function given(index: number): ReadOwner {
    const found = readOwners[index];
    if (found === undefined) throw new RangeError(`There is no owner ${index}`);
    if (found instanceof Problem) throw found;
    return found;
  }

  function ownerOrNobody(index: number): Owner | Nobody {
    const { nobody, warnings } = given(index);
    return nobody ? { customerId: null, warnings } : ownerOf(given(index));
  }

  function owner(index: number): Owner {
    const { nobody } = given(index);
    if (nobody) throw nobody;
    return ownerOf(given(index));
  }

  function ownerOf(given: ReadOwner): Owner {
    if (given.id !== undefined) {
      if (!locked.has(given.id) || isNobody(given.id))
        throw invalid('/customerId', 'not_found', 'There is no such customer.');
      const gone = isErased(tx, given.id);
      return { customerId: given.id, erased: gone, warnings: gone ? [personErased] : [], admit: () => undefined };
    }
    const ref = given.reference && refs.get(refKey(given.reference));
    const { scopedTo } = context.principal;
    if (scopedTo?.kind === 'customer') checkOwnNames(given, scopedTo.id, ref?.recordId);
    if (ref && !ref.recordId) throw deletedReference('/customer/externalId');
    const reference = given.reference;
    const buriedRef = reference && !ref ? buried(() => [referenceHash(context, reference)]) : undefined;
    const buriedIdentities = given.identities.map((identity) =>
      owners.has(identityKey(identity)) ? undefined : buried(() => identityHashes(context, identity)),
    );
    const isBack = given.consented;
    const byIdentity = given.identities.map(
      (identity, i) => owners.get(identityKey(identity)) ?? (isBack ? undefined : buriedIdentities[i]),
    );
    const known = ref?.recordId ?? (isBack ? undefined : buriedRef) ?? byIdentity.find((id) => id !== undefined);
    const id = known ?? newId();
    if (known !== undefined && (isErased(tx, id) || id === buriedRef || buriedIdentities.includes(id))) {
      // Found by a name that was erased while this waited.
      if (isBack) throw new Retry('a person was erased');
      return { customerId: id, erased: true, warnings: [...given.warnings, personErased], admit: () => undefined };
    }
    if (known !== undefined && !locked.has(id) && !additions.get(id)?.isNew) throw new Retry('a customer vanished');
    const conflicts = given.identities.flatMap(({ kind }, i): Warning[] => {
      const other = byIdentity[i];
      if (other === undefined || other === id) return [];
      if (buriedIdentities[i] !== undefined) {
        const message = `The ${kind} is that of a person who was erased, and was left out.`;
        return [{ code: personErasedProblem, message }];
      }
      const message = `The ${kind} belongs to customer ${other}; the record was added to ${id}, and nothing was moved.`;
      return [{ code: 'customer_conflict', message }];
    });
    const identities = given.identities
      .filter((_, i) => byIdentity[i] === undefined)
      .map((one) => ({ ...one, broughtBy: [given.reference ?? null] }));
    const references = given.reference && !ref ? [given.reference] : [];
    return {
      customerId: id,
      erased: false,
      warnings: [...given.warnings, ...conflicts],
      admit: () => {
        if (identities.length + references.length === 0) return;
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
      await saveAdditions(saving, context, additions);
    },
  };
}

async function saveAdditions(tx: Transaction, context: Context, additions: Map<string, Addition>): Promise<void> {
  if (additions.size === 0) return;
  const { now } = context;
  const states = await customerStates(
    tx,
    [...additions].filter(([, { isNew }]) => !isNew).map(([id]) => id),
  );
  const changes = [...additions].map(([id, { identities, references, details }]): CustomerChange => {
    const before = states.get(id) ?? null;
    const had = new Set(before?.identities.map(({ kind }) => kind));
    const addedIdentities = identities.map(({ kind, value, broughtBy }) => {
      const primary = !had.has(kind);
      had.add(kind);
      return { kind, value, customerId: id, primary, broughtBy, createdAt: now };
    });
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
    return { before, after };
  });
  await shareNewCustomers(tx, context, newIds(changes));
  await saveCustomers(tx, context, changes);
  await recomputeBounds(tx, context, changedIds(changes));
}

function newCustomer(id: string, details: OwnerDetails, now: string): CustomerState['row'] {
  const write = { mode: 'new' as const, input: details };
  return nextRow(customerRecord, write, null, { id, customerId: null, now }) as unknown as CustomerState['row']; // of the definition
}

customerOwner.implement({ match: matchOwners, lock: lockOwners });
