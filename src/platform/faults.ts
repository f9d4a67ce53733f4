import type { z } from 'zod';
import { type FieldError, mostErrors, Problem } from './errors.ts';
import { inputMessage } from './input-messages.ts';

/** For `safeParse`: an issue carries its value, without which a missing member cannot be told from one of a wrong type. */
export const reportInput = { reportInput: true, error: inputMessage } as const;

/** Of what has too many faults to look for all of them. */
export const reportFirst = { ...reportInput, abortEarly: true } as const;

/**
 * zod's issues (of a parse with `reportInput`) as field errors with a pointer or parameter.
 *
 * @param options.within where the parsed value stands in the input
 * @param options.onlyFirst the parse ended at the first fault (`reportFirst`)
 */
export function inputProblem(
  error: z.ZodError,
  { within = [], onlyFirst = false }: { within?: readonly string[]; onlyFirst?: boolean } = {},
): Problem {
  const errors: FieldError[] = [];
  let moreErrors = onlyFirst;
  for (const fault of faultsOf(error.issues, within)) {
    if (errors.length === (onlyFirst ? 1 : mostErrors)) {
      moreErrors = true;
      break;
    }
    errors.push(fault);
  }
  const first = errors[0];
  if (errors.some((e) => e.parameter === 'If-Match' && e.code === 'required')) {
    return new Problem('version_required', 'Send the version you have seen as If-Match (GraphQL: expectedVersion).', {
      errors,
      moreErrors,
    });
  }
  const code = errors.every((e) => e.code === 'unsupported_parameter') ? 'unsupported_parameter' : 'invalid_input';
  const where = first?.pointer ?? first?.parameter;
  return new Problem(code, where ? `${where}: ${first?.message}` : 'The input is invalid.', { errors, moreErrors });
}

type Path = readonly PropertyKey[];

function* faultsOf(issues: readonly z.core.$ZodIssue[], within: Path): Generator<FieldError> {
  for (const issue of issues) yield* faultsOfOne(issue, [...within, ...issue.path]);
}

function* faultsOfOne(issue: z.core.$ZodIssue, path: Path): Generator<FieldError> {
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      yield {
        ...place([...path, key]),
        code: path.length === 0 ? 'unsupported_parameter' : 'unknown_member',
        message: path.length === 0 ? 'Unknown or not supported here.' : 'Unknown member.',
      };
    }
    return;
  }
  if (issue.code === 'invalid_key') {
    const [fault] = issue.issues;
    yield { ...place(path), code: issue.code, message: fault?.message ?? issue.message };
    return;
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that got furthest has the most useful message.
    const best = issue.errors.reduce((a, b) => (b.length < a.length ? b : a));
    yield* faultsOf(best, path);
    return;
  }
  const missing = (issue.code === 'invalid_type' || issue.code === 'invalid_value') && issue.input === undefined;
  const custom = issue.code === 'custom' ? issue.params?.['code'] : undefined;
  yield {
    ...place(path),
    code: typeof custom === 'string' ? custom : missing ? 'required' : issue.code,
    message: missing ? 'Required.' : issue.message,
  };
}

const headerOf: Record<string, string> = { expectedVersion: 'If-Match', idempotencyKey: 'Idempotency-Key' };

function place(path: Path): Pick<FieldError, 'pointer' | 'parameter'> {
  const [head, ...rest] = path.map(String);
  if (head === undefined) return {};
  if (head !== 'body') return { parameter: shortened(headerOf[head] ?? head) };
  return { pointer: pointerOf(rest) };
}

/** The JSON Pointer of a place. Names that clients make up may be as long as a body. */
export function pointerOf(path: readonly (string | number)[]): string {
  return path.map((step) => `/${shortened(String(step)).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function shortened(name: string): string {
  return name.length <= 255 ? name : `${name.slice(0, 255).toWellFormed()}…`;
}
