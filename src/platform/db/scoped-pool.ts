import type pg from 'pg';
import type { ScopedTo } from '../principal.ts';
import { type CommandComplete, type DataRow, type Done, RowQuery, type Sent } from './row-query.ts';

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
export function prepareScope(client: pg.ClientBase, kind: ScopedTo['kind']): void {
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
export class ScopedQuery extends RowQuery {
  readonly #id: string;
  #scoping = true;

  constructor(sent: Sent, types: pg.CustomTypesConfig, done: Done, to: ScopedTo) {
    super(sent, types, done);
    this.#id = to.id;
  }

  override write(connection: pg.Connection): boolean {
    connection.bind({ statement: prepared, values: [this.#id] }, true);
    connection.execute({}, true);
    return super.write(connection);
  }

  override dataRow(message: DataRow): void {
    if (!this.#scoping) super.dataRow(message);
  }

  override commandComplete(message: CommandComplete): boolean {
    if (!this.#scoping) return super.commandComplete(message);
    this.#scoping = false;
    return false;
  }
}
