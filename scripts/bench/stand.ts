import autocannon from 'autocannon';
import pg from 'pg';
import type { Effort, Lane, Name, Spent } from './compete.ts';
import type { Store } from './store.ts';

/** A server under measurement, on its rows. */
export interface Server {
  name: Name;
  origin: string;
  /** For everything. */
  token: string;
  /** To the database it works on. */
  connection: pg.ClientConfig;
  pid: number;
  spent(): Spent;
}

/** A version of the service. */
export interface Version extends Server {
  /** Its checkout, and what its commands have to be told. */
  dir: string;
  env: Record<string, string>;
  log: string;
  /** Another token, with the options of its `npm run token`. */
  issueToken(options: string[]): Promise<string>;
}

/** Everything a measure works with, on the store it is about. */
export interface Stand<S = Store> {
  /** The old one, if there is one, and the new one. */
  versions: Version[];
  /** It works on the rows of the new one. */
  floor: Server;
  peer: Server | null;
  store: S;
  effort: Effort;
}

export interface Shot {
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  body?: string;
}
export type Shots = Shot[] | (() => Shot);

export const get = (path: string): Shot => ({ method: 'GET', path });
export const postJson = (path: string, body: object, headers: Record<string, string> = {}): Shot => ({
  method: 'POST',
  path,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
});

export const newest = ({ versions }: Stand<unknown>): Version => {
  const version = versions.at(-1);
  if (version === undefined) throw new Error('There is no version to measure.');
  return version;
};

type Asked = Pick<Server, 'origin' | 'token'>;

export async function send({ origin, token }: Asked, { method, path, headers, body }: Shot) {
  const response = await fetch(origin + path, {
    method,
    headers: { ...headers, Authorization: `Bearer ${token}` },
    ...(body !== undefined && { body }),
  });
  return { status: response.status, text: await response.text() };
}

/** The answer to what has to succeed. */
export async function ask(server: Asked & { name: Name }, shot: Shot) {
  const { status, text } = await send(server, shot);
  if (status > 299) throw new Error(`${server.name} answers ${shot.path} with ${status} ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

const connections = 10;

/** Answers per second of a server that is fired at over a number of connections; every answer has to be a success. */
export function firing(server: Server, shots: Shots, { seconds }: Effort, more: Partial<Lane> = {}): Lane {
  const headers = { authorization: `Bearer ${server.token}` };
  const withHeaders = (shot: Shot): Shot => ({ ...shot, headers: { ...headers, ...shot.headers } });
  const fire = async (duration: number) => {
    const result = await autocannon({
      url: server.origin,
      connections,
      duration,
      // It looks at the clock that often, milliseconds.
      sampleInt: 50,
      headers,
      requests:
        typeof shots === 'function'
          ? [{ setupRequest: (request) => ({ ...request, ...withHeaders(shots()) }) }]
          : shots.map(withHeaders),
    });
    const answers = result['2xx'];
    if (result.non2xx > 0 || result.errors > 0 || answers === 0) {
      const codes = Object.entries(result.statusCodeStats ?? {}).map(([code, { count }]) => `${count} × ${code}`);
      throw new Error(`${server.name} answered ${codes.join(', ') || 'nothing'}, with ${result.errors} errors`);
    }
    return { value: (answers * 1000) / (result.finish.getTime() - result.start.getTime()), answers };
  };
  return {
    name: server.name,
    spent: server.spent,
    warmUp: () => fire(Math.max(1, 2 * seconds)),
    slice: () => fire(seconds),
    ...(server.name !== 'floor' && { against: 'floor' }),
    ...more,
  };
}

/** Milliseconds of work that is done again and again, one after another: the median. */
export function timing(
  name: Lane['name'],
  spent: () => Spent,
  work: () => Promise<unknown>,
  { seconds }: Effort,
  more: Partial<Lane> = {},
): Lane {
  const most = 5;
  const slice = async () => {
    const times: number[] = [];
    const deadline = Date.now() + 1000 * seconds;
    do times.push(await timed(work));
    while (times.length < most && Date.now() < deadline);
    const sorted = times.toSorted((a, b) => a - b);
    return { value: sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN, answers: times.length };
  };
  return { name, spent, warmUp: slice, slice, ...(name !== 'floor' && { against: 'floor' }), ...more };
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - started) / 1e6;
}

/** What Postgres does by itself: the time of its processes, and of nobody else. */
export const postgresOf = (server: Server) => (): Spent => ({ server: null, postgres: server.spent().postgres });

export async function withClient<T>({ connection }: Server, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The first column of what a statement answers on the rows of the new version. */
export function sample(stand: Stand<unknown>, text: string): Promise<string[]> {
  return withClient(newest(stand), async (client) => {
    const { rows } = await client.query({ text, rowMode: 'array' });
    return rows.map(([value]) => String(value));
  });
}
