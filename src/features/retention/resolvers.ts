import { connection, mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
import {
  createRetentionRule,
  deleteRetentionRule,
  getRetentionRule,
  getRetentionRun,
  listRetentionRules,
  listRetentionRuns,
  runRetentionRule,
  updateRetentionRule,
} from './operations.ts';

export const retentionResolvers: Resolvers = {
  Query: {
    retentionRule: record(getRetentionRule),
    retentionRules: connection(listRetentionRules),
    retentionRun: record(getRetentionRun),
    retentionRuns: connection(listRetentionRuns),
  },
  Mutation: {
    createRetentionRule: mutation(createRetentionRule, 'retentionRule'),
    updateRetentionRule: mutation(updateRetentionRule, 'retentionRule'),
    deleteRetentionRule: mutation(deleteRetentionRule),
    runRetentionRule: mutation(runRetentionRule, 'run', { cost: 500, payload: 'RetentionRunPayload' }),
  },
};
