import { compete, type Figure, type Figures } from './compete.ts';
import { assertSame, type Differences, differencesOf } from './differences.ts';
import {
  ask,
  firing,
  newest,
  postgresOf,
  type Server,
  type Shot,
  type Shots,
  type Stand,
  send,
  timing,
  withClient,
} from './stand.ts';
import type { Store } from './store.ts';

/** One thing that is measured, on a store with rows of kind S. */
export interface Measure<S = Store> {
  /** What the command line calls it. */
  name: string;
  /** Not among all of its group. */
  onlyNamed?: boolean;
  run(stand: Stand<S>): Promise<Line[]>;
}

/** A line of the table. */
export interface Line {
  measure: string;
  unit: '/s' | 'ms' | 's' | 'MB';
  figures: Figures;
  mark: string;
  /** null: there is no mark, or it could not be measured. */
  met: boolean | null;
  notes: string[];
  /** It could not be measured, or the old version does not answer as the new one does. */
  faulty: boolean;
}

/** What has to be reached. */
export interface Mark {
  /** Of what the floor does. */
  atLeast?: number;
  atMost?: number;
  /** In the unit of the measure. */
  within?: number;
  /** Likewise: at least so much. */
  faster?: number;
  /** Of what the peer does, where there is one. */
  ofPeer?: number;
}

const nothing: Differences = { added: new Set(), changed: new Map() };

export function line(
  measure: string,
  unit: Line['unit'],
  figures: Figures,
  mark: Mark = {},
  { notes = [], differences = nothing }: { notes?: string[]; differences?: Differences } = {},
): Line {
  const { value = Number.NaN, ratio = null } = figures.new ?? {};
  const checks: [text: string, met: boolean | null][] = [];
  if (mark.atLeast !== undefined) checks.push([`≥ ${mark.atLeast}`, ratio === null ? null : ratio >= mark.atLeast]);
  if (mark.atMost !== undefined) checks.push([`≤ ${mark.atMost}`, ratio === null ? null : ratio <= mark.atMost]);
  if (mark.within !== undefined) checks.push([`≤ ${mark.within} ${unit}`, figures.new ? value <= mark.within : null]);
  if (mark.faster !== undefined) checks.push([`≥ ${mark.faster} ${unit}`, figures.new ? value >= mark.faster : null]);
  if (mark.ofPeer !== undefined && figures.peer) {
    checks.push([`≥ ${mark.ofPeer} × peer`, value >= mark.ofPeer * figures.peer.value]);
  }
  const known = checks.filter(([, met]) => met !== null);
  return {
    measure,
    unit,
    figures,
    mark: checks.map(([text]) => text).join(', '),
    met: known.length === 0 ? null : known.every(([, met]) => met),
    notes: [
      ...notes,
      ...(differences.added.size > 0 ? [`only the new version says ${[...differences.added].join(', ')}`] : []),
      ...[...differences.changed].map(([member, example]) => `ANSWERS DIFFER in ${member || 'all'}: ${example}`),
    ],
    faulty: differences.changed.size > 0,
  };
}

/** The others are measured all the same. */
export function failed(measure: string, error: unknown): Line {
  const message = error instanceof Error ? error.message : String(error);
  return { ...line(measure, '/s', {}, {}, { notes: [`FAILED: ${message}`] }), faulty: true };
}

/** A figure that was taken once. */
export const single = (value: number): Figure => {
  return { value, ratio: null, server: null, postgres: null, slices: [value] };
};

/** The same value asked of each version. */
export async function ofEach(
  { versions }: Stand<unknown>,
  value: (version: Stand['versions'][number]) => Promise<number | null> | number | null,
): Promise<Figures> {
  const figures: Figures = {};
  for (const version of versions) {
    const taken = await value(version);
    if (taken !== null) figures[version.name] = single(taken);
  }
  return figures;
}

/** Answers per second under load, against the floor. */
export function rate<S = Store>(measure: {
  name: string;
  title: string;
  mark: Mark;
  shots(stand: Stand<S>): Promise<Shots> | Shots;
  /** What the floor is sent where that has to differ. */
  floorShots?(stand: Stand<S>): Shots;
  /** After writes the versions have different rows: their answers cannot be compared. */
  afterWrites?: boolean;
  /** What is sent where there is a peer; its answers have to hold the same records. */
  withPeer?(stand: Stand<S>, peer: Server): Promise<{ shots: Shot[]; peerShots: Shot[] }>;
}): Measure<S> {
  return {
    name: measure.name,
    async run(stand) {
      const { versions, floor, peer, effort } = stand;
      const shared = peer && (await measure.withPeer?.(stand, peer));
      const shots = shared?.shots ?? (await measure.shots(stand));
      const probes = typeof shots === 'function' ? [] : shots.slice(0, 10);
      for (const shot of probes) await assertSame(stand, shot);
      if (peer && shared) await assertSameRecords(newest(stand), peer, shared);
      const differences = await differencesOf(stand, measure.afterWrites ? [] : probes);
      const figures = await compete(
        [
          firing(floor, measure.floorShots?.(stand) ?? shots, effort),
          ...versions.map((version) => firing(version, shots, effort)),
          ...(peer && shared ? [firing(peer, shared.peerShots, effort)] : []),
        ],
        effort,
      );
      return [line(measure.title, '/s', figures, measure.mark, { differences })];
    },
  };
}

/** The peer's members have names of their own; the records have to be the same, in the same order. */
async function assertSameRecords(
  ours: Server,
  peer: Server,
  { shots, peerShots }: { shots: Shot[]; peerShots: Shot[] },
) {
  const ids = async (server: Server, shot: Shot) =>
    JSON.stringify(await ask(server, shot)).match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [];
  for (const [index, shot] of shots.slice(0, 5).entries()) {
    const [one, other] = [await ids(ours, shot), await ids(peer, peerShots[index] ?? shot)];
    if (one.length === 0 || one.join() !== other.join()) {
      throw new Error(`The peer answers other records to ${shot.body}:\n${one}\n${other}`);
    }
  }
}

/** Milliseconds of one request at a time. Against: one statement, so the mark is a multiple of its time. */
export function time<S = Store>(measure: {
  name: string;
  title: string;
  mark: Mark;
  shot(stand: Stand<S>): Promise<Shot> | Shot;
  against?: string;
  /** What to ask for a comparison of the versions, where answers change from one moment to the next. */
  still?: () => Shot;
  /** Against the floor's answer to the same. */
  againstFloor?: boolean;
}): Measure<S> {
  return {
    name: measure.name,
    async run(stand) {
      const { effort, floor } = stand;
      const shot = await measure.shot(stand);
      const notes: string[] = [];
      const able: Stand['versions'] = [];
      for (const version of stand.versions) {
        const { status, text } = await send(version, shot);
        const fault = status === 200 ? faultOf(text) : `${status} ${text.slice(0, 200)}`;
        if (fault === null || fault === noValue) able.push(version);
        if (fault !== null) notes.push(`${version.name} answers ${fault}`);
      }
      const differences = able.length > 1 ? await differencesOf(stand, [measure.still?.() ?? shot]) : nothing;
      const lanes = able.map((version) => timing(version.name, version.spent, () => answered(version, shot), effort));
      const { against } = measure;
      const figures =
        against === undefined
          ? await compete(
              [
                ...(measure.againstFloor ? [timing('floor', floor.spent, () => answered(floor, shot), effort)] : []),
                ...lanes,
              ],
              effort,
            )
          : await withClient(newest(stand), async (client) => {
              // As the service's connections are set.
              await client.query('set jit = off');
              const { rows } = await client.query(`explain ${against}`);
              const workers = /Workers Planned: (\d+)/.exec(JSON.stringify(rows))?.[1] ?? 'no';
              notes.push(`the floor is one ${against}; Postgres plans it with ${workers} parallel workers`);
              const scan = timing('floor', postgresOf(floor), () => client.query(against), effort);
              return compete([scan, ...lanes], effort);
            });
      return [line(measure.title, 'ms', figures, measure.mark, { notes, differences })];
    },
  };
}

async function answered(server: Server, shot: Shot): Promise<void> {
  const { status, text } = await send(server, shot);
  if (status !== 200) throw new Error(`${server.name} answers ${status} ${text.slice(0, 200)}`);
}

/** The work is done all the same. */
const noValue = 'no value';

/** What makes an answer not what was asked for: a fault of GraphQL, or a metric without a value. */
function faultOf(text: string): string | null {
  const answer = JSON.parse(text);
  if (answer.errors) return JSON.stringify(answer.errors).slice(0, 200);
  return answer.value === null ? noValue : null;
}
