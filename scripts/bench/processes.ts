import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that answers HTTP. */
export interface HttpProcess {
  origin: string;
  pid: number;
  /** Until its first answer. */
  startSeconds: number;
  stop(): Promise<void>;
}

export interface ProcessOptions {
  /** What messages call it. */
  name: string;
  command: string;
  arguments: (port: number) => string[];
  cwd: string;
  env: Record<string, string>;
  /** Where its output goes. */
  log: string;
  /** What answers once it is up. */
  probe: string;
  /** Seconds that it may take to start. */
  patience: number;
}

/** Starts it on a free port of this machine and waits for its first answer. */
export async function startProcess(options: ProcessOptions): Promise<HttpProcess> {
  const port = await freePort();
  const log = openSync(options.log, 'a');
  const started = process.hrtime.bigint();
  const child = spawn(options.command, options.arguments(port), {
    cwd: options.cwd,
    env: { ...process.env, ...options.env, HOST: '127.0.0.1', PORT: String(port) },
    stdio: ['ignore', log, log],
    // npm and sh pass signals on badly: the whole group is told at once.
    detached: true,
  });
  closeSync(log);
  const origin = `http://127.0.0.1:${port}`;
  await firstAnswer(origin + options.probe, child, options);
  return {
    origin,
    pid: child.pid ?? 0,
    startSeconds: Number(process.hrtime.bigint() - started) / 1e9,
    stop: () => stop(child),
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  if (address === null || typeof address === 'string') throw new Error('No free port');
  return address.port;
}

async function firstAnswer(url: string, child: ChildProcess, { name, log, patience }: ProcessOptions): Promise<void> {
  const deadline = Date.now() + 1000 * patience;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    const response = await fetch(url).catch(() => null);
    await response?.body?.cancel();
    // A peer may refuse what is asked; then it is up, too.
    if (response && response.status < 500) return;
    await sleep(20);
  }
  await stop(child);
  throw new Error(`${name} does not answer:\n${readFileSync(log, 'utf8').slice(-2000)}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, 'SIGTERM');
  const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await exited;
  clearTimeout(patience);
}

/** Resident memory of a process and all below it, now and at most, bytes; null where /proc does not tell. */
export function memoryOf(root: number): { resident: number; peak: number } | null {
  const statuses = [...familyOf(root).keys()].map((pid) => readProc(pid, 'status') ?? '');
  const bytes = (field: string) =>
    1024 *
    statuses.reduce((sum, text) => sum + Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0);
  return statuses.length === 0 ? null : { resident: bytes('VmRSS'), peak: bytes('VmHWM') };
}

/**
 * Processor time used so far by a process and all below it, seconds; null where /proc does not tell. Children that have ended are in
 * the account of their parent: so are the parallel workers of Postgres and backends whose connection was closed.
 */
export function processorTimeOf(root: number): number | null {
  const ticks = [...familyOf(root).values()];
  return ticks.length === 0 ? null : ticks.reduce((sum, some) => sum + some, 0) / 100;
}

/** A process and all below it, with what they and their ended children have used; nothing where /proc does not tell. */
function familyOf(root: number): Map<number, number> {
  // A child that ends meanwhile would be missed, or be counted twice: then once more.
  for (let tries = 0; ; tries += 1) {
    const before = statOf(root)?.ended;
    const family = familyNow(root);
    if (statOf(root)?.ended === before || tries === 3) return family;
  }
}

function familyNow(root: number): Map<number, number> {
  const processes = pids().flatMap((pid) => {
    const stat = statOf(pid);
    return stat === null ? [] : [{ pid, ...stat }];
  });
  const family = new Map(processes.filter(({ pid }) => pid === root).map(({ pid, ticks }) => [pid, ticks]));
  for (const parent of family.keys()) {
    for (const one of processes) if (one.parent === parent) family.set(one.pid, one.ticks);
  }
  return family;
}

function pids(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function statOf(pid: number): { parent: number; ticks: number; ended: number } | null {
  // The name in parentheses may hold spaces. Behind it: the parent is field 2; own and ended children's user and system time,
  // in ticks of 10 ms, are the fields 12 to 15.
  const fields = readProc(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ')
    .map(Number);
  if (!fields) return null;
  const sum = (from: number, to: number) => fields.slice(from, to).reduce((all, some) => all + some, 0);
  return { parent: fields[1] ?? 0, ticks: sum(11, 15), ended: sum(13, 15) };
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null;
  }
}
