import { connection, field, type Resolvers, related } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { campaignOperations } from './operations.ts';
import { getCampaignResults, listCampaignResults } from './results.ts';

const { Query, Mutation } = recordResolvers('campaign', campaignOperations, {
  list: {
    example: '{ campaigns(first: 20, sort: STARTS_ON_DESC, channel: "email") { nodes { id name startsOn cost } } }',
  },
});

export const campaignResolvers: Resolvers = {
  Query: {
    ...Query,
    campaignResults: field(getCampaignResults, {
      cost: 50,
      example:
        '{ campaignResults(reference: { source: "crm", externalId: "spring" }, windowDays: 14) { touches responses leads orders revenue cost costPer { order } } }',
    }),
    resultsOfCampaigns: connection(listCampaignResults, { cost: 200, sort: 'CampaignSort' }),
  },
  Mutation,
  Interaction: {
    campaign: related(campaignOperations.byIds, 'campaignId'),
  },
  Order: {
    campaign: related(campaignOperations.byIds, 'campaignId'),
  },
};
