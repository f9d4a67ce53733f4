import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, expectedVersion } from '../../platform/versions.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { nextStamps } from '../../records/stamps.ts';
import { ownersOf } from '../../records/statements.ts';
import { lockCustomers } from '../customers/queries.ts';
import { interactionRecord } from '../interactions/record.ts';
import { orderRecord } from '../orders/record.ts';
import { keepSurvey, surveyById } from '../surveys/queries.ts';
import type { Survey } from '../surveys/record.ts';
import { surveyClosed } from '../surveys/record.ts';
import { claim, sent } from './claim.ts';
import { isOpen, judge } from './eligibility.ts';
import {
  contactsOf,
  hasEnded,
  type InvitationRow,
  insertInvitations,
  invitationById,
  invitationColumns,
  invitationNow,
  statusNow,
  updateInvitations,
  withLink,
} from './queries.ts';
import {
  claimedInvitations,
  invitationStatus,
  invitationTrigger,
  surveyEligibility,
  surveyInvitation,
  surveyInvitationInput,
  surveyInvitationPatch,
  surveyInvitations,
} from './record.ts';

export const checkSurveyEligibility = writeOperation({
  name: 'checkSurveyEligibility',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Check whether a customer may be asked now',
  description:
    'Nobody is asked within `contactFrequencyDays` of the survey after an invitation that was sent or an answer that was given, whichever survey it was of. With `reserve`, an eligible customer counts as asked from now on, and the invitation to send is in the answer: of several that reserve at once, only one gets it. If the survey has a `consentPurpose`, customers who have not consented to it on its channel are not asked (`no_consent`).',
  input: z.strictObject({
    id,
    ...writeParameters,
    body: z
      .strictObject({
        customerId: id,
        reserve: z
          .boolean()
          .optional()
          .meta({ description: 'Reserve the invitation, if the customer is eligible. Default: false.' }),
      })
      .meta({
        id: 'SurveyEligibilityInput',
        example: { customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', reserve: true },
      }),
  }),
  output: surveyEligibility,
  idempotency: 'accepted',
  changed: ({ reserved }) => reserved !== null,
  problems: ['not_found'],
  async run(tx, context, { id: surveyId, body: { customerId, reserve } }) {
    const { now } = context;
    const locked = await lockCustomers(tx, [customerId]);
    const [survey, contacts] = await Promise.all([keptSurvey(tx, surveyId), contactsOf(tx, [customerId])]);
    if (!survey) throw notFound('survey');
    const known = contacts.get(customerId);
    if (!locked.has(customerId) || !known) throw invalid('/customerId', 'not_found', 'There is no such customer.');
    const { reasons, ...verdict } = judge(survey, known, { now, channel: survey.channel });
    const eligible = reasons.length === 0;
    if (!eligible || !reserve) return { customerId, eligible, reasons, ...verdict, reserved: null };
    const reserved = sent(
      newInvitation({ surveyId, customerId, channel: survey.channel }, 'reservation', now),
      now,
      survey.settings.linkDays,
    );
    const row = { ...reserved, version: 1 };
    await insertInvitations(tx, [row]);
    return { customerId, eligible, reasons, ...verdict, reserved: withLink(context.links, row, now) };
  },
});

/** A survey that stays until its invitation is there. */
async function keptSurvey(tx: Transaction, id: string): Promise<Survey | null> {
  const [, survey] = await Promise.all([keepSurvey(tx, id), surveyById(tx, id)]);
  return survey;
}

function newInvitation(
  given: Pick<InvitationRow, 'surveyId' | 'customerId' | 'channel'> & Partial<InvitationRow>,
  trigger: InvitationRow['trigger'],
  now: string,
): InvitationRow {
  return {
    orderId: null,
    interactionId: null,
    sku: null,
    staff: null,
    department: null,
    process: null,
    dueAt: now,
    ...given,
    id: newId(),
    version: 1,
    status: 'due',
    trigger,
    occasion: null,
    sentAt: null,
    expiresAt: null,
    responseId: null,
    createdAt: now,
    updatedAt: now,
  };
}

export const createSurveyInvitation = writeOperation({
  name: 'createSurveyInvitation',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Invite a customer to a survey',
  description:
    'Creates an invitation by hand, besides those that the triggers of the survey create. It is due at `dueAt`, and the next claim after that hands it out, if the customer may be asked then.',
  input: z.strictObject({ ...writeParameters, body: surveyInvitationInput }),
  output: surveyInvitation,
  idempotency: 'accepted',
  created: () => true,
  problems: [surveyClosed, personErasedProblem],
  async run(tx, context, { body }) {
    const { surveyId, customerId, orderId, interactionId } = body;
    const locked = await lockCustomers(tx, [customerId]);
    if (!locked.has(customerId)) throw invalid('/customerId', 'not_found', 'There is no such customer.');
    refuseErased(tx, customerId, '/customerId');
    const [survey, orders, interactions] = await Promise.all([
      keptSurvey(tx, surveyId),
      ownersOf(tx, orderRecord, orderId ? [orderId] : []),
      ownersOf(tx, interactionRecord, interactionId ? [interactionId] : []),
    ]);
    if (!survey) throw invalid('/surveyId', 'not_found', 'There is no such survey.');
    if (!isOpen(survey, context.now)) {
      const message = 'The survey is not open.';
      throw new Problem(surveyClosed, message, {
        errors: [{ pointer: '/surveyId', code: surveyClosed, message }],
      });
    }
    if (orderId && orders.get(orderId) !== customerId)
      throw invalid('/orderId', 'unknown_order', 'The customer has no such order.');
    if (interactionId && interactions.get(interactionId) !== customerId)
      throw invalid('/interactionId', 'unknown_interaction', 'The customer has no such interaction.');
    const row = newInvitation(
      {
        surveyId,
        customerId,
        orderId: orderId ?? null,
        interactionId: interactionId ?? null,
        sku: body.sku ?? null,
        staff: body.staff ?? null,
        department: body.department ?? null,
        process: body.process ?? null,
        channel: body.channel === undefined ? survey.channel : body.channel,
        dueAt: body.dueAt ?? context.now,
      },
      'manual',
      context.now,
    );
    await insertInvitations(tx, [row]);
    return invitationNow(row, context.now);
  },
});

export const getSurveyInvitation = readOperation({
  name: 'getSurveyInvitation',
  scope: 'surveys:read',
  partners: false,
  selfService: true,
  summary: 'Read a survey invitation',
  input: z.strictObject({ id }),
  output: surveyInvitation,
  problems: ['not_found'],
  async run({ db, now }, { id: invitationId }) {
    const found = await invitationById(db, invitationId);
    if (!found) throw notFound('invitation');
    return invitationNow(found, now);
  },
});

const list = keysetList<InvitationRow>({
  name: 'survey_invitations',
  select: invitationColumns,
  from: sql`${surveyInvitations}`,
  id: sql`${surveyInvitations.id}`,
  filters: {
    customerId: (value) => sql`${surveyInvitations.customerId} = ${value}::uuid`,
    surveyId: (value) => sql`${surveyInvitations.surveyId} = ${value}::uuid`,
    trigger: (value) => sql`${surveyInvitations.trigger} = ${value}`,
    channel: (value) => sql`${surveyInvitations.channel} = ${value}`,
    dueFrom: (value) => sql`${surveyInvitations.dueAt} >= ${value}::timestamptz`,
    dueTo: (value) => sql`${surveyInvitations.dueAt} < ${value}::timestamptz`,
    // Two filters of the statement for one of the list: only a condition without a parameter is seen by the index.
    isDue: () => sql`${surveyInvitations.status} = 'due'`,
    status: (value) => sql`${statusNow} = ${value}`,
  },
  sorts: {
    createdAt: { expression: sql`${surveyInvitations.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    dueAt: { expression: sql`${surveyInvitations.dueAt}`, type: 'timestamptz', field: 'dueAt' },
  },
  defaultSort: '-createdAt',
});

export const listSurveyInvitations = readOperation({
  name: 'listSurveyInvitations',
  scope: 'surveys:read',
  partners: false,
  selfService: true,
  summary: 'List survey invitations',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt', 'dueAt'], '-createdAt'),
    customerId: id.optional(),
    surveyId: id.optional(),
    status: invitationStatus.optional(),
    trigger: invitationTrigger.optional(),
    channel: text(200).optional(),
    dueFrom: instant.optional(),
    dueTo: instant.optional(),
  }),
  output: pageOf(surveyInvitation).meta({ id: 'SurveyInvitationPage' }),
  async run(context, { status, ...input }) {
    const { data, page } = await list(context.db, context, {
      ...input,
      ...(status !== undefined && (status === 'due' ? { isDue: true } : { status })),
    });
    return { data: data.map((row) => invitationNow(row, context.now)), page };
  },
});

export const updateSurveyInvitation = writeOperation({
  name: 'updateSurveyInvitation',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Cancel or postpone a survey invitation',
  description: 'The link of an invitation that was sent stops working; the customer still counts as asked.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: surveyInvitationPatch }),
  output: surveyInvitation,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: invitationId, expectedVersion: expected, body: { status, dueAt } }) {
    const before = await lockInvitation(tx, invitationId);
    checkVersion(before.version, expected);
    const isLive = before.status === 'due' || (before.status === 'sent' && !hasEnded(before, context.now));
    if (status && before.status !== 'cancelled' && !isLive)
      throw invalid('/status', 'not_open', 'Only an invitation that is due or sent can be cancelled.');
    if (dueAt !== undefined && before.status !== 'due')
      throw invalid('/dueAt', 'not_due', 'Only an invitation that is due can be postponed.');
    const row: InvitationRow = {
      ...before,
      status: status ?? before.status,
      dueAt: dueAt ?? before.dueAt,
      ...nextStamps(before, context.now),
    };
    await updateInvitations(tx, [row]);
    return invitationNow(row, context.now);
  },
});

/** An invitation as it is, under its customer's lock. @throws Problem not_found */
async function lockInvitation(tx: Transaction, invitationId: string): Promise<InvitationRow> {
  const seen = await invitationById(tx, invitationId);
  if (!seen) throw notFound('invitation');
  await lockCustomers(tx, [seen.customerId]);
  const found = await invitationById(tx, invitationId);
  if (found?.customerId !== seen.customerId) throw new Retry('an invitation moved or vanished');
  return found;
}

export const claimSurveyInvitations = writeOperation({
  name: 'claimSurveyInvitations',
  scope: 'surveys:write',
  partners: false,
  selfService: false,
  summary: 'Claim invitations to send',
  description:
    "Returns the invitations that are due, each to one caller only, with the secret of its link, and counts them as sent: you have to send them. Repeat the call while `hasMore` is true. First the triggers of open surveys create their invitations. Orders count as they are when the delay after they were placed is over (when they were paid or fulfilled is not recorded), up to 30 days after that; test and cancelled orders never count, nor does anything from before the survey was opened. A customer who was asked or has answered within `contactFrequencyDays` is not asked: the invitation is postponed until then, or ends (`expired`) if it would wait longer than a link works. A customer who has not consented to the survey's `consentPurpose` on the channel is not asked at all.",
  input: z.strictObject({
    ...writeParameters,
    body: z
      .strictObject({
        limit: z
          .int()
          .min(1)
          .max(500)
          .optional()
          .meta({ description: 'The most invitations to return. Default: 100.', example: 50 }),
        surveyId: id.optional().meta({ description: 'Only of this survey.' }),
        channel: text(200).optional().meta({ description: 'Only of this channel.', example: 'email' }),
      })
      .meta({ id: 'InvitationClaimInput', example: { limit: 50, channel: 'email' } }),
  }),
  output: claimedInvitations,
  idempotency: 'required',
  changed: ({ invitations }) => invitations.length > 0,
  async run(tx: Transaction, context: Context, { body: { limit = 100, surveyId = null, channel = null } }) {
    const { rows, hasMore } = await claim(tx, context, { limit, surveyId, channel });
    return { invitations: rows.map((row) => withLink(context.links, row, context.now)), hasMore };
  },
});
