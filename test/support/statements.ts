import pg from 'pg';

/** What the service sends by itself now and then: the access directory, who has read what, that it is there, and what each new connection begins with. */
const inBackground =
  /^(tell|limit_transactions|(audit_reads|partner_settings|signing_keys|restricted_clients|revoked_tokens)_\d+)$/;

interface Sent {
  name?: string;
  members?: { sent: Sent }[];
}

/** One, or those of a group that is sent as one. */
function statementsIn(given: unknown): Sent[] {
  const sent = given as Sent; // or a text
  return sent.members?.map((member) => member.sent) ?? [sent];
}

/** How many statements the service sends for `work`: all connections of this process go through one method. */
export async function statementsOf(work: () => Promise<unknown>): Promise<number> {
  const original = pg.Client.prototype.query;
  let sent = 0;
  pg.Client.prototype.query = function counted(this: pg.Client, ...args: unknown[]) {
    sent += statementsIn(args[0]).filter(({ name = '' }) => !inBackground.test(name)).length;
    return Reflect.apply(original, this, args);
  } as typeof original; // overloads
  try {
    await work();
  } finally {
    pg.Client.prototype.query = original;
  }
  return sent;
}
