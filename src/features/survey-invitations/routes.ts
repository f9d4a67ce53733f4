import { route } from '../../platform/http/rest.ts';
import { answerSurveyLink, getSurveyLink } from './links.ts';
import {
  checkSurveyEligibility,
  claimSurveyInvitations,
  createSurveyInvitation,
  getSurveyInvitation,
  listSurveyInvitations,
  updateSurveyInvitation,
} from './operations.ts';

// One that was sent expires while its version stays.
const live = { conditional: false };

export const surveyInvitationRoutes = [
  route('POST', '/v1/surveys/:id/eligibility', checkSurveyEligibility),
  route('GET', '/v1/survey-invitations', listSurveyInvitations),
  route('POST', '/v1/survey-invitations', createSurveyInvitation),
  route('POST', '/v1/survey-invitations/claim', claimSurveyInvitations),
  route('GET', '/v1/survey-invitations/:id', getSurveyInvitation, live),
  route('PATCH', '/v1/survey-invitations/:id', updateSurveyInvitation),
  route('GET', '/v1/survey-links/:token', getSurveyLink),
  route('POST', '/v1/survey-links/:token', answerSurveyLink),
];
