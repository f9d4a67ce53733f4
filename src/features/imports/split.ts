import { isUtf8 } from 'node:buffer';

/** A record of a file: its text, or why there is none. */
export type Found = { line: number } & ({ text: string } | { fault: LineFault });

export const lineFaults = {
  line_too_long: 'The line is longer than 1 MB.',
  invalid_utf8: 'The line is not valid UTF-8. Save the file as UTF-8.',
  invalid_text: 'The line contains a NUL character.',
  unclosed_quote: 'A cell begins with a quotation mark that no later one closes. Write "" for a mark within a cell.',
} as const;
export type LineFault = keyof typeof lineFaults;

/** Bytes of a record. */
export const longestLine = 1024 * 1024;

const [lf, cr, quote, comma, nul] = [10, 13, 34, 44, 0];

/**
 * Finds the records of a file, chunk by chunk. It holds one record at most, and of one that is too long no more than 1 MB: the rest is
 * passed over. A byte order mark and empty lines are left out; a line may end in CRLF.
 */
export interface Splitter {
  take(chunk: Buffer): Found[];
  /** What is left when the file ends. */
  end(): Found[];
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** Takes a mark at the beginning away. */
function withoutMark(splitter: Splitter): Splitter {
  let head: Buffer | null = Buffer.alloc(0);
  const rest = () => {
    const all = head ?? Buffer.alloc(0);
    head = null;
    return all.subarray(0, 3).equals(byteOrderMark) ? all.subarray(3) : all;
  };
  return {
    take(chunk) {
      if (head === null) return splitter.take(chunk);
      head = Buffer.concat([head, chunk]);
      return head.length < 3 ? [] : splitter.take(rest());
    },
    end: () => [...(head === null ? [] : splitter.take(rest())), ...splitter.end()],
  };
}

function recordOf(bytes: Buffer, line: number): Found[] {
  const end = bytes.at(-1) === cr ? bytes.length - 1 : bytes.length;
  const record = bytes.subarray(0, end);
  if (record.length === 0) return [];
  if (!isUtf8(record)) return [{ line, fault: 'invalid_utf8' }];
  if (record.includes(nul)) return [{ line, fault: 'invalid_text' }];
  return [{ line, text: record.toString() }];
}

/** A record is a line. */
export function lineSplitter(): Splitter {
  let held: Buffer[] = [];
  let size = 0;
  let line = 1;
  const finish = (last: Buffer): Found[] => {
    const found: Found[] =
      size + last.length > longestLine
        ? [{ line, fault: 'line_too_long' }]
        : recordOf(held.length === 0 ? last : Buffer.concat([...held, last]), line);
    held = [];
    size = 0;
    return found;
  };
  return withoutMark({
    take(chunk) {
      const found: Found[] = [];
      let from = 0;
      for (let at = chunk.indexOf(lf); at !== -1; at = chunk.indexOf(lf, from)) {
        found.push(...finish(chunk.subarray(from, at)));
        line += 1;
        from = at + 1;
      }
      const rest = chunk.subarray(from);
      size += rest.length;
      if (size > longestLine) held = [];
      // A copy: the chunk is larger than what is kept of it.
      else if (rest.length > 0) held.push(Buffer.from(rest));
      return found;
    },
    end: () => (size === 0 ? [] : finish(Buffer.alloc(0))),
  });
}

/**
 * A record ends with a line that does not end within quotation marks. One that begins a cell and is closed nowhere would take the rest of
 * the file with it: then its first line is the fault, and the next line is read as a record again.
 */
export function csvSplitter(): Splitter {
  let held = Buffer.alloc(0);
  /** Where the record begins that is being read, and where its first line ends; -1: not reached. */
  let scanned = 0;
  let firstEnd = -1;
  let line = 1;
  let linesWithin = 0;
  let state: 'cell' | 'plain' | 'quoted' | 'closing' = 'cell';
  /** The rest of a line that is too long is passed over. */
  let skipping = false;

  const begin = (from: number) => {
    held = held.subarray(from);
    scanned = 0;
    firstEnd = -1;
    linesWithin = 0;
    state = 'cell';
  };
  const finish = (end: number): Found[] => {
    const found = recordOf(held.subarray(0, end), line);
    line += linesWithin + 1;
    begin(end + 1);
    return found;
  };
  /** The first line is refused, and what follows it is read anew. */
  const refuse = (fault: LineFault): Found[] => {
    const found: Found[] = [{ line, fault }];
    if (firstEnd === -1) {
      begin(held.length);
      skipping = true;
    } else {
      line += 1;
      begin(firstEnd + 1);
    }
    return found;
  };

  function scan(): Found[] {
    const found: Found[] = [];
    for (;;) {
      if (skipping) {
        const end = held.indexOf(lf);
        if (end === -1) {
          held = Buffer.alloc(0);
          return found;
        }
        skipping = false;
        line += 1;
        begin(end + 1);
      }
      const next = step();
      if (next === null) return found;
      for (const one of next) found.push(one);
    }
  }

  /** Reads on to the end of a record; null: there is none yet. */
  function step(): Found[] | null {
    for (; scanned < held.length; scanned += 1) {
      const byte = held[scanned];
      if (scanned > longestLine) return refuse(firstEnd === -1 ? 'line_too_long' : 'unclosed_quote');
      if (state === 'quoted') {
        if (byte === quote) state = 'closing';
        else if (byte === lf) {
          if (firstEnd === -1) firstEnd = scanned;
          linesWithin += 1;
        }
        continue;
      }
      if (byte === lf) return finish(scanned);
      if (byte === comma) state = 'cell';
      else if (byte === quote && state === 'cell') state = 'quoted';
      else if (byte === quote && state === 'closing') state = 'quoted';
      else if (byte === cr && state === 'closing') continue;
      else if (state === 'closing' && linesWithin > 0) return refuse('unclosed_quote');
      else state = 'plain';
    }
    return null;
  }

  return withoutMark({
    take(chunk) {
      held = held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk]);
      return scan();
    },
    end() {
      const found: Found[] = [];
      while (held.length > 0 && !skipping) {
        found.push(...(state === 'quoted' ? refuse('unclosed_quote') : finish(held.length)), ...scan());
      }
      return found;
    },
  });
}
