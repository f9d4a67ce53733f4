import { connection, mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
import { createSurvey, deleteSurvey, getSurvey, listSurveys, listSurveyVersions, updateSurvey } from './operations.ts';

export const surveyResolvers: Resolvers = {
  Query: {
    survey: record(getSurvey),
    surveys: connection(listSurveys),
    surveyVersions: connection(listSurveyVersions, { names: { surveyId: 'id' } }),
  },
  Mutation: {
    createSurvey: mutation(createSurvey, 'survey'),
    updateSurvey: mutation(updateSurvey, 'survey'),
    deleteSurvey: mutation(deleteSurvey),
  },
};
