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
    surveyResponses: connection(listSurveyResponses, {
      cost: 5,
      example:
        '{ surveyResponses(first: 50, band: DETRACTOR, staff: "maria") { nodes { id answeredAt answers { question score text } customer { name } } pageInfo { hasNextPage endCursor } } }',
    }),
    responsesOfSurvey: connection(listResponsesOfSurvey, { names: ofSurvey, cost: 5 }),
  },
  Mutation: {
    createSurveyResponse: mutation(createSurveyResponse, 'surveyResponse', { names: ofSurvey }),
    updateSurveyResponse: mutation(updateSurveyResponse, 'surveyResponse'),
    deleteSurveyResponse: mutation(deleteSurveyResponse),
    batchSurveyResponses: mutation(batchSurveyResponses, undefined, { names: ofSurvey }),
  },
  Customer: {
    surveyResponses: childConnection(surveyResponsesOfCustomers, listCustomerSurveyResponses, 'customerIds', {
      cost: 5,
      description: 'The responses of the customer. `Query.surveyResponses` takes filters as well.',
    }),
  },
  SurveyResponse: {
    survey: related(surveysByIds, 'surveyId'),
    customer: related(customersByIds, 'customerId'),
    order: related(orderOperations.byIds, 'orderId'),
  },
};
