import { type Resolvers, record } from '../../platform/graphql/field.ts';
import { exportCustomer } from './export.ts';

export const privacyResolvers: Resolvers = {
  Query: {
    customerExport: record(exportCustomer),
  },
};
