import { z } from 'zod';
import { personal } from '../../platform/personal.ts';
import { amount, currency, id, instant } from '../../platform/values.ts';
import { ofOthers } from '../../platform/withheld.ts';
import { direction, interactionKind } from '../interactions/record.ts';
import { leadStage, lossReason, stageRule } from '../leads/model.ts';
import { loyaltyTransactionKind, namesReferral } from '../loyalty/model.ts';
import { orderStatus } from '../orders/record.ts';
import { responseStatus } from '../survey-responses/record.ts';
import { questionType } from '../surveys/record.ts';

/** What a timeline is made of; sources.ts says where each kind comes from. */
export const timelineKinds = [
  'interaction',
  'order',
  'refund',
  'return',
  'stage_change',
  'loyalty_transaction',
  'survey_response',
] as const;
export type TimelineKind = (typeof timelineKinds)[number];
export const timelineKind = z
  .enum(timelineKinds)
  .meta({ id: 'TimelineKind', description: 'What kind of thing happened.', example: 'order' });

/** What people need at a glance; the record itself has the rest, under the same id. */
const interaction = z
  .strictObject({
    kind: interactionKind,
    direction: direction.nullable(),
    channel: z.string().nullable(),
    topic: personal(z.string()),
    outcome: personal(z.string()),
    staff: z.string().nullable(),
    seconds: z.int().nullable().meta({ description: 'Duration in seconds.' }),
    campaignId: id.nullable(),
    orderId: id.nullable(),
    text: personal(z.string()),
  })
  .meta({ id: 'TimelineInteraction' });

const order = z
  .strictObject({
    status: orderStatus,
    currency,
    total: amount,
    source: z.string(),
    externalId: z.string(),
    channel: z.string().nullable(),
    campaignId: id.nullable(),
  })
  .meta({ id: 'TimelineOrder' });

const refund = z
  .strictObject({ orderId: id, amount, currency, reason: personal(z.string()) })
  .meta({ id: 'TimelineRefund' });

const productReturn = z
  .strictObject({ total: amount, currency, reason: personal(z.string()) })
  .meta({ id: 'TimelineReturn' });

const stageChange = z
  .strictObject({
    from: leadStage.nullable().meta({ description: 'null: the beginning.' }),
    to: leadStage,
    by: z.string().meta({ description: 'The client that asked for it.' }),
    rule: stageRule.nullable().meta({ description: 'null: a decision, by hand.' }),
    lossReason: lossReason.nullable(),
  })
  .meta({ id: 'TimelineStageChange' });

const transaction = z
  .strictObject({
    kind: loyaltyTransactionKind,
    points: z.int().meta({ description: 'Signed.' }),
    orderId: id.nullable(),
    redemptionId: id.nullable(),
    bonusKey: ofOthers(z.string().nullable(), namesReferral),
    reason: personal(z.string()),
  })
  .meta({ id: 'TimelineLoyaltyTransaction' });

const response = z
  .strictObject({
    surveyId: id,
    surveyName: z.string(),
    status: responseStatus,
    scores: z
      .array(
        z
          .strictObject({ question: z.string(), type: questionType, score: z.int() })
          .meta({ id: 'TimelineScore', description: 'What was given to a question.' }),
      )
      .meta({ description: 'By key of the question; the words of an answer are in the response.' }),
    channel: z.string().nullable(),
    orderId: id.nullable(),
    interactionId: id.nullable(),
  })
  .meta({ id: 'TimelineSurveyResponse' });

export const timelineEntry = z
  .strictObject({
    id: id.meta({ description: 'The id of the record.' }),
    kind: timelineKind,
    at: instant.meta({
      description: 'When it happened: occurredAt, placedAt, refundedAt, returnedAt, at, answeredAt.',
    }),
    interaction: interaction.nullable(),
    order: order.nullable(),
    refund: refund.nullable(),
    return: productReturn.nullable(),
    stageChange: stageChange.nullable(),
    loyaltyTransaction: transaction.nullable(),
    surveyResponse: response.nullable(),
  })
  .meta({
    id: 'TimelineEntry',
    description: 'Something that happened with a customer; the member of its kind says what, the others are null.',
  });
export type TimelineEntry = z.output<typeof timelineEntry>;
