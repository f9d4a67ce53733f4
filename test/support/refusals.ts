import type { Json } from './contract.ts';

/** What the two fuzz tests ask of every refusal. */

/** The object in a JSON text, or an empty one. */
export function parsed(text: string): Json {
  try {
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''));
    return typeof value === 'object' && value !== null ? (value as Json) : {};
  } catch {
    return {};
  }
}

/** Codes of requests that could not be taken apart, or that are about a record as a whole: they name no field. */
const placeless = new Set(
  [
    'invalid_request invalid_json body_too_large unsupported_media_type method_not_allowed not_found not_supported',
    'conflict version_mismatch customer_has_records campaign_has_records survey_has_records rule_set_published lead_model_not_ready deleted',
    'programme_published programme_not_published programme_ended programme_has_rewards tier_removed',
    'reward_has_redemptions redemption_cancelled redemption_fulfilled',
    'rate_limited idempotency_key_in_flight',
    'not_shared group_too_small partner_has_customers',
    'client_revoked too_many_secrets issuing_off person_erased',
  ].flatMap((line) => line.split(' ')),
);

export function namesAPlace(code: string): boolean {
  return !placeless.has(code);
}

/** Whether a JSON Pointer leads to a member of what was sent, or to where one is missing. */
export function leads(pointer: string, sent: unknown): boolean {
  if (pointer === '') return true;
  const steps = pointer
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  let at = sent;
  for (const step of steps.slice(0, -1)) at = typeof at === 'object' && at !== null ? (at as Json)[step] : undefined;
  // GraphQL takes a single value for a list of one.
  if (steps.at(-1) === '0' && at !== undefined && at !== null) return true;
  return typeof at === 'object' && at !== null;
}

const machinery =
  /\b(zod|postgres\w*|pg|drizzle|fastify|mercurius|sqlstate|sql|syntax error at|node_modules|(type|range|reference|syntax)error|json\.parse)\b|\bselect\b.+\bfrom\b|\bat \/|\.(ts|js):\d|\bcannot read prop/is;

/** @throws Error when an answer gives away how the service is made, or repeats more than it says */
export function checkWords(text: string): void {
  const said = machinery.exec(text)?.[0];
  if (said !== undefined) throw new Error(`gives away "${said}": ${text.slice(0, 2_000)}`);
  if (text.length > 64_000) throw new Error(`${text.length} characters of answer`);
}
