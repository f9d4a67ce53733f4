import { sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { problemType } from '../../platform/errors.ts';
import { typeNames } from '../../platform/type-names.ts';
import { text as boundedText, id, smallInteger } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { count, instant, integer, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { referenceInput } from '../../records/references/record.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { insufficientPoints, loyaltyAccounts, points } from '../loyalty/record.ts';
import { loyaltyProgrammes } from '../loyalty-programmes/record.ts';

export const notAvailable = problemType('not_available', 422, 'The reward is not available now');
export const tierRequired = problemType('tier_required', 422, 'The reward is for a higher tier');
export const limitReached = problemType('limit_reached', 422, 'The customer has reached the limit for this reward');
export const outOfStock = problemType('out_of_stock', 422, 'There are not enough pieces left');

export const redemptionStatuses = ['redeemed', 'fulfilled', 'cancelled'] as const;
export type RedemptionStatus = (typeof redemptionStatuses)[number];
export const redemptionStatus = z.enum(redemptionStatuses).meta({
  id: 'RedemptionStatus',
  description: 'redeemed: paid with points, not handed over yet. cancelled: points and stock were given back.',
  example: 'redeemed',
});

/** Why a member cannot have a reward, in the order in which it is looked at. */
export const redemptionRefusals = [
  'not_a_member',
  'other_programme',
  notAvailable,
  tierRequired,
  limitReached,
  outOfStock,
  insufficientPoints,
] as const;
export type RedemptionRefusal = (typeof redemptionRefusals)[number];
const redemptionRefusal = z.enum(redemptionRefusals).meta({
  id: 'RedemptionRefusal',
  description:
    'not_a_member, other_programme: points are of another programme, or of none. not_available: outside of its dates. tier_required: a higher level is. limit_reached: the customer has as many as one may have. out_of_stock, insufficient_points: not enough of them are left.',
  example: insufficientPoints,
});

const stock = z.int().min(0).max(2_000_000_000);
const pieces = z.int().min(1).max(1_000_000);

export const rewardFields = {
  id: key(),
  programmeId: recordId()
    .required()
    .references(() => loyaltyProgrammes.id),
  name: text(200).plain().required().says('Name shown to members.', 'Watering can'),
  description: text(2000).plain(),
  points: count().required().takes(points).says('Points per piece.', 250),
  stock: integer(0, 2_000_000_000).answers(stock).says('Total pieces, including those redeemed; null: unlimited.', 100),
  redeemed: integer(0, 2_000_000_000).required().readOnly().says('Pieces redeemed and not cancelled.'),
  limitPerCustomer: integer(1, 1_000_000)
    .answers(pieces)
    .says('Pieces that one customer may have; null: any number.', 2),
  tier: text(64)
    .plain()
    .answers(boundedText(64))
    .says('Key of the lowest level that may have it; null: everybody.', 'silver'),
  availableFrom: instant().says('It can be redeemed from then on …'),
  availableTo: instant().says('… and before this instant; null: no end.'),
  ...customFields({ personal: false }),
  version: version().says('Counts the changes of the record, from 1; redemptions do not count.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** What members can have for points. `redeemed` is derived under the row's lock: the redemptions that stand. */
export const rewards = storedTable('rewards', {
  name: 'rewards',
  label: 'Catalogue of rewards',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'reward' },
  fields: rewardFields,
  extras: (t) => [
    index('rewards_created').on(t.createdAt, t.id),
    index('rewards_programme').on(t.programmeId, t.points, t.id),
  ],
});

export type RewardRow = typeof rewards.$inferSelect;

const rewardExample = { name: 'Watering can', points: 250, stock: 100, limitPerCustomer: 2 };

export const rewardInput = z
  .strictObject(inputShape(rewardFields))
  .meta({ id: 'RewardInput', example: { programmeId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', ...rewardExample } });

export const rewardPatch = z
  .strictObject(inputShape(rewardFields))
  .omit({ programmeId: true })
  .partial()
  .meta({ id: 'RewardPatch', example: rewardExample });

const rewardForCustomer = z
  .strictObject({
    customerId: id,
    redeemed: smallInteger.meta({ description: 'Pieces that the customer has.' }),
    redeemable: z.boolean().meta({ description: 'Whether the customer can redeem one now.' }),
    refusals: z
      .array(
        z
          .strictObject({ code: redemptionRefusal, message: z.string() })
          .meta({ id: 'RewardRefusal', description: 'Why not.' }),
      )
      .meta({ description: 'All reasons why not; empty when it is redeemable.' }),
  })
  .meta({ id: 'RewardForCustomer', description: 'Whether a customer can redeem a reward now.' });
export type RewardForCustomer = z.output<typeof rewardForCustomer>;

export const reward = z
  .strictObject({
    ...outputShape(rewardFields),
    left: smallInteger.nullable().meta({ description: 'Pieces that are left; null: unlimited.' }),
    available: z.boolean().meta({ description: 'Now: within its dates, and at least one piece is left.' }),
    forCustomer: rewardForCustomer.nullable().meta({ description: 'With `customerId`; null unless asked for.' }),
  })
  .meta({ id: 'Reward', description: 'Something that members of a loyalty programme can get for points.' });
export type Reward = z.output<typeof reward>;

export const redemptionFields = {
  customerId: ownerId(() => loyaltyAccounts.customerId),
  id: key(),
  rewardId: recordId()
    .required()
    .references(() => rewards.id),
  quantity: integer(1, 1_000_000).defaultsTo(1).says('Pieces; 1 when none is sent.', 1),
  points: count().required().readOnly().says('Points paid for all pieces.', 250),
  status: words(redemptionStatus).required().readOnly(),
  transactionId: recordId().required().readOnly().says('The loyalty transaction that took the points.'),
  redeemedAt: instant().required().readOnly().lifeSign(),
  fulfilledAt: instant().readOnly().lifeSign(),
  cancelledAt: instant().readOnly(),
  reason: text(500).personal().readOnly().says('Why it was cancelled.'),
  ...customFields({ personal: true }),
  version: version(),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

export const redemptions = storedTable('redemptions', {
  name: 'redemptions',
  label: 'Rewards',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'redemption',
  feed: { kind: 'redemption' },
  fields: redemptionFields,
  extras: (t) => [
    index('redemptions_id').on(t.id),
    index('redemptions_created').on(t.createdAt, t.id),
    index('redemptions_reward').on(t.rewardId, t.createdAt, t.id),
    // What counts against the limit of a customer.
    index('redemptions_customer_reward').on(t.customerId, t.rewardId).where(sql`status <> 'cancelled'`),
  ],
});

export type RedemptionRow = typeof redemptions.$inferSelect;

export const redemptionInput = z
  .strictObject({
    customerId: id.optional(),
    customer: referenceInput.optional().meta({ description: 'Instead of `customerId`: a reference of the customer.' }),
    ...inputShape(redemptionFields),
  })
  .meta({
    id: 'RedemptionInput',
    example: {
      customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
      rewardId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b91',
      quantity: 1,
    },
  });
export type RedemptionInput = z.output<typeof redemptionInput>;

export const redemptionCancellation = z
  .strictObject({
    reason: boundedText(500).nullable().optional().meta({ description: 'Personal.', example: 'arrived broken' }),
  })
  .meta({ id: 'RedemptionCancellation', example: { reason: 'arrived broken' } })
  .register(typeNames, { name: 'RedemptionCancellationInput' });

export const redemption = z
  .strictObject(outputShape(redemptionFields))
  .meta({ id: 'Redemption', description: 'A reward that a member took for points.' });
export type Redemption = z.output<typeof redemption>;
