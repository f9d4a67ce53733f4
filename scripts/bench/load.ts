import autocannon from 'autocannon';
import type { Server } from './processes.ts';

export interface Shot {
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  body?: string;
}

export interface Rate {
  /** Answers per second. */
  perSecond: number;
  /** Processor time of the server per answer, milliseconds; null where it cannot be told. */
  processor: number | null;
}

/** Fires at the server for a while over a number of connections; every answer has to be a success. */
export async function fire(
  server: Server,
  token: string,
  { shots, connections, seconds }: { shots: Shot[] | (() => Shot); connections: number; seconds: number },
): Promise<Rate> {
  const headers = { authorization: `Bearer ${token}` };
  const before = server.processorTime();
  const result = await autocannon({
    url: server.origin,
    connections,
    duration: seconds,
    headers,
    requests:
      typeof shots === 'function'
        ? [{ setupRequest: (request) => ({ ...request, ...withHeaders(shots(), headers) }) }]
        : shots.map((shot) => withHeaders(shot, headers)),
  });
  const after = server.processorTime();
  const answers = result['2xx'];
  if (result.non2xx > 0 || result.errors > 0 || answers === 0) {
    const codes = Object.entries(result.statusCodeStats ?? {}).map(([code, { count }]) => `${count} × ${code}`);
    throw new Error(`The ${server.name} answered ${codes.join(', ') || 'nothing'}, with ${result.errors} errors`);
  }
  return {
    perSecond: answers / result.duration,
    processor: before === null || after === null ? null : ((after - before) * 1000) / answers,
  };
}

function withHeaders(shot: Shot, headers: Record<string, string>): Shot {
  return { ...shot, headers: { ...headers, ...shot.headers } };
}

export interface Comparison {
  service: Rate;
  floor: Rate;
  /** Median of the ratios of the rounds. */
  ratio: number;
}

/**
 * Drives both in turn, the order changing by the round, so that a noisy neighbour hits both.
 *
 * @param load.floorShots what the floor is sent when that has to differ
 * @param load.floorToken who asks the floor, likewise
 */
export async function compare(
  servers: { service: Server; floor: Server },
  token: string,
  load: { shots: Shot[] | (() => Shot); floorShots?: () => Shot; floorToken?: string; connections: number },
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Comparison> {
  const run = (server: Server, time: number) => {
    const shots = (server.name === 'floor' && load.floorShots) || load.shots;
    return fire(server, (server.name === 'floor' && load.floorToken) || token, {
      shots,
      connections: load.connections,
      seconds: time,
    });
  };
  // What the compiler of V8 does in the first thousands of requests is not to be measured.
  await run(servers.service, 2 * seconds);
  await run(servers.floor, 2 * seconds);
  const pairs: { service: Rate; floor: Rate }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 0) {
      const service = await run(servers.service, seconds);
      pairs.push({ service, floor: await run(servers.floor, seconds) });
    } else {
      const floor = await run(servers.floor, seconds);
      pairs.push({ floor, service: await run(servers.service, seconds) });
    }
  }
  const middle = (rates: Rate[]): Rate => ({
    perSecond: median(rates.map(({ perSecond }) => perSecond)),
    processor: rates.some(({ processor }) => processor === null)
      ? null
      : median(rates.map(({ processor }) => processor ?? 0)),
  });
  return {
    service: middle(pairs.map(({ service }) => service)),
    floor: middle(pairs.map(({ floor }) => floor)),
    ratio: median(pairs.map(({ service, floor }) => service.perSecond / floor.perSecond)),
  };
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}
