import { connection, field, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { listLoyaltyCandidates } from './candidates.ts';
import {
  createLoyaltyProgramme,
  deleteLoyaltyProgramme,
  endLoyaltyProgramme,
  getLoyaltyProgramme,
  listLoyaltyProgrammes,
  listLoyaltyProgrammeVersions,
  publishLoyaltyProgramme,
  updateLoyaltyProgramme,
} from './operations.ts';
import { previewLoyaltyProgramme } from './preview.ts';
import { getLoyaltyTiers } from './tiers.ts';

export const loyaltyProgrammeResolvers: Resolvers = {
  Query: {
    loyaltyProgramme: record(getLoyaltyProgramme),
    loyaltyProgrammes: connection(listLoyaltyProgrammes),
    loyaltyProgrammeVersions: connection(listLoyaltyProgrammeVersions),
    loyaltyProgrammePreview: field(previewLoyaltyProgramme, { cost: 1000 }),
    loyaltyTiers: field(getLoyaltyTiers, { cost: 25 }),
    loyaltyCandidates: connection(listLoyaltyCandidates, { cost: 500 }),
  },
  Mutation: {
    createLoyaltyProgramme: mutation(createLoyaltyProgramme, 'loyaltyProgramme'),
    updateLoyaltyProgramme: mutation(updateLoyaltyProgramme, 'loyaltyProgramme'),
    deleteLoyaltyProgramme: mutation(deleteLoyaltyProgramme),
    publishLoyaltyProgramme: mutation(publishLoyaltyProgramme, 'loyaltyProgramme'),
    endLoyaltyProgramme: mutation(endLoyaltyProgramme, 'loyaltyProgramme'),
  },
  LoyaltyCandidate: {
    customer: related(customersByIds, 'customerId'),
  },
};
