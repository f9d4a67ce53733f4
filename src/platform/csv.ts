/** Records as CSV (RFC 4180). */

/** What a spreadsheet would run, and what looks as if it had been made harmless already: an import takes one mark away. */
const runs = /^'*[=+\-@\t\r]/;

/** A text that begins like a formula gets an apostrophe in front. */
export function spreadsheetSafe(text: string): string {
  return runs.test(text) ? `'${text}` : text;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const text = typeof value === 'string' ? spreadsheetSafe(value) : JSON.stringify(value);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvLine(cells: readonly unknown[]): string {
  return `${cells.map(cell).join(',')}\r\n`;
}

export function csv(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return [columns, ...rows].map(csvLine).join('');
}
