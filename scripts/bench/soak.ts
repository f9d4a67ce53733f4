import type { Figures } from './compete.ts';
import { graphqlShots } from './graphql.ts';
import { line, type Measure } from './measure.ts';
import { memoryOf } from './processes.ts';
import { customersById, pagesOfOrders, pagesOfTimelines } from './reads.ts';
import { firing, type Stand, type Version } from './stand.ts';
import { orderShot } from './writes.ts';

const parts = 10;

/** Ten minutes of reads and writes in turn: what is held must not grow. With `--seconds`, as many minutes times that. */
export const soak: Measure = {
  name: 'soak',
  onlyNamed: true,
  async run(stand) {
    const reads = [customersById(stand), pagesOfOrders(stand), pagesOfTimelines(stand), graphqlShots(stand)];
    const lists = await Promise.all(reads);
    const one = <T>(from: T[]) => from[Math.floor(Math.random() * from.length)] as T; // none of them is empty
    const shots = () => (Math.random() < 0.2 ? orderShot(stand.store) : one(one(lists)));
    const figures: Figures = {};
    const held = await Promise.all(stand.versions.map((version) => megabytes(version, stand, shots)));
    for (const [index, { name }] of stand.versions.entries()) {
      const slices = held[index] ?? [];
      const [early = Number.NaN, late = Number.NaN] = [slices[2], slices.at(-1)];
      figures[name] = { value: late, ratio: late / early, server: null, postgres: null, slices };
    }
    const notes = [
      `against that after a fifth of the time; megabytes by the minute: ${figures.new?.slices.map(Math.round).join(', ')}`,
    ];
    return [line('resident memory after the soak', 'MB', figures, { atMost: 1.05 }, { notes })];
  },
};

/** After each part of the time. */
async function megabytes(version: Version, { effort }: Stand, shots: Parameters<typeof firing>[1]): Promise<number[]> {
  const { slice } = firing(version, shots, { ...effort, seconds: 60 * effort.seconds });
  const held: number[] = [];
  for (let part = 0; part < parts; part += 1) {
    await slice();
    held.push((memoryOf(version.pid)?.resident ?? Number.NaN) / 1e6);
  }
  return held;
}
