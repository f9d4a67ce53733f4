import { connection, field, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { listPartnerFields } from './fields.ts';
import {
  batchPartnerShares,
  createPartner,
  deletePartner,
  getPartner,
  listPartnerCustomers,
  listPartners,
  partnersByIds,
  shareCustomer,
  unshareCustomer,
  updatePartner,
} from './operations.ts';

export const partnerResolvers: Resolvers = {
  Query: {
    partner: record(getPartner),
    partners: connection(listPartners),
    partnerCustomers: connection(listPartnerCustomers),
    partnerFields: field(listPartnerFields),
  },
  Mutation: {
    createPartner: mutation(createPartner, 'partner'),
    updatePartner: mutation(updatePartner, 'partner'),
    deletePartner: mutation(deletePartner),
    shareCustomer: mutation(shareCustomer, 'share', { payload: 'PartnerSharePayload' }),
    unshareCustomer: mutation(unshareCustomer),
    batchPartnerShares: mutation(batchPartnerShares),
  },
  PartnerCustomer: {
    customer: related(customersByIds, 'customerId'),
  },
  Customer: {
    acquirer: related(partnersByIds, 'acquiredBy', { description: 'The partner behind `acquiredBy`.' }),
  },
};
