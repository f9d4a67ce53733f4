import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  assignLead,
  batchLeads,
  changeLeadStage,
  createLead,
  deleteLead,
  getLead,
  leadsByIds,
  listLeadStageChanges,
  listLeadStages,
  stagesByLeads,
  updateLead,
  upsertLead,
} from './operations.ts';
import { qualifyLeads } from './qualification.ts';

export const leadResolvers: Resolvers = {
  Query: {
    lead: record(getLead),
    leadStages: connection(listLeadStages, { sort: 'LeadStageSort' }),
    leadStageChanges: connection(listLeadStageChanges, { sort: 'LeadStageChangeSort' }),
  },
  Mutation: {
    createLead: mutation(createLead, 'lead'),
    updateLead: mutation(updateLead, 'lead'),
    upsertLead: mutation(upsertLead, 'lead'),
    deleteLead: mutation(deleteLead),
    batchLeads: mutation(batchLeads),
    changeLeadStage: mutation(changeLeadStage, 'lead'),
    assignLead: mutation(assignLead, 'lead'),
    qualifyLeads: mutation(qualifyLeads, undefined, { cost: 500 }),
  },
  Customer: {
    lead: related(leadsByIds, 'id'),
  },
  Lead: {
    customer: related(customersByIds, 'id'),
    stages: children(
      stagesByLeads,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
    ),
  },
  StageChange: {
    lead: related(leadsByIds, 'leadId'),
  },
};
