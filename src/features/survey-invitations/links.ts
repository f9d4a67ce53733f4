import { z } from 'zod';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem, type ProblemCode, problemType } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { ownersOf } from '../../records/statements.ts';
import { lockCustomers } from '../customers/queries.ts';
import { interactionRecord } from '../interactions/record.ts';
import { orderRecord } from '../orders/record.ts';
import { writeResponses } from '../survey-responses/write.ts';
import { surveyById } from '../surveys/queries.ts';
import { surveyClosed } from '../surveys/record.ts';
import { isOpen } from './eligibility.ts';
import { type InvitationRow, invitationById } from './queries.ts';
import { linkToken, surveyLink, surveyLinkAnswer, surveyLinkInput } from './record.ts';

const linkExpired = problemType('link_expired', 410, 'The link has expired');
const linkUsed = problemType('link_used', 410, 'The link was used');

/** What a link leads to without a login: only what the person who has it may see and do, once. */

export const getSurveyLink = readOperation({
  name: 'getSurveyLink',
  scope: 'surveys:read',
  partners: false,
  selfService: false,
  public: true,
  summary: 'Read the questions behind a link',
  description:
    'What a survey page shows. Reading it changes nothing. `link_used`: it was answered; `link_expired`: it has ended, or was cancelled.',
  input: z.strictObject({ token: linkToken }),
  output: surveyLink,
  problems: ['not_found', linkExpired, linkUsed],
  async run(context, { token }) {
    const link = readLink(context, token);
    const invitation = checkUsable(await invitationById(context.db, link.id), link);
    const survey = await surveyById(context.db, invitation.surveyId);
    if (!survey) throw notFound('link');
    return {
      name: survey.name,
      // Nobody has to note that `closesAt` has passed.
      status: isOpen(survey, context.now) ? ('open' as const) : ('closed' as const),
      language: survey.language,
      surveyVersion: survey.currentVersion,
      questions: survey.questions,
      expiresAt: new Date(link.expiresAt).toISOString(),
    };
  },
});

export const answerSurveyLink = writeOperation({
  name: 'answerSurveyLink',
  scope: 'survey-responses:write',
  partners: false,
  selfService: false,
  public: true,
  summary: 'Answer a survey by its link',
  description:
    'Records the response of the invited person, about the subject of the invitation. A link takes one response, whatever its `status`: of two at once, one is taken and the other is refused with `link_used`. If you retry after a lost connection, `link_used` means that the first one was taken.',
  input: z.strictObject({ token: linkToken, dryRun: writeParameters.dryRun, body: surveyLinkInput }),
  output: surveyLinkAnswer,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found', linkExpired, linkUsed, surveyClosed],
  async run(tx, context, { token, body }) {
    const link = readLink(context, token);
    const invitation = await lockUsable(tx, link);
    const { orderId, interactionId } = invitation;
    const [survey, orders, interactions] = await Promise.all([
      surveyById(tx, invitation.surveyId),
      ownersOf(tx, orderRecord, orderId ? [orderId] : []),
      ownersOf(tx, interactionRecord, interactionId ? [interactionId] : []),
    ]);
    if (!survey || !isOpen(survey, context.now)) throw refused(surveyClosed, 'The survey is closed.');
    // What it is about may have gone, or become somebody else's, since it was sent.
    const isOwn = (owner: string | undefined) => owner === invitation.customerId;
    const [result] = await writeResponses(tx, context, invitation.surveyId, [
      {
        mode: 'create',
        invitationId: invitation.id,
        input: {
          ...body,
          submissionId: invitation.id,
          answeredAt: context.now,
          askedAt: invitation.sentAt,
          customerId: invitation.customerId,
          orderId: isOwn(orders.get(orderId ?? '')) ? orderId : null,
          interactionId: isOwn(interactions.get(interactionId ?? '')) ? interactionId : null,
          sku: invitation.sku,
          staff: invitation.staff,
          department: invitation.department,
          process: invitation.process,
          ...(invitation.channel !== null && { channel: invitation.channel }),
        },
      },
    ]);
    if (result === undefined || result instanceof Problem) throw result ?? notFound('link');
    const { id, status, answeredAt } = result.state.row;
    return { responseId: id, status, answeredAt };
  },
});

interface Link {
  id: string;
  expiresAt: number;
}

/** @throws Problem not_found: not issued here; link_expired: from its end on */
function readLink(context: Context, token: string): Link {
  const link = context.links.read(token);
  if (!link) throw notFound('link');
  if (link.expiresAt <= Date.parse(context.now)) throw refused(linkExpired, 'The link has expired.');
  return link;
}

/** @throws Problem not_found, link_used, link_expired */
function checkUsable(found: InvitationRow | null, link: Link): InvitationRow {
  // A dry run has issued tokens, too: the link that was sent is that whose end is stored.
  if (!found || found.expiresAt === null || Date.parse(found.expiresAt) !== link.expiresAt) throw notFound('link');
  if (found.status === 'answered') throw refused(linkUsed, 'The link was used: a survey is answered once.');
  if (found.status !== 'sent') throw refused(linkExpired, 'The link works no more.');
  return found;
}

async function lockUsable(tx: Transaction, link: Link): Promise<InvitationRow> {
  const seen = checkUsable(await invitationById(tx, link.id), link);
  await lockCustomers(tx, [seen.customerId]);
  const found = await invitationById(tx, link.id);
  if (found?.customerId !== seen.customerId) throw new Retry('an invitation moved or vanished');
  return checkUsable(found, link);
}

function refused(code: ProblemCode, message: string): Problem {
  return new Problem(code, message, { errors: [{ parameter: 'token', code, message }] });
}
