import type { Operation } from './operation.ts';

let served: readonly Operation[] | null = null;

/** Called once by what puts the service together (app.ts). */
export function serveOperations(operations: readonly Operation[]): void {
  served = operations;
}

/** Every operation of the service, for what is derived from all of them; the same array until others are served. */
export function servedOperations(): readonly Operation[] {
  if (served === null) throw new Error('The operations are not known yet');
  return served;
}

/** All that a token of one customer can be for: the scopes of what is open to it, and its own personal data. */
export function selfServiceScopes(operations: readonly Operation[] = servedOperations()): string[] {
  const open = operations.filter((operation) => operation.selfService).map(({ scope }) => scope);
  return [...new Set([...open, 'customers:pii'])].sort();
}
