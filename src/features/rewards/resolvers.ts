import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { loyaltyProgrammesByIds } from '../loyalty-programmes/operations.ts';
import { createReward, deleteReward, getReward, listRewards, rewardsByIds, updateReward } from './operations.ts';
import {
  cancelRedemption,
  createRedemption,
  fulfilRedemption,
  getRedemption,
  listRedemptions,
  redemptionsByCustomers,
} from './redemptions.ts';

export const rewardResolvers: Resolvers = {
  Query: {
    reward: record(getReward),
    rewards: connection(listRewards),
    redemption: record(getRedemption),
    redemptions: connection(listRedemptions),
  },
  Mutation: {
    createReward: mutation(createReward, 'reward'),
    updateReward: mutation(updateReward, 'reward'),
    deleteReward: mutation(deleteReward),
    createRedemption: mutation(createRedemption, 'redemption'),
    fulfilRedemption: mutation(fulfilRedemption, 'redemption'),
    cancelRedemption: mutation(cancelRedemption, 'redemption'),
  },
  Customer: {
    redemptions: children(
      redemptionsByCustomers,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      { cost: 5, description: 'The latest 100 redemptions, newest first; `Query.redemptions` has them all.' },
    ),
  },
  Reward: {
    programme: related(loyaltyProgrammesByIds, 'programmeId'),
  },
  Redemption: {
    customer: related(customersByIds, 'customerId'),
    reward: related(rewardsByIds, 'rewardId'),
  },
};
