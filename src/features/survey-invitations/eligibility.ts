import { personErasedProblem } from '../../records/erased.ts';
import { allChannels } from '../consents/record.ts';
import type { Survey } from '../surveys/record.ts';
import type { Contacts } from './queries.ts';
import type { EligibilityReason } from './record.ts';

const day = 86_400_000;

/** Whole milliseconds, not before the instant that is so many days of 24 hours later. */
export function daysAfter(at: string, days: number): string {
  const finer = /\.\d{3}\d+Z$/.test(at) ? 1 : 0;
  return new Date(Date.parse(at) + finer + days * day).toISOString();
}

/** Whether the survey asks and takes answers now. */
export function isOpen({ status, closesAt }: Pick<Survey, 'status' | 'closesAt'>, now: string): boolean {
  return status === 'open' && (closesAt === null || Date.parse(closesAt) > Date.parse(now));
}

export interface Verdict {
  reasons: EligibilityReason[];
  lastAskedAt: string | null;
  /** null: now, or not by waiting. */
  nextEligibleAt: string | null;
}

/**
 * Whether a customer may be asked by a survey now, on a channel. The frequency is that of the survey that wants to ask;
 * what counts as having been asked is every survey's: an invitation that was sent, or an answer, however it came. A
 * consent does not come by waiting.
 */
export function judge(
  survey: Pick<Survey, 'status' | 'closesAt' | 'settings'>,
  contacts: Contacts,
  { now, channel }: { now: string; channel: string | null },
): Verdict {
  const { invitedAt, answeredAt } = contacts;
  const { consentPurpose } = survey.settings;
  const days = survey.settings.contactFrequencyDays;
  const until = (at: string | null) => (at === null || days === 0 ? null : daysAfter(at, days));
  const isRecent = (at: string | null) => {
    const end = until(at);
    return end !== null && Date.parse(end) > Date.parse(now);
  };
  const open = isOpen(survey, now);
  const lastAskedAt = latest(invitedAt, answeredAt);
  const reasons: EligibilityReason[] = [];
  if (!open) reasons.push({ code: 'survey_not_open', message: 'The survey is not open.' });
  if (isRecent(invitedAt))
    reasons.push({ code: 'asked_recently', message: `The customer was invited to a survey within ${days} days.` });
  if (isRecent(answeredAt))
    reasons.push({ code: 'answered_recently', message: `The customer answered a survey within ${days} days.` });
  const willing = !contacts.erased && (!consentPurpose || agrees(contacts.consents ?? [], consentPurpose, channel));
  if (contacts.erased) reasons.push({ code: personErasedProblem, message: 'The person was erased.' });
  else if (!willing)
    reasons.push({
      code: 'no_consent',
      message: `The customer has not consented to ${consentPurpose} on the channel.`,
    });
  const byWaiting = open && willing && reasons.length > 0;
  return { reasons, lastAskedAt, nextEligibleAt: byWaiting ? until(lastAskedAt) : null };
}

/** What was said of the channel holds, or else what was said of all. */
function agrees(consents: NonNullable<Contacts['consents']>, purpose: string, channel: string | null): boolean {
  const said = new Map(consents.flatMap(([of, on, status]) => (of === purpose ? [[on, status] as const] : []))); // a pair
  return (said.get(channel ?? allChannels) ?? said.get(allChannels)) === 'granted';
}

function latest(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return instantKey(a) < instantKey(b) ? b : a;
}

/** Instants have three or six digits; with these filled up they compare as text. */
function instantKey(at: string): string {
  return at.slice(0, -1).padEnd(26, '0');
}
