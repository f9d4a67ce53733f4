import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  createFollowUp,
  deleteFollowUp,
  followUpsByCustomers,
  getFollowUp,
  listFollowUps,
  updateFollowUp,
} from './operations.ts';

export const followUpResolvers: Resolvers = {
  Query: {
    followUp: record(getFollowUp),
    followUps: connection(listFollowUps),
  },
  Mutation: {
    createFollowUp: mutation(createFollowUp, 'followUp'),
    updateFollowUp: mutation(updateFollowUp, 'followUp'),
    deleteFollowUp: mutation(deleteFollowUp),
  },
  Customer: {
    followUps: children(
      followUpsByCustomers,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      { cost: 5, description: 'The latest 100 follow-ups, newest first; `Query.followUps` has them all.' },
    ),
  },
  FollowUp: {
    customer: related(customersByIds, 'customerId'),
  },
};
