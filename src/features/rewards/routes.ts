import { route } from '../../platform/http/rest.ts';
import { createReward, deleteReward, getReward, listRewards, updateReward } from './operations.ts';
import {
  cancelRedemption,
  createRedemption,
  fulfilRedemption,
  getRedemption,
  listCustomerRedemptions,
  listRedemptions,
} from './redemptions.ts';

const rewards = '/v1/loyalty/rewards';
const redemptions = '/v1/loyalty/redemptions';

export const rewardRoutes = [
  route('GET', rewards, listRewards),
  route('POST', rewards, createReward, { collection: rewards }),
  // What is left, and whether it is available, changes without the record.
  route('GET', `${rewards}/:id`, getReward, { conditional: false }),
  route('PATCH', `${rewards}/:id`, updateReward),
  route('DELETE', `${rewards}/:id`, deleteReward),
  route('GET', redemptions, listRedemptions),
  route('POST', redemptions, createRedemption, { collection: redemptions }),
  route('GET', `${redemptions}/:id`, getRedemption),
  route('POST', `${redemptions}/:id/fulfil`, fulfilRedemption),
  route('POST', `${redemptions}/:id/cancel`, cancelRedemption),
  route('GET', '/v1/customers/:id/redemptions', listCustomerRedemptions),
  route('GET', '/v1/customers/external/:source/:externalId/redemptions', listCustomerRedemptions),
];
