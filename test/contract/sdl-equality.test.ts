import { type DocumentNode, Kind, parse, print } from 'graphql';
import t from 'tap';
import { resolvers, schemaFolder } from '../../src/app.ts';
import { readSdl } from '../../src/platform/graphql/schema.ts';
import { printSdl } from '../../src/records/sdl.ts';

/** Every type, field, argument, default, value and directive of a document; no descriptions and no order. */
function facts(document: DocumentNode): Map<string, string> {
  const found = new Map<string, string>();
  for (const node of document.definitions) {
    if (node.kind === Kind.DIRECTIVE_DEFINITION) {
      const { description: _, ...bare } = node;
      found.set(`@${node.name.value}`, print(bare));
    }
    if (!('name' in node) || !node.name) continue;
    const type = node.name.value;
    if (!node.kind.endsWith('Extension')) found.set(type, node.kind);
    for (const value of 'values' in node ? (node.values ?? []) : []) found.set(`${type}.${value.name.value}`, 'value');
    for (const field of 'fields' in node ? (node.fields ?? []) : []) {
      const name = `${type}.${field.name.value}`;
      found.set(name, [field.type, ...(field.directives ?? [])].map((part) => print(part)).join(' '));
      for (const argument of 'arguments' in field ? (field.arguments ?? []) : []) {
        const fallback = argument.defaultValue ? ` = ${print(argument.defaultValue)}` : '';
        found.set(`${name}(${argument.name.value})`, print(argument.type) + fallback);
      }
    }
  }
  return found;
}

/** What was inconsistent in the written schema. */
const mended = [
  // A field that goes through an operation is nullable: its refusal must not take its parent with it.
  'LeadModel.coefficients: [LeadModelCoefficient!]! @cost(weight: 25) → [LeadModelCoefficient!] @cost(weight: 25)',
  'LoyaltyLiabilityMember.customer: Customer! → Customer',
  // What tells `applied` tells `warnings`.
  'CampaignPayload.warnings:  → [Warning!]! @cost(weight: 0)',
  // What comes with its record costs nothing, as in most types; and plain values cost nothing anyway.
  'AuditEntry.recordIds: [ID!]! @cost(weight: 0) → [ID!]!',
  'AuditEntry.customerIds: [ID!]! @cost(weight: 0) → [ID!]!',
  'AuditEntry.members: [String!]! @cost(weight: 0) → [String!]!',
  ...[
    ['ClaimedInvitations.invitations', '[SentInvitation!]!'],
    ['CustomerLoyalty.details', 'LoyaltyDetails'],
    ['LeadFunnelMember.lead', 'Lead!'],
    ['LoyaltyDetails.nextExpiry', 'NextExpiry'],
    ['LoyaltyDetails.progress', 'TierProgress'],
    ['MetricGroup.interval', 'MetricConfidence'],
    ['MetricGroup.reason', 'MetricNotice'],
    ['MetricSeriesPoint.reason', 'MetricNotice'],
    ['RequestedRetentionRun.conditions', 'RetentionConditions!'],
    ['RetentionRule.conditions', 'RetentionConditions!'],
    ['RetentionRun.conditions', 'RetentionConditions!'],
    ['SentInvitation.invitation', 'SurveyInvitation!'],
    ['SurveyEligibility.reasons', '[EligibilityReason!]!'],
    ['SurveyEligibility.reserved', 'SentInvitation'],
    ['SurveyLink.questions', '[SurveyQuestion!]!'],
    ['TierProgress.next', 'NextTier'],
    ['VoiceMember.response', 'SurveyResponse!'],
    ['VoiceReason.texts', '[VoiceReasonText!]!'],
  ].map(([field, type]) => `${field}: ${type} → ${type} @cost(weight: 0)`),
];

t.test('the printed schema is the written one', async (t) => {
  const written = facts(parse(readSdl(schemaFolder)));
  const printed = facts(parse(printSdl(resolvers)));
  const names = new Set([...written.keys(), ...printed.keys()]);
  const differences = [...names]
    .filter((name) => written.get(name) !== printed.get(name))
    .map((name) => `${name}: ${written.get(name) ?? ''} → ${printed.get(name) ?? ''}`);
  t.ok(written.size > 3000, `${written.size} facts`);
  t.same(differences.sort(), mended.sort());
});
