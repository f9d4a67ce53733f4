import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn, json } from '../../platform/db/columns.ts';

/** A survey; its questions are those of its current version. */
export const surveys = pgTable(
  'surveys',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    status: textColumn('status').$type<SurveyStatus>().notNull(),
    /** Number of the version whose questions are asked now. */
    currentVersion: integer('current_version').notNull(),
    openedAt: instantColumn('opened_at'),
    /** Answers from here on are refused; also set by closing it. */
    closesAt: instantColumn('closes_at'),
    journeyStage: textColumn('journey_stage'),
    channel: textColumn('channel'),
    language: textColumn('language'),
    settings: json('settings').notNull(),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('surveys_created').on(t.createdAt, t.id)],
);

/** The questions as they were asked; one that was answered never changes again. */
export const surveyVersions = pgTable(
  'survey_versions',
  {
    surveyId: uuid('survey_id')
      .notNull()
      .references(() => surveys.id),
    /** 1, 2, 3 … */
    number: integer('number').notNull(),
    questions: json('questions').notNull(),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.surveyId, t.number] })],
);

export const surveyStatuses = ['draft', 'open', 'closed'] as const;
export type SurveyStatus = (typeof surveyStatuses)[number];
export const surveyStatus = z.enum(surveyStatuses).meta({ id: 'SurveyStatus', example: 'open' });

export const questionTypes = ['nps', 'csat', 'ces', 'single_choice', 'multiple_choice', 'text'] as const;
export type QuestionType = (typeof questionTypes)[number];
export const questionType = z.enum(questionTypes).meta({
  id: 'QuestionType',
  description: 'nps: 0–10. csat, ces: a scale stored with the question. Choices among its options; text.',
  example: 'nps',
});
