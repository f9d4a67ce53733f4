import { setTimeout as sleep } from 'node:timers/promises';
import type { Figures } from './compete.ts';
import { line, type Measure, single } from './measure.ts';
import { ask, get, newest, postJson, timed } from './stand.ts';

/** A training in the service, and what its clients notice of it. */
export const training: Measure[] = [
  {
    name: 'training',
    async run(stand) {
      const version = newest(stand);
      const { id } = await ask(version, postJson('/v1/lead-models', {}));
      let slowest = 0;
      for (;;) {
        let model = { status: '', quality: { seconds: 0, columns: 0, auc: 0 }, reason: { message: '' } };
        const milliseconds = await timed(async () => {
          model = await ask(version, get(`/v1/lead-models/${id}`));
        });
        slowest = Math.max(slowest, milliseconds);
        const { status, quality, reason } = model;
        if (status === 'ready') {
          const figures: Figures = { new: single(quality.seconds) };
          const notes = [
            `${quality.columns} columns, AUC ${quality.auc.toFixed(3)}; the slowest request beside it took ${slowest.toFixed(0)} ms`,
          ];
          return [line('training on the leads of the store', 's', figures, { within: 60 }, { notes })];
        }
        if (status !== 'queued' && status !== 'training')
          throw new Error(`The training ended ${status}: ${reason.message}`);
        await sleep(20);
      }
    },
  },
];
