import { type Channel, silence } from '../db/channel.ts';
import { Problem } from '../errors.ts';
import type { SigningKey } from './signing-key.ts';

/** What a partner may see beyond the required members of the customers shared with it. */
export interface PartnerSettings {
  /** Tokens of suspended partners are refused. */
  readonly status: 'active' | 'suspended';
  /** Nullable members of documents, `Customer.name`. */
  readonly fields: readonly string[];
  /** Metrics rest on at least so many customers. */
  readonly minimumGroupSize: number;
}

/** A key of the service besides that of its configuration. */
export interface RotatedKey extends SigningKey {
  /** When it begins to sign, milliseconds since the epoch; every replica verifies with it long before. */
  readonly signsFrom: number;
}

/** What the directory reads: everything about tokens that may change while they are valid. Empty lists are fine. */
export interface AccessRecords {
  readonly keys: readonly RotatedKey[];
  /** Per client the first second (`iat`, since the epoch) whose tokens are still good; Infinity: none is. */
  readonly issuedFrom: ReadonlyMap<string, number>;
  /** Tokens revoked one by one, by their `jti`. */
  readonly revoked: ReadonlySet<string>;
  readonly partners: ReadonlyMap<string, PartnerSettings>;
}

/** The claims by which a token may be revoked. */
export interface IssuedToken {
  readonly client: string;
  readonly jti: string | undefined;
  /** Seconds since the epoch. */
  readonly iat: number | undefined;
}

/**
 * One snapshot of the access records per process, in memory, so that asking costs a map look-up. It is read again every
 * quarter of a minute, at once after a change (the process that made it tells the others), and when a token names a key or partner that is
 * not in it. What cannot be read for a minute is not relied on any longer: a revocation is in force everywhere by then.
 */
export interface AccessDirectory {
  /** Another number whenever the records changed: what was found out under the old one has to be found out again. */
  readonly generation: number;
  /** Until when the snapshot may be relied on, milliseconds since the epoch. */
  readonly goodUntil: number;
  /** In the order in which they sign. */
  readonly keys: readonly RotatedKey[];
  key(kid: string): RotatedKey | null;
  isRevoked(token: IssuedToken): boolean;
  /** The settings of a partner, null when there is none of this id. */
  partner(id: string): PartnerSettings | null;
  /**
   * Reads the records as they are after this call began.
   *
   * @throws Problem `unavailable` when they cannot be read
   */
  refresh(): Promise<void>;
  /** As refresh, after this process changed something: the others read again too. */
  changed(): Promise<void>;
  /** The same for names that are not in the snapshot; anyone can make one up, so this reads once a second at most. */
  lookAgain(): Promise<void>;
  /** Ends reading in the background. */
  close(): void;
}

/** How long a snapshot is relied on, and how often it is read; milliseconds. */
const relyFor = 60_000;
export const refreshPeriod = 15_000;
const pauseBetweenLooks = 1_000;

const nothing: AccessRecords = { keys: [], issuedFrom: new Map(), revoked: new Set(), partners: new Map() };

/** How the processes of a service tell each other of a change. */
const topic = 'access';

/**
 * @param load reads all records
 * @param period milliseconds between readings; a test may choose it
 */
export function accessDirectory(
  load: () => Promise<AccessRecords>,
  { period = refreshPeriod, channel = silence }: { period?: number | undefined; channel?: Channel } = {},
): AccessDirectory {
  let records = nothing;
  let content = contentOf(nothing);
  let generation = 0;
  let goodUntil = Number.NEGATIVE_INFINITY;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let look = Promise.resolve();
  let reading: Promise<void> | null = null;
  let next: Promise<void> | null = null;

  async function read(): Promise<void> {
    const startedAt = Date.now();
    try {
      const found = await load();
      const foundContent = contentOf(found);
      if (foundContent !== content) generation += 1;
      content = foundContent;
      records = found;
      goodUntil = startedAt + relyFor;
    } catch {
      throw new Problem('unavailable', 'Clients and their permissions cannot be read at the moment. Try again later.', {
        headers: { 'Retry-After': '1' },
      });
    } finally {
      reading = null;
    }
  }

  /** A reading under way may have begun before the change that the caller made: it waits for the one after it. */
  function refresh(): Promise<void> {
    if (reading === null) {
      reading = read();
      return reading;
    }
    next ??= reading
      .catch(() => undefined)
      .then(() => {
        next = null;
        return refresh();
      });
    return next;
  }

  const timer = setInterval(() => refresh().catch(() => undefined), period);
  timer.unref();
  channel.hear(topic, () => void refresh().catch(() => undefined));

  return {
    get generation() {
      return generation;
    },
    get goodUntil() {
      return goodUntil;
    },
    get keys() {
      return records.keys;
    },
    key: (kid) => records.keys.find((key) => key.kid === kid) ?? null,
    isRevoked: (token) => isRevoked(records, token),
    partner: (id) => records.partners.get(id) ?? null,
    refresh,
    async changed() {
      channel.tell(topic, null);
      await refresh();
    },
    lookAgain() {
      if (Date.now() - lookedAt >= pauseBetweenLooks) {
        lookedAt = Date.now();
        look = refresh();
      }
      return look;
    },
    close: () => clearInterval(timer),
  };
}

/** A directory that never changes: for what runs without the tables behind it. */
export function fixedDirectory(records: Partial<AccessRecords> = {}): AccessDirectory {
  const all = { ...nothing, ...records };
  return {
    generation: 0,
    goodUntil: Number.POSITIVE_INFINITY,
    keys: all.keys,
    key: (kid) => all.keys.find((key) => key.kid === kid) ?? null,
    isRevoked: (token) => isRevoked(all, token),
    partner: (id) => all.partners.get(id) ?? null,
    refresh: () => Promise.resolve(),
    changed: () => Promise.resolve(),
    lookAgain: () => Promise.resolve(),
    close: () => undefined,
  };
}

function isRevoked({ issuedFrom, revoked }: AccessRecords, { client, jti, iat }: IssuedToken): boolean {
  if (jti !== undefined && revoked.has(jti)) return true;
  const from = issuedFrom.get(client);
  return from !== undefined && (iat ?? Number.NEGATIVE_INFINITY) < from;
}

/** Two snapshots with the same text say the same. */
function contentOf({ keys, issuedFrom, revoked, partners }: AccessRecords): string {
  return JSON.stringify([
    keys.map(({ kid, signsFrom }) => [kid, signsFrom]),
    // JSON has no Infinity.
    [...issuedFrom].map(([client, from]) => [client, String(from)]),
    [...revoked],
    [...partners],
  ]);
}
