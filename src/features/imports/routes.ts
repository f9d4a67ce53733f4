import { route } from '../../platform/http/rest.ts';
import { recordRoutes } from '../../records/routes.ts';
import {
  cancelImport,
  createImport,
  exportImportErrors,
  getImportOperation,
  listImports,
  mappingOperations,
} from './operations.ts';

const { create, get, list, update, remove } = mappingOperations;

export const importRoutes = [
  route('GET', '/v1/imports', listImports),
  route('POST', '/v1/imports', createImport),
  route('GET', '/v1/imports/:id', getImportOperation),
  route('POST', '/v1/imports/:id/cancel', cancelImport),
  route('GET', '/v1/imports/:id/errors', exportImportErrors),
  ...recordRoutes('/v1/import-mappings', { create, get, list, update, remove }),
];
