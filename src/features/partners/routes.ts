import { route } from '../../platform/http/rest.ts';
import { listPartnerFields } from './fields.ts';
import {
  batchPartnerShares,
  createPartner,
  deletePartner,
  getPartner,
  listPartnerCustomers,
  listPartners,
  shareCustomer,
  unshareCustomer,
  updatePartner,
} from './operations.ts';

export const partnerRoutes = [
  route('GET', '/v1/partner-fields', listPartnerFields),
  route('GET', '/v1/partners', listPartners),
  route('POST', '/v1/partners', createPartner),
  route('GET', '/v1/partners/:id', getPartner),
  route('PATCH', '/v1/partners/:id', updatePartner),
  route('DELETE', '/v1/partners/:id', deletePartner),
  route('GET', '/v1/partners/:id/customers', listPartnerCustomers),
  route('POST', '/v1/partners/:id/customers/batch', batchPartnerShares),
  route('PUT', '/v1/partners/:id/customers/:customerId', shareCustomer),
  route('DELETE', '/v1/partners/:id/customers/:customerId', unshareCustomer),
];
