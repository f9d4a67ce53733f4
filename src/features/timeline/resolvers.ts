import { childConnection, type Resolvers } from '../../platform/graphql/field.ts';
import { getCustomerTimeline, timelinesOfCustomers } from './operations.ts';

export const timelineResolvers: Resolvers = {
  Customer: {
    timeline: childConnection(timelinesOfCustomers, getCustomerTimeline, 'customerIds', {
      connection: 'Timeline',
      sort: 'TimelineSort',
      example:
        '{ customer(reference: { source: "shop", externalId: "17850" }) { timeline(first: 20, kinds: [INTERACTION, ORDER]) { nodes { at kind interaction { kind topic } order { total currency } } } } }',
    }),
  },
};
