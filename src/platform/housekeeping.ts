import { z } from 'zod';
import { forgetAnswers } from './idempotency.ts';
import { type AnyJob, job } from './jobs.ts';

const hour = 3_600_000;

/** Answers under idempotency keys are kept for 48 hours; every hour those that are older go. */
export const forgetOldAnswers = job({
  name: 'forgetOldAnswers',
  payload: z.strictObject({}),
  recurring: '7 * * * *',
  run: async (services, _payload, { now }) => {
    await forgetAnswers(services.db, new Date(Date.parse(now) - 48 * hour).toISOString());
  },
});

export const housekeepingJobs: readonly AnyJob[] = [forgetOldAnswers];
