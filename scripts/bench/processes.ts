import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server under measurement, in a process of its own. */
export interface Server {
  name: 'service' | 'floor';
  origin: string;
  pid: number;
  /** Resident memory now and at most, bytes; null where /proc does not tell. */
  memory(): { resident: number; peak: number } | null;
  /** Processor time used so far, seconds; null where /proc does not tell. */
  processorTime(): number | null;
  stop(): Promise<void>;
}

export interface ServerOptions {
  name: Server['name'];
  command: string;
  arguments: string[];
  cwd: string;
  env: Record<string, string>;
  /** Where its output goes. */
  log: string;
}

/** Starts a server on a free port of this machine and waits for its first answer. */
export async function startServer(options: ServerOptions): Promise<Server & { startSeconds: number }> {
  const port = await freePort();
  const log = openSync(options.log, 'a');
  const started = process.hrtime.bigint();
  const child = spawn(options.command, options.arguments, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env, HOST: '127.0.0.1', PORT: String(port) },
    stdio: ['ignore', log, log],
    // npm passes signals on badly: the whole group is told at once.
    detached: true,
  });
  closeSync(log);
  const origin = `http://127.0.0.1:${port}`;
  await firstAnswer(`${origin}/livez`, child, options);
  const startSeconds = Number(process.hrtime.bigint() - started) / 1e9;
  const pid = child.pid ?? 0;
  return {
    name: options.name,
    origin,
    pid,
    startSeconds,
    memory: () => memoryOf(pid),
    processorTime: () => processorTimeOf(pid),
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

async function firstAnswer(url: string, child: ChildProcess, { name, log }: ServerOptions): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    const response = await fetch(url).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) return;
    await sleep(20);
  }
  await stop(child);
  throw new Error(`The ${name} does not answer:\n${readFileSync(log, 'utf8').slice(-2000)}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, 'SIGTERM');
  const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await exited;
  clearTimeout(patience);
}

function memoryOf(pid: number): { resident: number; peak: number } | null {
  const status = readProc(pid, 'status');
  const kilobytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status ?? '')?.[1]);
  const [resident, peak] = [kilobytes('VmRSS') * 1024, kilobytes('VmHWM') * 1024];
  return Number.isFinite(resident + peak) ? { resident, peak } : null;
}

function processorTimeOf(pid: number): number | null {
  // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it, in ticks of 10 ms.
  const fields = readProc(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ');
  return fields ? (Number(fields[11]) + Number(fields[12])) / 100 : null;
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null;
  }
}
