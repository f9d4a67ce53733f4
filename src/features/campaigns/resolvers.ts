import { connection, field, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import {
  batchCampaigns,
  campaignsByIds,
  createCampaign,
  deleteCampaign,
  getCampaign,
  listCampaigns,
  updateCampaign,
  upsertCampaign,
} from './operations.ts';
import { getCampaignResults, listCampaignResults } from './results.ts';

export const campaignResolvers: Resolvers = {
  Query: {
    campaign: record(getCampaign),
    campaigns: connection(listCampaigns, {
      example: '{ campaigns(first: 20, sort: STARTS_ON_DESC, channel: "email") { nodes { id name startsOn cost } } }',
    }),
    campaignResults: field(getCampaignResults, {
      cost: 50,
      example:
        '{ campaignResults(reference: { source: "crm", externalId: "spring" }, windowDays: 14) { touches responses leads orders revenue cost costPer { order } } }',
    }),
    resultsOfCampaigns: connection(listCampaignResults, { cost: 200, sort: 'CampaignSort' }),
  },
  Mutation: {
    createCampaign: mutation(createCampaign, 'campaign'),
    updateCampaign: mutation(updateCampaign, 'campaign'),
    upsertCampaign: mutation(upsertCampaign, 'campaign'),
    deleteCampaign: mutation(deleteCampaign),
    batchCampaigns: mutation(batchCampaigns),
  },
  Interaction: {
    campaign: related(campaignsByIds, 'campaignId'),
  },
  Order: {
    campaign: related(campaignsByIds, 'campaignId'),
  },
};
