import { newest, type Shot, type Stand, send } from './stand.ts';

/** What two versions answer differently, by member. */
export interface Differences {
  /** Members of the new version that the old one does not know. */
  added: Set<string>;
  /** Member → an example. */
  changed: Map<string, string>;
}

const none = (): Differences => ({ added: new Set(), changed: new Map() });

/** Of one version only: a cursor, what the request cost, the version of a definition. */
const own = new Set(['next', 'cursor', 'endCursor', 'startCursor', 'extensions', 'definition']);

/** Asks both versions the same; where there is only one, nothing is different. */
export async function differencesOf({ versions }: Stand<unknown>, shots: Shot[]): Promise<Differences> {
  const found = none();
  const [old, fresh] = versions;
  if (old === undefined || fresh === undefined) return found;
  for (const shot of shots) {
    const [before, after] = [await send(old, shot), await send(fresh, shot)];
    if (before.status !== after.status) found.changed.set('status', `${before.status} → ${after.status}`);
    else compare(JSON.parse(before.text), JSON.parse(after.text), '', found);
  }
  return found;
}

/** @throws where the floor does not answer what the new version does: a ratio to it would mean nothing */
export async function assertSame(stand: Stand<unknown>, shot: Shot): Promise<void> {
  const [ours, floors] = [await send(newest(stand), shot), await send(stand.floor, shot)];
  if (ours.status !== 200 || floors.status !== 200) {
    throw new Error(
      `${shot.path}: answered with ${ours.status}, by the floor with ${floors.status} ${ours.text.slice(0, 300)}`,
    );
  }
  assertSameText(floors.text, ours.text, shot.path);
}

/** The same members and as many bytes: their order is free. */
export function assertSameText(floors: string, ours: string, what: string): void {
  const { added, changed } = differencesBetween(floors, ours);
  if (added.size + changed.size === 0 && floors.length === ours.length) return;
  const faults = [
    ...(added.size > 0 ? [`the floor lacks ${[...added].join(', ')}`] : []),
    ...[...changed].map(([member, example]) => `${member}, floor → service: ${example}`),
  ];
  throw new Error(`The floor does not answer ${what} as the service does: ${faults.join('; ') || 'another length'}`);
}

export function differencesBetween(before: string, after: string): Differences {
  const found = none();
  compare(JSON.parse(before), JSON.parse(after), '', found);
  return found;
}

function compare(before: unknown, after: unknown, path: string, found: Differences): void {
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    for (const [index, one] of before.entries()) compare(one, after[index], `${path}[]`, found);
  } else if (isObject(before) && isObject(after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const place = path === '' ? name : `${path}.${name}`;
      if (own.has(name)) continue;
      if (name in before) compare(before[name], after[name], place, found);
      else found.added.add(place);
    }
  } else if (!same(before, after)) {
    found.changed.set(path, `${brief(before)} → ${brief(after)}`);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The two are asked one after another: what says 'now' may differ by a minute. */
function same(before: unknown, after: unknown): boolean {
  if (before === after) return true;
  if (typeof before !== 'string' || typeof after !== 'string') return false;
  const instant = /^\d{4}-\d\d-\d\dT/;
  return instant.test(before) && instant.test(after) && Math.abs(Date.parse(before) - Date.parse(after)) < 60_000;
}

const brief = (value: unknown) => {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};
