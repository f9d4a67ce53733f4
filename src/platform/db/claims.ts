import type { ProblemCode } from '../errors.ts';

const claims = new Map<string, ProblemCode>();

/**
 * Names that two transactions may claim at once, by their unique constraints: the loser is run again and finds the
 * winner's record. Where its caller may not see that record, it is answered with the problem.
 */
export function declareClaims(problems: Readonly<Record<string, ProblemCode>>): void {
  for (const [constraint, problem] of Object.entries(problems)) claims.set(constraint, problem);
}

/** The problem of a claim; undefined for other constraints. */
export function claimProblem(constraint: string | undefined): ProblemCode | undefined {
  return claims.get(constraint ?? '');
}

export function claimedConstraints(): string[] {
  return [...claims.keys()];
}
