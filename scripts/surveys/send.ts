import { z } from 'zod';
import { type BatchResults, batchResults } from '../../src/platform/batch.ts';
import type { ServiceClient } from '../service-client.ts';
import { type AnswerRecord, questions } from './read.ts';

export interface AnswerReport {
  /** Of the survey that the answers belong to. */
  surveyId: string;
  created: number;
  updated: number;
  unchanged: number;
  /** What the service refused, by its reason; `example` is an id of the file. */
  refusals: Map<string, { count: number; example: string }>;
}

const perRequest = 500;

/**
 * Pushes answers: the customers, then their responses to the survey of this name, which is made if there is none.
 * Everything is an upsert by reference, so it can be interrupted and repeated.
 *
 * @throws ServiceError
 */
export async function sendAnswers(
  client: ServiceClient,
  survey: string,
  records: AsyncIterable<AnswerRecord>,
  options: { signal?: AbortSignal; onProgress?: (sent: number) => void } = {},
): Promise<AnswerReport> {
  const surveyId = (await findSurvey(client, survey)) ?? (await makeSurvey(client, survey));
  const report: AnswerReport = { surveyId, created: 0, updated: 0, unchanged: 0, refusals: new Map() };
  let sent = 0;
  let waiting: AnswerRecord[] = [];
  const flush = async () => {
    await sendSet(client, waiting, report);
    sent += waiting.length;
    waiting = [];
    options.onProgress?.(sent);
  };
  for await (const record of records) {
    waiting.push(record);
    if (waiting.length === perRequest) await flush();
    if (options.signal?.aborted) return report;
  }
  if (waiting.length > 0) await flush();
  return report;
}

const surveyPage = z.object({
  data: z.array(z.object({ id: z.string(), name: z.string() })),
  page: z.object({ next: z.string().nullable() }),
});

async function findSurvey(client: ServiceClient, name: string): Promise<string | null> {
  for (let after = ''; ; ) {
    const { data, page } = surveyPage.parse(await client.request('GET', `/v1/surveys?limit=100${after}`));
    const found = data.find((one) => one.name === name);
    if (found) return found.id;
    if (page.next === null) return null;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
}

async function makeSurvey(client: ServiceClient, name: string): Promise<string> {
  const made = await client.request(
    'POST',
    '/v1/surveys',
    { name, status: 'open', questions },
    // A repeated request must not make a second one.
    { 'Idempotency-Key': crypto.randomUUID() },
  );
  return z.object({ id: z.string() }).parse(made).id;
}

async function sendSet(client: ServiceClient, records: AnswerRecord[], report: AnswerReport): Promise<void> {
  const customers = records.map(({ customer }) => customer);
  const known = batchResults.parse(await client.request('POST', '/v1/customers/batch', { customers }));
  note(known, 'customers', records, report);
  const responses = records.map(({ response }) => response);
  const path = `/v1/surveys/${report.surveyId}/responses/batch`;
  const answered = batchResults.parse(await client.request('POST', path, { responses }));
  note(answered, 'responses', records, report);
  for (const { status } of answered.results) if (status !== 'refused') report[status] += 1;
}

function note({ results }: BatchResults, kind: string, records: AnswerRecord[], { refusals }: AnswerReport): void {
  for (const { index, error } of results) {
    if (!error) continue;
    const reason = `${kind}: ${error.detail}`;
    const known = refusals.get(reason);
    const example = known?.example ?? records[index]?.id ?? '';
    refusals.set(reason, { count: (known?.count ?? 0) + 1, example });
  }
}
