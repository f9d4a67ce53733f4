import { connection, field, mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
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

export const clientResolvers: Resolvers = {
  Query: {
    client: record(getClient),
    clients: connection(listClients),
    signingKeys: field(listSigningKeys, { cost: 5 }),
  },
  Mutation: {
    createClient: mutation(createClient, 'client'),
    updateClient: mutation(updateClient, 'client'),
    deleteClient: mutation(deleteClient),
    createClientSecret: mutation(createClientSecret, 'clientSecret'),
    deleteClientSecret: mutation(deleteClientSecret),
    revokeClientTokens: mutation(revokeClientTokens, 'client'),
    revokeToken: mutation(revokeToken, 'revokedToken'),
    rotateSigningKey: mutation(rotateSigningKey, 'signingKey'),
    revokeSigningKey: mutation(revokeSigningKey, 'signingKey'),
  },
};
