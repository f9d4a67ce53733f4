import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type BatchResults, batchResults } from '../../src/platform/batch.ts';
import { type ServiceClient, ServiceError } from '../service-client.ts';
import { currency, type Found, readInvoices, type SkipReason, type Survey, source } from './read.ts';

type Kind = 'orders' | 'returns';

export interface Tally {
  /** Carried out or refused: the service has answered for them. */
  sent: number;
  created: number;
  updated: number;
  unchanged: number;
  refused: number;
}

export interface Report {
  orders: Tally;
  returns: Tally;
  /** Invoices and lines left out, by reason. */
  skipped: Map<SkipReason, { invoices: number; lines: number }>;
  /** What the service refused, by its reason; `example` is an invoice. */
  refusals: Map<string, { count: number; example: string }>;
  /** Where to go on: the service has everything that is complete before this line. */
  nextLine: number;
  finished: boolean;
  /** Why it ended early, when the service was the cause. */
  failure: ServiceError | null;
}

/** Currency or rates of the service do not fit the file; the message says what to do. */
export class CurrencyError extends Error {
  override name = 'CurrencyError';
}

/** Orders or returns. */
const perRequest = 500;
/** The service takes 16 MB. */
const bytesPerRequest = 8_000_000;

const probed = z.object({ exchangeRate: z.string().nullable() });

/**
 * Asks the service, by orders that it only tries, whether it can value every day of the file: pounds are its base
 * currency, or it has their rate. A probing return shows that the token may push these too.
 *
 * @throws CurrencyError, ServiceError
 */
export async function checkService(client: ServiceClient, { days }: Survey): Promise<void> {
  const [first] = days;
  if (first === undefined) return;
  const { externalId, customer, total } = {
    externalId: 'probe',
    customer: { source, externalId: 'probe' },
    total: 100,
  };
  const probe = { source, externalId, customer, currency, total };
  await client.request('POST', '/v1/returns/batch?dryRun=true', { returns: [{ ...probe, returnedAt: first }] });
  const tryOrder = (placedAt: string, exchangeRate?: string) =>
    client.request('POST', '/v1/orders?dryRun=true', {
      ...probe,
      externalId: `probe-${randomUUID()}`,
      placedAt,
      items: [{ sku: 'probe', quantity: 1, total }],
      paymentStatus: 'paid',
      ...(exchangeRate !== undefined && { exchangeRate }),
    });
  try {
    // Only the base currency refuses a rate: its own is 1.
    await tryOrder(first, '2');
  } catch (error) {
    if (error instanceof ServiceError && error.faults.includes('base_currency')) return;
    throw error;
  }
  const missing: string[] = [];
  for (const day of days) {
    if (probed.parse(await tryOrder(day)).exchangeRate === null) missing.push(day.slice(0, 10));
  }
  if (missing.length === 0) return;
  throw new CurrencyError(
    `The amounts are in ${currency}, which is not the base currency of the service, and it has no rate of ${currency} for ` +
      `${missing.length} of ${days.length} days (${missing[0]} to ${missing.at(-1)}). Nothing was sent.\n` +
      `Upload the rates first:  PUT /v1/exchange-rates  {"rates":[{"date":"${missing[0]}","currency":"${currency}","rate":"1.12"}, …]}` +
      '  (a rate serves its date and the seven days after)\n' +
      `or start a service whose base currency is ${currency}, on a database of its own:  BASE_CURRENCY=${currency} npm start`,
  );
}

/**
 * Sends the invoices of a file: orders and returns in batches of their own, one request at a time. Everything is an
 * upsert under the invoice's number, so a run that was cut off can be repeated, from the start or from `nextLine`.
 *
 * @param options.signal ends the import once what was read is sent
 * @param options.onProgress told the line that was read last
 * @throws FileError
 */
export async function sendInvoices(
  client: ServiceClient,
  survey: Survey,
  options: { fromLine?: number; signal?: AbortSignal; onProgress?: (line: number, report: Report) => void } = {},
): Promise<Report> {
  const { fromLine = 1, signal, onProgress } = options;
  const report: Report = {
    orders: newTally(),
    returns: newTally(),
    skipped: new Map(),
    refusals: new Map(),
    nextLine: fromLine,
    finished: false,
    failure: null,
  };
  const queues = { orders: newQueue('orders'), returns: newQueue('returns') };
  const flush = async (queue: Queue) => {
    if (queue.documents.length === 0) return;
    const path = `/v1/${queue.kind}/batch`;
    const body = `{"${queue.kind}":[${queue.documents.join(',')}]}`;
    // The key lets a repeated request answer what the first one did.
    const answer = await client.request('POST', path, body, { 'Idempotency-Key': randomUUID() });
    count(report, queue, batchResults.parse(answer));
    Object.assign(queue, newQueue(queue.kind));
  };

  let line = fromLine - 1;
  /** Lines that wait in a queue are not the service's yet. */
  const mark = (next: number) => {
    report.nextLine = Math.min(queues.orders.firstLine ?? next, queues.returns.firstLine ?? next);
  };
  try {
    for await (const found of readInvoices(survey, { fromLine })) {
      if (found.kind === 'skipped') {
        skip(report, found);
      } else {
        const queue = queues[found.kind === 'order' ? 'orders' : 'returns'];
        const document = JSON.stringify(found.document);
        const bytes = Buffer.byteLength(document) + 1;
        if (queue.bytes + bytes > bytesPerRequest) await flush(queue);
        queue.documents.push(document);
        queue.invoices.push(found.document.externalId);
        queue.bytes += bytes;
        queue.firstLine ??= found.line;
        if (queue.documents.length === perRequest) await flush(queue);
      }
      line = found.line;
      mark(line + 1);
      onProgress?.(line, report);
      if (signal?.aborted) break;
    }
    // Also after a signal: what was read is sent, so that one need not go back to the oldest in a queue.
    for (const queue of [queues.orders, queues.returns]) {
      await flush(queue);
      mark(line + 1);
    }
    if (signal?.aborted) return report;
    onProgress?.(survey.lines, report);
    report.nextLine = survey.lines + 1;
    report.finished = true;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    report.failure = error;
  }
  return report;
}

interface Queue {
  kind: Kind;
  /** JSON texts. */
  documents: string[];
  invoices: string[];
  bytes: number;
  firstLine: number | null;
}

function newQueue(kind: Kind): Queue {
  return { kind, documents: [], invoices: [], bytes: 0, firstLine: null };
}

function newTally(): Tally {
  return { sent: 0, created: 0, updated: 0, unchanged: 0, refused: 0 };
}

function count(report: Report, { kind, invoices }: Queue, { results }: BatchResults): void {
  const tally = report[kind];
  tally.sent += invoices.length;
  for (const { index, status, error } of results) {
    tally[status] += 1;
    if (status !== 'refused') continue;
    const fault = error?.errors?.[0];
    const reason = `${error?.code}: ${fault ? `${fault.pointer ?? ''} ${fault.message}` : error?.detail}`;
    const known = report.refusals.get(reason) ?? { count: 0, example: invoices[index] ?? '' };
    report.refusals.set(reason, { ...known, count: known.count + 1 });
  }
}

function skip(report: Report, { reason, lines }: Extract<Found, { kind: 'skipped' }>): void {
  const known = report.skipped.get(reason) ?? { invoices: 0, lines: 0 };
  const whole = reason === 'negative_order' || reason === 'return_of_nothing';
  report.skipped.set(reason, { invoices: known.invoices + (whole ? 1 : 0), lines: known.lines + lines });
}
