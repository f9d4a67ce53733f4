import type { Audit, AuditEntry } from '../../platform/audit.ts';
import { type Db, insertRow, insertRows, param, statement } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import type { Log } from '../../platform/jobs.ts';
import { auditEntries } from './record.ts';

const entryInsert = insertRow(auditEntries);
const insertOne = statement('audit_change', entryInsert.sql);
const insertSet = statement('audit_reads', insertRows(auditEntries, param('rows')));

interface Limits {
  /** Reads are written down this often, in milliseconds. */
  interval: number;
  /** Entries and ids of customers that are kept until then; some tens of megabytes. */
  capacity: number;
  /** The same of one statement. */
  largestSet: number;
  /** Milliseconds after the database refused a set. */
  pause: number;
}

const usual: Limits = { interval: 100, capacity: 200_000, largestSet: 20_000, pause: 1000 };

/** Entries in the database. Those of changes go into their transactions, those of reads are collected here. */
export interface AuditRecord extends Audit {
  /** Writes what is left; after the last answer. */
  close(): Promise<void>;
}

/**
 * Writes entries of reads in sets, so that a read waits for nothing. What has been answered for less than some 100 ms is in
 * memory alone and is lost with a process that is killed (SIGKILL, power). While the database takes nothing the entries
 * wait; when there is no more room for them, personal data is not answered any more.
 */
export function openAuditRecord(db: Db, log: Log, limits: Partial<Limits> = {}): AuditRecord {
  const { interval, capacity, largestSet, pause } = { ...usual, ...limits };
  let waiting: AuditEntry[] = [];
  let size = 0;
  let timer: NodeJS.Timeout | null = null;
  let writing: Promise<boolean> | null = null;

  function schedule(after: number): void {
    timer ??= setTimeout(() => {
      timer = null;
      void flush();
    }, after).unref();
  }

  /** Writes one set; false when the database did not take it. One at a time. */
  function flush(): Promise<boolean> {
    writing ??= writeSet().finally(() => {
      writing = null;
    });
    return writing;
  }

  async function writeSet(): Promise<boolean> {
    const count = setLength(waiting, largestSet);
    const set = waiting.slice(0, count);
    if (set.length === 0) return true;
    try {
      await db.all(insertSet, { rows: JSON.stringify(set) });
    } catch (error) {
      log.error({ err: error, waiting: waiting.length }, 'reads could not be written to the audit');
      schedule(pause);
      return false;
    }
    waiting = waiting.slice(count);
    for (const entry of set) size -= weight(entry);
    if (waiting.length > 0) schedule(0);
    return true;
  }

  return {
    changed: (tx, entry) => tx.asService((service) => service.pipeline(insertOne, entryInsert.values(entry))),
    admit() {
      if (size < capacity) return;
      throw new Problem('unavailable', 'Earlier reads cannot be written to the audit at the moment. Try again later.', {
        headers: { 'Retry-After': '1' },
      });
    },
    seen(entry) {
      waiting.push(entry);
      size += weight(entry);
      schedule(interval);
    },
    async close() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      while (waiting.length > 0 && (await flush()));
      if (timer !== null) clearTimeout(timer);
      if (waiting.length > 0) log.error({ lost: waiting.length }, 'the audit of reads is incomplete');
    },
  };
}

function weight({ customerIds }: AuditEntry): number {
  return 1 + customerIds.length;
}

/** How many of the entries make one statement: at least one. */
function setLength(entries: readonly AuditEntry[], largestSet: number): number {
  let total = 0;
  for (const [index, entry] of entries.entries()) {
    total += weight(entry);
    if (total > largestSet) return Math.max(1, index);
  }
  return entries.length;
}
