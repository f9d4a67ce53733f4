import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, open, readFile, readlink, rename, rm, stat, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { codeOf, EmbeddedPostgresError, findBinaries, messageOf } from './embedded-binaries.ts';
import {
  choosePlace,
  EMBEDDED_DATABASE,
  EMBEDDED_USER,
  ensureCluster,
  giveTo,
  isAlive,
  type Place,
  serverEnvironment,
} from './embedded-cluster.ts';

/** How to reach the embedded server: usable by pg.Pool and pg.Client. `host` is the directory of its Unix socket. */
export type EmbeddedConnection = { host: string; port: number; user: string; database: string; ssl: false };

export interface EmbeddedOptions {
  dataDir: string;
  settings?: Record<string, string>;
  note?: (message: string) => void;
}

export type EmbeddedPostgres = {
  connection: EmbeddedConnection;
  /** False when a server was already running on the data directory: then `stop` leaves it alone. */
  startedHere: boolean;
  /** Where the data and the log really are: `dataDir`, or below /var/lib/rapport where the server cannot reach that. */
  directory: string;
  stop(): Promise<void>;
};

const run = promisify(execFile);
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 60_000;
/** The socket's address is limited to 107 bytes on Linux and 103 on macOS; its name takes `/.s.PGSQL.5432` of them. */
const LONGEST_SOCKET_DIRECTORY = 88;
const LARGEST_LOG_BYTES = 10_000_000;
/** How soon a server that died is seen. */
const LOOK_EVERY_MS = 500;

const DEFAULT_SETTINGS: Record<string, string> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  shared_buffers: '128MB',
  max_connections: '100',
  random_page_cost: '1.1',
  // Every statement here is short or reads much; compiling its plan costs more than it saves.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // The service reports its own errors. Here they would repeat the values of statements, which are personal data.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

/**
 * Starts a real PostgreSQL on `dataDir`, or attaches to the one that is running there (left by a service that was
 * killed, or started by another command). Nothing but the Unix socket listens.
 *
 * @param options.dataDir a directory for the data directory `postgres` and the log `postgres.log`; made if missing
 * @param options.settings server settings over the defaults, for a server that is started here
 * @param options.note told in a sentence what is unusual or takes time
 * @throws EmbeddedPostgresError saying what to do; with the end of the server's log when it died at the start
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  return startAt(await choosePlace(options.dataDir, options.note ?? (() => {})), options);
}

/**
 * As startEmbedded, for a process that lives long: a server that dies, of whatever cause and whoever started it, is started again
 * at the same address, until `stop`.
 */
export async function keepEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const note = options.note ?? (() => {});
  const place = await choosePlace(options.dataDir, note);
  let server = await startAt(place, options);
  const { connection } = server;
  const socketDirectory = connection.host === place.cluster ? undefined : connection.host;
  let stopped = false;
  let look = Promise.resolve();

  async function startAgain(): Promise<void> {
    if (stopped || (await runningServer(place.cluster))) return;
    note(`the database server in ${place.base} died; it is started again`);
    await startAt(place, options, socketDirectory).then(
      (started) => {
        server = started;
      },
      (error: unknown) => note(messageOf(error)),
    );
  }

  const again = () => {
    look = startAgain()
      .catch((error: unknown) => note(messageOf(error)))
      .finally(() => {
        timer = setTimeout(again, LOOK_EVERY_MS).unref();
      });
  };
  let timer = setTimeout(again, LOOK_EVERY_MS).unref();
  return {
    ...server,
    async stop() {
      stopped = true;
      await look;
      clearTimeout(timer);
      await server.stop();
    },
  };
}

/** @param socketDirectory of the server that died, outside its data directory: others know it by that address */
async function startAt(place: Place, options: EmbeddedOptions, socketDirectory?: string): Promise<EmbeddedPostgres> {
  const note = options.note ?? (() => {});
  const settings = { ...DEFAULT_SETTINGS, ...options.settings };
  const deadline = Date.now() + START_TIMEOUT_MS;
  let child: ChildProcess | undefined;

  try {
    while (Date.now() < deadline) {
      const running = await runningServer(place.cluster);
      if (running) {
        const connection = running.status === 'ready' ? await connect(running) : undefined;
        if (connection) {
          const startedHere = child?.pid === running.pid;
          if (!startedHere)
            note(`attached to the database server that is running in ${place.base} (pid ${running.pid})`);
          const own = startedHere ? child : undefined;
          const stop = stopOnce(own, startedHere ? socketDirectory : undefined);
          return { connection, startedHere, directory: place.base, stop };
        }
      } else if (!child || hasExited(child)) {
        if (child) await throwUnlessRaced(place, child);
        const binaries = await findBinaries(place.account, note);
        await ensureCluster(place, binaries, { sync: settings.fsync !== 'off', note });
        socketDirectory ??= await makeSocketDirectory(place);
        // Another starter may have come first in the meantime.
        if (!(await runningServer(place.cluster))) {
          child = await spawnServer(place, join(binaries.bin, 'postgres'), {
            unix_socket_directories: `"${(socketDirectory ?? place.cluster).replaceAll('"', '""')}"`,
            ...settings,
          });
        }
      }
      await sleep(20);
    }
    throw new EmbeddedPostgresError(
      `The database server in ${place.base} does not answer after ${START_TIMEOUT_MS / 1000} s.${await logTail(place)}`,
    );
  } catch (error) {
    await stopOnce(child, socketDirectory)();
    throw error;
  }
}

type RunningServer = { pid: number; port: number; socketDirectory: string; status: string };

/** What postmaster.pid says of a live server of this data directory; undefined when there is none. */
async function runningServer(cluster: string): Promise<RunningServer | undefined> {
  const path = join(cluster, 'postmaster.pid');
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new EmbeddedPostgresError(
      `Cannot read ${path} (${messageOf(error)}): the database belongs to another account. ` +
        'Start the service as that account or as root, use another RAPPORT_DATA_DIR, or set DATABASE_URL.',
    );
  });
  if (text === undefined) return undefined;
  // Lines: pid, data directory, start time, port, socket directory, listen address, shared memory key, status.
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  // A file that is just being written; whoever writes it is alive, or else the next look tells.
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  if (!isAlive(pid)) return undefined;
  if (!(await isServerOf(cluster, pid))) {
    // After a reboot or in a fresh container the number may belong to anything. PostgreSQL would refuse to start then.
    if ((await readFile(path, 'utf8').catch(() => '')) === text) await unlink(path).catch(() => {});
    return undefined;
  }
  return {
    pid,
    port: Number(lines[3]),
    socketDirectory: lines[4] ?? '',
    status: (lines[7] ?? '').trim(),
  };
}

async function isServerOf(cluster: string, pid: number): Promise<boolean> {
  if (process.platform !== 'linux') {
    const { stdout } = await run('ps', ['-o', 'comm=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
    return basename(stdout.trim()) === 'postgres';
  }
  try {
    // The server works in its data directory.
    return (await readlink(`/proc/${pid}/cwd`)) === cluster;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    // A container's root without CAP_SYS_PTRACE may not look there, but at the name.
    return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() === 'postgres';
  }
}

/** The connection when the server answers on it; undefined while it does not. Makes the database at the first start. */
async function connect(server: RunningServer): Promise<EmbeddedConnection | undefined> {
  const connection: EmbeddedConnection = {
    host: server.socketDirectory,
    port: server.port,
    user: EMBEDDED_USER,
    database: EMBEDDED_DATABASE,
    ssl: false,
  };
  try {
    await query(connection, 'SELECT 1');
    return connection;
  } catch (error) {
    if (codeOf(error) === '3D000') {
      await query({ ...connection, database: 'postgres' }, `CREATE DATABASE ${EMBEDDED_DATABASE}`).catch(
        (failure: unknown) => {
          // 42P04, 23505: another starter makes it at this moment.
          if (codeOf(failure) !== '42P04' && codeOf(failure) !== '23505') throw failure;
        },
      );
      return undefined;
    }
    // 57P03: starting up or shutting down; the socket is missing or refuses while the server comes or goes.
    // 53300: all connections taken, so it lives.
    if (codeOf(error) === '53300') return connection;
    if (['57P03', '57P01', 'ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? ''))
      return undefined;
    throw new EmbeddedPostgresError(
      `The database server with pid ${server.pid} refuses the connection: ${messageOf(error)}`,
    );
  }
}

async function query(connection: pg.ClientConfig, text: string): Promise<void> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(text);
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * The socket lives in the data directory itself, which only its owner and root can enter. Where that path is too long
 * for a socket's address, in a directory of the same mode below /tmp; others find it through postmaster.pid.
 */
async function makeSocketDirectory(place: Place): Promise<string | undefined> {
  if (Buffer.byteLength(place.cluster) <= LONGEST_SOCKET_DIRECTORY) return undefined;
  const parent = place.account || Buffer.byteLength(tmpdir()) > LONGEST_SOCKET_DIRECTORY - 20 ? '/tmp' : tmpdir();
  const directory = await mkdtemp(join(parent, 'rapport-pg-'));
  await giveTo(place.account, directory);
  return directory;
}

async function spawnServer(place: Place, postgres: string, settings: Record<string, string>): Promise<ChildProcess> {
  const size = await stat(place.log).then(
    (found) => found.size,
    () => 0,
  );
  if (size > LARGEST_LOG_BYTES) await rename(place.log, `${place.log}.1`);
  const log = await open(place.log, 'a', 0o600);
  try {
    const child = spawn(
      postgres,
      ['-D', place.cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      {
        ...place.account,
        cwd: '/',
        env: serverEnvironment(),
        stdio: ['ignore', log.fd, log.fd],
        // A session of its own: Ctrl-C in the terminal reaches the service alone, which closes its requests first.
        detached: true,
      },
    );
    child.unref();
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(new EmbeddedPostgresError(`Cannot start ${postgres}: ${error.message}`)));
    });
    return child;
  } finally {
    await log.close();
  }
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** A server that lost against another one, or against the last moments of a killed one, is started again. */
async function throwUnlessRaced(place: Place, child: ChildProcess): Promise<void> {
  const tail = await logTail(place);
  if (/lock file "postmaster\.pid"|pre-existing shared memory block/.test(tail)) {
    await sleep(200);
    return;
  }
  const outcome = child.signalCode ? `was ended by ${child.signalCode}` : `ended with code ${child.exitCode}`;
  throw new EmbeddedPostgresError(`The database server in ${place.base} ${outcome} during its start.${tail}`);
}

async function logTail(place: Place): Promise<string> {
  const text = await readFile(place.log, 'utf8').catch(() => '');
  const lines = text.trimEnd().split('\n').slice(-15);
  return ` The end of its log, ${place.log}:\n${lines.join('\n')}`;
}

/** Ends the server the fast way: open transactions are rolled back, a checkpoint is written. Repeats are the same promise. */
function stopOnce(child: ChildProcess | undefined, socketDirectory: string | undefined): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  return () => {
    stopping ??= stop(child, socketDirectory);
    return stopping;
  };
}

async function stop(child: ChildProcess | undefined, socketDirectory: string | undefined): Promise<void> {
  if (child && !hasExited(child)) {
    child.ref();
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
    });
    child.kill('SIGINT');
    const limit = AbortSignal.timeout(STOP_TIMEOUT_MS);
    await Promise.race([
      exited,
      new Promise<never>((_, reject) => {
        const message = `The database server (pid ${child.pid}) has not stopped after ${STOP_TIMEOUT_MS / 1000} s`;
        limit.addEventListener('abort', () => reject(new EmbeddedPostgresError(message)), { once: true });
      }),
    ]);
  }
  if (socketDirectory) await rm(socketDirectory, { recursive: true, force: true });
}
