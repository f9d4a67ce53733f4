import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import pg from 'pg';
import type { TestDatabase } from './database.ts';

/**
 * Everything that is stored in a database, as text: every row of every table of every schema (the catalog says which there
 * are), large objects, and the comments. In the encodings that Postgres has for them: bytes are in hexadecimal.
 */
export async function dumpDatabase(connection: pg.ClientConfig): Promise<string> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_toast%'
        order by 1`,
    );
    const parts: string[] = [];
    for (const { name } of [...tables, { name: 'pg_largeobject' }, { name: 'pg_description' }]) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      parts.push(`-- ${name}`, ...rows.map(({ row }) => row));
    }
    return parts.join('\n');
  } finally {
    await client.end();
  }
}

/** The same by pg_dump, where one is found that fits the server; else null. */
export async function pgDump({ url }: Pick<TestDatabase, 'url'>): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)('pg_dump', ['--inserts', '--dbname', url], { maxBuffer: 2 ** 29 });
    return stdout;
  } catch {
    return null;
  }
}

/** How a text may stand in a dump or a log: as it is, in base64 at any offset, in hexadecimal, escaped. */
export function encodingsOf(text: string): string[] {
  const bytes = Buffer.from(text, 'utf8');
  const base64 = [0, 1, 2].map((offset) => {
    // What stands before and after it decides about the letters at its ends.
    const whole = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replaceAll('=', '');
    return whole.slice(offset === 0 ? 0 : offset + 1, -2);
  });
  const escaped = [...text].map((letter) =>
    letter < '\u007f' ? letter : `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    bytes.toString('hex'),
    escaped.join(''),
    ...base64,
    ...base64.map((one) => one.replaceAll('+', '-').replaceAll('/', '_')),
  ];
}

/** Which of these texts are there, in whatever case and encoding. */
export function tracesIn(dump: string, texts: readonly string[]): string[] {
  const lower = dump.toLowerCase();
  return texts.filter((text) => {
    const [plain = text, json = text, uri = text, hex = text, escaped = text, ...exact] = encodingsOf(text);
    const found = [plain, json, uri, hex, escaped].some((one) => lower.includes(one.toLowerCase()));
    // Letters of base64 mean something else in another case.
    return found || exact.some((one) => one.length >= 6 && dump.includes(one));
  });
}
