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
    leadStageChanges: connection(listLeadStageChanges, {
      sort: 'LeadStageChangeSort',
      example:
        '{ leadStageChanges(to: CUSTOMER, atFrom: "2026-03-01T00:00:00Z") { nodes { at rule lead { id source } } } }',
    }),
  },
  Mutation: {
    createLead: mutation(createLead, 'lead'),
    updateLead: mutation(updateLead, 'lead'),
    upsertLead: mutation(upsertLead, 'lead'),
    deleteLead: mutation(deleteLead),
    batchLeads: mutation(batchLeads),
    changeLeadStage: mutation(changeLeadStage, 'lead', {
      example:
        'mutation { changeLeadStage(reference: { source: "web", externalId: "L-660681" }, input: { to: FORMER, lossReason: PRICE }) { lead { stage lossReason } applied } }',
    }),
    assignLead: mutation(assignLead, 'lead'),
    qualifyLeads: mutation(qualifyLeads, undefined, { cost: 500 }),
  },
  Customer: {
    lead: related(leadsByIds, 'id', { description: 'The lifecycle of the customer as a lead; null when it is none.' }),
  },
  Lead: {
    customer: related(customersByIds, 'id'),
    stages: children(
      stagesByLeads,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      {
        description:
          'The latest 100 changes of stage, in the order in which they happened; `Query.leadStages` has them all.',
      },
    ),
  },
  StageChange: {
    lead: related(leadsByIds, 'leadId'),
  },
};
