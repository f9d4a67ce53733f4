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
    leadModelScores: connection(listLeadModelScores, { totalCost: 250 }),
  },
  Mutation: {
    createLeadModel: mutation(createLeadModel, 'leadModel', { cost: 100 }),
    deleteLeadModel: mutation(deleteLeadModel),
  },
  LeadModel: {
    coefficients: children(
      coefficientsByLeadModels,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      { cost: 25 },
    ),
  },
  LeadModelScore: {
    lead: related(leadsByIds, 'leadId'),
  },
  Lead: {
    learned: related(learnedByLeads, 'id', { cost: 5 }),
  },
};
