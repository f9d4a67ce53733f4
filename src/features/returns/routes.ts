import { route } from '../../platform/http/rest.ts';
import {
  batchReturns,
  createReturn,
  deleteReturn,
  getReturn,
  listReturns,
  updateReturn,
  upsertReturn,
} from './operations.ts';

export const returnRoutes = [
  route('GET', '/v1/returns', listReturns),
  route('POST', '/v1/returns', createReturn),
  route('POST', '/v1/returns/batch', batchReturns),
  route('GET', '/v1/returns/:id', getReturn),
  route('PATCH', '/v1/returns/:id', updateReturn),
  route('DELETE', '/v1/returns/:id', deleteReturn),
  route('GET', '/v1/returns/external/:source/:externalId', getReturn),
  route('PUT', '/v1/returns/external/:source/:externalId', upsertReturn),
  route('PATCH', '/v1/returns/external/:source/:externalId', updateReturn),
  route('DELETE', '/v1/returns/external/:source/:externalId', deleteReturn),
];
