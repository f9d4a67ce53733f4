import { route } from '../../platform/http/rest.ts';
import {
  batchSurveyResponses,
  createSurveyResponse,
  deleteSurveyResponse,
  getSurveyResponse,
  listCustomerSurveyResponses,
  listResponsesOfSurvey,
  listSurveyResponses,
  updateSurveyResponse,
} from './operations.ts';

const responses = { collection: '/v1/survey-responses' };

export const surveyResponseRoutes = [
  route('POST', '/v1/surveys/:id/responses', createSurveyResponse, responses),
  route('POST', '/v1/surveys/:id/responses/batch', batchSurveyResponses),
  route('GET', '/v1/surveys/:id/responses', listResponsesOfSurvey),
  route('GET', '/v1/survey-responses', listSurveyResponses),
  route('GET', '/v1/survey-responses/:id', getSurveyResponse),
  route('PATCH', '/v1/survey-responses/:id', updateSurveyResponse),
  route('DELETE', '/v1/survey-responses/:id', deleteSurveyResponse),
  route('GET', '/v1/customers/:id/survey-responses', listCustomerSurveyResponses),
  route('GET', '/v1/customers/external/:source/:externalId/survey-responses', listCustomerSurveyResponses),
];
