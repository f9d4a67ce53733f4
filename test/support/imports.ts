import { runJobs, type TestApp } from './app.ts';

type Api = Pick<TestApp, 'origin' | 'token' | 'request' | 'app'>;
export type Upload = string | Buffer | ReadableStream<Uint8Array>;

/** Sends a file to be imported. */
export async function upload(
  api: Api,
  query: string,
  file: Upload,
  options: { type?: string; headers?: Record<string, string>; scope?: string; client?: string } = {},
) {
  const { type = 'application/x-ndjson', headers, scope = '*', client } = options;
  const response = await fetch(`${api.origin}/v1/imports?${query}`, {
    method: 'POST',
    headers: { 'Content-Type': type, Authorization: `Bearer ${api.token(scope, client)}`, ...headers },
    body: typeof file === 'string' ? file : file instanceof ReadableStream ? file : new Uint8Array(file),
    ...(file instanceof ReadableStream && { duplex: 'half' }),
  } as RequestInit);
  return { status: response.status, headers: response.headers, body: (await response.json()) as any };
}

/** Imports a file to its end. */
export async function imported(api: Api, query: string, file: Upload, options: Parameters<typeof upload>[3] = {}) {
  const { status, body } = await upload(api, query, file, options);
  if (status !== 201) throw new Error(`${status} ${JSON.stringify(body)}`);
  await runJobs(api);
  return (await api.request('GET', `/v1/imports/${body.id}`)).body;
}

export interface LineError {
  line: number;
  code: string;
  pointer?: string;
  message: string;
}

export async function errorsOf(api: Api, id: string): Promise<LineError[]> {
  const { status, body } = await api.request('GET', `/v1/imports/${id}/errors`);
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return String(body)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** The outcomes of an import. */
export function counts({ created, updated, unchanged, stale, failed, lines, done, status }: any) {
  return { created, updated, unchanged, stale, failed, lines, done, status };
}

export const ndjson = (documents: readonly unknown[]) => `${documents.map((one) => JSON.stringify(one)).join('\n')}\n`;

export function anOrder(n: number, more: object = {}) {
  return {
    source: 'shop',
    externalId: `o${n}`,
    placedAt: '2026-03-01T09:00:00Z',
    customer: { externalId: `c${n % 50}`, email: `c${n % 50}@example.org` },
    currency: 'EUR',
    total: 100 + n,
    paymentStatus: 'paid',
    items: [{ sku: `sku${n % 7}`, quantity: 1, total: 100 + n }],
    ...more,
  };
}

export function aCustomer(n: number, more: object = {}) {
  return {
    references: [{ source: 'shop', externalId: `c${n}` }],
    name: `Customer ${n}`,
    identities: [{ kind: 'email', value: `c${n}@example.org` }],
    ...more,
  };
}
