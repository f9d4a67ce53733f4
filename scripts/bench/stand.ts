import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import type { Config } from '../../src/config.ts';
import { noAudit } from '../../src/platform/audit.ts';
import { fixedDirectory } from '../../src/platform/auth/directory.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { keyedHash } from '../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../src/platform/link-token.ts';
import { type Context, createContext, type Services } from '../../src/platform/operation.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { type Comparison, compare, type Rate, type Shot } from './load.ts';
import type { Server } from './processes.ts';
import type { Store } from './store.ts';

/** A line of the table. */
export interface Line {
  measure: string;
  service: string;
  floor: string;
  ratio: number | null;
  target: string;
  /** null: could not be measured. */
  met: boolean | null;
  note?: string;
}

/** Everything a measure works with, on the store it is about. */
export interface Stand<S = Store> {
  service: Server;
  floor: Server;
  token: string;
  config: Config;
  connection: pg.ClientConfig;
  store: S;
  effort: { rounds: number; seconds: number };
}

export const connections = 10;

/** Checks that both answer the same, then puts both under load. */
export async function versus(stand: Stand<unknown>, measure: string, shots: Shot[], target: number): Promise<Line> {
  for (const shot of shots.slice(0, 20)) await assertSame(stand, shot);
  const result = await compare(stand, stand.token, { shots, connections }, stand.effort);
  return line(measure, result, target);
}

async function assertSame({ service, floor, token }: Stand<unknown>, shot: Shot): Promise<void> {
  const [ours, theirs] = [await send(service, token, shot), await send(floor, token, shot)];
  if (ours.status !== theirs.status || !sameAnswer(ours.text, theirs.text)) {
    throw new Error(`Different answers to ${shot.path}:\n${ours.status} ${ours.text}\n${theirs.status} ${theirs.text}`);
  }
}

/** Whether two answers hold the same members and as many bytes: their order is free. */
export function sameAnswer(one: string, other: string): boolean {
  return one.length === other.length && isDeepStrictEqual(JSON.parse(one), JSON.parse(other));
}

export async function send({ origin }: Server, token: string, { method, path, headers, body }: Shot) {
  const response = await fetch(origin + path, {
    method,
    headers: { ...headers, Authorization: `Bearer ${token}` },
    ...(body !== undefined && { body }),
  });
  return { status: response.status, text: await response.text() };
}

export function line(measure: string, { service, floor, ratio }: Comparison, target: number): Line {
  return {
    measure,
    service: rate(service),
    floor: rate(floor),
    ratio,
    target: `≥ ${target}`,
    met: ratio >= target,
    note: `processor time per answer: ${milliseconds(service)} ms, floor ${milliseconds(floor)} ms`,
  };
}

const rate = ({ perSecond }: Rate) => `${Math.round(perSecond)}/s`;
const milliseconds = ({ processor }: Rate) => processor?.toFixed(3) ?? '?';

/** What operations and jobs that are called here work with, on one connection. The caller ends the pool. */
export function servicesOn(connection: pg.ClientConfig, config: Config): Services {
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  return {
    db: poolDb(pool),
    pool,
    baseCurrency: config.baseCurrency,
    reportingTimeZone: config.reportingTimeZone,
    cursors: cursorCodec(Buffer.alloc(32)),
    links: linkTokens(Buffer.alloc(32)),
    tombstones: keyedHash(Buffer.alloc(32)),
    directory: fixedDirectory(),
    issuer: null,
    audit: noAudit,
    redirects: async () => new Map(),
    clock: () => new Date().toISOString(),
  };
}

/** Runs the work here, on a connection that counts what is sent. */
export async function statementsOf(
  { connection, config }: Stand<unknown>,
  work: (context: Context) => Promise<unknown>,
): Promise<number> {
  const services = servicesOn(connection, config);
  let count = 0;
  services.pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...given: unknown[]) => unknown; // all overloads are handed on
    Object.assign(client, {
      query: (...given: unknown[]) => {
        count += 1;
        return query(...given);
      },
    });
  });
  await work(createContext(services, createPrincipal('bench', ['*']), 'bench'));
  await services.pool.end();
  return count;
}

export function absent(measure: string, target: string, note: string): Line {
  return { measure, service: '–', floor: '–', ratio: null, target, met: null, note };
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - started) / 1e6;
}

export async function sample({ connection }: Stand<unknown>, text: string): Promise<string[]> {
  const client = new pg.Client(connection);
  await client.connect();
  const { rows } = await client.query({ text, rowMode: 'array' });
  await client.end();
  return rows.map(([value]) => String(value));
}
