import pg from 'pg';
import type { Confinement } from '../principal.ts';

/**
 * Connections of a database role that sees no customers but those of the confinement: row-level security (access.ts) asks
 * for its id in every statement, and a statement without one sees nothing. What takes a pool takes this as well.
 */
export class ConfinedPool {
  readonly pool: pg.Pool;
  readonly confinement: Confinement;

  constructor(pool: pg.Pool, confinement: Confinement) {
    if (!uuid.test(confinement.id)) throw new TypeError('A confinement is to a UUID');
    this.pool = pool;
    this.confinement = confinement;
  }
}

export type Pool = pg.Pool | ConfinedPool;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What the policies read. */
export const confinementSetting = { partner: 'rapport.partner', customer: 'rapport.customer' } as const;

/** Confines what follows in the transaction; the id was checked to be a UUID. */
export function confineTransaction({ kind, id }: Confinement): string {
  return `SET LOCAL ${confinementSetting[kind]} = '${id}'`;
}

const prepared = 'rapport_confine';

/** Every connection of a confined pool has the statement that confines; it is sent before anything else can be. */
export function prepareConfinement(client: pg.PoolClient, kind: Confinement['kind']): void {
  // Without a row: nobody wants it.
  const text = `select where set_config('${confinementSetting[kind]}', $1, true) is null`;
  // If it fails, so does everything that needs it.
  client.query({ name: prepared, text, values: [''] }).catch(() => undefined);
}

/**
 * One statement, confined: the setting and the statement stand before one Sync and so are one transaction, with whose end
 * the setting is gone. Neither an error nor a cancellation can leave it behind, and what is sent next on the same
 * connection, in the same packet even, is a transaction of its own.
 */
export class ConfinedQuery extends pg.Query {
  readonly #id: string;
  #confining = true;

  constructor(config: pg.QueryConfig, { id }: Confinement) {
    super(config);
    this.#id = id;
  }

  /** The driver's hook for what has values or a name. */
  prepare(connection: pg.Connection): void {
    connection.bind({ statement: prepared, values: [this.#id] }, true);
    connection.execute({}, true);
    extendedQuery.prepare.call(this, connection);
  }

  /** Everything goes this way: a statement of the simple protocol would be sent without its confinement. */
  requiresPreparation(): boolean {
    return true;
  }

  handleDataRow(message: unknown): void {
    if (!this.#confining) extendedQuery.handleDataRow.call(this, message);
  }

  handleCommandComplete(message: unknown, connection: pg.Connection): void {
    if (this.#confining) this.#confining = false;
    else extendedQuery.handleCommandComplete.call(this, message, connection);
  }
}

// These methods are missing from the types of the driver; access.test.ts sees that they are what confines.
const extendedQuery = pg.Query.prototype as unknown as {
  prepare(connection: pg.Connection): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: pg.Connection): void;
};
