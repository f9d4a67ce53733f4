import { setTimeout as sleep } from 'node:timers/promises';
import { type Line, type Stand, send, timed } from './stand.ts';
import type { TrainingStore } from './training-store.ts';

/** A training in the service, and what its clients notice of it. */
export async function training(stand: Stand<TrainingStore>): Promise<Line[]> {
  const { service, token, store } = stand;
  const made = await send(service, token, {
    method: 'POST',
    path: '/v1/lead-models',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  const { id } = JSON.parse(made.text);
  const path = `/v1/lead-models/${id}`;
  let slowest = 0;
  for (;;) {
    let text = '';
    const milliseconds = await timed(async () => {
      text = (await send(service, token, { method: 'GET', path })).text;
    });
    slowest = Math.max(slowest, milliseconds);
    const { status, quality, reason } = JSON.parse(text);
    if (status === 'ready') {
      return [
        {
          measure: `training on ${store.leads} leads`,
          service: `${quality.seconds.toFixed(1)} s`,
          floor: '',
          ratio: null,
          target: '≤ 60 s',
          met: quality.seconds <= 60,
          note: `${quality.columns} columns, AUC ${quality.auc.toFixed(3)}; the slowest request beside it took ${slowest.toFixed(0)} ms`,
        },
      ];
    }
    if (status !== 'queued' && status !== 'training')
      throw new Error(`The training ended ${status}: ${reason.message}`);
    await sleep(20);
  }
}
