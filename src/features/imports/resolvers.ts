import { connection, field, mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { cancelImport, exportImportErrors, getImportOperation, listImports, mappingOperations } from './operations.ts';

const { create, get, list, update, remove } = mappingOperations;
const mappings = recordResolvers('importMapping', { create, get, list, update, remove });

// A file is sent to REST: GraphQL carries documents.
export const importResolvers: Resolvers = {
  Query: {
    ...mappings.Query,
    import: record(getImportOperation),
    imports: connection(listImports),
    importErrors: field(exportImportErrors),
  },
  Mutation: {
    ...mappings.Mutation,
    cancelImport: mutation(cancelImport, 'import'),
  },
};
