import { bigint, boolean, index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { customers } from '../customers/record.ts';

/** Who gets new leads and follow-ups. The first active rule of the purpose that has members for the key decides. */
export const assignmentRules = pgTable('assignment_rules', {
  id: uuid('id').primaryKey(),
  version: integer('version').notNull(),
  name: textColumn('name').notNull(),
  purpose: textColumn('purpose').$type<AssignmentPurpose>().notNull(),
  method: textColumn('method').$type<AssignmentMethod>().notNull(),
  key: textColumn('key').$type<AssignmentKey>(),
  /** `[{ value, members }]`; the group whose value is null takes what no other does. */
  groups: json('groups').notNull(),
  position: integer('position').notNull(),
  active: boolean('active').notNull(),
  createdAt: instantColumn('created_at').notNull(),
  updatedAt: instantColumn('updated_at').notNull(),
});

/**
 * Whose turn it is: a row per rule, group and list of members, which is the lock that keeps turns fair. A rule of
 * `least_loaded` has one row, so that its counts are made one after the other. No foreign key to the rule: a turn may be
 * taken while its rule is being deleted, and is not to fail for it.
 */
export const assignmentTurns = pgTable(
  'assignment_turns',
  {
    ruleId: uuid('rule_id').notNull(),
    /** The value of the group; empty for the group without one. */
    value: code('value').notNull(),
    /** Digest of the members in their order: another list begins another count. */
    members: code('members').notNull(),
    /** Turns taken so far. */
    turn: bigint('turn', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.ruleId, t.value, t.members] })],
);

/** The history of who was given what. */
export const assignments = pgTable(
  'assignments',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    purpose: textColumn('purpose').$type<AssignmentPurpose>().notNull(),
    /** The follow-up that was given; null: the lead itself. */
    followUpId: uuid('follow_up_id'),
    owner: textColumn('owner'),
    previousOwner: textColumn('previous_owner'),
    ruleId: uuid('rule_id'),
    /** The value of the group that decided. */
    keyValue: textColumn('key_value'),
    /** null: by hand. */
    method: textColumn('method').$type<AssignmentMethod>(),
    by: textColumn('by').notNull(),
    at: instantColumn('at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('assignments_at').on(t.at, t.id),
    index('assignments_owner').on(t.owner, t.at, t.id),
  ],
);

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
export const assignmentKey = z
  .enum(assignmentKeys)
  .meta({ id: 'AssignmentKey', description: 'What of the lead or customer chooses the group.', example: 'country' });

export const assignmentGroup = z
  .strictObject({
    value: text(100).nullable().meta({ description: 'Value of the key; null: every other.', example: 'DE' }),
    members: z
      .array(text(200))
      .min(1)
      .max(200)
      .meta({ description: 'Members of staff.', example: ['maria', 'jo'] }),
  })
  .meta({ id: 'AssignmentGroup' });

/** As GraphQL has other types for what goes in. */
export const assignmentGroupInput = assignmentGroup.meta({ id: 'AssignmentGroupInput' });

const members = {
  name: text(200).meta({ example: 'Leads by country' }),
  purpose: assignmentPurpose,
  method: assignmentMethod,
  key: assignmentKey.nullable().optional().meta({ description: 'null: one group for all.' }),
  groups: z.array(assignmentGroupInput).min(1).max(500),
  position: z
    .int()
    .min(0)
    .max(1_000_000)
    .optional()
    .meta({ description: 'Rules are tried in this order; 0 unless told.' }),
  active: z.boolean().optional().meta({ description: 'true unless told.' }),
};

export const assignmentRuleInput = z.strictObject(members).meta({
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
export const assignmentRulePatch = z.strictObject(members).partial().meta({ id: 'AssignmentRulePatch' });
export type AssignmentRulePatch = z.output<typeof assignmentRulePatch>;

export const assignmentRule = z
  .strictObject({
    id,
    name: z.string(),
    purpose: assignmentPurpose,
    method: assignmentMethod,
    key: assignmentKey.nullable(),
    groups: z.array(assignmentGroup),
    position: z.int(),
    active: z.boolean(),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'AssignmentRule', description: 'Decides who gets new leads or follow-ups.' });
export type AssignmentRule = z.output<typeof assignmentRule>;

export const assignment = z
  .strictObject({
    id,
    customerId: id,
    purpose: assignmentPurpose,
    followUpId: id.nullable().meta({ description: 'The follow-up that was given; null: the lead itself.' }),
    owner: z.string().nullable(),
    previousOwner: z.string().nullable(),
    ruleId: id.nullable().meta({ description: 'null: by hand.' }),
    keyValue: personal(
      z
        .string()
        .meta({ description: 'The value of the group that decided; null: the group for every other, or by hand.' }),
    ),
    method: assignmentMethod.nullable().meta({ description: 'null: by hand.' }),
    by: z.string().meta({ description: 'The client that asked for it.' }),
    at: instant,
  })
  .meta({ id: 'Assignment', description: 'Who was given what, when and by which rule.' });
export type Assignment = z.output<typeof assignment>;
