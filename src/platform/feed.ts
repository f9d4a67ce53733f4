import { sql } from 'drizzle-orm';
import { type Db, param, statement } from './db/client.ts';

/** The change feed as far as it is complete: the tables and functions are those of migrations/0022_change_feed.sql. */
export interface Feed {
  /** How long events are kept, days. */
  readonly keptDays: number;
  /** The position up to which nothing is missing and nothing will be added, and the last one that is not kept any more. */
  ends(): Promise<FeedEnds>;
  /** Resolves when the feed is complete beyond a position, after `milliseconds`, or when the service stops: whichever comes first. */
  beyond(position: number, milliseconds: number): Promise<void>;
  readonly stopped: boolean;
  /** Nobody waits any longer. */
  stop(): void;
}

export interface FeedEnds {
  settled: number;
  dropped: number;
}

const ends = statement<FeedEnds>('feed_ends', sql`select settled, dropped from feed.settled()`, { lookup: true });
const tend = statement<unknown>(
  'tend_feed',
  sql`select feed.tend(${param('now')}::timestamptz, ${param('kept')}::timestamptz)`,
);

/** All who wait share one look at the database, this often, milliseconds. */
const interval = 100;

export function openFeed(db: Db, keptDays: number): Feed {
  const waiting = new Set<{ position: number; done: () => void }>();
  let timer: NodeJS.Timeout | null = null;
  let stopped = false;

  async function look(): Promise<void> {
    // If the database is away, those who wait meet that themselves when their time is up.
    const found = await db.first(ends).catch(() => null);
    for (const one of [...waiting]) if (found && found.settled > one.position) one.done();
    timer = null;
    schedule();
  }

  function schedule(): void {
    if (waiting.size > 0 && !stopped) timer ??= setTimeout(look, interval);
  }

  return {
    keptDays,
    get stopped() {
      return stopped;
    },
    async ends() {
      return (await db.first(ends)) ?? { settled: 0, dropped: 0 };
    },
    beyond: (position, milliseconds) =>
      new Promise((resolve) => {
        if (stopped) return resolve();
        const limit = setTimeout(done, milliseconds);
        const one = { position, done };
        function done() {
          clearTimeout(limit);
          waiting.delete(one);
          resolve();
        }
        waiting.add(one);
        schedule();
      }),
    stop() {
      stopped = true;
      if (timer) clearTimeout(timer);
      for (const one of [...waiting]) one.done();
    },
  };
}

/** Makes partitions for the weeks to come and drops those of events that are kept no longer. */
export async function tendFeed(db: Db, { now, keptDays }: { now: string; keptDays: number }): Promise<void> {
  await db.all(tend, { now, kept: new Date(Date.parse(now) - keptDays * 86_400_000).toISOString() });
}
