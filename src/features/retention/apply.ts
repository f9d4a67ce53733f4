import { z } from 'zod';
import { addDays, addMonths } from '../../domain/period.ts';
import { auditEntry, background } from '../../platform/audit.ts';
import { type Transaction, transaction } from '../../platform/db/client.ts';
import { forgetAnswers } from '../../platform/idempotency.ts';
import { newId } from '../../platform/ids.ts';
import { enqueueAll, job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { id } from '../../platform/values.ts';
import { eraseCustomers } from '../privacy/erase.ts';
import { eraseCustomer } from '../privacy/erase-operations.ts';
import { type Aged, kinds } from './kinds.ts';
import {
  dueAmong,
  getRule,
  insertRuns,
  type Looked,
  lockFreeCustomers,
  lockRun,
  look,
  noteProgress,
  type RuleRow,
  type RunRow,
  remove,
  rulesToApply,
} from './queries.ts';
import type { RetentionUnit } from './record.ts';

/** The instant before which a rule removes, at `now`. */
export function edgeOf({ after, unit }: { after: number; unit: RetentionUnit }, now: string): string {
  return unit === 'months' ? addMonths(now, -after) : addDays(now, -after);
}

/** A run of a rule as it is now. */
export function newRun(
  rule: RuleRow,
  now: string,
  asked: { requestedBy: string | null; matching: number | null },
): RunRow {
  return {
    id: newId(),
    version: 1,
    ruleId: rule.id,
    ruleVersion: rule.version,
    kind: rule.kind,
    conditions: rule.conditions,
    before: edgeOf(rule, now),
    ...asked,
    status: 'queued',
    examined: 0,
    removed: 0,
    skipped: 0,
    position: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
  };
}

/** Puts new runs on record and into the queue. */
export async function startRuns(tx: Transaction, runs: RunRow[]): Promise<void> {
  await insertRuns(tx, runs);
  enqueueAll(
    tx,
    runRetention,
    runs.map(({ id: runId }) => ({ payload: { runId }, key: runId })),
  );
}

/** Every night each enabled rule gets a run, unless its last one is still under way. */
export const applyRetention = job({
  name: 'applyRetention',
  payload: z.strictObject({}),
  recurring: '23 2 * * *',
  run: ({ pool }, _payload, { now }) =>
    transaction(pool, async (tx) => {
      const rules = await rulesToApply(tx, now);
      await startRuns(
        tx,
        rules.map((rule) => newRun(rule, now, { requestedBy: null, matching: null })),
      );
    }),
});

/**
 * Works a run off in small steps, each with its progress in one transaction: a process that dies leaves a run that the
 * next one takes up where it was. Customers whom somebody else is at work on are left for the next run.
 */
export const runRetention = job({
  name: 'runRetention',
  payload: z.strictObject({ runId: id }),
  queue: 'retention',
  async run(services, { runId }, { now, signal }) {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      more = await step(services, runId, now);
    }
  },
});

export const retentionJobs = [applyRetention, runRetention];

/** @returns whether there is more to do */
async function step(services: Services, runId: string, now: string): Promise<boolean> {
  const next = await transaction(services.pool, async (tx) => {
    const run = await lockRun(tx, runId);
    if (run === null || run.finishedAt !== null) return null;
    const begun = { ...run, version: run.version + 1, startedAt: run.startedAt ?? now };
    const rule = await getRule(tx, run.ruleId);
    // Whoever disables or deletes a rule means what it is about to do.
    if (rule?.version !== run.ruleVersion) {
      await noteProgress(tx, { ...begun, status: 'cancelled', finishedAt: now });
      return null;
    }
    const { aged } = kinds[run.kind];
    const after = aged === null ? begun : await advance(tx, services, aged, begun, now);
    await noteProgress(tx, after);
    return after;
  });
  if (next === null) return false;
  if (kinds[next.kind].aged !== null) return next.finishedAt === null;
  // In steps of its own, and nothing is locked for them.
  const forgotten = await forgetAnswers(services.db, next.before);
  await transaction(services.pool, (tx) =>
    noteProgress(tx, {
      ...next,
      version: next.version + 1,
      status: 'finished',
      examined: forgotten,
      removed: forgotten,
      finishedAt: now,
    }),
  );
  return false;
}

/** One step of a run: the next records, of which some go. */
async function advance(tx: Transaction, services: Services, aged: Aged, run: RunRow, now: string): Promise<RunRow> {
  const looked = await look(tx, aged, run, run.position, now);
  const last = looked.at(-1);
  const due = looked.filter((record) => record.due);
  const free = await lockFreeCustomers(
    tx,
    due.flatMap(({ customerId }) => customerId ?? []),
  );
  const mine = due.filter(({ customerId }) => customerId === null || free.has(customerId));
  const removed = await removeRecords(tx, services, aged, run, mine, now);
  const done = looked.length < aged.step;
  return {
    ...run,
    status: done ? 'finished' : 'running',
    examined: run.examined + looked.length,
    removed: run.removed + removed,
    skipped: run.skipped + due.length - mine.length,
    position: last === undefined ? run.position : { at: last.at, id: last.id },
    finishedAt: done ? now : null,
  };
}

/** @returns how many records it were */
async function removeRecords(
  tx: Transaction,
  services: Services,
  aged: Aged,
  run: RunRow,
  records: Looked[],
  now: string,
): Promise<number> {
  if (aged.remove !== 'erase') {
    const removed = await remove(tx, aged.remove, records, run, now);
    if (removed > 0)
      note(tx, services, run, now, { name: runRetention.name, scope: 'retention:write' }, customersOf(records));
    return removed;
  }
  const ids = await dueAmong(tx, aged, run, customersOf(records), now);
  const { erased } = await eraseCustomers(tx, { now, tombstones: services.tombstones }, ids);
  for (const one of erased) note(tx, services, run, now, eraseCustomer, [one]);
  return erased.length;
}

function customersOf(records: Looked[]): string[] {
  return [...new Set(records.flatMap(({ customerId }) => customerId ?? []))];
}

/** What the schedule does is done by nobody: the rule's run stands for the request. */
function note(
  tx: Transaction,
  { audit }: Services,
  run: RunRow,
  now: string,
  operation: { name: string; scope: string },
  customerIds: string[],
): void {
  const principal = createPrincipal(run.requestedBy ?? 'retention', []);
  const caller = { principal, requestId: run.id, now, origin: background };
  const what = { kind: 'write' as const, customerIds, recordIds: [run.id] };
  audit.changed(tx, auditEntry(caller, operation, what));
}
