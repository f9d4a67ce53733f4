import { line, type Measure, single } from './measure.ts';
import { ask, get, newest, timed } from './stand.ts';

interface Page {
  data: unknown[];
  page: { next: string | null };
}

/** The pages of duplicate suggestions, from the first to the last. */
export const duplicates: Measure[] = [
  {
    name: 'duplicates',
    async run(stand) {
      const version = newest(stand);
      const times: number[] = [];
      let pairs = 0;
      for (let after: string | null = ''; after !== null; ) {
        let answer: Page = { data: [], page: { next: null } };
        const path = `/v1/customers/duplicates?limit=100${after && `&after=${encodeURIComponent(after)}`}`;
        times.push(
          await timed(async () => {
            answer = await ask(version, get(path));
          }),
        );
        pairs += answer.data.length;
        after = answer.page.next;
      }
      const slowest = Math.max(...times);
      const notes = [`the slowest of ${times.length} pages with ${pairs} pairs`];
      return [line('duplicate suggestions, a page', 'ms', { new: single(slowest) }, { within: 1000 }, { notes })];
    },
  },
];
