import { route } from '../../platform/http/rest.ts';
import { createSurvey, deleteSurvey, getSurvey, listSurveys, listSurveyVersions, updateSurvey } from './operations.ts';

export const surveyRoutes = [
  route('GET', '/v1/surveys', listSurveys),
  route('POST', '/v1/surveys', createSurvey),
  route('GET', '/v1/surveys/:id', getSurvey),
  route('PATCH', '/v1/surveys/:id', updateSurvey),
  route('DELETE', '/v1/surveys/:id', deleteSurvey),
  route('GET', '/v1/surveys/:id/versions', listSurveyVersions),
];
