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
 * One statement, whose rows are decoded as they arrive. The driver's own query asks for a description of the columns and builds
 * a dictionary of parsers at every execution; this one does so once per connection and prepared statement.
 */
export class RowQuery {
  readonly sent: Sent;
  readonly #types: pg.CustomTypesConfig;
  readonly #rows: Row[] = [];
  readonly #done: Done;
  #connection: pg.Connection | null = null;
  #shape: Shape | null = null;
  #failure: Error | null = null;
  #command = '';

  constructor(sent: Sent, types: pg.CustomTypesConfig, done: Done) {
    this.sent = sent;
    this.#types = types;
    this.#done = done;
  }

  /** Ends it, with an error or with its rows. */
  settle(error: Error | null): void {
    this.#done(error ?? this.#failure, error ? none : this.#rows, this.#command);
  }

  /** Writes everything but the Sync. @returns whether the connection had to prepare it first */
  write(connection: pg.Connection): boolean {
    const { name, text, values } = this.sent;
    const wire = wireOf(connection);
    const { parsedStatements, submittedNamedStatements } = wire;
    const isNew = name === undefined || !(name in parsedStatements || name in submittedNamedStatements);
    if (isNew) {
      wire.parse({ text, name });
      if (name !== undefined) submittedNamedStatements[name] = text;
    }
    wire.bind({ statement: name, values, valueMapper: utils.prepareValue });
    this.#connection = connection;
    this.#shape = (name !== undefined && described.get(connection)?.get(name)) || null;
    if (!this.#shape) wire.describe({ type: 'P' });
    wire.execute();
    return isNew;
  }

  rowDescription({ fields }: RowDescription): void {
    const shape = {
      names: fields.map(({ name }) => name),
      parsers: fields.map(({ dataTypeID }) => this.#types.getTypeParser(dataTypeID, 'text')),
      empty: Object.fromEntries(fields.map(({ name }) => [name, null])),
    };
    this.#remember(shape);
    this.#shape = shape;
  }

  #remember(shape: Shape): void {
    const { name } = this.sent;
    if (name === undefined || !this.#connection) return;
    const shapes = described.get(this.#connection) ?? new Map<string, Shape>();
    described.set(this.#connection, shapes.set(name, shape));
  }

  dataRow({ fields }: DataRow): void {
    if (this.#failure !== null) return;
    try {
      this.#rows.push(decoded(this.#shape ?? unknownShape(), fields));
    } catch (error) {
      this.#failure = error as Error; // of a decoder
    }
  }

  /** @returns whether the statement is complete */
  commandComplete({ text }: CommandComplete): boolean {
    this.#command = text;
    // A statement without rows has no columns to ask for the next time.
    if (!this.#shape) this.#remember(withoutColumns);
    return true;
  }

  /** A plan whose columns have changed is refused; they are asked for again. */
  forget(connection: pg.Connection): void {
    if (this.sent.name !== undefined) described.get(connection)?.delete(this.sent.name);
  }
}

/** Called once, with an error or with all rows, and the command as the server calls it (`INSERT 0 1`). */
export type Done = (error: Error | null, rows: Row[], command: string) => void;

/** What the driver hands on. */
interface RowDescription {
  fields: readonly { name: string; dataTypeID: number }[];
}
export interface DataRow {
  fields: readonly (string | null)[];
}
export interface CommandComplete {
  text: string;
}

/**
 * Statements with one Sync behind all of them: the server answers them in one piece, which spares both sides a system call for
 * each. Several only within a transaction: the first that is refused keeps the server from looking at those behind it, and
 * they are refused with the same error.
 *
 * It extends the driver's query, because a pipelined connection takes no other class.
 */
export class QueryGroup extends pg.Query {
  readonly members: readonly RowQuery[];
  readonly #parsedHere = new Set<RowQuery>();
  /** How many have been answered. */
  #answered = 0;
  /** From where on they could not even be sent, and why. */
  #unsent: { from: number; reason: Error } | null = null;

  constructor(members: readonly RowQuery[]) {
    super({ text: '' });
    this.members = members;
    this.#face();
    driver(this).callback = (error) => {
      const reason = this.#unsent?.from === this.#answered ? this.#unsent.reason : error;
      for (const [at, member] of this.members.entries()) member.settle(at < this.#answered ? null : reason);
    };
  }

  /** The driver notes as prepared what the query that is being answered is called. */
  #face(): void {
    const sent = this.members[this.#answered]?.sent;
    const face = driver(this);
    face.name = sent?.name;
    face.text = sent?.text ?? '';
  }

  /** Everything goes by the extended protocol, which has one statement and typed parameters. */
  requiresPreparation(): boolean {
    return true;
  }

  /** The driver's hook for what has values or a name; called with the stream corked. */
  prepare(connection: pg.Connection): void {
    let written = 0;
    try {
      for (const member of this.members) {
        if (member.write(connection)) this.#parsedHere.add(member);
        written += 1;
      }
    } catch (error) {
      // A value that cannot be sent. What was written before it has to be answered, and a transaction must not be committed
      // without it: the server refuses this, as nothing is prepared by that name.
      this.#unsent = { from: written, reason: error as Error }; // of the driver
      wireOf(connection).bind({ statement: neverPrepared, values: [], valueMapper: utils.prepareValue });
    }
    wireOf(connection).sync();
  }

  get #current(): RowQuery {
    return this.members[this.#answered] ?? unknownShape();
  }

  handleRowDescription(message: RowDescription): void {
    this.#current.rowDescription(message);
  }

  handleDataRow(message: DataRow): void {
    this.#current.dataRow(message);
  }

  handleCommandComplete(message: CommandComplete): void {
    if (!this.#current.commandComplete(message)) return;
    this.#answered += 1;
    this.#face();
  }

  handleError(error: Error, connection: pg.Connection): void {
    const [refused, ...skipped] = this.members.slice(this.#answered);
    refused?.forget(connection);
    // The server has not looked at them, so it has not prepared them.
    const { submittedNamedStatements } = wireOf(connection);
    for (const member of skipped) {
      if (this.#parsedHere.has(member)) delete submittedNamedStatements[member.sent.name ?? ''];
    }
    driver(this).callback(error);
  }
}

const neverPrepared = 'never prepared';
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
  parsedStatements: Readonly<Record<string, string>>;
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

/** The types of the driver leave out what it writes. */
function wireOf(connection: pg.Connection): Wire {
  return connection as unknown as Wire;
}

/** The driver sets these members and calls the callback; its types know them of the constructor only. */
function driver(query: pg.Query): Driven {
  return query as unknown as Driven;
}

interface Driven {
  name: string | undefined;
  text: string;
  callback(error: Error | null): void;
}
