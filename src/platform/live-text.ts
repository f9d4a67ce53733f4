import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';

/** Milliseconds for which a reader may take nothing: it holds a connection to the database. */
const patience = 60_000;

/** A text that is sent while it is made: whoever makes it waits for who reads it. */
export class LiveText {
  readonly #stream: Readable;

  private constructor(stream: Readable) {
    this.#stream = stream;
  }

  /**
   * Takes what `fill` writes, which has to wait for each piece.
   *
   * @returns when the first piece is there, or the end
   * @throws what `fill` throws before; afterwards it breaks the stream off
   */
  static async of(fill: (write: (text: string) => Promise<void>) => Promise<void>): Promise<LiveText> {
    const stream = new PassThrough({ highWaterMark: 1024 * 1024 });
    await new Promise<void>((resolve, reject) => {
      const write = async (text: string) => {
        resolve();
        if (stream.destroyed) throw new ReaderGone();
        if (!stream.write(text)) await drained(stream);
      };
      fill(write).then(
        () => {
          resolve();
          stream.end();
        },
        (error: unknown) => {
          reject(error);
          stream.destroy(error as Error);
        },
      );
      // Told by `reject`, or by the broken stream.
      stream.on('error', () => undefined);
    });
    return new LiveText(stream);
  }

  stream(): Readable {
    return this.#stream;
  }
}

class ReaderGone extends Error {
  constructor() {
    super('nobody reads on');
  }
}

async function drained(stream: PassThrough): Promise<void> {
  const stop = new AbortController();
  const timer = setTimeout(() => stream.destroy(new ReaderGone()), patience).unref();
  try {
    const options = { signal: stop.signal };
    await Promise.race([once(stream, 'drain', options), once(stream, 'close', options)]);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  if (stream.destroyed) throw new ReaderGone();
}
