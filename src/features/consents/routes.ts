import { route } from '../../platform/http/rest.ts';
import {
  batchConsents,
  getCustomerConsents,
  listConsents,
  listCustomerConsentHistory,
  recordConsent,
} from './operations.ts';

// The list is where steps of the history are found; one alone has no address.
const history = { collection: '/v1/consents' };

export const consentRoutes = [
  route('GET', '/v1/consents', listConsents),
  route('POST', '/v1/consents/batch', batchConsents),
  route('GET', '/v1/customers/:id/consents', getCustomerConsents),
  route('POST', '/v1/customers/:id/consents', recordConsent, history),
  route('GET', '/v1/customers/:id/consents/history', listCustomerConsentHistory),
  route('GET', '/v1/customers/external/:source/:externalId/consents', getCustomerConsents),
  route('POST', '/v1/customers/external/:source/:externalId/consents', recordConsent, history),
  route('GET', '/v1/customers/external/:source/:externalId/consents/history', listCustomerConsentHistory),
];
