import { childConnection, type Resolvers } from '../../platform/graphql/field.ts';
import { getCustomerTimeline, timelinesOfCustomers } from './operations.ts';

export const timelineResolvers: Resolvers = {
  Customer: {
    timeline: childConnection(timelinesOfCustomers, getCustomerTimeline, 'customerIds', {
      connection: 'Timeline',
      sort: 'TimelineSort',
    }),
  },
};
