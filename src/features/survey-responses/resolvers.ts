import {
  childConnection,
  connection,
  mutation,
  type Resolvers,
  record,
  related,
} from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { orderOperations } from '../orders/operations.ts';
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

/** The survey that a response belongs to; its id is in the path of REST. */
const ofSurvey = { surveyId: 'id' };

export const surveyResponseResolvers: Resolvers = {
  Query: {
    surveyResponse: record(getSurveyResponse),
    surveyResponses: connection(listSurveyResponses),
    responsesOfSurvey: connection(listResponsesOfSurvey, ofSurvey),
  },
  Mutation: {
    createSurveyResponse: mutation(createSurveyResponse, 'surveyResponse', ofSurvey),
    updateSurveyResponse: mutation(updateSurveyResponse, 'surveyResponse'),
    deleteSurveyResponse: mutation(deleteSurveyResponse),
    batchSurveyResponses: mutation(batchSurveyResponses, undefined, ofSurvey),
  },
  Customer: {
    surveyResponses: childConnection(surveyResponsesOfCustomers, listCustomerSurveyResponses, 'customerIds'),
  },
  SurveyResponse: {
    survey: related(surveysByIds, 'surveyId'),
    customer: related(customersByIds, 'customerId'),
    order: related(orderOperations.byIds, 'orderId'),
  },
};
