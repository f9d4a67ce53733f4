import { connection, field, type Resolvers, related } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { campaignOperations } from './operations.ts';
import { getCampaignResults, listCampaignResults } from './results.ts';

const { Query, Mutation } = recordResolvers('campaign', campaignOperations);

export const campaignResolvers: Resolvers = {
  Query: {
    ...Query,
    campaignResults: field(getCampaignResults),
    resultsOfCampaigns: connection(listCampaignResults),
  },
  Mutation,
  Interaction: {
    campaign: related(campaignOperations.byIds, 'campaignId'),
  },
  Order: {
    campaign: related(campaignOperations.byIds, 'campaignId'),
  },
};
