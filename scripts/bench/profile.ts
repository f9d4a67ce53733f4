import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/**
 * Where the processor time of a process went, from the profile it left in `folder`: the functions with the most time of
 * their own, and the time of their own per file.
 *
 * @param bundle the one file of the service; esbuild marks in it where each of our files begins
 */
export function summarizeProfile(folder: string, bundle: string, root: string): string {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) return 'The service left no profile.';
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile; // what V8 writes
  const ours = sourceLines(bundle);
  const own = new Map<number, number>();
  for (const [index, id] of profile.samples.entries()) {
    own.set(id, (own.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0) / 1000);
  }
  const byFunction = new Map<string, number>();
  const byFile = new Map<string, number>();
  let busy = 0;
  for (const { id, callFrame } of profile.nodes) {
    const time = own.get(id) ?? 0;
    if (callFrame.functionName === '(idle)') continue;
    busy += time;
    const place = placeOf(callFrame, ours, root);
    add(byFile, place, time);
    add(byFunction, `${callFrame.functionName || '(anonymous)'}  ${place}`, time);
  }
  const table = (title: string, times: Map<string, number>, count: number) =>
    [
      title,
      ...[...times]
        .sort(([, a], [, b]) => b - a)
        .slice(0, count)
        .map(([name, time]) => `${((100 * time) / busy).toFixed(1).padStart(6)} %  ${name}`),
    ].join('\n');
  return `${table('Own time by file', byFile, 25)}\n\n${table('Own time by function', byFunction, 45)}\n\n${Math.round(busy)} ms busy`;
}

function add(times: Map<string, number>, name: string, time: number): void {
  times.set(name, (times.get(name) ?? 0) + time);
}

/** For each line of the bundle, the file it is from. */
function sourceLines(bundle: string): string[] {
  let current = '';
  return readFileSync(bundle, 'utf8')
    .split('\n')
    .map((text) => {
      current = /^\/\/ (src\/.*\.ts)$/.exec(text)?.[1] ?? current;
      return current;
    });
}

function placeOf({ url, lineNumber }: CpuProfile['nodes'][number]['callFrame'], ours: string[], root: string): string {
  if (url.endsWith('/.build/server.js')) return ours[lineNumber] ?? 'server.js';
  if (url.startsWith('file://')) return relative(root, url.slice(7));
  if (url.startsWith('/')) return relative(root, url);
  return url === '' ? '(native)' : url;
}
