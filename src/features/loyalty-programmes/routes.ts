import { route } from '../../platform/http/rest.ts';
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

const programmes = '/v1/loyalty/programmes';

export const loyaltyProgrammeRoutes = [
  route('GET', programmes, listLoyaltyProgrammes),
  route('POST', programmes, createLoyaltyProgramme, { collection: programmes }),
  // What is in force now changes without the record.
  route('GET', `${programmes}/:id`, getLoyaltyProgramme, { conditional: false }),
  route('PATCH', `${programmes}/:id`, updateLoyaltyProgramme),
  route('DELETE', `${programmes}/:id`, deleteLoyaltyProgramme),
  route('POST', `${programmes}/:id/publish`, publishLoyaltyProgramme),
  route('POST', `${programmes}/:id/end`, endLoyaltyProgramme),
  route('GET', `${programmes}/:id/versions`, listLoyaltyProgrammeVersions),
  route('POST', `${programmes}/:id/preview`, previewLoyaltyProgramme),
  route('GET', '/v1/loyalty/tiers', getLoyaltyTiers),
  route('GET', '/v1/loyalty/candidates', listLoyaltyCandidates),
];
