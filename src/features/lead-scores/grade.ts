import { z } from 'zod';

// In a file of its own: leads carry a grade, and rule sets know leads.
export const scoreGrades = ['A', 'B', 'C', 'D'] as const;
export type ScoreGrade = (typeof scoreGrades)[number];
export const scoreGrade = z.enum(scoreGrades).meta({ id: 'ScoreGrade', description: 'A is the best.', example: 'A' });
