import { getTableName } from 'drizzle-orm';
import t from 'tap';
import { z } from 'zod';
import { routes } from '../../src/features.ts';
import { isPersonal } from '../../src/platform/personal.ts';
import { ownedTables } from '../../src/records/personal-data.ts';
import { walker } from '../../src/records/walk.ts';
import { personalMembers } from '../support/inventory.ts';

/** What is erased as personal and what is answered as personal are the same. */

/** The documents that show a table's rows, under the names of its columns. */
const documents: Record<string, string[]> = {
  customers: ['Customer'],
  customer_identities: [],
  customer_shared_identities: [],
  customer_terms: [],
  consent_changes: ['ConsentEvidence'],
  orders: ['Order'],
  leads: ['Lead'],
  refunds: ['Refund', 'TimelineRefund'],
  returns: ['Return', 'TimelineReturn'],
  interactions: ['Interaction', 'TimelineInteraction', 'ScoreEvidence', 'LatestTouch'],
  lead_stage_changes: ['StageChange', 'TimelineStageChange'],
  assignments: ['Assignment'],
  follow_ups: ['FollowUp'],
  loyalty_transactions: ['LoyaltyTransaction', 'TimelineLoyaltyTransaction'],
  loyalty_tier_changes: ['TierChange'],
  redemptions: ['Redemption'],
  survey_answers: ['SurveyAnswer'],
  survey_responses: ['SurveyResponse'],
  customer_merges: [],
};

/** Personal members that are no column of a table: made of personal columns, or holding them as a whole. */
const made: Record<string, string> = {
  'Customer.email': 'customer_identities',
  'Customer.phone': 'customer_identities',
  'Customer.identities': 'customer_identities',
  'ConsentChange.evidence': 'consent_changes',
  'CustomerExport.text': 'customers',
  'VoiceReasonText.text': 'survey_answers',
  'MergeDecision.survivor': 'customer_merges',
  'MergeDecision.other': 'customer_merges',
  'MergeDecision.result': 'customer_merges',
  'ScoreProfileValue.value': 'customers',
  'LearnedContribution.feature': 'interactions',
  'LeadModelCoefficient.feature': 'interactions',
};

/** Every named document that is answered, and whether its members are personal. */
const answered = new Map<string, Map<string, boolean>>();
const look = walker({
  at: ({ schema, key, holder }) => {
    const id = holder && z.globalRegistry.get(holder)?.id;
    if (id && key !== null) {
      const name = id.replace(/^(Written|Listed|Partial)(?=[A-Z])/, '');
      const members = answered.get(name) ?? new Map<string, boolean>();
      answered.set(name, members.set(key, isPersonal(schema)));
    }
    return 'enter';
  },
});
for (const { operation } of routes) look(operation.output);

t.test('personal columns are personal members, and the reverse', async (t) => {
  const told = new Map<string, boolean>();
  for (const stored of ownedTables()) {
    const table = getTableName(stored.table);
    const personalOnes = personalMembers(stored);
    const names = documents[table];
    if (personalOnes.length > 0)
      t.ok(names, `add an entry for ${table} to documents: the documents that show ${personalOnes.join(', ')}`);
    for (const document of names ?? []) {
      const members = answered.get(document);
      t.ok(members, `${document} is answered`);
      for (const [member, personal] of members ?? []) {
        if (!(member in stored.fields)) continue;
        told.set(`${document}.${member}`, true);
        t.equal(personal, personalOnes.includes(member), `${document}.${member} and ${table}`);
      }
    }
  }
  const others = [...answered].flatMap(([document, members]) =>
    [...members].flatMap(([member, personal]) => (personal ? [`${document}.${member}`] : [])),
  );
  t.strictSame(
    others.filter((name) => !told.has(name) && !(name in made)),
    [],
    'every personal member is of a table: add its document to documents, or the member to made',
  );
  t.strictSame(
    Object.keys(made).filter((name) => !others.includes(name)),
    [],
    'and none is listed that is not answered',
  );
});
