import http from 'node:http';
import type { Test } from 'tap';

export interface RawRequest {
  method: string;
  /** As it goes over the wire: nothing is encoded or normalised. */
  path: string;
  headers: Record<string, string | string[]>;
  body?: string | Buffer | undefined;
}

export interface RawAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** fetch() repairs what it is given; this does not. An answer that takes longer than `patience` milliseconds is an error. */
export function rawClient(
  t: Pick<Test, 'teardown'>,
  origin: string,
  patience = 15_000,
): (request: RawRequest) => Promise<RawAnswer> {
  const { hostname, port } = new URL(origin);
  const agent = new http.Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  return ({ method, path, headers, body }) =>
    new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : Buffer.from(body);
      const request = http.request(
        {
          hostname,
          port,
          agent,
          method,
          path,
          headers: { ...headers, ...(payload && { 'Content-Length': String(payload.length) }) },
          timeout: patience,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text: Buffer.concat(chunks).toString(),
            }),
          );
        },
      );
      request.on('timeout', () => request.destroy(new Error(`no answer within ${patience} ms`)));
      request.on('error', reject);
      request.end(payload);
    });
}
