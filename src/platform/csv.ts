import { stringify } from 'csv-stringify/sync';

/** CSV as RFC 4180 has it, in UTF-8. A text that a spreadsheet would run as a formula has an apostrophe in front. */
export function csv(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return stringify([columns, ...rows], {
    record_delimiter: 'windows',
    escape_formulas: true,
    cast: { boolean: String, number: String },
  });
}
