import pg from 'pg';

/** How many statements the service sends while `work` runs: all connections of this process go through one method. */
export async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const original = pg.Client.prototype.query;
  let sent = 0;
  pg.Client.prototype.query = function counted(this: pg.Client, ...args: unknown[]) {
    sent += 1;
    return Reflect.apply(original, this, args);
  } as typeof original; // overloads
  try {
    await work();
  } finally {
    pg.Client.prototype.query = original;
  }
  return sent;
}
