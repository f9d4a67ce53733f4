import { sql } from 'drizzle-orm';
import { foreignKey, index, uniqueIndex } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text as boundedText, id, instant as instantText, smallInteger } from '../../platform/values.ts';
import { instant, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';
import { responseStatus, subjectFields, surveyAnswerInput } from '../survey-responses/record.ts';
import { surveyQuestion, surveyStatus, surveys, surveyTriggerEvents } from '../surveys/record.ts';

export const invitationStatuses = ['due', 'sent', 'answered', 'cancelled', 'expired'] as const;
export type InvitationStatus = (typeof invitationStatuses)[number];
export const invitationStatus = z.enum(invitationStatuses).meta({
  id: 'InvitationStatus',
  description:
    'due: to be sent at `dueAt`; sent: handed to a sender; answered; cancelled; expired: not answered while its link worked, or never sent because it was due for too long.',
  example: 'due',
});
export const invitationTriggers = [...surveyTriggerEvents, 'reservation', 'manual'] as const;
export type InvitationTrigger = (typeof invitationTriggers)[number];
export const invitationTrigger = z.enum(invitationTriggers).meta({
  id: 'InvitationTrigger',
  description:
    'What created it: a trigger of the survey, or one of these. reservation: an eligibility check that reserved it. manual: somebody by hand.',
  example: 'order_fulfilled',
});

const aboutFields = {
  ...subjectFields,
  orderId: subjectFields.orderId.says("The order it is about: one of the customer's."),
  channel: subjectFields.channel.says('The channel it is sent on. Default: the channel of the survey.', 'email'),
};

export const invitationFields = {
  customerId: ownerId(() => customers.id),
  id: key(),
  version: version(),
  surveyId: recordId()
    .required()
    .references(() => surveys.id),
  status: words(invitationStatus).required(),
  trigger: words(invitationTrigger).required(),
  /** The id of the order, return or interaction, or the stage change as `<customer>:<sequence>`, that triggered it: once per survey. */
  occasion: text(100).plain().namesCustomer().internal(),
  ...aboutFields,
  dueAt: instant().required(),
  sentAt: instant(),
  expiresAt: instant().says('When its link ends.'),
  responseId: recordId().says('The response that came by it.'),
  createdAt: instant().required(),
  updatedAt: instant().required(),
};

/** An invitation of a customer to answer a survey. */
export const surveyInvitations = storedTable('survey_invitations', {
  name: 'surveyInvitations',
  label: 'Invitations to surveys',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'survey invitation',
  feed: { kind: 'survey_invitation' },
  isLifeSign: (since) => sql`(f.status = 'due' or ${since('sent_at')})`,
  fields: invitationFields,
  extras: (t) => [
    index('survey_invitations_id').on(t.id),
    index('survey_invitations_created').on(t.createdAt, t.id),
    index('survey_invitations_survey').on(t.surveyId, t.createdAt, t.id),
    index('survey_invitations_due').on(t.dueAt, t.id).where(sql`status = 'due'`),
    index('survey_invitations_sent').on(t.customerId, t.sentAt).where(sql`sent_at is not null`),
    uniqueIndex('survey_invitations_occasion')
      .on(t.customerId, t.surveyId, t.occasion)
      .where(sql`occasion is not null`),
  ],
});

/** How far planning has come with a survey, so that it reads only what is new since then. */
export const surveyPlans = storedTable('survey_plans', {
  name: 'surveyPlans',
  label: 'How far invitations are planned',
  access: 'service',
  nature: 'derived',
  owner: null,
  partOf: { table: surveys, by: 'surveyId' },
  key: ['surveyId'],
  guard: null,
  fields: {
    surveyId: recordId().required().internal(),
    /** The triggers it was planned for; with others it begins anew. */
    triggers: text(100_000).plain().required().internal(),
    /** What is due until then, as it was told until then, has been planned. */
    plannedUntil: instant().required().internal(),
  },
  extras: (t) => [foreignKey({ columns: [t.surveyId], foreignColumns: [surveys.id] }).onDelete('cascade')],
});

export const surveyInvitationInput = z
  .strictObject({
    surveyId: id,
    customerId: id,
    dueAt: instantText.optional().meta({ description: 'When it is to be sent. Default: now.' }),
    ...inputShape(aboutFields),
  })
  .meta({
    id: 'SurveyInvitationInput',
    description: 'Its order or interaction is copied to the response.',
    example: {
      surveyId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
      customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b91',
      staff: 'maria',
    },
  });

/** What becomes of an invitation by hand. */
export const invitationChange = z.enum(['cancelled']).meta({ id: 'InvitationChange', example: 'cancelled' });

export const surveyInvitationPatch = z
  .strictObject({
    status: invitationChange
      .optional()
      .meta({ description: 'Cancels an invitation that is due or sent; its link stops working.' }),
    dueAt: instantText.optional().meta({ description: 'Postpones an invitation that is due.' }),
  })
  .meta({ id: 'SurveyInvitationPatch', example: { status: 'cancelled' } });

export const surveyInvitation = z
  .strictObject(outputShape(invitationFields))
  .meta({ id: 'SurveyInvitation', description: 'An invitation of a customer to answer a survey.' });
export type SurveyInvitation = z.output<typeof surveyInvitation>;

export const sentInvitation = z
  .strictObject({
    invitation: surveyInvitation,
    token: z.string().meta({
      description: 'The secret of its link, returned only here. Whoever has it may answer once.',
      example: 'A'.repeat(72),
    }),
    path: z.string().meta({ description: 'Of this service: GET the questions, POST the answers, without a login.' }),
  })
  .meta({ id: 'SentInvitation', description: 'An invitation that you have to send now.' });
export type SentInvitation = z.output<typeof sentInvitation>;

export const claimedInvitations = z
  .strictObject({
    invitations: z.array(sentInvitation),
    hasMore: z.boolean().meta({ description: 'Whether there may be more to send now.' }),
  })
  .meta({ id: 'ClaimedInvitations' });

export const eligibilityReason = z
  .strictObject({
    code: z.enum(['survey_not_open', 'asked_recently', 'answered_recently', 'no_consent', 'person_erased']).meta({
      id: 'EligibilityReasonCode',
      description:
        'no_consent: the customer has not consented to the purpose of the survey on its channel. person_erased: the person was erased, so nobody can be asked.',
    }),
    message: z.string(),
  })
  .meta({ id: 'EligibilityReason' });
export type EligibilityReason = z.output<typeof eligibilityReason>;

export const surveyEligibility = z
  .strictObject({
    customerId: id,
    eligible: z.boolean(),
    reasons: z.array(eligibilityReason).meta({ description: 'Why not; empty when eligible.' }),
    lastAskedAt: instantText
      .nullable()
      .meta({ description: 'The latest invitation or answer of the customer, of any survey.' }),
    nextEligibleAt: instantText
      .nullable()
      .meta({ description: 'From when on the customer may be asked again; null: now, or the survey is not open.' }),
    reserved: sentInvitation.nullable().meta({ description: 'With `reserve`, when eligible: the invitation to send.' }),
  })
  .meta({ id: 'SurveyEligibility', description: 'Whether a customer may be asked now.' });
export type SurveyEligibility = z.output<typeof surveyEligibility>;

export const linkToken = z
  .string()
  .max(255)
  .meta({ description: 'The secret of a link, as the claim returned it.', example: 'A'.repeat(72) });

export const surveyLink = z
  .strictObject({
    name: z.string().meta({ description: 'Of the survey.' }),
    status: surveyStatus.meta({ description: 'Of the survey: `closed` takes no answers.' }),
    language: z.string().nullable(),
    surveyVersion: smallInteger.meta({ description: 'Of the questions; to be sent back with the answers.' }),
    questions: z.array(surveyQuestion),
    expiresAt: instantText.meta({ description: 'When the link ends.' }),
  })
  .meta({ id: 'SurveyLink', description: 'What a survey page shows; nothing about the person who is asked.' });

export const surveyLinkInput = z
  .strictObject({
    answers: z.array(surveyAnswerInput).max(50),
    status: responseStatus.optional().meta({ description: 'Whatever it is, it uses up the link. Default: complete.' }),
    language: boundedText(35).optional().meta({ description: 'Default: the language of the survey.', example: 'en' }),
    surveyVersion: z
      .int()
      .min(1)
      .max(2_147_483_647)
      .optional()
      .meta({ description: 'The version of the questions that were shown. Default: the current one.' }),
  })
  .meta({ id: 'SurveyLinkInput', example: { answers: [{ question: 'recommend', score: 9 }] } });

export const surveyLinkAnswer = z
  .strictObject({ responseId: id, status: responseStatus, answeredAt: instantText })
  .meta({ id: 'SurveyLinkAnswer', description: 'Confirms that the response was recorded.' });
