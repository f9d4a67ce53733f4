import { isDeepStrictEqual } from 'node:util';
import { type LeadStage, nextStages } from '../../domain/lead-lifecycle.ts';
import { isBefore } from '../../domain/period.ts';
import type { Outcome } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, orProblem, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { erasedRefusal } from '../../records/erased.ts';
import { withoutPersonal } from '../../records/personal-data.ts';
import { nextStamps, type Stamps } from '../../records/stamps.ts';
import { type AssignmentEntry, type Chosen, chooseOwners, recordAssignments } from '../assignments/assign.ts';
import { checkConsents, recordConsents } from '../consents/write.ts';
import { matchOwners } from '../customers/match.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import { recomputeShares } from '../partners/sharing.ts';
import { recomputeConversions } from './conversion.ts';
import { type LeadRow, type LeadState, leadStates, type StageChangeRow, saveLeads } from './queries.ts';
import {
  type LeadInput,
  type LeadPatch,
  type LossReason,
  leadStageChanges,
  type StageChangeInput,
  type StageRule,
} from './record.ts';

/** One document to be written: `create` refuses a customer who is a lead, `upsert` changes that lead. */
export interface LeadWrite {
  mode: 'create' | 'upsert';
  input: LeadInput;
  expectedVersion?: number | '*' | undefined;
}

/** A lead on its way from what is stored to what is to be stored; its customer is locked, or new. */
export interface LeadChange {
  state: LeadState;
  /** null: it is made by this change. */
  before: LeadRow | null;
  row: LeadRow;
  steps: StageChangeRow[];
  /** The assignment rules are to say who looks after it. */
  unassigned: boolean;
  /** What they said. */
  chosen: Chosen | null;
}

/** Plans and writes any number of leads, in index order; an item's fault is returned in its place. */
export async function writeLeads(tx: Transaction, context: Context, writes: LeadWrite[]): Promise<Outcome[]> {
  // What a lead is known by are names of its customer: no fact's source could stand in for theirs.
  const match = matchOwners(
    writes.map(({ input: { customerId, customer, consents = [] } }) => ({
      customerId,
      customer,
      factSource: null,
      consented: consents.some(({ status }) => status === 'granted'),
    })),
  );
  const { locked, decide } = await match.lock(tx, { ids: [], names: match.names });
  const states = await leadStates(tx, [...locked]);
  const owners = await decide(tx, context);
  const changes = new Map<string, LeadChange>();
  const results = writes.map((write, index) =>
    orProblem((): Outcome => {
      const owner = owners.owner(index);
      const { customerId: id, warnings } = owner;
      if (owner.erased) throw erasedRefusal(write.input.customerId === undefined ? '/customer' : '/customerId');
      if (locked.has(id)) {
        const { segment, consents = [] } = write.input;
        if (segment) refuseSharing(context, '/segment');
        if (consents.length > 0) refuseSharing(context, '/consents');
      }
      const change = changes.get(id) ?? startChange(states.get(id) ?? unknown);
      const planned = plan(context, id, change, write);
      checkConsents(context, write.input.consents);
      owner.admit();
      if (planned) changes.set(id, planned);
      return { id, created: planned !== null && change.row === null, applied: planned !== null, warnings };
    }),
  );
  await owners.save(tx);
  await recordConsents(
    tx,
    context,
    results.flatMap((result, index) =>
      result instanceof Problem
        ? []
        : (writes[index]?.input.consents ?? []).map((input) => ({
            customerId: result.id,
            input,
            isRepeatable: writes[index]?.mode === 'upsert',
          })),
    ),
  );
  await applyChanges(tx, context, [...changes.values()]);
  await owners.merge(tx);
  return results;
}

/**
 * Customers are shared with partners by segment and by consent: a partner that could say these of customers who were there
 * before it would keep what is shared with it for good. Of those that it brings it may.
 *
 * @throws Problem not_shared
 */
function refuseSharing({ principal }: Context, pointer: string): void {
  if (principal.scopedTo === null) return;
  const message = 'Your token may not change this member: it decides which customers are shared with you.';
  throw new Problem('not_shared', message, { errors: [{ pointer, code: 'not_shared', message }] });
}

const unknown: LeadState = {
  row: null,
  sequence: 0,
  lastFrom: null,
  lastRule: null,
  country: null,
  acquisitionSource: null,
};

/** A change that says nothing yet; null as `row` of a customer who is no lead. */
export function startChange(state: LeadState): Omit<LeadChange, 'row'> & { row: LeadRow | null } {
  return { state, before: state.row, row: state.row, steps: [], unassigned: false, chosen: null };
}

/** What becomes of a lead by a document; null: nothing. @throws Problem what is wrong with it */
function plan(
  context: Context,
  id: string,
  change: ReturnType<typeof startChange>,
  { mode, input, expectedVersion }: LeadWrite,
): LeadChange | null {
  const { state, row } = change;
  if (mode === 'create' && row) {
    const message = 'The customer is a lead already.';
    const pointer = input.customerId === undefined ? '/customer' : '/customerId';
    throw new Problem('already_exists', message, {
      errors: [{ pointer, code: 'already_exists', message }],
      extra: { id },
    });
  }
  if (expectedVersion !== undefined) checkVersion(row?.version ?? 0, expectedVersion);
  const { owner, stage, lossReason, source = state.acquisitionSource } = input;
  const { segment = null, attributes = null, tags = null } = input;
  if (!row) return { ...change, ...begin(context, id, { ...input, source, segment }), unassigned: owner === undefined };
  let after = setMembers(context, { ...change, row }, { owner, source, segment, attributes, tags });
  if (stage !== undefined) {
    after = changeStage(context, after, { to: stage, lossReason, pointer: '/stage' });
  } else if (lossReason !== undefined) {
    throw notLost();
  }
  return after.row === row ? null : after;
}

function notLost(): Problem {
  return invalid('/lossReason', 'not_lost', 'A lossReason is only allowed with the stage `former`.');
}

/** The beginning of a lead. @throws Problem what is wrong with its stage or time */
function begin(context: Context, id: string, input: LeadInput): Pick<LeadChange, 'row' | 'steps'> {
  const { now } = context;
  const { stage = 'lead', enteredAt = now, owner = null, source = null, segment = null } = input;
  const { attributes = null, tags = null } = input;
  const lossReason = checkedReason(stage, input.lossReason);
  checkNotAhead(enteredAt, now, '/enteredAt');
  const row: LeadRow = {
    customerId: id,
    version: 1,
    stage,
    stageSince: enteredAt,
    lossReason,
    owner,
    source,
    segment,
    attributes,
    tags,
    enteredAt,
    convertedAt: stage === 'customer' ? enteredAt : null,
    conversionOrderId: null,
    createdAt: now,
    updatedAt: now,
  };
  return { row, steps: [stepOf(context, row, { sequence: 1, from: null, rule: null, note: null })] };
}

/** The lead with these members; the same change when they say nothing new. Those left out stay. */
export function setMembers(context: Context, change: LeadChange, members: LeadPatch): LeadChange {
  const { row } = change;
  const { owner = row.owner, source = row.source, segment = row.segment } = members;
  const { attributes = row.attributes, tags = row.tags } = members;
  if (members.segment !== undefined) refuseSharing(context, '/segment');
  const said = { owner, source, segment, attributes, tags };
  if (isDeepStrictEqual({ ...row, ...said }, row)) return change;
  return {
    ...change,
    row: { ...row, ...touched(context, change), ...said },
    // Given to nobody, it is not for the rules to give to somebody.
    unassigned: change.unassigned && members.owner === undefined,
  };
}

/** Several documents of one set are one change of the stored row. */
function touched(context: Context, { before }: LeadChange): Stamps {
  return nextStamps(before, context.now);
}

interface Step extends StageChangeInput {
  rule?: StageRule;
  /** Where in the input the stage stands. */
  pointer: '/to' | '/stage';
}

/**
 * The lead in another stage; the same change when it is there already.
 *
 * @throws Problem a transition that there is not, a reason of loss that lacks or has no place, a time out of order
 */
export function changeStage(context: Context, change: LeadChange, step: Step): LeadChange {
  const { row } = change;
  const { to, rule = null, note = null, pointer } = step;
  const lossReason = checkedReason(to, step.lossReason);
  if (to === row.stage) return change;
  const next = nextStages(row.stage);
  if (!next.includes(to)) {
    const ways = next.map((stage) => `\`${stage}\``).join(', ');
    throw invalid(pointer, 'illegal_transition', `From \`${row.stage}\` a lead goes to ${ways}, not to \`${to}\`.`);
  }
  const { stageSince: since } = row;
  const at = step.at ?? (isBefore(context.now, since) ? since : context.now);
  if (isBefore(at, since)) {
    throw invalid('/at', 'before_last_change', `The lead has been in its stage since ${since}: send a later at.`);
  }
  checkNotAhead(at, context.now, '/at');
  const after: LeadRow = {
    ...row,
    ...touched(context, change),
    stage: to,
    stageSince: at,
    lossReason,
    ...(to === 'customer' && { convertedAt: at, conversionOrderId: null }),
  };
  const sequence = change.state.sequence + change.steps.length + 1;
  const steps = [...change.steps, stepOf(context, after, { sequence, from: row.stage, rule, note })];
  return { ...change, row: after, steps };
}

/** The reason of loss of a stage. @throws Problem when it lacks, or has no place */
function checkedReason(to: LeadStage, reason: LossReason | undefined): LossReason | null {
  if (to === 'former' && reason === undefined) {
    throw invalid('/lossReason', 'required', 'A lossReason is required with the stage `former`.');
  }
  if (to !== 'former' && reason !== undefined) throw notLost();
  return reason ?? null;
}

function stepOf(
  { principal, now }: Context,
  { customerId, stage, stageSince, lossReason }: LeadRow,
  step: Pick<StageChangeRow, 'sequence' | 'from' | 'rule' | 'note'>,
): StageChangeRow {
  return {
    customerId,
    id: newId(),
    at: stageSince,
    to: stage,
    by: principal.client,
    lossReason,
    orderId: null,
    createdAt: now,
    ...step,
  };
}

/**
 * Writes changes with what follows from them: who looks after new leads, who has ordered already, what is recorded of
 * assignments, how high the scores can be. A constant number of statements, whatever the number of leads.
 */
export async function applyChanges(tx: Transaction, context: Context, changes: LeadChange[]): Promise<void> {
  if (changes.length === 0) return;
  await assignByRules(
    tx,
    context,
    changes.filter(({ unassigned }) => unassigned),
  );
  await saveLeads(
    tx,
    changes.map(({ row }) => row),
    changes.flatMap(({ steps }) => steps.map((step) => withoutPersonal(tx, leadStageChanges, step))),
  );
  const idsOf = (some: LeadChange[]) => some.map(({ row }) => row.customerId);
  recomputeConversions(tx, context, idsOf(changes.filter(({ steps }) => steps.length > 0)));
  const entries = changes.flatMap((change) => assignmentOf(change) ?? []);
  if (entries.length > 0) await recordAssignments(tx, context, entries);
  const rated = changes.filter(
    ({ before, row }) => before === null || before.source !== row.source || before.segment !== row.segment,
  );
  if (rated.length > 0) await recomputeBounds(tx, context, idsOf(rated));
  recomputeShares(tx, idsOf(changes.filter(({ before, row }) => (before?.segment ?? null) !== row.segment)));
}

/** Asks the rules for an owner of each of these; where they have none, it stays as it is. */
async function assignByRules(tx: Transaction, context: Context, changes: LeadChange[]): Promise<void> {
  if (changes.length === 0) return;
  const subjects = changes.map(({ state, row: { customerId, segment, source } }) => ({
    customerId,
    country: state.country,
    segment,
    source: source ?? state.acquisitionSource,
  }));
  const chosen = await chooseOwners(tx, 'lead', subjects);
  for (const [index, change] of changes.entries()) {
    change.chosen = chosen[index] ?? null;
    if (!change.chosen || change.chosen.owner === change.row.owner) continue;
    change.row = { ...change.row, ...touched(context, change), owner: change.chosen.owner };
  }
}

/** What the history says of an assignment; null when there was none. A turn that came to the same person was a turn. */
function assignmentOf({ before, row, chosen }: LeadChange): AssignmentEntry | null {
  const { customerId, owner } = row;
  const previousOwner = before?.owner ?? null;
  if (!chosen && owner === previousOwner) return null;
  return { customerId, purpose: 'lead', followUpId: null, owner, previousOwner, chosen };
}

/** A lead that is to be changed, whose customer is locked; null when there is none. */
export async function lockedLead(tx: Transaction, id: string): Promise<LeadChange | null> {
  const state = (await leadStates(tx, [id])).get(id);
  if (!state?.row) return null;
  return { ...startChange(state), row: state.row };
}
