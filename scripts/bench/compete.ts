/** Who is measured: the least that can be done, the version given by --against, this version, another product. */
export type Name = 'floor' | 'old' | 'new' | 'peer';

/** Processor time used so far, seconds. */
export interface Spent {
  /** By the process that answers; null: it has none of its own, or the system does not tell. */
  server: number | null;
  /** By Postgres with all its processes. */
  postgres: number | null;
}

/** One of those that are measured in turn. */
export interface Lane {
  name: Name | 'old floor';
  /** Whose value its own is divided by. */
  against?: Lane['name'];
  spent(): Spent;
  /** Not measured: compilers and caches get to work. */
  warmUp(): Promise<unknown>;
  /** A short while of the work. */
  slice(): Promise<{ value: number; answers: number }>;
}

/** What a lane has come to. */
export interface Figure {
  /** Median of the slices. */
  value: number;
  /** Median of the ratios of the rounds. */
  ratio: number | null;
  /** Processor time per answer over all slices, milliseconds: the clock of a process ticks too slowly for one of them. */
  server: number | null;
  postgres: number | null;
  slices: number[];
}

export type Figures = Partial<Record<Lane['name'], Figure>>;

export interface Effort {
  rounds: number;
  /** Of a slice. */
  seconds: number;
}

/** Whatever takes long is measured less often: seconds that the rounds of one measure may take, from the third round on. */
const patience = 8;

/** Takes slices of all lanes in turn, the order changing by the round, so that what else the machine does hits all of them. */
export async function compete(lanes: Lane[], { rounds }: Effort): Promise<Figures> {
  for (const lane of lanes) await lane.warmUp();
  const taken = new Map(lanes.map((lane) => [lane.name, [] as Slice[]]));
  const deadline = Date.now() + 1000 * patience;
  for (let round = 0; round < rounds && (round < 2 || Date.now() < deadline); round += 1) {
    const first = round % lanes.length;
    for (const lane of [...lanes.slice(first), ...lanes.slice(0, first)]) {
      taken.get(lane.name)?.push(await sliceOf(lane));
    }
  }
  const figures = lanes.map((lane) => {
    const slices = taken.get(lane.name) ?? [];
    const base = lane.against && taken.get(lane.against);
    const figure: Figure = {
      value: median(slices.map(({ value }) => value)),
      ratio: base ? median(slices.map(({ value }, round) => value / (base[round]?.value ?? Number.NaN))) : null,
      server: perAnswer(slices, 'server'),
      postgres: perAnswer(slices, 'postgres'),
      slices: slices.map(({ value }) => value),
    };
    return [lane.name, figure] as const;
  });
  return Object.fromEntries(figures);
}

interface Slice {
  value: number;
  answers: number;
  /** Seconds. */
  spent: Spent;
}

async function sliceOf(lane: Lane): Promise<Slice> {
  const before = lane.spent();
  const slice = await lane.slice();
  const after = lane.spent();
  const during = (of: keyof Spent) => {
    const [from, to] = [before[of], after[of]];
    return from === null || to === null ? null : to - from;
  };
  return { ...slice, spent: { server: during('server'), postgres: during('postgres') } };
}

function perAnswer(slices: Slice[], of: keyof Spent): number | null {
  const known = slices.map(({ spent }) => spent[of]).filter((seconds) => seconds !== null);
  const answers = slices.reduce((sum, slice) => sum + slice.answers, 0);
  return known.length === 0 ? null : (1000 * known.reduce((sum, seconds) => sum + seconds, 0)) / answers;
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}
