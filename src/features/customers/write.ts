import type { Warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, orProblem, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { erasedRefusal } from '../../records/erased.ts';
import {
  deletedReference,
  isNews,
  newRef,
  type RefRow,
  refKey,
  refsByName,
  sourceVersion,
} from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { nextRow, notNewer, saysOther } from '../../records/write.ts';
import { checkConsents, recordConsents } from '../consents/write.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import { enqueueReferrals } from '../loyalty/referrals.ts';
import { type Recognition, recognisable, recognition, recognitionsAmong } from '../merges/visitors.ts';
import { mergeCustomers } from '../merges/write.ts';
import { keepPartners } from '../partners/queries.ts';
import { broughtBy, recomputeShares, shareNewCustomers } from '../partners/sharing.ts';
import { hashesOf, identityHashes, liftTombstones, referenceHash, tombstonesOf } from '../privacy/tombstones.ts';
import { afterDocument, withBringer } from './brought.ts';
import { withoutGuarded } from './guarded.ts';
import { type NormalizedIdentity, normalizeIdentities } from './identity.ts';
import {
  type CustomerChange,
  type CustomerRow,
  type CustomerState,
  changedIds,
  companiesWithMembers,
  customerStates,
  customersByIds,
  type IdentityRow,
  identityKey,
  lockCustomers,
  newIds,
  ownersOf,
  saveCustomers,
} from './queries.ts';
import { type CustomerInput, type CustomerPatch, customerRecord, identityTaken } from './record.ts';
import { type Above, leadsTo, relations, relationsAbove } from './relations.ts';
import { isAnotherAccount, looksAnonymous } from './who-is-who.ts';
import type { IdentityKind } from './words.ts';

/** One document to be written, and how. */
export interface CustomerWrite {
  /** `create` refuses a known reference; `upsert` replaces by the first reference; `patch` changes the record `id`. */
  mode: 'create' | 'upsert' | 'patch';
  id?: string;
  input: CustomerInput | CustomerPatch;
  /** Under which reference a change came; a document comes under its first one. */
  by?: ReferenceInput | undefined;
  expectedVersion?: number | '*' | undefined;
  /** An upsert that says so brings a deleted customer back. */
  restore?: boolean | undefined;
}

export interface Written {
  id: string;
  created: boolean;
  /** false: the message was old and nothing was changed. */
  applied: boolean;
  warnings: Warning[];
  /** It says what is stored, but for consents, which are looked at by themselves. */
  same?: true;
}

/** @param other whom it identifies */
export function sharedWarning(kind: IdentityKind, other: string, id: string): Warning {
  const message = `The ${kind} belongs to customer ${other}; ${id} has it as a shared one. If they are one person, merge them (GET /v1/customers/duplicates).`;
  return { code: 'customer_conflict', message };
}

export function mergedWarning({ visitorId, customerId, mergeId }: Recognition & { mergeId: string }): Warning {
  const message = `The visitor ${visitorId} gave the e-mail of customer ${customerId} and was merged into it. To undo this, POST /v1/customers/${customerId}/unmerge with the mergeId ${mergeId}.`;
  return { code: 'customer_merged', message };
}

/**
 * Plans and writes any number of customers with a constant number of statements, in index order: later documents see
 * what earlier ones did. An item's fault is returned in its place and hurts no neighbour.
 */
export async function writeCustomers(
  tx: Transaction,
  context: Context,
  writes: CustomerWrite[],
): Promise<(Written | Problem)[]> {
  const countries = await storedCountries(tx, writes);
  const identitiesOf = writes.map((write) =>
    orProblem(() => normalizeIdentities(write.input, countries.get(write.id ?? ''))),
  );
  const refs = await refsByName(
    tx,
    'customer',
    unique(
      writes.flatMap((w) => w.input.references ?? []),
      refKey,
    ),
  );
  const owners = await ownersOf(
    tx,
    unique(
      identitiesOf.flatMap((found) => (found instanceof Problem ? [] : (found ?? []))),
      identityKey,
    ),
  );
  const erased = await tombstonesOf(
    tx,
    hashesOf(context, {
      references: writes.flatMap((w) => (w.input.references ?? []).filter((ref) => !refs.has(refKey(ref)))),
      identities: identitiesOf.flatMap((found) =>
        found instanceof Problem ? [] : (found ?? []).filter((one) => !owners.has(identityKey(one))),
      ),
    }),
  );
  const own = writes.flatMap((w) => {
    const first = w.input.references?.[0];
    const known = w.mode === 'upsert' && first ? refs.get(refKey(first))?.recordId : w.id;
    return known ? [known] : [];
  });
  // A document may be of the customer who is found by its e-mail, and is so under the lock of that one.
  const byEmail = writes.flatMap(({ mode }, index) => {
    const found = identitiesOf[index];
    if (mode !== 'upsert' || found instanceof Problem) return [];
    return (found ?? []).flatMap((one) => (one.kind === 'email' ? (owners.get(identityKey(one)) ?? []) : []));
  });
  const related = writes.flatMap((w) => [w.input.companyId, w.input.referredBy].filter((id) => typeof id === 'string'));
  const kinds = await lockCustomers(tx, [...own, ...byEmail, ...related], 'some');
  const states = await customerStates(
    tx,
    [...new Set([...own, ...byEmail])].filter((id) => kinds.has(id)),
  );
  for (const id of byEmail) if (!states.has(id)) throw new Retry('a customer vanished');
  for (const [key, id] of owners) {
    const state = states.get(id);
    if (state && !state.identities.some((one) => identityKey(one) === key && !one.shared))
      throw new Retry('an identity moved');
  }
  const downgraded = writes.flatMap((w) => {
    const id = w.mode === 'patch' ? w.id : refs.get(refKey(w.input.references?.[0] ?? noName))?.recordId;
    const kind = w.input.kind ?? (w.mode === 'patch' ? 'company' : 'person');
    return id && kind === 'person' && kinds.get(id) === 'company' ? [id] : [];
  });
  const withMembers = await companiesWithMembers(tx, downgraded);
  const above: Above = relates(writes, refs, states, byEmail.length > 0)
    ? await relationsAbove(tx, related)
    : new Map();

  // Versions count as they stand under the lock, not as they stood before waiting for it.
  for (const state of states.values()) for (const ref of state.references) refs.set(refKey(ref), ref);

  const changes = new Map<string, CustomerChange>();
  const partners = await keepPartners(tx, context.principal.scopedTo ? [] : acquirersOf(writes));
  const visitors =
    context.principal.scopedTo === null ? visitorsAmong(writes, identitiesOf, { refs, owners, states }) : [];
  const recognised = await recognisable(tx, visitors);
  const plan = new Plan(
    context,
    { kinds, refs, owners, states, above, withMembers, partners, erased, recognised },
    changes,
  );
  const results = writes.map((write, index) => {
    const identities = identitiesOf[index];
    return orProblem(() => {
      if (identities instanceof Problem) throw identities;
      return plan.write(write, identities);
    });
  });
  const all = [...changes.values()];
  await shareNewCustomers(tx, context, newIds(all));
  await liftTombstones(tx, [...plan.lifted]);
  await saveCustomers(tx, context, all);
  recomputeShares(
    tx,
    all
      .filter(({ before, after }) => (before?.row.acquiredBy ?? null) !== after.row.acquiredBy)
      .map(({ after }) => after.row.id),
  );
  await recomputeBounds(tx, context, changedIds(all));
  enqueueReferrals(tx, all.flatMap(referralOf));
  await recordConsents(
    tx,
    context,
    results.flatMap((result, index) => {
      const { mode, input } = writes[index] ?? {};
      if (result instanceof Problem || !(result.applied || result.same) || !input || !('consents' in input)) return [];
      const isRepeatable = mode === 'upsert';
      return (input.consents ?? []).map((consent) => ({ customerId: result.id, input: consent, isRepeatable }));
    }),
  );
  for (const { visitorId, customerId, mergeId } of plan.merges.values()) {
    await mergeCustomers(tx, context, { mergeId, survivorId: customerId, customerId: visitorId });
  }
  return results;
}

/** Whether somebody who was there gets another company or referrer: who is new is above nobody. */
function relates(
  writes: CustomerWrite[],
  refs: ReadonlyMap<string, RefRow>,
  states: ReadonlyMap<string, CustomerState>,
  mayJoin: boolean,
): boolean {
  return writes.some(({ mode, id, input }) => {
    const first = input.references?.[0];
    const own = mode === 'patch' ? id : first && mode === 'upsert' ? refs.get(refKey(first))?.recordId : undefined;
    const row = own ? states.get(own)?.row : undefined;
    if (!row && !(mode === 'upsert' && mayJoin)) return false;
    return relations.some((member) => input[member] && input[member] !== row?.[member]);
  });
}

/** Of whom there is no more than a reference, and whose document has an e-mail that somebody else has or may have by then. */
function visitorsAmong(
  writes: CustomerWrite[],
  identitiesOf: (NormalizedIdentity[] | undefined | Problem)[],
  { refs, owners, states }: Pick<PreparedCustomers, 'refs' | 'owners' | 'states'>,
): Recognition[] {
  const messages = writes.map(({ mode, input }, index) => {
    const [first] = input.references ?? [];
    const identities = identitiesOf[index];
    return {
      id: (mode === 'upsert' && first && refs.get(refKey(first))?.recordId) || undefined,
      emails: identities instanceof Problem ? [] : emailsOf(identities).map(identityKey),
    };
  });
  const ids = messages.map(({ id }) => id);
  return recognitionsAmong(messages, owners, (id) => {
    const state = states.get(id);
    // An earlier document of the set may take the name away that makes somebody known.
    return state !== undefined && (looksAnonymous(state) || ids.indexOf(id) !== ids.lastIndexOf(id));
  });
}

/** The primary e-mail says more than others. */
function ownersByEmail(
  identities: readonly NormalizedIdentity[] | undefined,
  owners: ReadonlyMap<string, string>,
): string[] {
  const emails = emailsOf(identities);
  return [...emails.filter(({ primary }) => primary), ...emails.filter(({ primary }) => !primary)].flatMap(
    (one) => owners.get(identityKey(one)) ?? [],
  );
}

function emailsOf(identities: readonly NormalizedIdentity[] | undefined): NormalizedIdentity[] {
  return (identities ?? []).filter(({ kind, shared }) => kind === 'email' && shared !== true);
}

function acquirersOf(writes: CustomerWrite[]): string[] {
  return [...new Set(writes.flatMap(({ input }) => input.acquiredBy ?? []))];
}

/** A customer that was there before, if somebody else is said to have referred it. */
function referralOf({ before, after }: CustomerChange) {
  if (!before || before.row.referredBy === after.row.referredBy) return [];
  return [{ customerId: after.row.id, former: before.row.referredBy ?? undefined }];
}

interface PreparedCustomers {
  kinds: Map<string, string>;
  refs: Map<string, RefRow>;
  owners: Map<string, string>;
  states: Map<string, CustomerState>;
  /** What is stored above the companies and referrers that are named, where that is in question. */
  above: Above;
  /** Companies that would become persons, and that somebody belongs to. */
  withMembers: ReadonlySet<string>;
  /** Those of the partners named that there are. */
  partners: ReadonlySet<string>;
  /** Tombstones of names that nobody has: hash → the anonymous customer. */
  erased: ReadonlyMap<string, string>;
  /** Visitors who are recognised when they give the e-mail of a customer (`recognition`). */
  recognised: ReadonlySet<string>;
}

/** What is known while a set of documents is planned; each planned document updates it. */
class Plan {
  readonly #context: Context;
  readonly #kinds: PreparedCustomers['kinds'];
  readonly #refs: PreparedCustomers['refs'];
  readonly #owners: PreparedCustomers['owners'];
  readonly #states: PreparedCustomers['states'];
  readonly #above: PreparedCustomers['above'];
  readonly #withMembers: PreparedCustomers['withMembers'];
  readonly #partners: PreparedCustomers['partners'];
  readonly #changes: Map<string, CustomerChange>;
  readonly #erased: PreparedCustomers['erased'];
  readonly #recognised: PreparedCustomers['recognised'];
  /** Visitors who turned out to be customers, by their ids. */
  readonly merges = new Map<string, Recognition & { mergeId: string }>();
  /** Hashes of tombstones that are lifted by what was accepted. */
  readonly lifted = new Set<string>();

  constructor(context: Context, known: PreparedCustomers, changes: Map<string, CustomerChange>) {
    this.#context = context;
    this.#kinds = known.kinds;
    this.#refs = known.refs;
    this.#owners = known.owners;
    this.#states = known.states;
    this.#above = known.above;
    this.#withMembers = known.withMembers;
    this.#partners = known.partners;
    this.#changes = changes;
    this.#erased = known.erased;
    this.#recognised = known.recognised;
  }

  write(write: CustomerWrite, identities: NormalizedIdentity[] | undefined): Written {
    const { mode } = write;
    let { input } = write;
    let references = input.references;
    const first = references?.[0];
    const incoming = sourceVersion('sourceVersion' in input ? input.sourceVersion : undefined, this.#context.now);
    if (incoming && !first)
      throw invalid('/sourceVersion', 'no_reference', 'sourceVersion needs a reference: send references.');
    if (mode === 'upsert' && !first)
      throw invalid('/references', 'required', 'An upsert matches by the first reference: send at least one.');
    const known = first && this.#refs.get(refKey(first));
    const named = mode === 'upsert' ? (known?.recordId ?? undefined) : undefined;
    const namedState = named === undefined ? null : (this.#states.get(named) ?? null);
    if (named !== undefined && !namedState?.references.some((ref) => first && refKey(ref) === refKey(first)))
      throw new Retry('a customer vanished, or its name went elsewhere');
    const id = mode === 'patch' ? write.id : mode === 'upsert' ? this.#find(named, references, identities) : undefined;
    const before = id === undefined ? null : (this.#states.get(id) ?? null);
    /** A reference that joins a customer has told nothing of it yet, so its document clears nothing. */
    const joins = mode === 'upsert' && before !== null && id !== named;
    const merge = joins && named !== undefined ? this.#mergeOf(named, before.row.id) : null;
    if (mode === 'patch' && !before) throw new Problem('not_found', 'There is no such customer.');
    if (before?.row.erasedAt) throw erasedRefusal();

    if (write.expectedVersion !== undefined) checkVersion(before?.row.version ?? 0, write.expectedVersion);
    if (known?.deletedAt && mode === 'upsert' && !write.restore) throw deletedReference();
    if (before && known && mode === 'upsert' && !isNews(known, incoming)) {
      const next = this.#row(before.row.id, before.row, input, mode);
      const held = new Set(before.identities.map(identityKey));
      const differs =
        saysOther(customerRecord.fields, next, before.row) ||
        identities?.some((identity) => !held.has(identityKey(identity)));
      return { id: before.row.id, created: false, applied: false, warnings: differs ? [notNewer] : [] };
    }

    if ('consents' in input) checkConsents(this.#context, input.consents);
    input = withoutGuarded(this.#context.principal, before, input, identities);
    references = input.references;
    this.#checkRelations(before?.row.id, input);
    const recordId = before?.row.id ?? newId();
    // The names first: a POST that is repeated is told that its record exists, not that its e-mail is taken.
    const moving = merge && namedState ? new Set(namedState.references.map(refKey)) : null;
    const names = this.#references(
      recordId,
      before?.references ?? [],
      // Those of a visitor come with the merge: of this document, or of an earlier one of the set.
      references?.filter((ref) => !moving?.has(refKey(ref)) && !this.#comesByMerge(ref, recordId)),
      write,
      moving ? null : incoming,
    );
    const warnings: Warning[] = merge ? [mergedWarning(merge)] : [];
    const after: CustomerState = {
      row: this.#row(recordId, before?.row ?? null, input, joins ? 'patch' : mode),
      identities: this.#identities(recordId, before?.identities ?? [], identities, write, warnings),
      references: names,
    };
    if (after.row.kind === 'person' && this.#withMembers.has(recordId)) {
      throw invalid('/kind', 'has_members', 'This company has members, so it cannot become a person.');
    }
    if (
      !after.row.name &&
      !after.row.givenName &&
      !after.row.familyName &&
      after.identities.length === 0 &&
      after.references.length === 0
    ) {
      throw invalid('', 'name_identity_or_reference_required', 'A customer needs a name, an identity or a reference.');
    }
    const lifted = this.#liftedBy(input, before, { ...after, given: identities ?? [] });
    if (this.#context.keepsSame && before && !merge && !incoming && isSame(before, after)) {
      return { id: recordId, created: false, applied: false, warnings, same: true };
    }
    this.#remember(recordId, before, after);
    for (const hash of lifted) this.lifted.add(hash);
    if (merge && namedState) {
      this.merges.set(merge.visitorId, merge);
      const told = namedState.references.map((ref) =>
        known && refKey(ref) === refKey(known) ? versioned(ref, incoming) : ref,
      );
      this.#remember(merge.visitorId, namedState, { ...namedState, references: told });
    }
    return { id: recordId, created: before === null, applied: true, warnings };
  }

  /**
   * Whom a document is about (who-is-who.ts): the customer of its reference, or the one who has the e-mail and no other
   * account of the source.
   *
   * @param named the customer of its first reference
   */
  #find(
    named: string | undefined,
    references: readonly ReferenceInput[] = [],
    identities: readonly NormalizedIdentity[] | undefined,
  ): string | undefined {
    if (named === undefined) {
      return ownersByEmail(identities, this.#owners).find(
        (id) => !isAnotherAccount(this.#states.get(id)?.references ?? [], references),
      );
    }
    const merged = this.merges.get(named)?.customerId;
    if (merged !== undefined) return merged;
    const visitor = this.#states.get(named);
    if (!visitor || !looksAnonymous(visitor)) return named;
    const isNew = (id: string) => this.#changes.get(id)?.before === null;
    const found = ownersByEmail(identities, this.#owners).find((customerId) => {
      if (this.#context.principal.scopedTo !== null || customerId === named) return false;
      if (!isNew(named) && !isNew(customerId))
        return this.#recognised.has(recognition({ visitorId: named, customerId }));
      const mayMerge = isNew(named) || this.#recognised.has(recognition({ visitorId: named, customerId: named }));
      return mayMerge && this.#states.get(customerId)?.row.kind === 'person';
    });
    return found ?? named;
  }

  #comesByMerge(ref: ReferenceInput, customerId: string): boolean {
    const holder = this.#refs.get(refKey(ref))?.recordId;
    return !!holder && this.merges.get(holder)?.customerId === customerId;
  }

  #mergeOf(visitorId: string, customerId: string): Recognition & { mergeId: string } {
    return this.merges.get(visitorId) ?? { visitorId, customerId, mergeId: newId() };
  }

  /**
   * The tombstones that go as the person comes back, by a consent that is given with its names.
   *
   * @throws Problem person_erased: no consent comes with them
   */
  #liftedBy(
    input: CustomerPatch | CustomerInput,
    before: CustomerState | null,
    after: Pick<CustomerState, 'references'> & { given: NormalizedIdentity[] },
  ): string[] {
    if (this.#erased.size === 0) return [];
    const isBack = 'consents' in input && input.consents?.some(({ status }) => status === 'granted');
    const identities = new Set(before?.identities.map(identityKey));
    const references = new Set(before?.references.map(refKey));
    const named = [
      ...after.references
        .filter((ref) => !references.has(refKey(ref)))
        .map((ref) => ({ hash: referenceHash(this.#context, ref), pointer: '/references' })),
      ...after.given
        .filter((one) => !identities.has(identityKey(one)))
        .flatMap((one) => identityHashes(this.#context, one).map((hash) => ({ hash, pointer: '/identities' }))),
    ].filter(({ hash }) => this.#erased.has(hash) && !this.lifted.has(hash));
    if (named[0] && !isBack) throw erasedRefusal(named[0].pointer);
    return named.map(({ hash }) => hash);
  }

  #remember(id: string, before: CustomerState | null, after: CustomerState): void {
    for (const one of before?.identities ?? []) if (!one.shared) this.#owners.delete(identityKey(one));
    for (const one of after.identities) if (!one.shared) this.#owners.set(identityKey(one), id);
    const revived = after.references.filter((ref) => this.#refs.get(refKey(ref))?.deletedAt);
    for (const ref of after.references) this.#refs.set(refKey(ref), ref);
    const pending = this.#changes.get(id);
    this.#states.set(id, after);
    this.#kinds.set(id, after.row.kind);
    // Two documents of one set for the same record are one change of the stored row.
    this.#changes.set(id, {
      before: pending ? pending.before : before,
      after,
      revived: [...(pending?.revived ?? []), ...revived],
    });
  }

  #checkRelations(id: string | undefined, input: CustomerPatch): void {
    for (const [member, other] of [
      ['companyId', input.companyId],
      ['referredBy', input.referredBy],
    ] as const) {
      if (!other) continue;
      const kind = this.#kinds.get(other);
      if (kind === undefined) throw invalid(`/${member}`, 'not_found', 'There is no such customer.');
      if (other === id) throw invalid(`/${member}`, 'self_reference', 'You cannot set this to the customer itself.');
      if (member === 'companyId' && kind !== 'company')
        throw invalid('/companyId', 'not_a_company', 'This customer is not a company: send the id of a company.');
      const relatedOf = (one: string) => this.#states.get(one)?.row ?? this.#above.get(one);
      if (id !== undefined && leadsTo([id], member, other, relatedOf)) {
        const above = member === 'companyId' ? 'belongs to' : 'was referred by';
        throw invalid(
          `/${member}`,
          'ring',
          `That customer ${above} this one, directly or through others: send another one.`,
        );
      }
    }
  }

  #row(id: string, before: CustomerRow | null, input: CustomerPatch, mode: CustomerWrite['mode']): CustomerRow {
    const next = nextRow(customerRecord, { mode, input }, before && { ...before, customerId: id }, {
      id,
      customerId: null,
      now: this.#context.now,
    }) as unknown as CustomerRow; // of the definition
    const { acquisition } = input;
    const keeps = acquisition === undefined && mode === 'patch';
    return {
      ...next,
      ...(!keeps && {
        acquisitionSource: acquisition?.source ?? null,
        acquisitionCost: acquisition?.cost ?? null,
        acquiredOn: acquisition?.acquiredOn ?? null,
      }),
      acquiredBy: this.#acquiredBy(before, input),
    };
  }

  /**
   * Left out it stays, on PUT as well: the shop that sends a customer every night does not know who brought it, and must
   * not unshare it. A scoped token cannot say: what a partner creates it has brought, and that is told to nobody else.
   */
  #acquiredBy(before: CustomerRow | null, { acquiredBy }: CustomerPatch): string | null {
    const stored = before ? before.acquiredBy : broughtBy(this.#context);
    if (acquiredBy === undefined) return stored;
    if (this.#context.principal.scopedTo !== null) {
      if (acquiredBy === null || acquiredBy === stored) return stored;
      const message = 'Your token may not set who brought the customer. Leave this out.';
      throw new Problem('not_shared', message, {
        errors: [{ pointer: '/acquiredBy', code: 'not_shared', message }],
      });
    }
    if (acquiredBy !== null && acquiredBy !== stored && !this.#partners.has(acquiredBy)) {
      throw invalid('/acquiredBy', 'not_found', 'There is no such partner.');
    }
    return acquiredBy;
  }

  #identities(
    id: string,
    before: IdentityRow[],
    wanted: NormalizedIdentity[] | undefined,
    { mode, by, input }: CustomerWrite,
    warnings: Warning[],
  ): IdentityRow[] {
    if (wanted === undefined && mode === 'patch') return before;
    const bringer = by ?? (mode === 'patch' ? null : (input.references?.[0] ?? null));
    const listed = (wanted ?? []).map((identity): IdentityRow => {
      const { kind, value } = identity;
      const old = before.find((one) => identityKey(one) === identityKey(identity));
      return {
        kind,
        value,
        customerId: id,
        primary: identity.primary,
        shared: this.#isShared(id, identity, old, mode, warnings),
        // A PATCH has to list what it means to keep: it does not bring that.
        broughtBy: old && mode === 'patch' ? old.broughtBy : withBringer(old?.broughtBy ?? null, bringer),
        createdAt: old?.createdAt ?? this.#context.now,
      };
    });
    return mode === 'upsert' ? afterDocument(before, listed, bringer) : listed;
  }

  /** @throws Problem identity_taken: it is another customer's, and the message may not say who somebody is */
  #isShared(
    id: string,
    { kind, value, shared, index }: NormalizedIdentity,
    old: IdentityRow | undefined,
    mode: CustomerWrite['mode'],
    warnings: Warning[],
  ): boolean {
    const owner = this.#owners.get(identityKey({ kind, value }));
    const isTaken = owner !== undefined && owner !== id;
    if (shared === true) return true;
    if (!isTaken) return mode === 'patch' && shared === undefined && (old?.shared ?? false);
    if (mode === 'upsert') {
      warnings.push(sharedWarning(kind, owner, id));
      return true;
    }
    if (old?.shared && shared === undefined) return true;
    const message = `This ${kind} belongs to another customer. If both have it, send it with \`shared: true\`.`;
    throw new Problem(identityTaken, message, {
      errors: [{ pointer: `/identities/${index}`, code: identityTaken, message }],
      // Whose it is may be what the caller is not told of a customer that it sees.
      ...(this.#context.principal.scopedTo === null && { extra: { id: owner } }),
    });
  }

  #references(
    id: string,
    before: RefRow[],
    wanted: ReferenceInput[] | undefined,
    { mode, restore = false }: CustomerWrite,
    incoming: ReturnType<typeof sourceVersion>,
  ): RefRow[] {
    if (wanted === undefined) return before;
    const seen = new Set<string>();
    const listed = wanted.map((ref, index): RefRow => {
      const key = refKey(ref);
      const at = `/references/${index}`;
      if (seen.has(key)) throw invalid(at, 'duplicate', 'The reference is listed twice.');
      seen.add(key);
      const known = this.#refs.get(key);
      if (known?.recordId && known.recordId !== id) {
        const message = 'A customer with this reference exists.';
        throw new Problem('already_exists', message, {
          errors: [{ pointer: at, code: 'already_exists', message }],
          extra: { id: known.recordId },
        });
      }
      const versioned = index === 0 && incoming ? incoming : null;
      if (known?.deletedAt && !restore) throw deletedReference(at);
      const fresh = newRef(
        'customer',
        ref,
        { recordId: id, customerId: id, position: index },
        this.#context.now,
        versioned,
      );
      if (known && !versioned) return { ...fresh, versionKind: known.versionKind, versionValue: known.versionValue };
      return fresh;
    });
    // Other sources' names are not the sender's to take away on PUT; PATCH and the list of a POST are the whole truth.
    if (mode !== 'upsert') return listed;
    const others = before.filter((ref) => !seen.has(refKey(ref)));
    return [...listed, ...others.map((ref, i) => ({ ...ref, position: listed.length + i }))];
  }
}

/** Whether a document would change nothing. */
function isSame(before: CustomerState, after: CustomerState): boolean {
  const names = (state: CustomerState) =>
    JSON.stringify([
      state.references.map(refKey),
      state.identities.map(({ kind, value, primary, shared, broughtBy }) => [kind, value, primary, shared, broughtBy]),
    ]);
  const { acquisitionSource, acquisitionCost, acquiredOn, acquiredBy } = before.row;
  const next = after.row;
  return (
    names(before) === names(after) &&
    next.acquisitionSource === acquisitionSource &&
    next.acquisitionCost === acquisitionCost &&
    next.acquiredOn === acquiredOn &&
    next.acquiredBy === acquiredBy &&
    !saysOther(customerRecord.fields, next, before.row)
  );
}

function versioned(ref: RefRow, version: ReturnType<typeof sourceVersion>): RefRow {
  return version ? { ...ref, versionKind: version.kind, versionValue: version.value } : ref;
}

const noName: ReferenceInput = { source: '', externalId: '' };

/** Where a change gives a phone and no address, its number is read in the country of the address that stays. */
async function storedCountries(tx: Transaction, writes: CustomerWrite[]): Promise<Map<string, string | undefined>> {
  const ids = writes.flatMap(({ mode, id, input: { address, identities } }) =>
    mode === 'patch' && id && address === undefined && identities?.some(({ kind }) => kind === 'phone') ? [id] : [],
  );
  const found = await customersByIds(tx, ids);
  return new Map([...found].map(([id, { address }]) => [id, address?.country ?? undefined]));
}

export function unique<T>(items: T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
