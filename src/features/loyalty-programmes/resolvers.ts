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
    loyaltyProgramme: record(getLoyaltyProgramme, {
      example:
        '{ loyaltyProgramme(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { name status currentVersion { number validFrom } rules { pointsPerUnit tiers { levels { key threshold } } } } }',
    }),
    loyaltyProgrammes: connection(listLoyaltyProgrammes),
    loyaltyProgrammeVersions: connection(listLoyaltyProgrammeVersions),
    loyaltyProgrammePreview: field(previewLoyaltyProgramme, {
      cost: 1000,
      example:
        '{ loyaltyProgrammePreview(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90", input: { from: "2026-01-01T00:00:00Z", to: "2026-04-01T00:00:00Z", population: EVERYONE }) { difference differenceInValue byMonth { month difference } } }',
    }),
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
