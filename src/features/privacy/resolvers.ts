import { mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
import { eraseCustomer } from './erase-operations.ts';
import { exportCustomer } from './export.ts';

export const privacyResolvers: Resolvers = {
  Query: {
    customerExport: record(exportCustomer, { cost: 500 }),
  },
  Mutation: {
    eraseCustomer: mutation(eraseCustomer, 'erasure', {
      cost: 500,
      example:
        'mutation { eraseCustomer(reference: { source: "shop", externalId: "17850" }, dryRun: true) { erasure { removed { kind records } } } }',
    }),
  },
};
