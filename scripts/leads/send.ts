import { batchResults } from '../../src/platform/batch.ts';
import { type ServiceClient, ServiceError } from '../service-client.ts';
import type { InteractionDocument, LeadRecord } from './read.ts';

export interface LeadReport {
  leads: number;
  interactions: number;
  conversions: number;
  /** What the service refused, by its reason; `example` is a lead number. */
  refusals: Map<string, { count: number; example: string }>;
}

const perRequest = 500;
/** Conversions under way at a time. */
const together = 8;

/**
 * Pushes leads: the customers, the leads, their interactions, then the conversions. Everything is an upsert by
 * reference and a conversion of a converted lead changes nothing, so it can be interrupted and repeated.
 *
 * @throws ServiceError
 */
export async function sendLeads(
  client: ServiceClient,
  records: AsyncIterable<LeadRecord>,
  options: { signal?: AbortSignal; onProgress?: (report: LeadReport) => void } = {},
): Promise<LeadReport> {
  const report: LeadReport = { leads: 0, interactions: 0, conversions: 0, refusals: new Map() };
  let waiting: LeadRecord[] = [];
  const flush = async () => {
    await sendSet(client, waiting, report);
    waiting = [];
    options.onProgress?.(report);
  };
  for await (const record of records) {
    waiting.push(record);
    if (waiting.length === perRequest) await flush();
    if (options.signal?.aborted) return report;
  }
  if (waiting.length > 0) await flush();
  return report;
}

async function sendSet(client: ServiceClient, records: LeadRecord[], report: LeadReport): Promise<void> {
  const numbers = records.map(({ number }) => number);
  await push(
    client,
    'customers',
    records.map(({ customer }) => customer),
    numbers,
    report,
  );
  const ids = await push(
    client,
    'leads',
    records.map(({ lead }) => lead),
    numbers,
    report,
  );
  report.leads += ids.filter((id) => id !== null).length;
  const interactions = records.flatMap(({ interactions: own, number }) => own.map((one) => ({ one, number })));
  for (let start = 0; start < interactions.length; start += 1000) {
    const part = interactions.slice(start, start + 1000);
    const documents: InteractionDocument[] = part.map(({ one }) => one);
    const sent = await push(
      client,
      'interactions',
      documents,
      part.map(({ number }) => number),
      report,
    );
    report.interactions += sent.filter((id) => id !== null).length;
  }
  const converted = records.flatMap(({ convertedAt, number }, index) => {
    const id = ids[index];
    return convertedAt === null || !id ? [] : [{ id, at: convertedAt, number }];
  });
  for (let start = 0; start < converted.length; start += together) {
    await Promise.all(converted.slice(start, start + together).map((one) => convert(client, one, report)));
  }
}

async function convert(
  client: ServiceClient,
  { id, at, number }: { id: string; at: string; number: string },
  report: LeadReport,
): Promise<void> {
  try {
    await client.request('POST', `/v1/leads/${id}/stage`, { to: 'customer', at });
    report.conversions += 1;
  } catch (error) {
    if (!(error instanceof ServiceError) || error.status !== 422) throw error;
    refuse(report, error.message, number);
  }
}

/** The ids, in order; null for what was refused. */
async function push(
  client: ServiceClient,
  kind: 'customers' | 'leads' | 'interactions',
  documents: object[],
  numbers: string[],
  report: LeadReport,
): Promise<(string | null)[]> {
  const { results } = batchResults.parse(await client.request('POST', `/v1/${kind}/batch`, { [kind]: documents }));
  return results.map(({ id, status, error }, index) => {
    if (status !== 'refused') return id ?? null;
    refuse(report, `${kind}: ${error?.detail ?? 'refused'}`, numbers[index] ?? '');
    return null;
  });
}

function refuse({ refusals }: LeadReport, reason: string, example: string): void {
  const known = refusals.get(reason);
  refusals.set(reason, { count: (known?.count ?? 0) + 1, example: known?.example ?? example });
}
