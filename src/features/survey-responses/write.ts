import { isDeepStrictEqual } from 'node:util';
import type { Outcome, Warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, notFound, orProblem, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { isNobody } from '../../records/nobody.ts';
import type { Owner } from '../../records/ownership.ts';
import { withoutPersonal } from '../../records/personal-data.ts';
import { nextStamps } from '../../records/stamps.ts';
import { ownersOf } from '../../records/statements.ts';
import { sentMembers } from '../../records/table.ts';
import { matchOwners } from '../customers/match.ts';
import { openDetractorFollowUps } from '../follow-ups/detractors.ts';
import { interactionRecord } from '../interactions/record.ts';
import { orderRecord } from '../orders/record.ts';
import { noteAnswered } from '../survey-invitations/answered.ts';
import { keepSurvey, surveyById, surveyVersionsFrom } from '../surveys/queries.ts';
import type { Survey, SurveyVersion } from '../surveys/record.ts';
import { surveyClosed } from '../surveys/record.ts';
import { checkRequired, questionsOf, readAnswers, type Version } from './answers.ts';
import {
  type AnswerRow,
  insertResponses,
  knownResponses,
  type ResponseRow,
  type ResponseState,
  recomputeAnswers,
  replaceResponses,
  responseStates,
} from './queries.ts';
import { responseFields, type SurveyResponseInput, type SurveyResponsePatch, surveyAnswers } from './record.ts';

/** One response to be written, and how. `invitationId`: the invitation that it came by. */
export type ResponseWrite =
  | { mode: 'create' | 'upsert'; input: SurveyResponseInput; invitationId?: string | undefined }
  | { mode: 'patch'; id: string; input: SurveyResponsePatch; expectedVersion: number | '*' };

export interface ResponseOutcome {
  created: boolean;
  /** false: it was stored like this already, so nothing changed. */
  applied: boolean;
  warnings: Warning[];
  /** As it stands now. */
  state: ResponseState;
}

/** What is read under the locks. */
interface Found {
  survey: Survey;
  /** By number; those that a write may mean. */
  versions: ReadonlyMap<number, Version>;
  bySubmission: Map<string, ResponseState>;
  byId: Map<string, ResponseState>;
  orderOwners: ReadonlyMap<string, string>;
  interactionOwners: ReadonlyMap<string, string>;
  /** The customer of the write of this index; null: it names none, by itself or by what it is about. @throws Problem */
  owner(index: number): (Owner & { named: boolean }) | null;
  saveOwners(): Promise<void>;
  mergeOwners(): Promise<void>;
}

/**
 * Plans and writes any number of responses of one survey, in index order and in a constant number of statements; an
 * item's fault is returned in its place. Its invitation is marked, and a detractor followed up, in the same transaction.
 *
 * @throws Problem not_found: there is no such survey
 */
export async function writeResponses(
  tx: Transaction,
  context: Context,
  surveyId: string,
  writes: ResponseWrite[],
): Promise<(ResponseOutcome | Problem)[]> {
  const found = await prepare(tx, context, surveyId, writes);
  const changes = new Map<string, { before: ResponseState | null; after: ResponseState }>();
  const results = writes.map((write, index) =>
    orProblem((): ResponseOutcome => {
      const before = stateBefore(write, found);
      const owner = found.owner(index);
      const planned = plan(context, write, before, owner, found);
      const answers = planned.answers.map((answer) => withoutPersonal(tx, surveyAnswers, answer));
      const after = { ...planned, answers };
      const warnings = owner?.warnings ?? [];
      if (before && write.mode === 'upsert' && isSame(before, after)) {
        return { created: false, applied: false, warnings, state: before };
      }
      owner?.admit();
      const { id, submissionId } = after.row;
      changes.set(id, { before: changes.has(id) ? (changes.get(id)?.before ?? null) : before, after });
      found.byId.set(id, after);
      found.bySubmission.set(submissionId, after);
      return { created: before === null, applied: true, warnings, state: after };
    }),
  );
  await found.saveOwners();
  await save(tx, context, found.survey, [...changes.values()]);
  await found.mergeOwners();
  return results;
}

async function save(
  tx: Transaction,
  context: Context,
  survey: Survey,
  changes: { before: ResponseState | null; after: ResponseState }[],
): Promise<void> {
  if (changes.length === 0) return;
  const after = changes.map((change) => change.after);
  const touched = changes.flatMap((change) => [change.before?.row.customerId ?? [], change.after.row.customerId ?? []]);
  for (const id of touched.flat()) tx.auditContext.customerIds.add(id);
  // Sent together and in this order; when the responses are refused, theirs is the error that is thrown.
  await Promise.all([
    insertResponses(
      tx,
      changes.filter(({ before }) => before === null).map((change) => change.after),
    ),
    replaceResponses(
      tx,
      changes.filter(({ before }) => before !== null).map((change) => change.after),
    ),
    recomputeAnswers(tx, touched.flat()),
    noteAnswered(
      tx,
      context,
      after.map(({ row }) => row),
    ),
    openDetractorFollowUps(
      tx,
      context,
      after.map(({ row, answers }) => ({ ...row, followUp: survey.settings.followUp, answers })),
    ),
  ]);
}

/** Looks up whose responses these are, locks the customers in id order, and reads again under the locks what counts. */
async function prepare(tx: Transaction, context: Context, surveyId: string, writes: ResponseWrite[]): Promise<Found> {
  const which = {
    surveyId,
    submissionIds: writes.flatMap((write) => (write.mode === 'patch' ? [] : [write.input.submissionId])),
    ids: writes.flatMap((write) => (write.mode === 'patch' ? [write.id] : [])),
  };
  const orderIds = writes.flatMap(({ input }) => input.orderId ?? []);
  const interactionIds = writes.flatMap(({ input }) => input.interactionId ?? []);
  const [known, ordersBefore, interactionsBefore] = await Promise.all([
    knownResponses(tx, which),
    ownersOf(tx, orderRecord, orderIds),
    ownersOf(tx, interactionRecord, interactionIds),
  ]);
  const ownerInputs: Parameters<typeof matchOwners>[0] = [];
  const ownerInputOf = writes.map(({ input }) => {
    const { orderId, interactionId, customer } = input;
    if (input.customerId === null && customer === undefined) return null;
    const customerId = input.customerId ?? undefined;
    const named = customerId !== undefined || customer !== undefined;
    const owner = orderId ? ordersBefore.get(orderId) : interactionsBefore.get(interactionId ?? '');
    const about = owner !== undefined && isNobody(owner) ? undefined : owner;
    if (!named && about === undefined) return null;
    const ownerInput = named ? { customerId, customer, factSource: null } : { customerId: about, factSource: null };
    return { place: ownerInputs.push(ownerInput) - 1, named, about };
  });
  const match = matchOwners(ownerInputs);
  const { locked, decide } = await match.lock(tx, {
    ids: known.flatMap(({ customerId }) => customerId ?? []),
    names: match.names,
  });
  const meant = [...known.map(({ surveyVersion }) => surveyVersion), ...versionsNamed(writes)];
  const [survey, versions, states] = await readUnderLocks(tx, which, meant);
  for (const { row } of states) {
    if (row.customerId !== null && !locked.has(row.customerId)) throw new Retry('a survey response moved');
    if (!meant.includes(row.surveyVersion)) throw new Retry('a survey response appeared');
  }
  const stored = states.map(({ row }) => row);
  const [orderOwners, interactionOwners] = await Promise.all([
    ownersOf(tx, orderRecord, [...orderIds, ...stored.flatMap(({ orderId }) => orderId ?? [])]),
    ownersOf(tx, interactionRecord, [...interactionIds, ...stored.flatMap(({ interactionId }) => interactionId ?? [])]),
  ]);
  const owners = await decide(tx, context);
  return {
    survey,
    versions: questionsOf(survey, versions),
    bySubmission: new Map(states.filter(({ row }) => row.surveyId === surveyId).map((s) => [s.row.submissionId, s])),
    byId: new Map(states.map((state) => [state.row.id, state])),
    orderOwners,
    interactionOwners,
    owner(index) {
      const ownerInput = ownerInputOf[index];
      if (!ownerInput) return null;
      // Taken from an order or interaction that went away before its customer was locked.
      if (!ownerInput.named && !locked.has(ownerInput.about ?? '')) throw new Retry('a customer vanished');
      return { ...owners.owner(ownerInput.place), named: ownerInput.named };
    },
    saveOwners: () => owners.save(tx),
    mergeOwners: () => owners.merge(tx),
  };
}

async function readUnderLocks(
  tx: Transaction,
  which: Parameters<typeof responseStates>[1],
  meant: readonly number[],
): Promise<[Survey, SurveyVersion[], ResponseState[]]> {
  const kept = keepSurvey(tx, which.surveyId);
  const [survey, versions, states] = await Promise.all([
    surveyById(tx, which.surveyId),
    meant.length === 0 ? [] : surveyVersionsFrom(tx, which.surveyId, Math.min(...meant)),
    responseStates(tx, which),
    kept,
  ]);
  if (!survey) throw notFound('survey');
  return [survey, versions, states];
}

function versionsNamed(writes: readonly ResponseWrite[]): number[] {
  return writes.flatMap((write) => (write.mode === 'patch' ? [] : (write.input.surveyVersion ?? [])));
}

/** @throws Problem already_exists, not_found, version_mismatch */
function stateBefore(write: ResponseWrite, { bySubmission, byId }: Found): ResponseState | null {
  if (write.mode === 'patch') {
    const before = byId.get(write.id);
    if (!before) throw notFound('survey response');
    checkVersion(before.row.version, write.expectedVersion);
    return before;
  }
  const before = bySubmission.get(write.input.submissionId) ?? null;
  if (before && write.mode === 'create') {
    const message = 'The survey has a response with this submissionId already.';
    throw new Problem('already_exists', message, {
      errors: [{ pointer: '/submissionId', code: 'already_exists', message }],
      extra: { id: before.row.id },
    });
  }
  return before;
}

/** @throws Problem with what is wrong with the response */
function plan(
  context: Context,
  write: ResponseWrite,
  before: ResponseState | null,
  owner: ReturnType<Found['owner']>,
  found: Found,
): ResponseState {
  const row = responseRow(context, write, before?.row ?? null, customerOf(write, before, owner), found.survey);
  const version = found.versions.get(row.surveyVersion);
  if (!version) throw invalid('/surveyVersion', 'unknown_version', 'The survey has no such version.');
  checkTimes(context, row, before?.row ?? null, found.survey);
  checkLinks(row, before?.row ?? null, found, !owner?.named && owner?.customerId === row.customerId);
  const given = write.input.answers ?? (write.mode === 'patch' ? undefined : []);
  const read = given ? readAnswers(version, given) : (before?.answers ?? []);
  if (row.status === 'dismissed' && read.length > 0) {
    throw invalid('/answers', 'dismissed_with_answers', 'A dismissed response cannot have answers.');
  }
  if (row.status === 'complete') checkRequired(version, read);
  const answers = read.map(
    ({ question, type, primary, score, band, choices, text }): AnswerRow => ({
      responseId: row.id,
      question,
      surveyId: row.surveyId,
      customerId: row.customerId,
      type,
      primary,
      counted: row.status === 'complete' && !row.late,
      score,
      band,
      answeredAt: row.answeredAt,
      supersededAt: null,
      supersededInSurveyAt: null,
      choices,
      text,
    }),
  );
  return { row, answers };
}

function customerOf(
  { mode, input }: ResponseWrite,
  before: ResponseState | null,
  owner: ReturnType<Found['owner']>,
): string | null {
  if (mode !== 'patch' || owner?.named) return owner?.customerId ?? null;
  if (input.customerId === null) return null;
  return before?.row.customerId ?? owner?.customerId ?? null;
}

const day = 86_400_000;

function responseRow(
  { now }: Context,
  write: ResponseWrite,
  before: ResponseRow | null,
  customerId: string | null,
  survey: Survey,
): ResponseRow {
  const { mode, input } = write;
  const { channel, language, journeyStage } = survey;
  const blank = sentMembers(responseFields, { channel, language, journeyStage }, null);
  const sent = sentMembers(responseFields, input, mode === 'patch' ? before : blank);
  const { answeredAt, askedAt } = sent;
  const isTimeSame = before?.answeredAt === answeredAt && before.askedAt === askedAt;
  const named = 'surveyVersion' in input ? input.surveyVersion : undefined;
  return {
    ...before,
    id: before?.id ?? newId(),
    customerId,
    ...nextStamps(before, now),
    surveyId: survey.id,
    surveyVersion: named ?? before?.surveyVersion ?? survey.currentVersion,
    ...sent,
    // Settings that change later do not make stored answers late.
    late: isTimeSame ? before.late : isLate(answeredAt, askedAt, survey),
    invitationId: ('invitationId' in write ? write.invitationId : undefined) ?? before?.invitationId ?? null,
    createdAt: before?.createdAt ?? now,
  };
}

function isLate(answeredAt: string, askedAt: string | null, { settings }: Survey): boolean {
  if (askedAt === null || settings.answerWithinDays === null) return false;
  return Date.parse(answeredAt) > Date.parse(askedAt) + settings.answerWithinDays * day;
}

/** What was accepted once may be corrected after the survey was closed. @throws Problem */
function checkTimes({ now }: Context, row: ResponseRow, before: ResponseRow | null, survey: Survey): void {
  checkNotAhead(row.answeredAt, now, '/answeredAt');
  if (row.askedAt !== null && Date.parse(row.askedAt) > Date.parse(row.answeredAt)) {
    throw invalid('/askedAt', 'asked_after_answer', 'askedAt cannot be after answeredAt.');
  }
  if (before?.answeredAt === row.answeredAt) return;
  const isOver = survey.closesAt !== null && Date.parse(row.answeredAt) >= Date.parse(survey.closesAt);
  if (survey.status !== 'draft' && !isOver) return;
  const message = survey.status === 'draft' ? 'The survey is a draft.' : `The survey was closed at ${survey.closesAt}.`;
  throw new Problem(surveyClosed, message, {
    errors: [{ pointer: '/answeredAt', code: surveyClosed, message }],
  });
}

/** What is new of its links has to be there. What went away later stays named, and does not bar other changes. */
function checkLinks(row: ResponseRow, before: ResponseRow | null, found: Found, isTaken: boolean): void {
  const links = [
    ['orderId', 'unknown_order', found.orderOwners, 'order'],
    ['interactionId', 'unknown_interaction', found.interactionOwners, 'interaction'],
  ] as const;
  for (const [member, code, owners, name] of links) {
    const linked = row[member];
    if (linked === null) continue;
    const owner = owners.get(linked);
    const isSame = before?.[member] === linked && (before.customerId === row.customerId || owner === undefined);
    if (isSame || (owner !== undefined && (row.customerId === null || owner === row.customerId))) continue;
    if (row.customerId === null) throw invalid(`/${member}`, code, `There is no such ${name}.`);
    // The order was moved while its customer was waited for.
    if (isTaken && member === 'orderId' && owner !== undefined) throw new Retry('an order moved');
    throw invalid(`/${member}`, code, `The customer has no such ${name}.`);
  }
}

/** Does the message say what is stored already? */
function isSame(before: ResponseState, after: ResponseState): boolean {
  const said = ({ row, answers }: ResponseState) => [
    { ...row, version: 0, updatedAt: '' },
    answers.map((answer) => ({ ...answer, supersededAt: null, supersededInSurveyAt: null })),
  ];
  return isDeepStrictEqual(said(before), said(after));
}

/** For `runBatch`. */
export function asOutcome(result: ResponseOutcome | Problem): Outcome {
  if (result instanceof Problem) return result;
  const { state, created, applied, warnings } = result;
  return { id: state.row.id, created, applied, warnings };
}
