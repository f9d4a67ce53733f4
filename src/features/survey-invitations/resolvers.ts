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
    checkSurveyEligibility: mutation(checkSurveyEligibility, undefined, {
      example:
        'mutation { checkSurveyEligibility(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90", input: { customerId: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b91", reserve: true }) { eligible reasons { code } reserved { path } } }',
    }),
    createSurveyInvitation: mutation(createSurveyInvitation, 'surveyInvitation'),
    updateSurveyInvitation: mutation(updateSurveyInvitation, 'surveyInvitation'),
    claimSurveyInvitations: mutation(claimSurveyInvitations, undefined, {
      cost: 500,
      example:
        'mutation { claimSurveyInvitations(idempotencyKey: "mailing-17", input: { limit: 50 }) { invitations { path invitation { customerId channel } } hasMore } }',
    }),
    answerSurveyLink: mutation(answerSurveyLink),
  },
  SurveyInvitation: {
    customer: related(customersByIds, 'customerId'),
  },
};
