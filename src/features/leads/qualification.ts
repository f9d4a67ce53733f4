import { z } from 'zod';
import { wasTakenBack } from '../../domain/lead-lifecycle.ts';
import { type Transaction, transaction } from '../../platform/db/client.ts';
import { job } from '../../platform/jobs.ts';
import { type Context, createContext, writeOperation, writeParameters } from '../../platform/operation.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { id } from '../../platform/values.ts';
import { lockCustomers } from '../customers/queries.ts';
import { qualifiedLeads } from '../lead-scores/queries.ts';
import { leadStates } from './queries.ts';
import { type LeadQualification, leadQualification } from './record.ts';
import { applyChanges, changeStage, type LeadChange, startChange } from './write.ts';

/** Leads of one transaction, at most. */
const chunk = 1_000;

export const qualifyLeads = writeOperation({
  name: 'qualifyLeads',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Move leads to the next stage by their scores',
  description:
    'Open leads whose score has reached a threshold of the rule set in force (`qualify.marketing`, `qualify.sales`) move on, by the rule `score_threshold`; never back, and never again to a stage that somebody moved them back from. Leads are taken in the order of their ids, up to `limit` at a time. The service does the same every hour; a dry run shows which leads would move.',
  input: z.strictObject({
    ...writeParameters,
    limit: z
      .int()
      .min(1)
      .max(chunk)
      .optional()
      .meta({ description: 'The most leads to move. Default: 1,000.', example: 500 }),
    after: id.optional().meta({ description: '`next` of the previous response.' }),
  }),
  output: leadQualification,
  idempotency: 'accepted',
  changed: ({ moves }) => moves.length > 0,
  run: (tx, context, { limit = chunk, after }) => qualify(tx, context, { limit, ...(after && { after }) }),
});

async function qualify(
  tx: Transaction,
  context: Context,
  wanted: { limit: number; after?: string },
): Promise<LeadQualification> {
  const found = (await qualifiedLeads(tx, context, wanted)).map((lead) => lead.id);
  const next = found.length < wanted.limit ? null : (found.at(-1) ?? null);
  if (found.length === 0) return { moves: [], next };
  const locked = await lockCustomers(tx, found, 'some');
  // Scores and stages as they are under the locks.
  const ids = [...locked.keys()];
  const [entitled, states] = await Promise.all([
    qualifiedLeads(tx, context, { ids, limit: wanted.limit }),
    leadStates(tx, ids),
  ]);
  const changes: LeadChange[] = [];
  const moves = entitled.flatMap(({ id: leadId, from, to, score }) => {
    const state = states.get(leadId);
    if (!state?.row) return [];
    const { lastFrom, lastRule } = state;
    // Who took it back from there knew more than the score.
    if (lastRule === null && lastFrom !== null && wasTakenBack(lastFrom, from, to)) return [];
    const change = { ...startChange(state), row: state.row };
    changes.push(changeStage(context, change, { to, rule: 'score_threshold', pointer: '/to' }));
    return [{ leadId, from, to, score }];
  });
  await applyChanges(tx, context, changes);
  return { moves, next };
}

/** Every hour: interactions raise scores without touching their leads. */
export const qualifyLeadsHourly = job({
  name: 'qualifyLeadsHourly',
  payload: z.strictObject({}),
  recurring: '27 * * * *',
  async run(services, _payload, { now, signal, log }) {
    const context = createContext(
      { ...services, clock: () => now },
      createPrincipal('rapport', []),
      'qualifyLeadsHourly',
    );
    let moved = 0;
    for (let after: string | null | undefined; after !== null; ) {
      signal.throwIfAborted();
      const wanted = { limit: chunk, ...(after && { after }) };
      const { moves, next } = await transaction(services.pool, (tx) => qualify(tx, context, wanted));
      moved += moves.length;
      after = next;
    }
    if (moved > 0) log.info({ moved }, 'leads moved on by their scores');
  },
});

export const leadJobs = [qualifyLeadsHourly];
