import { invalidParameter } from './scope.ts';

/* Pages of the members behind a metric. Without an `asOf` of its own every page is as of the first one. */

/** The key of a cursor behind a member with this mark, on a page as of this instant. */
export function pageKey(mark: string | number, asOf: string, id: string): [marks: string, id: string] {
  return [`${mark} ${asOf}`, id];
}

/** Where the next page begins, from the key of a cursor. */
export function pageStart([marks, id]: readonly [string | number, string]): { mark: string; asOf: string; id: string } {
  const [mark = '', asOf = ''] = String(marks).split(' ');
  return { mark, asOf, id };
}

/** @throws Problem where one of `groupBy` and `group` is sent alone */
export function checkGroup(groupBy: string | null | undefined, group: string | null): void {
  if ((group === null) === ((groupBy ?? null) === null)) return;
  throw invalidParameter(group === null ? 'group' : 'groupBy', 'required', 'groupBy and group must be sent together');
}
