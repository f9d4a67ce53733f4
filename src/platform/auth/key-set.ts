import { createPublicKey } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { Problem } from '../errors.ts';
import type { AccessDirectory } from './directory.ts';
import { algorithmsOf, type SigningAlgorithm, type SigningKey, signingAlgorithms } from './signing-key.ts';

/** The keys that verify tokens, and with them the algorithms that a token may name. */
export interface KeySet {
  readonly algorithms: readonly SigningAlgorithm[];
  /**
   * The key that a token's header names, null when there is no such key.
   *
   * @throws Problem `unavailable` while the provider is away
   */
  find(kid: string | undefined, algorithm: SigningAlgorithm): Found | null | Promise<Found | null>;
}

export interface Found {
  /** PEM, SPKI. */
  readonly publicKey: string;
  /** When it is no longer known that the key is still good; milliseconds since the epoch. */
  readonly until: number;
}

/** What keys made later sign with, whatever the key of the configuration is. */
export const rotatedAlgorithm = 'ES256';

/** The service's own keys: the one of its configuration, which tokens need not name, and those in the directory. */
export function ownKeys(configured: SigningKey, directory: AccessDirectory): KeySet {
  const found = ({ publicKey }: SigningKey) => ({ publicKey, until: Number.POSITIVE_INFINITY });

  function pick(kid: string, algorithm: SigningAlgorithm): Found | null {
    const key = kid === configured.kid ? configured : directory.key(kid);
    return key?.algorithm === algorithm ? found(key) : null;
  }

  return {
    algorithms: [...new Set([configured.algorithm, rotatedAlgorithm] as const)],
    find(kid = configured.kid, algorithm) {
      const known = pick(kid, algorithm);
      if (known !== null || kid === configured.kid || directory.key(kid) !== null) return known;
      // It may have been made by another replica a moment ago.
      return directory.lookAgain().then(() => pick(kid, algorithm));
    },
  };
}

/** A key set is trusted for a minute, so that a key withdrawn by the provider is out by then … */
const usableFor = 60_000;
/** … and read again in the background after half of it, so that no request has to wait for that. */
const freshFor = 30_000;
/** An unknown `kid` may be a key made since; anyone can send one, so it may ask the provider this often only. */
const pauseAfterReading = 5_000;
const pauseAfterFailure = 1_000;
const readingTimeLimit = 5_000;
const largestKeySet = 1_000_000;

interface ProviderKey {
  readonly kid: string | undefined;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly publicKey: string;
}

/**
 * The key set (JWKS, RFC 7517) of an outside provider. Its file, where it is one, is read again as soon as it changes.
 * Not get-jwks: that has no working time limit (Node's fetch knows no `timeout`), asks the provider at every unknown
 * `kid`, keeps withdrawn keys while it is away and reads no files.
 */
export function providerKeys(url: string): KeySet {
  const isFile = url.startsWith('file:');
  let keys: ProviderKey[] = [];
  let stamp = '';
  let readAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | null = null;

  async function read(): Promise<void> {
    try {
      const startedAt = Date.now();
      const newStamp = isFile ? await stampOf(url) : '';
      keys = importKeys(isFile ? await readFile(new URL(url), 'utf8') : await download(url));
      stamp = newStamp;
      readAt = startedAt;
    } catch {
      failedAt = Date.now();
      throw providerAway();
    } finally {
      reading = null;
    }
  }

  /** Those who ask at the same time share one reading. */
  function refresh(): Promise<void> {
    if (Date.now() - failedAt < pauseAfterFailure) return Promise.reject(providerAway());
    reading ??= read();
    return reading;
  }

  function pick(kid: string | undefined, algorithm: SigningAlgorithm): Found | null {
    const named = keys.filter((key) => (kid === undefined ? keys.length === 1 : key.kid === kid));
    const key = named.find(({ algorithms }) => algorithms.includes(algorithm));
    return key ? { publicKey: key.publicKey, until: readAt + usableFor } : null;
  }

  async function find(kid: string | undefined, algorithm: SigningAlgorithm): Promise<Found | null> {
    const age = Date.now() - readAt;
    if (age >= usableFor) await refresh();
    else if (isFile) {
      if (age >= freshFor || (await stampOf(url).catch(() => '')) !== stamp) await refresh().catch(() => undefined);
    } else if (age >= freshFor) {
      refresh().catch(() => undefined);
    }
    const found = pick(kid, algorithm);
    if (found || isFile || Date.now() - readAt < pauseAfterReading) return found;
    await refresh();
    return pick(kid, algorithm);
  }

  return { algorithms: signingAlgorithms, find };
}

function providerAway(): Problem {
  return new Problem('unavailable', 'The keys of the token provider cannot be read at the moment.', {
    headers: { 'Retry-After': '5' },
  });
}

async function stampOf(url: string): Promise<string> {
  const { ino, mtimeMs, size } = await stat(new URL(url));
  return `${ino}:${mtimeMs}:${size}`;
}

async function download(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(readingTimeLimit),
  });
  if (response.status !== 200 || response.body === null) throw new Error(`The provider answered ${response.status}`);
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > largestKeySet) throw new Error('The key set is too large');
  }
  return text;
}

const keySetSchema = z.object({ keys: z.array(z.unknown()) });

/** Only the public members: a provider that publishes a private key by mistake gains nothing here. */
const keySchema = z.object({
  kty: z.enum(['EC', 'OKP', 'RSA']),
  kid: z.string().exactOptional(),
  alg: z.string().exactOptional(),
  use: z.literal('sig').exactOptional(),
  key_ops: z.array(z.string()).exactOptional(),
  crv: z.string().exactOptional(),
  x: z.string().exactOptional(),
  y: z.string().exactOptional(),
  n: z.string().exactOptional(),
  e: z.string().exactOptional(),
});

/** The keys of the set that can verify tokens here; others (for encryption, of other kinds, too weak) are left out. */
function importKeys(text: string): ProviderKey[] {
  return keySetSchema.parse(JSON.parse(text)).keys.flatMap((entry) => {
    const parsed = keySchema.safeParse(entry);
    if (!parsed.success) return [];
    const { kid, alg, use: _use, key_ops: operations, ...jwk } = parsed.data;
    if (operations && !operations.includes('verify')) return [];
    try {
      const key = createPublicKey({ key: jwk, format: 'jwk' });
      const algorithms = algorithmsOf(key).filter((algorithm) => alg === undefined || alg === algorithm);
      if (algorithms.length === 0) return [];
      return [{ kid, algorithms, publicKey: key.export({ type: 'spki', format: 'pem' }).toString() }];
    } catch {
      return [];
    }
  });
}
