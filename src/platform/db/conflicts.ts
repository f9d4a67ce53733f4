import type { ProblemCode } from '../errors.ts';

const conflicts = new Map<string, ProblemCode>();

/**
 * Names that two transactions may take at once, by their unique constraints: the loser is run again and finds the
 * winner's record. Where its caller may not see that record, it is answered with the problem.
 */
export function declareConflicts(problems: Readonly<Record<string, ProblemCode>>): void {
  for (const [constraint, problem] of Object.entries(problems)) conflicts.set(constraint, problem);
}

/** The problem that answers a conflict; undefined for other constraints. */
export function conflictProblem(constraint: string | undefined): ProblemCode | undefined {
  return conflicts.get(constraint ?? '');
}

export function conflictConstraints(): string[] {
  return [...conflicts.keys()];
}
