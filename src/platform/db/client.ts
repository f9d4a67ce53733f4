import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { Problem, type ProblemCode } from '../errors.ts';
import { IdsMerged, mayBeMerged } from '../merged-ids.ts';
import type { ScopedTo } from '../principal.ts';
import { statements } from '../watch.ts';
import { canonicalInstant } from './columns.ts';
import { conflictProblem } from './conflicts.ts';
import { Lookups } from './lookups.ts';
import { refusedInput, refusedValue } from './refused.ts';
import { type Done, QueryGroup, RowQuery, type Sent } from './row-query.ts';
import { type Pool, prepareScope, ScopedPool, ScopedQuery, scopeTransaction } from './scoped-pool.ts';
import { type Lane, Turns } from './turns.ts';

const dialect = new PgDialect();

/**
 * One SQL statement with named parameters, compiled once and sent under its name, so that each connection plans it
 * once. `Row` says what the columns decode to by their Postgres types (see `decoders`); contract tests parse every
 * answer with the strict zod schema, which is what keeps `Row` honest.
 */
export interface Statement<Row> {
  readonly name: string;
  /** What the code calls it; `name` is made unique of that. */
  readonly label: string;
  /** Sent without its name: parsed and planned anew each time. */
  readonly unprepared: boolean;
  /** Finds a few rows by a key: outside of transactions it shares a connection with those of other requests. */
  readonly lookup: boolean;
  readonly text: string;
  /** What it was made from: to ask it as a part of another statement. */
  readonly query: SQL;
  readonly bind: (values: Values) => unknown[];
  /** Only for the type checker. */
  readonly row?: Row;
}

export type Values = Record<string, unknown>;

let anonymous = 0;

/**
 * Placeholders are `sql.placeholder('x')`, or `${param('x')}` for short; constants in the template are bound as they are.
 *
 * @param options.unprepared for what has to be planned for its values: a prepared statement may keep a plan made for others
 */
export function statement<Row>(
  name: string,
  query: SQL,
  options: { unprepared?: boolean; lookup?: boolean } = {},
): Statement<Row> {
  const compiled = dialect.sqlToQuery(query);
  anonymous += 1;
  const slots = compiled.params.map((value) => (isPlaceholder(value) ? value.name : { constant: value }));
  return {
    // 63 characters are the limit; one is for the mark of statements as the service.
    name: `${name}_${anonymous}`.slice(0, 62),
    label: name,
    // What FETCH returns depends on the cursor, so it has to be described each time.
    unprepared: (options.unprepared ?? false) || /^fetch /i.test(compiled.sql),
    lookup: options.lookup ?? false,
    text: compiled.sql,
    query,
    bind: (values) => slots.map((slot) => (typeof slot === 'string' ? bound(values, slot, name) : slot.constant)),
  };
}

function bound(values: Values, slot: string, name: string): unknown {
  const value = values[slot];
  if (value === undefined) throw new Error(`Statement ${name} lacks the parameter ${slot}`);
  return value;
}

function isPlaceholder(value: unknown): value is { name: string } {
  return typeof value === 'object' && value !== null && 'name' in value && value.constructor.name === 'Placeholder';
}

/** `${param('customerId')}` in a template is the named parameter `customerId`. */
export function param(name: string): SQL {
  return sql`${sql.placeholder(name)}`;
}

export interface Db {
  /** All rows. Values of type object are sent as JSON, arrays as Postgres arrays. */
  all<Row>(query: Statement<Row>, values?: Values): Promise<Row[]>;
  /** The first row, or null. */
  first<Row>(query: Statement<Row>, values?: Values): Promise<Row | null>;
}

export interface Transaction extends Db {
  /**
   * Sends a statement without waiting for its answer; the commit does. For last writes whose result nobody reads:
   * they travel together with COMMIT. An error in one of them fails the transaction.
   */
  pipeline(query: Statement<unknown>, values?: Values): void;
  /**
   * Runs `work` under a savepoint. When the database refuses its data (SQLSTATE class 22 or 23), everything since the
   * savepoint is undone and `refusal` says why; any other error is thrown.
   */
  attempt<T>(work: () => Promise<T>): Promise<{ ok: true; value: T } | { ok: false; refusal: Problem }>;
  /**
   * Runs `work` without waiting for `gate`, a result of statements that were sent before: the first statements of the
   * work are sent together with it. If the gate is refused, so is everything the work waits for, and what it did is undone with
   * the transaction.
   */
  pipelinedAfter<T>(gate: Promise<unknown>, work: (tx: Transaction) => Promise<T>): Promise<T>;
  /**
   * In a scoped transaction (scoped-pool.ts) the statements that `work` sends by its own `tx`, and only these, see and
   * change everything, as they do in any other: for what the service needs for itself, such as turns and stocks. Their
   * results must not reach the caller.
   */
  asService<T>(work: (tx: Transaction) => T): T;
  /** For the audit: writes tell it what their answers do not. What `attempt` undoes is not in it. */
  readonly auditContext: AuditContext;
}

/** What a transaction changes: ids and names of members, never values. */
export interface AuditContext {
  /** Ids of the customers whose records it changes. */
  readonly customerIds: Set<string>;
  /** Members of the documents that were written. */
  readonly members: Set<string>;
}

/** Decoding by Postgres type: nothing passes through a float or a Date on its way to the client. */
const decoders = new Map<number, (text: string) => unknown>([
  [20, safeInteger],
  [1082, (text) => text],
  [1184, canonicalInstant],
  [1700, (text) => text],
]);

/** The arrays of these types, element by element as the type itself. */
const arrayTypes = [
  [1016, 20],
  [1182, 1082],
  [1185, 1184],
  [1231, 1700],
] as const;
const textArray: number = 1009;
for (const [array, element] of arrayTypes) {
  const decode = decoders.get(element);
  const texts: (text: string) => (string | null)[] = pg.types.getTypeParser(textArray, 'text');
  decoders.set(array, (text) => texts(text).map((one) => (one === null ? null : (decode?.(one) ?? one))));
}

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError('An integer beyond 2^53 − 1 cannot be answered as JSON');
  return value;
}

const defaultTypes = pg.types;
export const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: string) =>
    decoders.get(oid) ?? defaultTypes.getTypeParser(oid, format === 'binary' ? 'binary' : 'text'),
};

/** What the service itself is to the database: all rows, no definitions. See access.ts. */
export const serviceRole = 'rapport_service';

/** Who sees what is shared with one partner, or one customer. */
export const scopedRoles = { partner: 'rapport_partner', customer: 'rapport_customer' } as const;

export interface PoolOptions {
  size: number;
  /** The role of the connections. Default: `service`. `login`: those of the account, to look after the database. */
  as?: 'service' | ScopedTo['kind'] | 'login';
  /** A statement that takes longer is cancelled and answered with 503; milliseconds. */
  statementTimeout: number;
  /**
   * Milliseconds after which who waits for a lock is answered with 503. Meanwhile it gives its connection back again and again.
   * Default: it keeps the connection until the lock is free, or the time of the statement is over: for commands.
   */
  lockPatience?: number;
  /** Milliseconds after which a transaction is ended in which nothing happens. Default: 30 seconds. */
  idleInTransaction?: number;
  onIdleError?: (error: Error) => void;
}

/** Connections for one request at a time, and a few that all share for look-ups. */
class ServicePool extends pg.Pool {
  readonly lookups: Lookups;
  /** Transactions that were run again, by the reason. */
  readonly retries = new Map<RetryReason, number>();
  readonly turns: Turns;
  readonly lockPatience: number;

  constructor(
    config: pg.PoolConfig,
    { size, lockPatience = 0 }: Pick<PoolOptions, 'size' | 'lockPatience'>,
    prepare: (client: pg.ClientBase) => void,
  ) {
    super(config);
    this.turns = new Turns(size, lockPatience);
    this.lockPatience = lockPatience;
    // Without a listener an idle connection that dies takes the process with it. So does one that is in use; its statements are
    // rejected with the same error, and whoever waits for them is told.
    this.on('connect', (client) => {
      client.on('error', () => undefined);
      prepare(client);
    });
    this.lookups = new Lookups(sharedConnections, () => {
      const client = new pg.Client(config);
      prepare(client);
      return client;
    });
  }

  override async end(): Promise<void> {
    await Promise.all([this.lookups.end(), super.end()]);
  }
}

/** Two, so that one that has just been lost does not stop all look-ups. */
const sharedConnections = 2;

/** Milliseconds that a connection waits for a lock before it is given back; longer than most who hold one need. */
const lockWait = 300;
/** The same once it is known that somebody holds the lock for longer. */
const contendedLockWait = 1_000;
/** How many times as long as one statement a transaction may take, however many it has. */
const statementsOfTransaction = 10;

export function openPool(connection: pg.ClientConfig, options: PoolOptions): pg.Pool {
  const { as = 'service', idleInTransaction = 30_000 } = options;
  const role = as === 'login' ? null : as === 'service' ? serviceRole : scopedRoles[as];
  const config = {
    ...connection,
    types,
    max: options.size,
    // Statements of a transaction that do not need each other's answers share a round trip.
    pipeline: true,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: options.statementTimeout,
    query_timeout: options.statementTimeout + 2_000,
    keepAlive: true,
    application_name: 'rapport',
    // From the first moment on: a role that somebody forgot to take would fail open.
    options:
      '-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c work_mem=32MB -c jit=off -c plan_cache_mode=auto' +
      // A process that hangs holds no locks for ever.
      ` -c idle_in_transaction_session_timeout=${idleInTransaction}` +
      (options.lockPatience === undefined ? '' : ` -c lock_timeout=${lockWait}`) +
      (role === null ? '' : ` -c role=${role}`),
  } as pg.PoolConfig; // whose type does not know `pipeline` yet
  const pool = new ServicePool(config, options, (client) => {
    limitTransactions(client, statementsOfTransaction * options.statementTimeout);
    if (as === 'partner' || as === 'customer') prepareScope(client, as);
  });
  pool.on('error', (error) => options.onIdleError?.(error));
  return pool;
}

/** PostgreSQL 17 and newer end a transaction as a whole. If it fails, so does everything else on the connection. */
function limitTransactions(client: pg.ClientBase, milliseconds: number): void {
  const text = `select set_config('transaction_timeout', $1, false) where current_setting('server_version_num')::int >= 170000`;
  client.query({ name: 'limit_transactions', text, values: [String(milliseconds)] }).catch(() => undefined);
}

/**
 * A connection, when it is the caller's turn.
 *
 * @param then `release(true)` destroys the connection
 */
function connect(
  pool: pg.Pool,
  lane: Lane,
  then: (failure: unknown, client: pg.PoolClient | null, release: (destroy?: boolean) => void) => void,
): void {
  const turns = pool instanceof ServicePool ? pool.turns : null;
  const open = () =>
    pool.connect((failure, client, release) => {
      if (client) {
        then(null, client, (destroy) => {
          release(destroy);
          turns?.give(lane);
        });
        return;
      }
      turns?.give(lane);
      then(failure ?? new Error('There is no connection'), null, () => undefined);
    });
  if (!turns) return void open();
  turns.take(lane, (refusal) => {
    if (refusal) then(refusal, null, () => undefined);
    else open();
  });
}

export function poolDb(pool: Pool): Db {
  const scopedTo = pool instanceof ScopedPool ? pool.scopedTo : null;
  const connections = connectionsOf(pool);
  const lookups = connections instanceof ServicePool ? connections.lookups : null;
  return onClient((query, values) =>
    rowsOfQuery(query, (done) => {
      const sent = sentAs(query, values);
      const make = (then: Done) =>
        scopedTo === null ? new RowQuery(sent, types, then) : new ScopedQuery(sent, types, then, scopedTo);
      if (query.lookup && lookups) return lookups.send(new QueryGroup([make(done)]));
      let since: number | undefined;
      const ask = () =>
        connect(connections, 'statement', (failure, client, release) => {
          if (!client) return done(failure as Error, [], ''); // the driver's, or a problem
          const finish: Done = (error, ...found) => {
            release(error !== null && !(error instanceof pg.DatabaseError));
            if (!isLockTimeout(error)) return done(error, ...found);
            since ??= performance.now() - lockWait;
            if (performance.now() - since > lockPatienceOf(connections)) return done(locked(), ...found);
            setTimeout(ask, pauseBeforeLock());
          };
          client.query(new QueryGroup([make(finish)]));
        });
      ask();
    }),
  );
}

const lockPatienceOf = (pool: pg.Pool) => (pool instanceof ServicePool ? pool.lockPatience : 0);

/** Milliseconds; not the same for all who wait, or they would meet again. */
const pauseBeforeLock = () => 20 + Math.random() * 60;

function isLockTimeout(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '55P03';
}

function locked(): Problem {
  return new Problem(
    'busy',
    'Another change of the same records takes long. Nothing was changed: send the request again.',
    { headers: { 'Retry-After': '2' } },
  );
}

/** The rows that `send` hands to its callback. */
function rowsOfQuery<Row>({ label }: Statement<Row>, send: (done: Done) => void): Promise<Row[]> {
  const begun: Parameters<typeof statements.tell>[0] | null = statements.isHeard ? { name: label } : null;
  if (begun) statements.tell(begun);
  return new Promise((resolve, reject) => {
    send((error, rows) => {
      begun?.ended?.(error);
      if (error) reject(translate(error));
      else resolve(rows as Row[]); // decoded by `types`; see Statement
    });
  });
}

function sentAs<Row>({ name, text, unprepared, bind }: Statement<Row>, values: Values, mark = ''): Sent {
  return { name: unprepared ? undefined : `${name}${mark}`, text, values: bind(values) };
}

function onClient(send: <Row>(query: Statement<Row>, values: Values) => Promise<Row[]>): Db {
  return {
    all: (query, values = {}) => send(query, values),
    first: async (query, values = {}) => (await send(query, values))[0] ?? null,
  };
}

/**
 * Each statement between a change of role and the change back, sent in one go: whatever else the transaction sends at the
 * same time comes before or after the three. After an error they are skipped until the transaction, or the part of it
 * since a savepoint, is undone, and the change of role with it.
 */
function asServiceRole({ say, send }: Outbox, role: string): (query: RowQuery) => void {
  const become = (name: string) => {
    say(`SET LOCAL ROLE ${name}`).catch(() => undefined);
  };
  return (query) => {
    become(serviceRole);
    send(query);
    become(role);
  };
}

/** What a transaction sends. */
interface Outbox {
  send(query: RowQuery): void;
  /** A command without parameters, as the server then calls it. */
  say(text: string): Promise<string>;
  /** Ends a group: its answers come without waiting for what is sent next. */
  endGroup(): void;
}

/**
 * What is sent before the process turns to something else goes out in one piece and is answered in one piece: for this process
 * a system call is as much work as a statement, and for the server nearly so.
 */
function outboxOf(client: pg.PoolClient): Outbox {
  let group: RowQuery[] = [];
  const endGroup = () => {
    if (group.length === 0) return;
    const members = group;
    group = [];
    cork(client);
    client.query(new QueryGroup(members));
  };
  const send = (query: RowQuery) => {
    if (group.push(query) === 1) process.nextTick(endGroup);
  };
  const say = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const name = unscoped.test(text) ? text : undefined;
      send(
        new RowQuery({ name, text, values: [] }, types, (error, _rows, command) => {
          if (error) reject(error);
          else resolve(command);
        }),
      );
    });
  return { send, say, endGroup };
}

/** Commands of which there are few, so that they can be prepared. */
const unscoped = /^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|SET LOCAL ROLE)/;

/** Thrown inside a transaction when what was read before the locks no longer holds: it is run again from the start. */
export class Retry extends Error {}

const attempts = 8;

export interface TransactionOptions {
  /** Everything is done and then undone (dry run). */
  rollback?: boolean;
  /** Who finds that records go by other ids now has to be told so, and begins anew itself. */
  throwMerged?: boolean;
  /** All statements see the state at the first of them, and may only read: for what is read in several passes. */
  snapshot?: boolean;
}

/**
 * Runs `work` in a READ COMMITTED transaction and resolves only after COMMIT was confirmed. Deadlocks, serialisation
 * failures, `Retry`, and collisions on names taken at once (see conflicts.ts) are run again.
 */
export async function transaction<T>(
  pool: Pool,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  let lockedSince: number | null = null;
  for (let attempt = 1; ; attempt += 1) {
    const lane = lockedSince === null ? 'transaction' : 'contended';
    const since = performance.now();
    try {
      return await once(pool, work, options, lane);
    } catch (error) {
      if (isLockTimeout(error)) {
        lockedSince ??= since;
        if (performance.now() - lockedSince > lockPatienceOf(connectionsOf(pool))) throw locked();
        countRetry(pool, error);
        await new Promise((resolve) => setTimeout(resolve, pauseBeforeLock()));
        attempt -= 1;
        continue;
      }
      const again = error instanceof IdsMerged ? !options.throwMerged : isRetryable(error);
      if (!again) throw error;
      const taken = pool instanceof ScopedPool && attempt > 1 ? takenName(error) : null;
      if (taken) throw taken;
      if (attempt === attempts) {
        throw new Problem(
          'conflict',
          'Concurrent changes to the same records kept colliding. Send the request again.',
          {
            headers: { 'Retry-After': '1' },
          },
        );
      }
      countRetry(pool, error);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5 * 2 ** attempt));
    }
  }
}

async function once<T>(
  pool: Pool,
  work: (tx: Transaction) => Promise<T>,
  { rollback = false, snapshot = false }: TransactionOptions,
  lane: Lane,
): Promise<T> {
  const scopedTo = pool instanceof ScopedPool ? pool.scopedTo : null;
  const { client, release } = await connection(connectionsOf(pool), lane);
  const pipelined: Promise<unknown>[] = [];
  const outbox = outboxOf(client);
  const saying = (text: string) => {
    const said = outbox.say(text);
    said.catch(() => undefined);
    return said;
  };
  // BEGIN is not waited for: it is sent together with the first statement.
  const begin = [saying(`BEGIN ISOLATION LEVEL ${snapshot ? 'REPEATABLE READ READ ONLY' : 'READ COMMITTED'}`)];
  if (lane === 'contended') begin.push(saying(`SET LOCAL lock_timeout = ${contendedLockWait}`));
  if (scopedTo) begin.push(saying(scopeTransaction(scopedTo)));
  const sending = (send: (query: RowQuery) => void, mark = ''): Pick<Transaction, 'all' | 'first' | 'pipeline'> => {
    const run = <Row>(query: Statement<Row>, values: Values) =>
      rowsOfQuery(query, (done) => send(new RowQuery(sentAs(query, values, mark), types, done)));
    return {
      ...onClient(run),
      pipeline(query, values = {}) {
        const sent = run(query, values);
        sent.catch(() => undefined);
        pipelined.push(sent);
      },
    };
  };
  // Under names of their own: the plan of a statement is made for the rows that a role sees.
  const service = scopedTo && sending(asServiceRole(outbox, scopedRoles[scopedTo.kind]), '^');
  const tx: Transaction = {
    ...sending(outbox.send),
    asService: (work) => work(service ? { ...tx, ...service } : tx),
    auditContext: { customerIds: new Set(), members: new Set() },
    async attempt(work) {
      saying('SAVEPOINT attempt');
      const customerIds = [...tx.auditContext.customerIds];
      try {
        const value = await work();
        await Promise.all(pipelined.splice(0));
        return { ok: true, value };
      } catch (error) {
        const refused = error instanceof pg.DatabaseError && /^2[23]/.test(error.code ?? '') && !isRetryable(error);
        if (!refused) throw error;
        await saying('ROLLBACK TO SAVEPOINT attempt');
        tx.auditContext.customerIds.clear();
        for (const id of customerIds) tx.auditContext.customerIds.add(id);
        return { ok: false, refusal: refusedInput(error) ?? refusedValue() };
      }
    },
    async pipelinedAfter(gate, work) {
      const gated = (db: Transaction): Transaction => {
        const all: Db['all'] = async (query, values) => {
          const rows = db.all(query, values);
          rows.catch(() => undefined);
          await gate;
          return rows;
        };
        const first: Db['first'] = async (query, values) => (await all(query, values))[0] ?? null;
        return { ...db, all, first, asService: (inner) => db.asService((service) => inner(gated(service))) };
      };
      gate.catch(() => undefined);
      // Behind it may be a statement that waits for somebody's lock.
      outbox.endGroup();
      try {
        return await work(gated(tx));
      } finally {
        await gate;
      }
    },
  };
  try {
    const result = await work(tx);
    const end = saying(rollback ? 'ROLLBACK' : 'COMMIT');
    await Promise.all([...begin, ...pipelined]);
    const command = await end;
    // After a failed statement COMMIT answers ROLLBACK and no error.
    if (command !== (rollback ? 'ROLLBACK' : 'COMMIT')) throw new Error(`COMMIT was answered with ${command}`);
    release();
    return result;
  } catch (thrown) {
    const error = await causeOf(thrown, pipelined);
    outbox.endGroup();
    const undone = undo(client, release, translate(error));
    // A refusal is answered at once: ROLLBACK may stand behind a statement that waits for somebody's lock.
    // What begins anew after it would meet the locks of this one.
    if (isRetryable(error) || mayBeMerged(error) || isLockTimeout(error)) await undone;
    throw translate(error);
  }
}

/** The driver writes every group by itself. */
function cork(client: pg.PoolClient): void {
  const { stream } = client.connection;
  if (stream.writableCorked > 0) return;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/** What follows a refused statement is refused because of it: of those nobody waited for, the first one says why. */
async function causeOf(error: unknown, pipelined: readonly Promise<unknown>[]): Promise<unknown> {
  if (!follows(error)) return error;
  for (const sent of pipelined) {
    const reason = await sent.then(
      () => null,
      (refusal: unknown) => refusal,
    );
    if (reason !== null && !follows(reason)) return reason;
  }
  return error;
}

function follows(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '25P02';
}

/** Milliseconds: whoever waits for ROLLBACK waits no longer than that. */
const rollbackLimit = 3_000;

/**
 * ROLLBACK on a stalled socket would wait a second query timeout: such a connection is destroyed instead, and so is one whose ROLLBACK
 * takes long. The server then undoes the transaction by itself.
 */
async function undo(client: pg.PoolClient, release: (destroy?: boolean) => void, error: unknown): Promise<void> {
  if (error instanceof Problem && error.code === 'unavailable') {
    release(true);
    return;
  }
  let limit: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    limit = setTimeout(resolve, rollbackLimit, false);
  });
  const done = client.query('ROLLBACK').then(
    () => true,
    () => false,
  );
  const isUndone = await Promise.race([done, late]);
  clearTimeout(limit);
  release(!isUndone);
}

const connectionsOf = (pool: Pool) => (pool instanceof ScopedPool ? pool.pool : pool);

function connection(
  pool: pg.Pool,
  lane: Lane,
): Promise<{ client: pg.PoolClient; release: (destroy?: boolean) => void }> {
  return new Promise((resolve, reject) => {
    connect(pool, lane, (failure, client, release) => {
      if (client) resolve({ client, release });
      else reject(translate(failure));
    });
  });
}

/**
 * A name that is still taken when the transaction is run again, and by nothing that its caller may see: who has it is not
 * said. That somebody has it cannot be kept from whoever writes it.
 */
function takenName(error: unknown): Problem | null {
  const code = conflictOf(error);
  if (code === undefined) return null;
  const message = 'A name in it belongs to another record.';
  return new Problem(code, message, { errors: [{ pointer: '', code, message }] });
}

function conflictOf(error: unknown): ProblemCode | undefined {
  if (!(error instanceof pg.DatabaseError) || error.code !== '23505') return undefined;
  return conflictProblem(error.constraint);
}

function isRetryable(error: unknown): boolean {
  if (error instanceof Retry) return true;
  if (!(error instanceof pg.DatabaseError)) return false;
  return error.code === '40001' || error.code === '40P01' || conflictOf(error) !== undefined;
}

/** Why a transaction is run again. */
type RetryReason = 'deadlock' | 'serialization' | 'name_taken' | 'merged' | 'changed' | 'locked';

function reasonOf(error: unknown): RetryReason {
  if (error instanceof IdsMerged) return 'merged';
  if (!(error instanceof pg.DatabaseError)) return 'changed';
  if (isLockTimeout(error)) return 'locked';
  return error.code === '40P01' ? 'deadlock' : error.code === '40001' ? 'serialization' : 'name_taken';
}

function countRetry(pool: Pool, error: unknown): void {
  const connections = connectionsOf(pool);
  if (!(connections instanceof ServicePool)) return;
  const reason = reasonOf(error);
  connections.retries.set(reason, (connections.retries.get(reason) ?? 0) + 1);
}

/** What a pool does at the moment, and has done since it was opened. */
export interface PoolState {
  /** Connections that there may be, are, and wait for work. */
  size: number;
  open: number;
  idle: number;
  /** Requests that wait for a connection. */
  waiting: number;
  /** For how many seconds the first of them has. */
  longestWait: number;
  retries: ReadonlyMap<string, number>;
}

export function poolState(pool: pg.Pool): PoolState {
  const { waiting, longest } = pool instanceof ServicePool ? pool.turns.state : { waiting: 0, longest: 0 };
  return {
    size: pool.options.max,
    open: pool.totalCount,
    idle: pool.idleCount,
    waiting: waiting + pool.waitingCount,
    longestWait: longest,
    retries: pool instanceof ServicePool ? pool.retries : new Map(),
  };
}

const unavailableStates = /^(08...|57P0[1-5]|53...|57014|25006|25P0[34])$/;
const unavailableMessages =
  /ECONNREFUSED|ECONNRESET|ENOENT|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|timeout|terminated|Connection ended|not queryable|closed the connection/i;

/**
 * Rows that a scoped role may not write, told by where in the server they are refused: its messages are in the language
 * of `lc_messages`. Anything else that its role may not do is a fault of ours.
 */
function refusedByPolicy(error: Error): boolean {
  return error instanceof pg.DatabaseError && error.code === '42501' && error.routine === 'ExecWithCheckOptions';
}

/** A database that is away, overloaded or in recovery is the outside world failing: 503 and try again, never 500. */
export function translate(error: unknown): unknown {
  if (error instanceof Problem || error instanceof Retry || !(error instanceof Error)) return error;
  const away =
    error instanceof pg.DatabaseError
      ? unavailableStates.test(error.code ?? '')
      : unavailableMessages.test(`${'code' in error ? error.code : ''} ${error.message}`);
  if (refusedByPolicy(error)) {
    return new Problem(
      'not_shared',
      'You cannot change this record: it is not shared with your token, or only for reading.',
    );
  }
  if (!away) return error;
  return new Problem(
    'unavailable',
    'The database cannot be reached at the moment. Nothing was changed, or the outcome is unknown: send the request again with the same Idempotency-Key.',
    {
      headers: { 'Retry-After': '1' },
    },
  );
}

/** `"orders"."placed_at" as "placedAt", …`: the columns of a table under their names in the model. */
export function fields(table: PgTable, omit: readonly string[] = []): SQL {
  const columns = Object.entries(getTableColumns(table)).filter(([key]) => !omit.includes(key));
  return sql.join(
    columns.map(([key, column]) => sql`${column} as ${sql.identifier(key)}`),
    sql`, `,
  );
}

/**
 * `json_to_recordset` over the JSON parameter `rows`, typed as the table's columns: a set of rows of any size
 * travels as one parameter and one statement. Generated columns are left out.
 */
export function rowsOf(table: PgTable, rows: SQL, alias: string): SQL {
  const columns = writable(table).map(([key, column]) => sql`${sql.identifier(key)} ${sql.raw(column.getSQLType())}`);
  return sql`json_to_recordset(${rows}::json) as ${sql.identifier(alias)}(${sql.join(columns, sql`, `)})`;
}

/**
 * `insert into T (…) select … from <rows>`: one statement for one row or a thousand.
 *
 * @param instead members that get another value than that of the row `n`
 */
export function insertRows(table: PgTable, rows: SQL, instead: Readonly<Record<string, SQL>> = {}): SQL {
  const names = writable(table);
  const targets = names.map(([, column]) => sql.identifier(column.name));
  const sources = names.map(([key]) => instead[key] ?? sql`n.${sql.identifier(key)}`);
  return sql`insert into ${table} (${sql.join(targets, sql`, `)}) select ${sql.join(sources, sql`, `)} from ${rowsOf(table, rows, 'n')}`;
}

/** An insert of one row, and its parameters. */
export interface RowInsert {
  sql: SQL;
  /** Of a row; without one all are null. */
  values(row: object | undefined): Values;
}

/**
 * `insert into T (…) select …` of parameters, one for each column: sets up in half the time of `insertRows`, for one row.
 *
 * @param prefix of the names of the parameters
 */
export function insertRow(table: PgTable, prefix = ''): RowInsert {
  const columns = writable(table).map(([member, column]) => {
    const type = column.getSQLType();
    return { member, name: column.name, type, parameter: prefix + member, isJson: /^jsonb?$/.test(type) };
  });
  const targets = columns.map(({ name }) => sql.identifier(name));
  const sources = columns.map(({ parameter, type }) => sql`${param(parameter)}::${sql.raw(type)}`);
  return {
    sql: sql`insert into ${table} (${sql.join(targets, sql`, `)}) select ${sql.join(sources, sql`, `)}`,
    values(row) {
      const members = row as Readonly<Record<string, unknown>> | undefined;
      const values: Values = {};
      for (const { member, parameter, isJson } of columns) {
        const value = members?.[member] ?? null;
        // The driver would make an array of Postgres of one in JSON.
        values[parameter] = isJson && value !== null ? JSON.stringify(value) : value;
      }
      return values;
    },
  };
}

function writable(table: PgTable) {
  return Object.entries(getTableColumns(table)).filter(([, column]) => column.generated === undefined);
}
