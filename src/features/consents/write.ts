import type { Transaction } from '../../platform/db/client.ts';
import { checkNotAhead } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import type { ConsentInput } from '../customers/consent-input.ts';
import { channels } from '../customers/words.ts';
import { recomputeShares } from '../partners/sharing.ts';
import {
  type ConsentChangeRow,
  changesKnownOf,
  consentsOf,
  insertConsentChanges,
  recomputeConsents,
} from './queries.ts';
import { allChannels, type ConsentStatus } from './record.ts';

/** A consent and whose it is. */
export interface ConsentWrite {
  customerId: string;
  input: ConsentInput;
}

/** A consent that came with a document of its customer. */
export interface DocumentedConsent extends ConsentWrite {
  /** The document may be sent again (PUT, batch): what it says without an instant is how its sender has it, and not of now. */
  isRepeatable: boolean;
}

/** The change a consent makes. @throws Problem in_the_future */
export function consentChangeOf(context: Context, { customerId, input }: ConsentWrite): ConsentChangeRow {
  const { purpose, channel = null, status, at = context.now, evidence } = input;
  checkNotAhead(at, context.now, '/at');
  return {
    customerId,
    id: newId(),
    purpose,
    channel,
    status,
    at,
    source: evidence?.source ?? null,
    textVersion: evidence?.textVersion ?? null,
    wording: evidence?.wording ?? null,
    reference: evidence?.reference ?? null,
    by: context.principal.client,
    createdAt: context.now,
  };
}

/**
 * Records changes of locked customers, and what follows from them. What happened later counts, whenever it is recorded:
 * one that comes late is history and changes nothing; of two of the same instant the one that was recorded later counts.
 */
export async function saveConsentChanges(tx: Transaction, rows: ConsentChangeRow[]): Promise<void> {
  if (rows.length === 0) return;
  await insertConsentChanges(tx, rows);
  const ids = rows.map(({ customerId }) => customerId);
  await recomputeConsents(tx, ids);
  recomputeShares(tx, ids);
}

/** What is told of consents in a document has happened. @throws Problem in_the_future */
export function checkConsents({ now }: Context, consents: readonly ConsentInput[] = []): void {
  for (const [index, { at = now }] of consents.entries()) checkNotAhead(at, now, `/consents/${index}/at`);
}

/**
 * Records the consents that came with documents of customers. A document may come again: what is known with its instant
 * is not recorded twice, and where no instant is told, only what changes what is in force is; what was taken back is not
 * given again by it. Their customers are locked or new; `checkConsents` has looked at them.
 */
export async function recordConsents(tx: Transaction, context: Context, writes: DocumentedConsent[]): Promise<void> {
  if (writes.length === 0) return;
  const ids = [...new Set(writes.map(({ customerId }) => customerId))];
  const [changes, states] = await Promise.all([changesKnownOf(tx, ids), consentsOf(tx, ids)]);
  const known = new Set(changes.map(keyOf));
  const inForce = new Map<string, ConsentStatus>(states.map((row) => [stateKey(row, row.channel), row.status]));
  const rows: ConsentChangeRow[] = [];
  for (const write of writes) {
    const row = consentChangeOf(context, write);
    const isTimeless = write.input.at === undefined;
    const state = inForce.get(stateKey(row, row.channel ?? allChannels));
    const isKnown = isTimeless ? state === row.status : known.has(keyOf(row));
    if (isKnown || (isTimeless && write.isRepeatable && givesBack(row, inForce))) continue;
    rows.push(row);
    known.add(keyOf(row));
    if (isTimeless) inForce.set(stateKey(row, row.channel ?? allChannels), row.status);
  }
  await saveConsentChanges(tx, rows);
}

/** Whether a consent, dated now, would lift a withdrawal: that of its channel, or of all; given for all channels, that of any. */
function givesBack(
  { customerId, purpose, channel, status }: ConsentChangeRow,
  inForce: Map<string, ConsentStatus>,
): boolean {
  if (status !== 'granted') return false;
  const covered = channel === null ? [...channels, allChannels] : [channel, allChannels];
  const states = covered.flatMap((one) => inForce.get(stateKey({ customerId, purpose }, one)) ?? []);
  return channel === null ? states.includes('withdrawn') : states[0] === 'withdrawn';
}

type Said = Pick<ConsentChangeRow, 'customerId' | 'purpose' | 'channel' | 'status' | 'at'>;

function keyOf({ customerId, purpose, channel, status, at }: Said): string {
  return [customerId, purpose, channel ?? allChannels, status, at].join(' ');
}

function stateKey({ customerId, purpose }: Pick<Said, 'customerId' | 'purpose'>, channel: string): string {
  return [customerId, purpose, channel].join(' ');
}
