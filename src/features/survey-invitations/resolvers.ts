import { connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { answerSurveyLink, getSurveyLink } from './links.ts';
import {
  checkSurveyEligibility,
  claimSurveyInvitations,
  createSurveyInvitation,
  getSurveyInvitation,
  listSurveyInvitations,
  updateSurveyInvitation,
} from './operations.ts';

export const surveyInvitationResolvers: Resolvers = {
  Query: {
    surveyInvitation: record(getSurveyInvitation),
    surveyInvitations: connection(listSurveyInvitations),
    surveyLink: record(getSurveyLink),
  },
  Mutation: {
    checkSurveyEligibility: mutation(checkSurveyEligibility),
    createSurveyInvitation: mutation(createSurveyInvitation, 'surveyInvitation'),
    updateSurveyInvitation: mutation(updateSurveyInvitation, 'surveyInvitation'),
    claimSurveyInvitations: mutation(claimSurveyInvitations, undefined, { cost: 500 }),
    answerSurveyLink: mutation(answerSurveyLink),
  },
  SurveyInvitation: {
    customer: related(customersByIds, 'customerId'),
  },
};
