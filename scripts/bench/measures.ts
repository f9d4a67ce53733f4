import { abuse } from './abuse.ts';
import { answers } from './answers.ts';
import { duplicates } from './duplicates.ts';
import { graphql } from './graphql.ts';
import { ingest } from './ingest.ts';
import { leads } from './leads.ts';
import { loyalty } from './loyalty.ts';
import type { Mark, Measure } from './measure.ts';
import { metrics } from './metrics.ts';
import { partner } from './partner.ts';
import { start } from './process.ts';
import { rare } from './rare.ts';
import { reads } from './reads.ts';
import { searches } from './search.ts';
import { soak } from './soak.ts';
import type { Filling } from './stores.ts';
import { training } from './training.ts';
import { webhooks } from './webhooks.ts';
import { writes } from './writes.ts';

/** Rows, and what is measured on them. */
export interface Subject {
  /** `rows` is the number without an option. */
  filling: Filling;
  /** Also without being named. */
  usual: boolean;
  /** Megabytes. */
  memory: { atStart?: Mark; atMost: Mark };
  /** In the order in which they run: what reads before what writes, as the versions have the same rows until then. */
  groups: Record<string, Measure<never>[]>;
}

const memory = { atStart: { within: 130 }, atMost: { within: 180 } };

/** A measure is an entry of one of these lists: its name, its mark, and what is asked. */
export const subjects: Subject[] = [
  {
    filling: { kind: 'orders', file: 'store.ts', fill: 'fillStore', rows: 1_000_000 },
    usual: true,
    memory,
    // What is hostile comes late, as it raises the most memory used.
    groups: {
      start: [start],
      reads,
      graphql,
      metrics,
      rare,
      searches,
      writes,
      ingest,
      loyalty,
      partner,
      webhooks: [webhooks],
      abuse,
      soak: [soak],
    },
  },
  {
    filling: { kind: 'leads', file: 'lead-store.ts', fill: 'fillLeadStore', rows: 1_000_000 },
    usual: true,
    memory,
    groups: { leads },
  },
  {
    filling: { kind: 'training', file: 'training-store.ts', fill: 'fillTrainingStore', rows: 100_000 },
    usual: false,
    memory: { atMost: { within: 400 } },
    groups: { training },
  },
  {
    filling: { kind: 'answers', file: 'answer-store.ts', fill: 'fillAnswerStore', rows: 1_000_000 },
    usual: false,
    memory,
    groups: { answers },
  },
  {
    filling: { kind: 'duplicates', file: 'duplicate-store.ts', fill: 'fillDuplicateStore', rows: 1_000_000 },
    usual: false,
    memory,
    groups: { duplicates },
  },
];
