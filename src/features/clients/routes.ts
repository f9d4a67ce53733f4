import { route } from '../../platform/http/rest.ts';
import { listSigningKeys, revokeSigningKey, rotateSigningKey } from './keys.ts';
import {
  createClient,
  createClientSecret,
  deleteClient,
  deleteClientSecret,
  getClient,
  listClients,
  revokeClientTokens,
  revokeToken,
  updateClient,
} from './operations.ts';

export const clientRoutes = [
  route('GET', '/v1/clients', listClients),
  route('POST', '/v1/clients', createClient),
  // When a secret was last used is no change of the record.
  route('GET', '/v1/clients/:id', getClient, { conditional: false }),
  route('PATCH', '/v1/clients/:id', updateClient),
  route('DELETE', '/v1/clients/:id', deleteClient),
  route('POST', '/v1/clients/:id/secrets', createClientSecret, { collection: null }),
  route('DELETE', '/v1/clients/:id/secrets/:secretId', deleteClientSecret),
  route('POST', '/v1/clients/:id/revoke-tokens', revokeClientTokens),
  route('POST', '/v1/revoked-tokens', revokeToken),
  route('GET', '/v1/signing-keys', listSigningKeys),
  route('POST', '/v1/signing-keys/rotate', rotateSigningKey),
  route('POST', '/v1/signing-keys/:kid/revoke', revokeSigningKey),
];
