import { randomUUID } from 'node:crypto';

let millisecond = 0;
let counter = 0;
/** The beginning of all ids of the millisecond. */
let time = '';

/**
 * A UUIDv7: sorts by creation and is made by the application, so that a batch knows its ids before it writes. Within a
 * millisecond the twelve bits behind the time count up (RFC 9562, 6.2, method 1), into the next one if need be. The rest
 * is from `randomUUID`, which asks the system for many at once: the uuid package does so for each, at five times the cost.
 */
export function newId(): string {
  const now = Date.now();
  if (now > millisecond) begin(now);
  else if (counter === 0xfff) begin(millisecond + 1);
  else counter += 1;
  return `${time}${counter.toString(16).padStart(3, '0')}${randomUUID().slice(18)}`;
}

function begin(next: number): void {
  millisecond = next;
  counter = 0;
  const hex = next.toString(16).padStart(12, '0');
  time = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
}
