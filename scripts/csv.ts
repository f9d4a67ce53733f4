import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { type Options, parse } from 'csv-parse';

/** The file is not what it should be; the message says what to do. */
export class FileError extends Error {
  override name = 'FileError';
}

interface Table {
  columns: readonly string[];
  /** What the file is, if it has them: "the X Education leads". */
  what: string;
  /** Line ends, if they are unusual ones. */
  delimiters?: Options['record_delimiter'];
}

/** The rows of a CSV file with a header, one after the other; `.gz` is unpacked. @throws FileError */
export async function* readTable(
  file: string,
  { columns, what, delimiters }: Table,
): AsyncGenerator<Record<string, string>> {
  const parser = parse({
    columns: (header: string[]) => checkHeader(header, columns, what),
    bom: true,
    skip_empty_lines: true,
    ...(delimiters !== undefined && { record_delimiter: delimiters }),
  });
  const bytes = createReadStream(file);
  bytes.on('error', (error: Error) => parser.destroy(new FileError(`${file} cannot be read: ${error.message}`)));
  const text = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  text.on('error', (error: Error) => parser.destroy(new FileError(`${file} cannot be unpacked: ${error.message}`)));
  text.pipe(parser);
  let line = 0;
  try {
    // With `columns`, csv-parse gives records of text.
    for await (const row of parser as AsyncIterable<Record<string, string>>) {
      line += 1;
      yield row;
    }
  } catch (error) {
    if (error instanceof FileError || !(error instanceof Error)) throw error;
    throw new FileError(`Line ${line + 1} of the file cannot be read: ${error.message}`);
  }
}

function checkHeader(header: string[], columns: readonly string[], what: string): string[] {
  const missing = columns.filter((column) => !header.includes(column));
  if (missing.length > 0) throw new FileError(`The file has no column ${missing.join(', ')}: not ${what}.`);
  return header;
}
