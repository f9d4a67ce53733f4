import pg from 'pg';

/** What the service sends by itself now and then: the access directory, and who has read what. */
const inBackground = /^(audit_reads|partner_settings|signing_keys|restricted_clients|revoked_tokens)_\d+$/;

function nameOf(sent: unknown): string {
  return typeof sent === 'object' && sent !== null && 'name' in sent ? String(sent.name) : '';
}

/** One, or those of a group that is sent as one. */
function statementsIn(sent: unknown): unknown[] {
  const { members } = sent as { members?: unknown[] };
  return members ?? [sent];
}

/** How many statements the service sends for `work`: all connections of this process go through one method. */
export async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const original = pg.Client.prototype.query;
  let sent = 0;
  pg.Client.prototype.query = function counted(this: pg.Client, ...args: unknown[]) {
    sent += statementsIn(args[0]).filter((one) => !inBackground.test(nameOf(one))).length;
    return Reflect.apply(original, this, args);
  } as typeof original; // overloads
  try {
    await work();
  } finally {
    pg.Client.prototype.query = original;
  }
  return sent;
}
