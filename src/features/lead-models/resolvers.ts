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
    leadModel: record(getLeadModel, {
      example:
        '{ leadModel(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { status quality { auc ruleAuc lift { decile lift } } coefficients { feature oddsRatio } } }',
    }),
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
      { cost: 25, description: 'By absolute value, largest first; none until it is ready.' },
    ),
  },
  LeadModelScore: {
    lead: related(leadsByIds, 'leadId'),
  },
  Lead: {
    learned: related(learnedByLeads, 'id', {
      cost: 5,
      description: 'Its present score by the model in use; null when no model is ready.',
    }),
  },
};
