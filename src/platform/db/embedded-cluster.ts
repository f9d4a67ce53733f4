import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, open, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Binaries, codeOf, EmbeddedPostgresError, messageOf, type ServerAccount } from './embedded-binaries.ts';

/** The superuser and the database of the embedded server. */
export const EMBEDDED_USER = 'rapport';
export const EMBEDDED_DATABASE = 'rapport';

/** `base` holds the data directory `cluster` and the server's log; `account` is unset when the server runs as this process does. */
export type Place = { base: string; cluster: string; log: string; account: ServerAccount | undefined };

const run = promisify(execFile);
const STATE_DIRECTORY = '/var/lib/rapport';

/**
 * Where the data lives and who runs the server. PostgreSQL refuses to run as root, so under root it runs as the owner
 * of the existing data or else as `nobody`; when that account cannot reach the configured directory (a checkout under
 * /root), the data goes below /var/lib/rapport, in a directory named after the configured one.
 */
export async function choosePlace(dataDir: string, note: (message: string) => void): Promise<Place> {
  const configured = resolve(dataDir);
  await mkdir(configured, { recursive: true });
  const real = await realpath(configured);
  if (process.getuid?.() !== 0) return placeAt(real, undefined);

  const owner = await ownerOf(join(real, 'postgres'));
  if (owner && owner.uid !== 0 && (await canTraverse(real, owner))) return placeAt(real, owner);

  const account = await unprivilegedAccount();
  const elsewhere = join(STATE_DIRECTORY, createHash('sha256').update(real).digest('hex').slice(0, 12));
  // Data that once went elsewhere stays there, even if the configured directory has become reachable since.
  const moved = (await ownerOf(join(elsewhere, 'postgres'))) !== undefined;
  if (!moved && (await canTraverse(real, account))) return placeAt(real, account);

  note(`the account nobody, which runs the database for root, cannot reach ${real}: the data is in ${elsewhere}`);
  for (const directory of [STATE_DIRECTORY, elsewhere]) {
    await mkdir(directory, { recursive: true });
    await chmod(directory, 0o711);
  }
  return placeAt(elsewhere, account);
}

function placeAt(base: string, account: ServerAccount | undefined): Place {
  return { base, cluster: join(base, 'postgres'), log: join(base, 'postgres.log'), account };
}

async function ownerOf(path: string): Promise<ServerAccount | undefined> {
  try {
    const { uid, gid } = await stat(path);
    return { uid, gid };
  } catch {
    return undefined;
  }
}

async function canTraverse(directory: string, account: ServerAccount): Promise<boolean> {
  for (let path = directory; ; path = dirname(path)) {
    const { mode, uid, gid } = await stat(path);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if (!(mode & bit)) return false;
    if (path === dirname(path)) return true;
  }
}

async function unprivilegedAccount(): Promise<ServerAccount> {
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, 'nobody'])).stdout.trim());
  try {
    return { uid: await id('-u'), gid: await id('-g') };
  } catch (error) {
    throw new EmbeddedPostgresError(
      `PostgreSQL does not run as root and there is no account "nobody" to run it as (${messageOf(error).trim()}). ` +
        'Start the service as a normal user or set DATABASE_URL.',
    );
  }
}

/**
 * Makes the data directory unless there is one. initdb works in a directory beside it that is renamed when complete,
 * so what has the final name is never half made, and of two starters one wins the rename.
 */
export async function ensureCluster(
  place: Place,
  binaries: Binaries,
  options: { sync: boolean; note: (message: string) => void },
): Promise<void> {
  const found = await clusterVersion(place.cluster);
  if (found === binaries.major) return;
  if (found !== undefined) {
    throw new EmbeddedPostgresError(
      `${place.cluster} was made by PostgreSQL ${found}, but the installed binaries are version ${binaries.major}. ` +
        'Dump it with the old version and restore it into an empty directory, or set DATABASE_URL.',
    );
  }
  await setAsideIncomplete(place, options.note);
  await removeAbandonedAttempts(place.base);
  options.note(`creating a database in ${place.cluster}`);
  const attempt = await mkdtemp(join(place.base, `postgres.init-${process.pid}-`));
  try {
    await chmod(attempt, 0o700);
    await giveTo(place.account, attempt);
    await initdb(attempt, place.account, binaries, options.sync);
    await rename(attempt, place.cluster).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
    });
    // Without this a power cut could keep the committed data but lose the name it is found under.
    if (options.sync) await syncDirectory(place.base);
  } finally {
    await rm(attempt, { recursive: true, force: true });
  }
}

/** The major version of a complete data directory, undefined where there is none or half of one. */
async function clusterVersion(cluster: string): Promise<string | undefined> {
  try {
    // initdb writes pg_control after PG_VERSION; without it no server can start.
    await stat(join(cluster, 'global', 'pg_control'));
    const file = await open(join(cluster, 'PG_VERSION'));
    try {
      return (await file.readFile('utf8')).trim();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new EmbeddedPostgresError(
      `Cannot read the database in ${cluster} (${messageOf(error)}): it belongs to another account. ` +
        'Start the service as that account or as root, use another RAPPORT_DATA_DIR, or set DATABASE_URL.',
    );
  }
}

async function setAsideIncomplete(place: Place, note: (message: string) => void): Promise<void> {
  const entries = await readdir(place.cluster).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  if (entries.length === 0) return;
  const aside = `${place.cluster}.incomplete-${Date.now()}`;
  await rename(place.cluster, aside);
  note(`${place.cluster} was not a complete data directory; it is now ${aside}, and a new one is made`);
}

async function removeAbandonedAttempts(base: string): Promise<void> {
  for (const entry of await readdir(base)) {
    const pid = Number(/^postgres\.init-(\d+)-/.exec(entry)?.[1] ?? Number.NaN);
    if (pid !== process.pid && Number.isInteger(pid) && !isAlive(pid)) {
      await rm(join(base, entry), { recursive: true, force: true });
    }
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

async function initdb(
  directory: string,
  account: ServerAccount | undefined,
  binaries: Binaries,
  sync: boolean,
): Promise<void> {
  // The builtin C.UTF-8 collation compares by code point on every machine, so no operating system update can corrupt
  // an index; lower() and upper() know all of Unicode. LC_CTYPE still decides for pg_trgm what a letter is, so it must
  // be a UTF-8 one where the machine has it.
  const characterTypes = process.platform === 'darwin' ? ['en_US.UTF-8', 'C'] : ['C.UTF-8', 'C'];
  for (const [index, characterType] of characterTypes.entries()) {
    try {
      const options = ['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'];
      const access = [
        `--username=${EMBEDDED_USER}`,
        '--auth=peer',
        '--no-instructions',
        ...(sync ? [] : ['--no-sync']),
      ];
      await run(
        join(binaries.bin, 'initdb'),
        [`--pgdata=${directory}`, ...options, `--lc-ctype=${characterType}`, ...access],
        { ...account, cwd: '/', env: serverEnvironment() },
      );
      break;
    } catch (error) {
      if (index + 1 < characterTypes.length && /locale/.test(messageOf(error))) continue;
      throw new EmbeddedPostgresError(`Creating the database failed: ${messageOf(error)}`);
    }
  }
  await writeAccessRules(directory, account);
}

/**
 * Who may connect: only through the Unix socket in a directory of mode 0700, and there only root and the account of
 * the server, as the kernel names them (`peer`). No password exists that could be lost or read, and with only `local`
 * rules a TCP connection is refused even if somebody sets listen_addresses.
 */
async function writeAccessRules(directory: string, account: ServerAccount | undefined): Promise<void> {
  const server = account ? (await run('id', ['-un', String(account.uid)])).stdout.trim() : userInfo().username;
  const names = [...new Set(['root', server])].map((name) => `"${name.replaceAll('"', '""')}"`);
  const rules = {
    'pg_hba.conf': `local all ${EMBEDDED_USER} peer map=owner\n`,
    'pg_ident.conf': names.map((name) => `owner ${name} ${EMBEDDED_USER}\n`).join(''),
  };
  for (const [name, text] of Object.entries(rules)) await writeFile(join(directory, name), text);
}

/** Nothing of the service's environment: PGDATA or PGOPTIONS meant for a client would reach the server. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

/** Gives a path to the account of the server; nothing to do when that is our own. */
export async function giveTo(account: ServerAccount | undefined, path: string): Promise<void> {
  if (!account) return;
  try {
    await chown(path, account.uid, account.gid);
  } catch (error) {
    throw new EmbeddedPostgresError(
      `Cannot give ${path} to the account that runs the database (${messageOf(error)}). ` +
        'Use a RAPPORT_DATA_DIR on a local disk, start as a normal user, or set DATABASE_URL.',
    );
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
