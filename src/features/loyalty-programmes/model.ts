import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn, json } from '../../platform/db/columns.ts';

/**
 * A loyalty programme. `rules` is the document being worked on; publishing freezes it as the next version, and what is
 * earned is earned by the version in force when the order was placed.
 */
export const loyaltyProgrammes = pgTable(
  'loyalty_programmes',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    status: textColumn('status').$type<ProgrammeStatus>().notNull(),
    rules: json('rules').notNull(),
    /** From here on nothing is earned; what was can still be spent. */
    endedAt: instantColumn('ended_at'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('loyalty_programmes_created').on(t.createdAt, t.id)],
);

/** The published rules, never changed again. The one in force at t: the latest with `validFrom` ≤ t. */
export const loyaltyProgrammeVersions = pgTable(
  'loyalty_programme_versions',
  {
    programmeId: uuid('programme_id')
      .notNull()
      .references(() => loyaltyProgrammes.id),
    /** 1, 2, 3 … */
    number: integer('number').notNull(),
    rules: json('rules').notNull(),
    validFrom: instantColumn('valid_from').notNull(),
    publishedAt: instantColumn('published_at').notNull(),
    publishedBy: textColumn('published_by').notNull(),
  },
  (t) => [primaryKey({ columns: [t.programmeId, t.number] })],
);

export const programmeStatuses = ['draft', 'active', 'ended'] as const;
export type ProgrammeStatus = (typeof programmeStatuses)[number];
export const programmeStatus = z.enum(programmeStatuses).meta({ id: 'LoyaltyProgrammeStatus', example: 'active' });
