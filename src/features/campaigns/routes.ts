import { route } from '../../platform/http/rest.ts';
import {
  batchCampaigns,
  createCampaign,
  deleteCampaign,
  getCampaign,
  listCampaigns,
  updateCampaign,
  upsertCampaign,
} from './operations.ts';
import { getCampaignResults, listCampaignResults } from './results.ts';

export const campaignRoutes = [
  route('GET', '/v1/campaigns', listCampaigns),
  route('POST', '/v1/campaigns', createCampaign),
  route('POST', '/v1/campaigns/batch', batchCampaigns),
  route('GET', '/v1/campaigns/results', listCampaignResults),
  route('GET', '/v1/campaigns/:id', getCampaign),
  route('PATCH', '/v1/campaigns/:id', updateCampaign),
  route('DELETE', '/v1/campaigns/:id', deleteCampaign),
  route('GET', '/v1/campaigns/:id/results', getCampaignResults),
  route('GET', '/v1/campaigns/external/:source/:externalId', getCampaign),
  route('PUT', '/v1/campaigns/external/:source/:externalId', upsertCampaign),
  route('PATCH', '/v1/campaigns/external/:source/:externalId', updateCampaign),
  route('DELETE', '/v1/campaigns/external/:source/:externalId', deleteCampaign),
  route('GET', '/v1/campaigns/external/:source/:externalId/results', getCampaignResults),
];
