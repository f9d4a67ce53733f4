import { route } from '../../platform/http/rest.ts';
import { recordRoutes } from '../../records/routes.ts';
import { campaignOperations } from './operations.ts';
import { getCampaignResults, listCampaignResults } from './results.ts';

export const campaignRoutes = [
  ...recordRoutes('/v1/campaigns', campaignOperations),
  route('GET', '/v1/campaigns/results', listCampaignResults),
  route('GET', '/v1/campaigns/:id/results', getCampaignResults),
  route('GET', '/v1/campaigns/external/:source/:externalId/results', getCampaignResults),
];
