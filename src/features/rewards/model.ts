import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { referenceInput } from '../../records/references/record.ts';
import { loyaltyAccounts, points } from '../loyalty/model.ts';
import { loyaltyProgrammes } from '../loyalty-programmes/model.ts';

/** What members can have for points. `redeemed` is derived under the row's lock: the redemptions that stand. */
export const rewards = pgTable(
  'rewards',
  {
    id: uuid('id').primaryKey(),
    programmeId: uuid('programme_id')
      .notNull()
      .references(() => loyaltyProgrammes.id),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    description: textColumn('description'),
    /** Points per piece. */
    points: amountColumn('points').notNull(),
    /** Pieces there are in all; null: without end. */
    stock: integer('stock'),
    redeemed: integer('redeemed').notNull(),
    limitPerCustomer: integer('limit_per_customer'),
    /** The lowest level that may have it; null: everybody. */
    tier: textColumn('tier'),
    availableFrom: instantColumn('available_from'),
    availableTo: instantColumn('available_to'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('rewards_created').on(t.createdAt, t.id), index('rewards_programme').on(t.programmeId, t.points, t.id)],
);

export type RewardRow = typeof rewards.$inferSelect;

export const redemptions = pgTable(
  'redemptions',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    rewardId: uuid('reward_id')
      .notNull()
      .references(() => rewards.id),
    quantity: integer('quantity').notNull(),
    points: amountColumn('points').notNull(),
    status: textColumn('status').$type<RedemptionStatus>().notNull(),
    transactionId: uuid('transaction_id').notNull(),
    redeemedAt: instantColumn('redeemed_at').notNull(),
    fulfilledAt: instantColumn('fulfilled_at'),
    cancelledAt: instantColumn('cancelled_at'),
    reason: textColumn('reason'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('redemptions_id').on(t.id),
    index('redemptions_created').on(t.createdAt, t.id),
    index('redemptions_reward').on(t.rewardId, t.createdAt, t.id),
    // What counts against the limit of a customer.
    index('redemptions_customer_reward').on(t.customerId, t.rewardId).where(sql`status <> 'cancelled'`),
  ],
);

export type RedemptionRow = typeof redemptions.$inferSelect;

export const redemptionStatuses = ['redeemed', 'fulfilled', 'cancelled'] as const;
export type RedemptionStatus = (typeof redemptionStatuses)[number];
export const redemptionStatus = z.enum(redemptionStatuses).meta({
  id: 'RedemptionStatus',
  description: 'redeemed: paid with points, not handed over yet. cancelled: points and stock are back.',
  example: 'redeemed',
});

/** Why a member cannot have a reward, in the order in which it is looked at. */
export const redemptionRefusals = [
  'not_a_member',
  'other_programme',
  'not_available',
  'tier_required',
  'limit_reached',
  'out_of_stock',
  'insufficient_points',
] as const;
export type RedemptionRefusal = (typeof redemptionRefusals)[number];
const redemptionRefusal = z.enum(redemptionRefusals).meta({
  id: 'RedemptionRefusal',
  description:
    'not_a_member, other_programme: points are of another programme, or of none. not_available: outside of its dates. tier_required: a higher level is. limit_reached: the customer has as many as one may have. out_of_stock, insufficient_points: not enough of them are left.',
  example: 'insufficient_points',
});

const pieces = z.int().min(1).max(1_000_000);
const stock = z
  .int()
  .min(0)
  .max(2_000_000_000)
  .nullable()
  .meta({ description: 'Pieces in all, those redeemed included; null: without end.', example: 100 });
const limitPerCustomer = pieces
  .nullable()
  .meta({ description: 'Pieces that one customer may have; null: any number.', example: 2 });
const tier = text(64)
  .nullable()
  .meta({ description: 'Key of the lowest level that may have it; null: everybody.', example: 'silver' });
const availableFrom = instant.nullable().meta({ description: 'It can be redeemed from then on …' });
const availableTo = instant.nullable().meta({ description: '… and before this instant; null: without end.' });

const rewardMembers = {
  name: text(200).meta({ example: 'Watering can' }),
  description: text(2000).nullable().optional(),
  points: points.meta({ description: 'Points per piece.', example: 250 }),
  stock: stock.optional(),
  limitPerCustomer: limitPerCustomer.optional(),
  tier: tier.optional(),
  availableFrom: availableFrom.optional(),
  availableTo: availableTo.optional(),
};
const rewardExample = { name: 'Watering can', points: 250, stock: 100, limitPerCustomer: 2 };

export const rewardInput = z
  .strictObject({ programmeId: id, ...rewardMembers })
  .meta({ id: 'RewardInput', example: { programmeId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', ...rewardExample } });

export const rewardPatch = z.strictObject(rewardMembers).partial().meta({ id: 'RewardPatch', example: rewardExample });
export type RewardPatch = z.output<typeof rewardPatch>;

const rewardForCustomer = z
  .strictObject({
    customerId: id,
    redeemed: z.int().meta({ description: 'Pieces that the customer has.' }),
    redeemable: z.boolean().meta({ description: 'Whether the customer could have one now.' }),
    refusals: z
      .array(
        z
          .strictObject({ code: redemptionRefusal, message: z.string() })
          .meta({ id: 'RewardRefusal', description: 'Why not.' }),
      )
      .meta({ description: 'Everything that stands in the way; nothing when it is redeemable.' }),
  })
  .meta({ id: 'RewardForCustomer', description: 'What a reward is to a customer now.' });
export type RewardForCustomer = z.output<typeof rewardForCustomer>;

export const reward = z
  .strictObject({
    id,
    programmeId: id,
    name: z.string(),
    description: z.string().nullable(),
    points: z.int().meta({ description: 'Points per piece.', example: 250 }),
    stock,
    redeemed: z.int().meta({ description: 'Pieces redeemed and not cancelled.' }),
    left: z.int().nullable().meta({ description: 'Pieces that are left; null: without end.' }),
    limitPerCustomer,
    tier,
    availableFrom,
    availableTo,
    available: z.boolean().meta({ description: 'Now: within its dates, and at least one piece is left.' }),
    forCustomer: rewardForCustomer.nullable().meta({ description: 'With `customerId`; null unless asked for.' }),
    version: version.meta({ description: 'Counts the changes of the record, from 1; redemptions are none.' }),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Reward', description: 'What members of a loyalty programme can have for points.' });
export type Reward = z.output<typeof reward>;

export const redemptionInput = z
  .strictObject({
    customerId: id.optional(),
    customer: referenceInput.optional().meta({ description: 'Instead of `customerId`: what another system calls it.' }),
    rewardId: id,
    quantity: pieces.optional().meta({ description: 'Pieces; 1 unless told.', example: 1 }),
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
    reason: text(500).nullable().optional().meta({ description: 'Personal.', example: 'arrived broken' }),
  })
  .meta({ id: 'RedemptionCancellation', example: { reason: 'arrived broken' } });

export const redemption = z
  .strictObject({
    id,
    customerId: id,
    rewardId: id,
    quantity: z.int().meta({ description: 'Pieces.', example: 1 }),
    points: z.int().meta({ description: 'What was paid for all pieces.', example: 250 }),
    status: redemptionStatus,
    transactionId: id.meta({ description: 'The loyalty transaction that took the points.' }),
    redeemedAt: instant,
    fulfilledAt: instant.nullable(),
    cancelledAt: instant.nullable(),
    reason: personal(z.string().meta({ description: 'Why it was cancelled.' })),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Redemption', description: 'A reward that a member took for points.' });
export type Redemption = z.output<typeof redemption>;
