import { availableParallelism } from 'node:os';
import type { Figure, Name } from './compete.ts';
import type { Line } from './measure.ts';

const order: Name[] = ['floor', 'old', 'new', 'peer'];

interface Column {
  title: string;
  of: (line: Line) => string;
}

const columns: Column[] = [
  { title: 'measure', of: ({ measure }) => measure },
  ...order.map((name) => ({ title: name, of: ({ figures, unit }: Line) => shown(figures[name], unit) })),
  ...order.slice(1).map((name) => ({
    title: `${name} ÷ floor`,
    of: ({ figures }: Line) => figures[name]?.ratio?.toFixed(2) ?? '',
  })),
  ...order.map((name) => ({ title: `${name}, ms`, of: ({ figures }: Line) => processorOf(figures[name]) })),
  { title: 'mark', of: ({ mark }) => mark },
  {
    title: '',
    of: ({ mark, met }) => (mark === '' ? '' : met === null ? 'not measured' : met ? 'met' : 'MISSED'),
  },
];

function shown(figure: Figure | undefined, unit: Line['unit']): string {
  if (figure === undefined) return '';
  const digits = unit === 's' || (unit === 'ms' && figure.value < 100) ? 1 : 0;
  return `${figure.value.toFixed(digits)}${unit === '/s' ? '' : ' '}${unit}`;
}

/** Of the process that answers, and of Postgres. */
function processorOf(figure: Figure | undefined): string {
  const parts = [figure?.server, figure?.postgres].map((time) =>
    time == null ? null : time.toFixed(time < 10 ? 2 : 0),
  );
  return parts.every((part) => part === null) ? '' : parts.map((part) => part ?? '–').join(' + ');
}

/** For people. Columns without a figure are left out. */
export function print(lines: Line[]): void {
  const used = columns.filter(({ of }) => lines.some((line) => of(line) !== ''));
  const rows = [used.map(({ title }) => title), ...lines.map((line) => used.map(({ of }) => of(line)))];
  const widths = used.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const [head = [], ...body] = rows;
  for (const row of [head, widths.map((width) => '─'.repeat(width)), ...body]) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
  const notes = new Map<string, string[]>();
  for (const line of lines) for (const note of line.notes) notes.set(note, [...(notes.get(note) ?? []), line.measure]);
  console.log();
  for (const [note, [first, ...others]] of notes) {
    console.log(`${first}${others.length > 0 ? ` and ${others.length} more` : ''}: ${note}`);
  }
  console.log(
    '“…, ms” is processor time per answer: of the process that answers + of Postgres. The other figures are medians of the slices.',
  );
  console.log(`${availableParallelism()} cores, Node.js ${process.version}`);
}
