import { getTableColumns } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { assignmentRules, assignments, assignmentTurns } from './features/assignments/model.ts';
import { auditEntries } from './features/audit/record.ts';
import { campaigns } from './features/campaigns/record.ts';
import { clientSecrets, clients, signingKeys, tokenRevocations } from './features/clients/record.ts';
import { consentChanges, consents } from './features/consents/model.ts';
import { customerIdentities, customers } from './features/customers/record.ts';
import { followUps } from './features/follow-ups/model.ts';
import { interactions } from './features/interactions/record.ts';
import { leadModels } from './features/lead-models/model.ts';
import { leadRuleSets, leadScoreBounds } from './features/lead-scores/model.ts';
import { leadStageChanges, leads } from './features/leads/model.ts';
import {
  loyaltyAccounts,
  loyaltyEarnings,
  loyaltyEntries,
  loyaltyLots,
  loyaltyTierChanges,
  loyaltyTransactions,
} from './features/loyalty/model.ts';
import { loyaltyProgrammes, loyaltyProgrammeVersions } from './features/loyalty-programmes/model.ts';
import { customerAliases, customerMergeRecords, customerMerges } from './features/merges/record.ts';
import { orderItems, orders, refundItems, refunds } from './features/orders/record.ts';
import { partnerCustomers, partnerShares, partners } from './features/partners/record.ts';
import { privacyTombstones } from './features/privacy/record.ts';
import { exchangeRates } from './features/rates/record.ts';
import { retentionRules, retentionRuns } from './features/retention/record.ts';
import { returnItems, returns } from './features/returns/record.ts';
import { redemptions, rewards } from './features/rewards/model.ts';
import { customerMonth, customerStats } from './features/rollups/model.ts';
import { surveyInvitations, surveyPlans } from './features/survey-invitations/model.ts';
import { surveyAnswers, surveyResponses } from './features/survey-responses/model.ts';
import { surveys, surveyVersions } from './features/surveys/model.ts';
import type { TableAccess } from './platform/db/access.ts';
import { deploymentSettings } from './platform/db/settings.ts';
import { idempotencyKeys } from './platform/idempotency.ts';
import { externalRefs } from './records/references/record.ts';

/**
 * Every table, and who may touch it: below the operations and for both doors, by row-level security and grants (see
 * platform/db/access.ts). What is not in the list nobody may touch; test/platform/access.test.ts compares it with the
 * catalog of the database.
 */
export const confinement: readonly TableAccess[] = [
  // Facts about customers, and what is worked out from them.
  ofCustomers(customers, 'id'),
  ofCustomers(customerIdentities),
  ofCustomers(externalRefs),
  ofCustomers(customerStats),
  ofCustomers(customerMonth),
  ofCustomers(orders),
  ofCustomers(orderItems),
  ofCustomers(refunds),
  ofCustomers(refundItems),
  ofCustomers(returns),
  ofCustomers(returnItems),
  ofCustomers(interactions),
  ofCustomers(leads),
  ofCustomers(leadStageChanges),
  ofCustomers(leadScoreBounds),
  ofCustomers(assignments),
  ofCustomers(followUps),
  ofCustomers(loyaltyAccounts),
  ofCustomers(loyaltyEarnings),
  ofCustomers(loyaltyEntries),
  ofCustomers(loyaltyLots),
  ofCustomers(loyaltyTierChanges),
  ofCustomers(loyaltyTransactions),
  ofCustomers(redemptions),
  ofCustomers(surveyInvitations),
  ofCustomers(surveyResponses),
  ofCustomers(surveyAnswers),
  ofCustomers(consents),
  ofCustomers(consentChanges),
  ofCustomers(customerAliases),
  // What the organisation has set up: no customer is in it, and reading and writing customers' facts asks it.
  { table: campaigns, access: 'configuration' },
  { table: exchangeRates, access: 'configuration' },
  { table: leadModels, access: 'configuration' },
  { table: leadRuleSets, access: 'configuration' },
  { table: loyaltyProgrammes, access: 'configuration' },
  { table: loyaltyProgrammeVersions, access: 'configuration' },
  { table: rewards, access: 'configuration' },
  // Keyed hashes: a partner who brings somebody has to be told that the person was erased.
  { table: privacyTombstones, access: 'configuration' },
  { table: surveys, access: 'configuration' },
  { table: surveyVersions, access: 'configuration' },
  // The service's own.
  { table: assignmentRules, access: 'service' },
  { table: assignmentTurns, access: 'service' },
  { table: clients, access: 'service' },
  { table: clientSecrets, access: 'service' },
  { table: customerMerges, access: 'service' },
  { table: customerMergeRecords, access: 'service' },
  { table: deploymentSettings, access: 'service' },
  { table: idempotencyKeys, access: 'service' },
  { table: partners, access: 'service' },
  { table: partnerShares, access: 'service' },
  { table: retentionRules, access: 'service' },
  { table: retentionRuns, access: 'service' },
  { table: signingKeys, access: 'service' },
  { table: surveyPlans, access: 'service' },
  { table: tokenRevocations, access: 'service' },
  { table: partnerCustomers, access: 'shares' },
  { table: auditEntries, access: 'append' },
];

function ofCustomers(table: PgTable, member = 'customerId'): TableAccess {
  const column = getTableColumns(table)[member];
  if (!column) throw new TypeError(`No column for ${member}`);
  return { table, access: 'customers', owner: column.name };
}
