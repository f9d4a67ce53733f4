import {
  childConnection,
  connection,
  mutation,
  type Resolvers,
  record,
  related,
} from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { ordersByIds } from '../orders/operations.ts';
import { surveysByIds } from '../surveys/operations.ts';
import { surveyResponsesOfCustomers } from './customer-operations.ts';
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

export const surveyResponseResolvers: Resolvers = {
  Query: {
    surveyResponse: record(getSurveyResponse),
    surveyResponses: connection(listSurveyResponses),
    responsesOfSurvey: connection(listResponsesOfSurvey),
  },
  Mutation: {
    createSurveyResponse: mutation(createSurveyResponse, 'surveyResponse'),
    updateSurveyResponse: mutation(updateSurveyResponse, 'surveyResponse'),
    deleteSurveyResponse: mutation(deleteSurveyResponse),
    batchSurveyResponses: mutation(batchSurveyResponses),
  },
  Customer: {
    surveyResponses: childConnection(surveyResponsesOfCustomers, listCustomerSurveyResponses, 'customerIds'),
  },
  SurveyResponse: {
    survey: related(surveysByIds, 'surveyId'),
    customer: related(customersByIds, 'customerId'),
    order: related(ordersByIds, 'orderId'),
  },
};
