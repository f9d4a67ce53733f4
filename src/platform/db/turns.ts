import { Problem } from '../errors.ts';

/**
 * What wants a connection: a `statement` by itself, a `transaction`, or a transaction that has met a lock which somebody holds
 * for long (`contended`).
 */
export type Lane = 'statement' | 'transaction' | 'contended';

interface Waiter {
  since: number;
  timer: NodeJS.Timeout;
  go(refusal: Problem | null): void;
}

const lanes: readonly Lane[] = ['statement', 'transaction', 'contended'];

/** Milliseconds that a request waits for a connection. */
const usualPatience = 5_000;

/**
 * Whose turn it is to have a connection of a pool. Transactions leave some to single statements, and those that wait for a lock
 * leave most to all others: however many wait for one customer, others are read and written. First come, first served within a lane,
 * and between lanes as far as they may have more.
 */
export class Turns {
  readonly #patience: Readonly<Record<Lane, number>>;
  readonly #most: Readonly<Record<Lane, number>>;
  readonly #used: Record<Lane, number> = { statement: 0, transaction: 0, contended: 0 };
  readonly #waiting: Readonly<Record<Lane, Set<Waiter>>> = {
    statement: new Set(),
    transaction: new Set(),
    contended: new Set(),
  };

  /** @param lockPatience milliseconds that `contended` ones wait for their turn: what they wait for may take as long */
  constructor(size: number, lockPatience: number, patience = usualPatience) {
    this.#patience = { statement: patience, transaction: patience, contended: Math.max(patience, lockPatience) };
    this.#most = {
      statement: size,
      transaction: Math.max(1, size - Math.max(1, Math.floor(size / 4))),
      contended: Math.max(1, Math.floor(size / 5)),
    };
  }

  /** @param go called at once or later: with null when it is its turn (then `give` has to follow), with a problem when that took too long */
  take(lane: Lane, go: (refusal: Problem | null) => void): void {
    if (this.#isFree(lane) && this.#waiting[lane].size === 0) {
      this.#used[lane] += 1;
      go(null);
      return;
    }
    // Whoever comes when others have waited for so long would wait too long: it is told at once. Who was here already is not.
    if (lane !== 'contended' && this.#oldestWait(lane) > this.#patience[lane] / 2) {
      go(full());
      return;
    }
    const waiter: Waiter = {
      since: performance.now(),
      go,
      timer: setTimeout(() => {
        this.#waiting[lane].delete(waiter);
        go(full());
      }, this.#patience[lane]),
    };
    this.#waiting[lane].add(waiter);
  }

  give(lane: Lane): void {
    this.#used[lane] -= 1;
    for (let next = this.#next(); next; next = this.#next()) {
      this.#waiting[next.lane].delete(next.waiter);
      clearTimeout(next.waiter.timer);
      this.#used[next.lane] += 1;
      next.waiter.go(null);
    }
  }

  /** How many wait, and for how many seconds the first of them has. */
  get state(): { waiting: number; longest: number } {
    const waiting = lanes.reduce((sum, lane) => sum + this.#waiting[lane].size, 0);
    return { waiting, longest: Math.max(...lanes.map((lane) => this.#oldestWait(lane))) / 1000 };
  }

  /** Who has waited longest of those that may go. */
  #next(): { lane: Lane; waiter: Waiter } | null {
    let found: { lane: Lane; waiter: Waiter } | null = null;
    for (const lane of lanes) {
      const [waiter] = this.#waiting[lane];
      if (waiter && this.#isFree(lane) && (!found || waiter.since < found.waiter.since)) found = { lane, waiter };
    }
    return found;
  }

  #isFree(lane: Lane): boolean {
    const { statement, transaction, contended } = this.#used;
    if (statement + transaction + contended >= this.#most.statement) return false;
    if (lane === 'statement') return true;
    return (
      transaction + contended < this.#most.transaction && (lane === 'transaction' || contended < this.#most.contended)
    );
  }

  #oldestWait(lane: Lane): number {
    const [first] = this.#waiting[lane];
    return first ? performance.now() - first.since : 0;
  }
}

function full(): Problem {
  return new Problem(
    'busy',
    'There are more requests than the database can take. Send the request again later, with the same Idempotency-Key.',
    { headers: { 'Retry-After': '2' } },
  );
}
