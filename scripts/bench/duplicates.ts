import { z } from 'zod';
import type { DuplicateStore } from './duplicate-store.ts';
import { type Line, type Stand, send, timed } from './stand.ts';

const answer = z.object({
  data: z.array(z.object({ reasons: z.array(z.string()) })),
  page: z.object({ next: z.string().nullable() }),
});

/** The pages of duplicate suggestions, from the first to the last. */
export async function duplicates({ service, token, store }: Stand<DuplicateStore>): Promise<Line[]> {
  const times: number[] = [];
  let pairs = 0;
  for (let after: string | null = ''; after !== null; ) {
    let text = '';
    const path: string = `/v1/customers/duplicates?limit=100${after && `&after=${encodeURIComponent(after)}`}`;
    const milliseconds = await timed(async () => {
      text = (await send(service, token, { method: 'GET', path })).text;
    });
    const { data, page } = answer.parse(JSON.parse(text));
    times.push(milliseconds);
    pairs += data.length;
    after = page.next;
  }
  const [first = 0] = times;
  const sorted = times.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const slowest = sorted.at(-1) ?? 0;
  return [
    {
      measure: `duplicate suggestions of ${store.customers} customers`,
      service: `${slowest.toFixed(0)} ms`,
      floor: '',
      ratio: null,
      target: '≤ 1 s',
      met: slowest <= 1000,
      note: `the slowest of ${times.length} pages with ${pairs} pairs; the first took ${first.toFixed(0)} ms, the median ${median.toFixed(0)} ms`,
    },
  ];
}
