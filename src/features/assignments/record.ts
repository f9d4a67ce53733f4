import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text as boundedText } from '../../platform/values.ts';
import {
  boolean,
  code,
  count,
  instant,
  integer,
  json,
  key,
  ownerId,
  recordId,
  text,
  version,
  words,
} from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';

export const assignmentPurposes = ['lead', 'retention', 'prevention', 'detractor'] as const;
export type AssignmentPurpose = (typeof assignmentPurposes)[number];
export const assignmentMethods = ['round_robin', 'least_loaded'] as const;
export type AssignmentMethod = (typeof assignmentMethods)[number];
export const assignmentKeys = ['country', 'segment', 'source'] as const;
export type AssignmentKey = (typeof assignmentKeys)[number];

export const assignmentPurpose = z.enum(assignmentPurposes).meta({
  id: 'AssignmentPurpose',
  description: 'What is assigned: leads, or follow-ups of one kind.',
  example: 'lead',
});
export const assignmentMethod = z.enum(assignmentMethods).meta({
  id: 'AssignmentMethod',
  description: 'round_robin: in turn, per key. least_loaded: whoever has the fewest open leads and follow-ups.',
  example: 'round_robin',
});
export const assignmentKey = z.enum(assignmentKeys).meta({
  id: 'AssignmentKey',
  description: 'The field of the lead or customer that chooses the group.',
  example: 'country',
});

export const assignmentGroup = z
  .strictObject({
    value: boundedText(100)
      .nullable()
      .meta({ description: 'Value of the key; null: all other values.', example: 'DE' }),
    members: z
      .array(boundedText(200))
      .min(1)
      .max(200)
      .meta({ description: 'Members of staff.', example: ['maria', 'jo'] }),
  })
  .meta({ id: 'AssignmentGroup' });

/** As GraphQL has other types for what goes in. */
export const assignmentGroupInput = assignmentGroup.meta({ id: 'AssignmentGroupInput' });

export const ruleMembers = {
  name: text(200).plain().required().says('Your name for it.', 'Leads by country'),
  purpose: words(assignmentPurpose).required(),
  method: words(assignmentMethod).required(),
  key: words(assignmentKey).says('null: one group for all.'),
  groups: json(z.array(assignmentGroupInput).min(1).max(500)).plain().required().answers(z.array(assignmentGroup)),
  position: integer(0, 1_000_000).defaultsTo(0).says('Rules are tried in this order. Default: 0.'),
  active: boolean().defaultsTo(true).says('Whether the rule is active. Default: true.'),
};

export const ruleFields = {
  id: key(),
  version: version(),
  ...ruleMembers,
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** Who gets new leads and follow-ups. The first active rule of the purpose that has members for the key decides. */
export const assignmentRules = storedTable('assignment_rules', {
  name: 'assignmentRules',
  label: 'Assignment rules',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'assignment_rule' },
  fields: ruleFields,
});

/**
 * Whose turn it is: a row per rule, group and list of members, which is the lock that keeps turns fair. A rule of
 * `least_loaded` has one row, so that its counts are made one after the other. No foreign key to the rule: a turn may be
 * taken while its rule is being deleted, and is not to fail for it.
 */
export const assignmentTurns = storedTable('assignment_turns', {
  name: 'assignmentTurns',
  label: 'Turns of assignment rules',
  access: 'service',
  nature: 'derived',
  owner: null,
  key: ['ruleId', 'value', 'members'],
  guard: null,
  fields: {
    ruleId: recordId().required().internal(),
    /** The value of the group; empty for the group without one. */
    value: code(100).plain().required().internal(),
    /** Digest of the members in their order: another list begins another count. */
    members: code(100).plain().required().internal(),
    /** Turns taken so far. */
    turn: count().required().internal(),
  },
});

const given = {
  customerId: ownerId(() => customers.id),
  id: key(),
  purpose: words(assignmentPurpose).required(),
  followUpId: recordId().says('The follow-up that was given; null: the lead itself.'),
  owner: text(200).plain(),
  previousOwner: text(200).plain(),
  ruleId: recordId().says('null: assigned by hand.'),
  keyValue: text(100)
    .personal()
    .says('The value of the group that decided; null: the group for all other values, or assigned by hand.'),
  method: words(assignmentMethod).says('null: assigned by hand.'),
  by: text(200).plain().required().says('The client that requested it.'),
  at: instant().required(),
};

/** The history of who was given what. */
export const assignments = storedTable('assignments', {
  name: 'assignments',
  label: 'Who was assigned to the customer',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'assignment',
  feed: { kind: 'assignment', list: 'listAssignments' },
  follows: 'followUpId',
  fields: given,
  extras: (t) => [index('assignments_at').on(t.at, t.id), index('assignments_owner').on(t.owner, t.at, t.id)],
});

export const assignmentRuleInput = z.strictObject(inputShape(ruleMembers)).meta({
  id: 'AssignmentRuleInput',
  example: {
    name: 'Leads by country',
    purpose: 'lead',
    method: 'round_robin',
    key: 'country',
    groups: [
      { value: 'DE', members: ['maria', 'jo'] },
      { value: null, members: ['kim'] },
    ],
  },
});
export type AssignmentRuleInput = z.output<typeof assignmentRuleInput>;
export const assignmentRulePatch = z
  .strictObject(inputShape(ruleMembers))
  .partial()
  .meta({ id: 'AssignmentRulePatch' });

export const assignmentRule = z
  .strictObject(outputShape(ruleFields))
  .meta({ id: 'AssignmentRule', description: 'Decides who gets new leads or follow-ups.' });
export type AssignmentRule = z.output<typeof assignmentRule>;
export type AssignmentRuleRow = typeof assignmentRules.$inferSelect;

export const assignment = z
  .strictObject(outputShape(given))
  .meta({ id: 'Assignment', description: 'Who was assigned what, when and by which rule.' });
export type Assignment = z.output<typeof assignment>;
