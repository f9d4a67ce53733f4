import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  assignmentsByLeads,
  createAssignmentRule,
  deleteAssignmentRule,
  getAssignmentRule,
  listAssignmentRules,
  listAssignments,
  updateAssignmentRule,
} from './operations.ts';

export const assignmentResolvers: Resolvers = {
  Query: {
    assignmentRule: record(getAssignmentRule),
    assignmentRules: connection(listAssignmentRules),
    assignments: connection(listAssignments),
  },
  Mutation: {
    createAssignmentRule: mutation(createAssignmentRule, 'assignmentRule'),
    updateAssignmentRule: mutation(updateAssignmentRule, 'assignmentRule'),
    deleteAssignmentRule: mutation(deleteAssignmentRule),
  },
  Lead: {
    assignments: children(
      assignmentsByLeads,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      {
        cost: 5,
        description:
          'The latest 100 changes of its owner, in order of time. Assignments of follow-ups are in `Query.assignments`.',
      },
    ),
  },
  Assignment: {
    customer: related(customersByIds, 'customerId'),
  },
};
