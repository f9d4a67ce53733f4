import pg from 'pg';
import { type FieldError, Problem } from '../errors.ts';

/**
 * What only the database can refuse, although every value by itself was in bounds; null for anything else it refuses,
 * which is a fault of ours.
 */
export function refusedInput(error: unknown): Problem | null {
  if (!(error instanceof pg.DatabaseError)) return null;
  const fault = faults[error.code ?? ''];
  return fault ? new Problem('invalid_input', fault.message, { errors: [fault] }) : null;
}

/** For one of many, whose neighbours are to live: the database would not have it, and nobody foresaw why. */
export function refusedValue(): Problem {
  const message = 'The database cannot hold the values of this item.';
  return new Problem('invalid_input', message, { errors: [{ pointer: '', code: 'refused_value', message }] });
}

const faults: Record<string, FieldError> = {
  '22003': {
    pointer: '',
    code: 'sum_out_of_range',
    message: 'With this, amounts of the customer add up to more than can be kept (9.2 × 10^18).',
  },
  // Its time zones may be older than those of this process.
  '22023': { parameter: 'timeZone', code: 'unknown_time_zone', message: 'The database does not know this time zone.' },
};
