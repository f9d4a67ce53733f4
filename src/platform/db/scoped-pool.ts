import pg from 'pg';
import type { ScopedTo } from '../principal.ts';

/**
 * Connections of a database role that sees no customers but those the token is scoped to: row-level security (access.ts) asks
 * for its id in every statement, and a statement without one sees nothing. What takes a pool takes this as well.
 */
export class ScopedPool {
  readonly pool: pg.Pool;
  readonly scopedTo: ScopedTo;

  constructor(pool: pg.Pool, scopedTo: ScopedTo) {
    if (!uuid.test(scopedTo.id)) throw new TypeError('A token is scoped to a UUID');
    this.pool = pool;
    this.scopedTo = scopedTo;
  }
}

export type Pool = pg.Pool | ScopedPool;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What the policies read. */
export const scopeSetting = { partner: 'rapport.partner', customer: 'rapport.customer' } as const;

/** Scopes what follows in the transaction; the id was checked to be a UUID. */
export function scopeTransaction({ kind, id }: ScopedTo): string {
  return `SET LOCAL ${scopeSetting[kind]} = '${id}'`;
}

const prepared = 'rapport_scope';

/** Every connection of a scoped pool has the statement that scopes it; it is sent before anything else can be. */
export function prepareScope(client: pg.PoolClient, kind: ScopedTo['kind']): void {
  // Without a row: nobody wants it.
  const text = `select where set_config('${scopeSetting[kind]}', $1, true) is null`;
  // If it fails, so does everything that needs it.
  client.query({ name: prepared, text, values: [''] }).catch(() => undefined);
}

/**
 * One statement as a scoped token: the setting and the statement stand before one Sync and so are one transaction, with whose end
 * the setting is gone. Neither an error nor a cancellation can leave it behind, and what is sent next on the same
 * connection, sent together even, is a transaction of its own.
 */
export class ScopedQuery extends pg.Query {
  readonly #id: string;
  #scoping = true;

  constructor(config: pg.QueryConfig, { id }: ScopedTo) {
    super(config);
    this.#id = id;
  }

  /** The driver's hook for what has values or a name. */
  prepare(connection: pg.Connection): void {
    connection.bind({ statement: prepared, values: [this.#id] }, true);
    connection.execute({}, true);
    extendedQuery.prepare.call(this, connection);
  }

  /** Everything goes this way: a statement of the simple protocol would be sent without the setting. */
  requiresPreparation(): boolean {
    return true;
  }

  handleDataRow(message: unknown): void {
    if (!this.#scoping) extendedQuery.handleDataRow.call(this, message);
  }

  handleCommandComplete(message: unknown, connection: pg.Connection): void {
    if (this.#scoping) this.#scoping = false;
    else extendedQuery.handleCommandComplete.call(this, message, connection);
  }
}

// These methods are missing from the types of the driver; access.test.ts sees that they are what scopes a statement.
const extendedQuery = pg.Query.prototype as unknown as {
  prepare(connection: pg.Connection): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: pg.Connection): void;
};
