import pg from 'pg';
import utils from 'pg/lib/utils.js';

/** What a statement is to the driver. */
export interface Sent {
  /** undefined: not prepared. */
  name: string | undefined;
  text: string;
  values: readonly unknown[];
}

/** How the columns of a statement become a row. */
interface Shape {
  names: readonly string[];
  parsers: readonly ((text: string) => unknown)[];
  /** Copied for each row, so that all rows have their members in one order. */
  empty: Readonly<Record<string, null>>;
}

type Row = Record<string, unknown>;

/** The shapes of the prepared statements of a connection, by name. */
const described = new WeakMap<pg.Connection, Map<string, Shape>>();

/**
 * One statement whose rows are decoded as they arrive. The driver's own query asks for a description of the columns and builds
 * a dictionary of parsers at every execution; this one does so once per connection and prepared statement.
 *
 * It extends the driver's query, because a pipelined connection takes no other class.
 */
export class RowQuery extends pg.Query {
  readonly #sent: Sent;
  readonly #types: pg.CustomTypesConfig;
  readonly #rows: Row[] = [];
  #connection: pg.Connection | null = null;
  #shape: Shape | null = null;
  #failure: unknown = null;

  /** @param done called once, with an error or with all rows */
  constructor(sent: Sent, types: pg.CustomTypesConfig, done: (error: Error | null, rows: Row[]) => void) {
    super({ text: sent.text, ...(sent.name !== undefined && { name: sent.name }) });
    this.#sent = sent;
    this.#types = types;
    driver(this).callback = (error: Error | null) =>
      done(error ?? (this.#failure as Error | null), error ? none : this.#rows);
  }

  /** Everything goes by the extended protocol, which has one statement and typed parameters. */
  requiresPreparation(): boolean {
    return true;
  }

  /** The driver's hook for what has values or a name; called with the stream corked. */
  prepare(connection: pg.Connection): void {
    const { name, text, values } = this.#sent;
    const wire = connection as unknown as Wire; // the types of the driver leave out what it writes
    if (!(this as unknown as { hasBeenParsed(on: pg.Connection): boolean }).hasBeenParsed(connection)) {
      wire.parse({ text, name });
      if (name !== undefined) wire.submittedNamedStatements[name] = text;
    }
    wire.bind({ statement: name, values, valueMapper: utils.prepareValue });
    this.#connection = connection;
    this.#shape = (name !== undefined && described.get(connection)?.get(name)) || null;
    if (!this.#shape) wire.describe({ type: 'P' });
    wire.execute();
    wire.sync();
  }

  handleRowDescription({ fields }: { fields: readonly { name: string; dataTypeID: number }[] }): void {
    const shape = {
      names: fields.map(({ name }) => name),
      parsers: fields.map(({ dataTypeID }) => this.#types.getTypeParser(dataTypeID, 'text')),
      empty: Object.fromEntries(fields.map(({ name }) => [name, null])),
    };
    this.#remember(shape);
    this.#shape = shape;
  }

  #remember(shape: Shape): void {
    const { name } = this.#sent;
    if (name === undefined || !this.#connection) return;
    const shapes = described.get(this.#connection) ?? new Map<string, Shape>();
    described.set(this.#connection, shapes.set(name, shape));
  }

  handleDataRow({ fields }: { fields: readonly (string | null)[] }): void {
    if (this.#failure !== null) return;
    try {
      this.#rows.push(decoded(this.#shape ?? unknownShape(), fields));
    } catch (error) {
      this.#failure = error;
    }
  }

  handleCommandComplete(): void {
    // A statement without rows has no columns to ask for the next time.
    if (!this.#shape) this.#remember(withoutColumns);
  }

  handleError(error: Error, connection: pg.Connection): void {
    // A plan whose columns have changed is refused; they are asked for again.
    if (this.#sent.name !== undefined) described.get(connection)?.delete(this.#sent.name);
    driver(this).callback(error);
  }
}

const none: Row[] = [];
const withoutColumns: Shape = { names: [], parsers: [], empty: {} };

function decoded({ names, parsers, empty }: Shape, fields: readonly (string | null)[]): Row {
  if (fields.length !== names.length) return unknownShape();
  const row: Row = { ...empty };
  for (let at = 0; at < names.length; at += 1) {
    const text = fields[at] ?? null;
    if (text !== null) row[names[at] as string] = parsers[at]?.(text);
  }
  return row;
}

function unknownShape(): never {
  throw new Error('The database sent a row of a statement whose columns it has not described');
}

interface Wire {
  submittedNamedStatements: Record<string, string>;
  parse(message: { text: string; name: string | undefined }): void;
  bind(message: {
    statement: string | undefined;
    values: readonly unknown[];
    valueMapper: (value: unknown) => unknown;
  }): void;
  describe(message: { type: 'P' }): void;
  execute(): void;
  sync(): void;
}

/** The driver sets this member and calls it; its types know it of the constructor only. */
function driver(query: pg.Query): { callback: (error: Error | null) => void } {
  return query as unknown as { callback: (error: Error | null) => void };
}
