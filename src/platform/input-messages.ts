import type { z } from 'zod';

/** What is wrong with an input, where its schema does not say so itself. Left out: zod's own words. */
export function inputMessage(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'too_small':
      return limit(issue.origin, Number(issue.minimum), issue.inclusive === false ? 'more than' : 'at least');
    case 'too_big':
      return limit(issue.origin, Number(issue.maximum), issue.inclusive === false ? 'less than' : 'at most');
    case 'not_multiple_of':
      return `Must be a multiple of ${issue.divisor}.`;
    case 'invalid_type':
      return `Must be ${types[issue.expected] ?? issue.expected}.`;
    case 'invalid_value':
      return issue.values.length === 1
        ? `Must be ${JSON.stringify(issue.values[0])}.`
        : `Must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}.`;
    case 'invalid_format':
      return issue.format === 'regex' && issue.pattern
        ? `Must match ${issue.pattern}.`
        : `Must be ${formats[issue.format] ?? `of the format ${issue.format}`}.`;
    case 'invalid_union':
      return 'Must have one of the described forms.';
    default:
      return undefined;
  }
}

function limit(origin: string, bound: number, comparison: string): string {
  const counted = counts[origin];
  if (!counted) return `Must be ${comparison} ${bound}.`;
  if (bound === 1 && comparison === 'at least') return 'Must not be empty.';
  return `Must have ${comparison} ${bound} ${counted}${bound === 1 ? '' : 's'}.`;
}

const counts: Record<string, string> = { array: 'item', string: 'character' };

const types: Record<string, string> = {
  array: 'an array',
  boolean: 'true or false',
  int: 'an integer',
  null: 'null',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
};

const formats: Record<string, string> = {
  date: 'a date, e.g. 2026-11-30',
  datetime: 'an instant, e.g. 2026-11-30T18:00:00Z',
  safeint: 'an integer up to 2^53 − 1',
  url: 'a URL',
  uuid: 'an id (a UUID)',
};
