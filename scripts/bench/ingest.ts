import { setTimeout as sleep } from 'node:timers/promises';
import { compete, type Lane } from './compete.ts';
import { line, type Measure } from './measure.ts';
import { ask, get, newest, postgresOf, send, timed, type Version, withClient } from './stand.ts';
import type { Store } from './store.ts';
import { nextDocument, order, prepareCopies } from './writes.ts';

/** Files in and out, against COPY. */

/** Orders of a file. */
const fileSize = 10_000;

async function importFile(version: Version, store: Store): Promise<number> {
  const documents = Array.from({ length: fileSize }, () => JSON.stringify(nextDocument(order, store)));
  const body = `${documents.join('\n')}\n`;
  const milliseconds = await timed(async () => {
    const path = '/v1/imports?kind=orders';
    const { id } = await ask(version, {
      method: 'POST',
      path,
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    });
    for (;;) {
      const { status, created } = await ask(version, get(`/v1/imports/${id}`));
      if (status === 'finished' && created === fileSize) return;
      if (status !== 'queued' && status !== 'running')
        throw new Error(`The import is ${status}, with ${created} orders`);
      await sleep(20);
    }
  });
  return (fileSize * 1000) / milliseconds;
}

const importing: Measure = {
  name: 'import',
  run: (stand) =>
    withClient(newest(stand), async (client) => {
      const copies = await prepareCopies(client, order, stand.effort.rounds + 1, fileSize);
      const copy = async () => ({ value: (fileSize * 1000) / (await timed(copies.next)), answers: 1 });
      const lanes: Lane[] = [
        { name: 'floor', spent: postgresOf(stand.floor), warmUp: copy, slice: copy },
        ...stand.versions.map((version): Lane => {
          const slice = async () => ({ value: await importFile(version, stand.store), answers: 1 });
          return { name: version.name, against: 'floor', spent: version.spent, warmUp: slice, slice };
        }),
      ];
      const figures = await compete(lanes, stand.effort);
      await copies.remove();
      const notes = [`files of ${fileSize}, from the first byte to the last COMMIT; the floor is a bare COPY`];
      return [line('import of orders with items', '/s', figures, { atLeast: 0.4 }, { notes })];
    }),
};

const exporting: Measure = {
  name: 'export',
  run: (stand) =>
    withClient(newest(stand), async (client) => {
      const { rows } = await client.query('select count(*)::int as orders from orders');
      const { orders } = rows[0];
      const perSecond = async (work: () => Promise<unknown>) => ({
        value: (orders * 1000) / (await timed(work)),
        answers: 1,
      });
      const copy = () =>
        perSecond(async () => {
          const parts = ['orders', 'order_items', "(select * from external_refs where kind = 'order')"];
          for (const part of parts) await client.query(`copy ${part} to '/dev/null'`);
        });
      const lanes: Lane[] = [
        { name: 'floor', spent: postgresOf(stand.floor), warmUp: copy, slice: copy },
        ...stand.versions.map((version): Lane => {
          const slice = () =>
            perSecond(async () => {
              const { status, text } = await send(version, get('/v1/exports/orders'));
              const lines = text.split('\n').length - 1;
              if (status !== 200 || lines < orders) throw new Error(`${status}, and ${lines} of ${orders} orders`);
            });
          return { name: version.name, against: 'floor', spent: version.spent, warmUp: slice, slice };
        }),
      ];
      const figures = await compete(lanes, stand.effort);
      const notes = ['orders with items and references, as JSON; the floor is COPY of their tables'];
      return [line('export of orders with items', '/s', figures, { atLeast: 0.6 }, { notes })];
    }),
};

export const ingest: Measure[] = [importing, exporting];
