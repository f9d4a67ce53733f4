import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { leadsByIds } from '../leads/operations.ts';
import {
  coefficientsByLeadModels,
  createLeadModel,
  deleteLeadModel,
  getLeadModel,
  learnedByLeads,
  listLeadModelScores,
  listLeadModels,
} from './operations.ts';

export const leadModelResolvers: Resolvers = {
  Query: {
    leadModel: record(getLeadModel),
    leadModels: connection(listLeadModels),
    leadModelScores: connection(listLeadModelScores),
  },
  Mutation: {
    createLeadModel: mutation(createLeadModel, 'leadModel'),
    deleteLeadModel: mutation(deleteLeadModel),
  },
  LeadModel: {
    coefficients: children(
      coefficientsByLeadModels,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
    ),
  },
  LeadModelScore: {
    lead: related(leadsByIds, 'leadId'),
  },
  Lead: {
    learned: related(learnedByLeads, 'id'),
  },
};
