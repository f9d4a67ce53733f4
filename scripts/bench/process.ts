import type { Figures } from './compete.ts';
import { line, type Measure, ofEach } from './measure.ts';
import { memoryOf, startProcess } from './processes.ts';
import { get, type Stand, send, timed } from './stand.ts';

/** `npm start` on data that is there, until a request with a token has its answer. */
export const start: Measure = {
  name: 'start',
  async run(stand) {
    const figures = await ofEach(stand, async ({ name, dir, env, log, token }) => {
      const server = await startProcess({
        name,
        command: 'npm',
        arguments: () => ['start', '--silent'],
        cwd: dir,
        env,
        log,
        probe: '/livez',
        patience: 60,
      });
      const milliseconds = await timed(() => send({ origin: server.origin, token }, get('/v1/customers?limit=1')));
      await server.stop();
      return server.startSeconds + milliseconds / 1000;
    });
    return [line('first answer after npm start', 's', figures, { within: 5 })];
  },
};

/** Megabytes that each version and the floor hold now, or held at most. */
export function memory(stand: Stand<unknown>, which: 'resident' | 'peak'): Figures {
  const figures: Figures = {};
  for (const { name, pid } of [stand.floor, ...stand.versions]) {
    const bytes = memoryOf(pid)?.[which];
    if (bytes !== undefined)
      figures[name] = { value: bytes / 1e6, ratio: null, server: null, postgres: null, slices: [] };
  }
  return figures;
}
