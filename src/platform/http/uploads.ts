import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '../errors.ts';
import type { Upload } from '../operation.ts';
import { connectionRefuser } from './problems.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Its body is read as it comes, for as long as something comes. */
    takesUpload?: boolean;
  }
}

/** Milliseconds within which a body is sent, or the next bytes of an upload. */
const patience = 60_000;
/** Bytes of an upload, unpacked. */
const largestUpload = 16 * 1024 ** 3;

/** Whoever is slow to send a body keeps a connection for nothing. Node.js has a limit of its own, but one for uploads as well. */
export function limitBodyTime(app: FastifyInstance): void {
  const refuseConnection = connectionRefuser(app.log);
  app.addHook('onRequest', (request, _reply, done) => {
    const { raw, routeOptions } = request;
    if (hasBody(raw) && !routeOptions.config.takesUpload) {
      const timer = setTimeout(() => {
        refuseConnection(Object.assign(new Error('too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), raw.socket);
      }, patience).unref();
      raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
    }
    done();
  });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

/** Bodies are left to be read by whoever takes them. */
export function takeUploads(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
}

/**
 * @param media what is taken, and what each says of the input
 * @throws Problem unsupported_media_type
 */
export function openUpload(
  request: FastifyRequest,
  media: Upload['media'],
): { says: Readonly<Record<string, unknown>>; bytes: AsyncIterable<Buffer> } {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const says = media[type];
  if (!says) throw new Problem('unsupported_media_type', `Send one of ${Object.keys(media).join(', ')}.`);
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding !== 'gzip' && encoding !== 'identity')
    throw new Problem('unsupported_media_type', 'Send the file as it is, or with Content-Encoding: gzip.');
  const body = request.body as Readable | undefined; // see `takeUploads`
  return { says, bytes: body ? limited(unpacked(body, encoding === 'gzip'), body) : none() };
}

async function* none(): AsyncGenerator<Buffer> {}

async function* limited(chunks: AsyncIterable<Buffer>, body: Readable): AsyncGenerator<Buffer> {
  let size = 0;
  try {
    for await (const chunk of chunks) {
      size += chunk.length;
      if (size > largestUpload) throw new Problem('body_too_large', 'The file has more than 16 GB. Send it in parts.');
      yield chunk;
    }
  } finally {
    passOver(body);
  }
}

/** Many senders look for an answer when they have sent all, and the next request comes behind it. */
function passOver(body: Readable): void {
  if (body.readableEnded || body.destroyed) return;
  // Whoever waited for the next bytes keeps the stream from flowing.
  body.removeAllListeners('readable');
  body.resume();
  const timer = setTimeout(() => body.destroy(), patience).unref();
  body.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer));
}

/** A file that is gzipped says so itself, if not in a header. */
async function* unpacked(body: Readable, saysGzip: boolean): AsyncGenerator<Buffer> {
  const chunks = arriving(body);
  const first = await chunks.next();
  if (first.done) return;
  const isGzip = saysGzip || (first.value[0] === 0x1f && first.value[1] === 0x8b);
  if (!isGzip) {
    yield first.value;
    yield* chunks;
    return;
  }
  const gunzip = createGunzip();
  const fed = feed(gunzip, first.value, chunks);
  // Told by what reads the other end.
  fed.catch((error: unknown) => gunzip.destroy(error as Error));
  try {
    for await (const chunk of gunzip) yield chunk as Buffer; // of a stream of bytes
  } catch (error) {
    throw (error as { code?: string }).code?.startsWith('Z_') ? brokenGzip() : error;
  }
}

async function feed(
  gunzip: NodeJS.WritableStream & { destroyed: boolean },
  first: Buffer,
  chunks: AsyncIterable<Buffer>,
) {
  const write = (chunk: Buffer) =>
    new Promise<void>((resolve, reject) => {
      if (gunzip.destroyed) return reject(brokenGzip());
      gunzip.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  await write(first);
  for await (const chunk of chunks) await write(chunk);
  gunzip.end();
}

function brokenGzip(): Problem {
  const message = 'The file is not valid gzip, or ends too early.';
  return new Problem('broken_upload', message, { errors: [{ code: 'broken_gzip', message }] });
}

/** The bytes of a request, as they come. */
async function* arriving(body: Readable): AsyncGenerator<Buffer> {
  // The answer goes through the socket that would be destroyed.
  const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>; // of a stream of bytes
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(incomplete()), patience).unref();
    });
    try {
      const next = await Promise.race([chunks.next(), silence]);
      if (next.done) return;
      yield next.value;
    } catch (error) {
      throw error instanceof Problem ? error : incomplete();
    } finally {
      clearTimeout(timer);
    }
  }
}

function incomplete(): Problem {
  const message = 'The upload ended before the file did. Send it again.';
  return new Problem('broken_upload', message, { errors: [{ code: 'upload_incomplete', message }] });
}
