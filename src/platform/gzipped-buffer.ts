import { once } from 'node:events';
import { Readable } from 'node:stream';
import { createGunzip, createGzip, gunzipSync } from 'node:zlib';

/**
 * A text that is too long to be held as a value: it is written piece by piece, kept compressed, and read again as a
 * stream. What it was read from is done with before anybody waits for a slow client.
 */
export class GzippedBuffer {
  /** Of the text as UTF-8, bytes. */
  readonly size: number;
  private readonly chunks: readonly Buffer[];

  private constructor(chunks: readonly Buffer[], size: number) {
    this.chunks = chunks;
    this.size = size;
  }

  /** Takes what `fill` writes. It has to wait for each piece. */
  static async of(fill: (write: (text: string) => Promise<void>) => Promise<void>): Promise<GzippedBuffer> {
    const gzip = createGzip({ level: 1 });
    const chunks: Buffer[] = [];
    let size = 0;
    gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
    const done = once(gzip, 'end');
    done.catch(() => undefined);
    try {
      await fill(async (text) => {
        const bytes = Buffer.from(text);
        size += bytes.length;
        if (!gzip.write(bytes)) await once(gzip, 'drain');
      });
    } catch (error) {
      gzip.destroy();
      throw error;
    }
    gzip.end();
    await done;
    return new GzippedBuffer(chunks, size);
  }

  stream(): Readable {
    return Readable.from(this.chunks).pipe(createGunzip());
  }

  /** All of it at once; so it is told as a string of GraphQL and of JSON. */
  valueOf(): string {
    return gunzipSync(Buffer.concat(this.chunks)).toString();
  }

  toJSON(): string {
    return this.valueOf();
  }
}
