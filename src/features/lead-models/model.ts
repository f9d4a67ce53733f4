import { integer, pgTable, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { instant as instantColumn, json } from '../../platform/db/columns.ts';

/** Learned lead scores: what was trained when on what, and what came of it. Nothing in here is about one person. */
export const leadModels = pgTable('lead_models', {
  id: uuid('id').primaryKey(),
  /** 1, 2, 3 … in the order of the requests. */
  number: integer('number').notNull().unique(),
  status: textColumn('status').$type<LeadModelStatus>().notNull(),
  /** What was asked for: window, horizon, excluded fields, minimum of conversions. */
  parameters: json('parameters').notNull(),
  /** Vocabulary and scales, coefficients; null until trained. */
  model: json('model'),
  /** Leads, conversions, AUC of the folds, calibration, lift; null until trained. */
  quality: json('quality'),
  /** `{ code, message }`: why it was refused or failed. */
  reason: json('reason'),
  requestedBy: textColumn('requested_by').notNull(),
  createdAt: instantColumn('created_at').notNull(),
  startedAt: instantColumn('started_at'),
  finishedAt: instantColumn('finished_at'),
});

export const leadModelStatuses = ['queued', 'training', 'ready', 'refused', 'failed'] as const;
export type LeadModelStatus = (typeof leadModelStatuses)[number];
