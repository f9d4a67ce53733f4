import { connection, field, type Resolvers } from '../../platform/graphql/field.ts';
import { getEventPosition, listEvents } from './operations.ts';

export const changeFeedResolvers: Resolvers = {
  Query: {
    events: connection(listEvents),
    eventPosition: field(getEventPosition),
  },
};
