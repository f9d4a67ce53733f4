import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { SingleBar } from 'cli-progress';
import { Command, Option } from 'commander';
import type { Import, Mapping } from '../src/features/imports/record.ts';
import { importKinds } from '../src/features/imports/record.ts';
import { ServiceError, serviceAddress, serviceClient } from './service-client.ts';

/**
 * `npm run import -- FILE`: sends a file to a running service, waits for the import and says what became of it. Progress goes to
 * standard error, the result to standard output.
 */

interface Options {
  kind: string;
  format?: 'ndjson' | 'csv';
  mapping?: string;
  survey?: string;
  dryRun: boolean;
  errors?: string;
}

const command = new Command('import')
  .description(
    'Imports a file into the service at RAPPORT_URL (default: http://127.0.0.1:3000), with the token RAPPORT_TOKEN (scopes imports:write, imports:read and that of the kind, e.g. orders:write).',
  )
  .argument('<file>', 'NDJSON or CSV, also gzipped')
  .addOption(new Option('--kind <kind>', 'what its lines are').choices([...importKinds]).makeOptionMandatory())
  .addOption(new Option('--format <format>', 'default: by the name of the file').choices(['ndjson', 'csv']))
  .option('--mapping <mapping>', 'which columns are which members: a JSON file, or the id of a saved mapping')
  .option('--survey <id>', 'with --kind survey_responses: the survey')
  .option('--dry-run', 'check every line and write nothing', false)
  .option('--errors <file>', 'where to write the errors as NDJSON (default: the first ten are printed)')
  .addHelpText(
    'after',
    `
It can be interrupted and repeated: lines that say what is stored already change nothing. An interrupted upload writes nothing; once
the file is sent, the service goes on by itself.`,
  )
  .allowExcessArguments(false)
  .parse();

function formatOf(file: string): 'ndjson' | 'csv' {
  return /\.csv(\.gz)?$/i.test(file) ? 'csv' : 'ndjson';
}

function queryOf(file: string, { kind, format = formatOf(file), mapping, survey, dryRun }: Options): URLSearchParams {
  const query = new URLSearchParams({
    kind,
    format,
    ...(dryRun && { dryRun: 'true' }),
    ...(survey && { surveyId: survey }),
  });
  if (mapping !== undefined && /^[0-9a-f-]{36}$/i.test(mapping)) query.set('mappingId', mapping);
  else if (mapping !== undefined) {
    const paths = JSON.parse(readFileSync(mapping, 'utf8')) as Mapping; // checked by the service
    for (const [path, from] of Object.entries(paths)) query.set(`mapping.${path}`, JSON.stringify(from));
  }
  return query;
}

const bars = { barsize: 30, hideCursor: true, noTTYOutput: true, notTTYSchedule: 5_000 };

async function run(file: string, options: Options): Promise<number> {
  const { url, token } = serviceAddress(`imports:write imports:read ${options.kind.replaceAll('_', '-')}:write`);
  const client = serviceClient({ url, token, onWait: (message) => console.error(`\n${message}`) });
  const sent = await send(url, token, file, queryOf(file, options));
  const done = await follow(sent, (id) => client.request('GET', `/v1/imports/${id}`) as Promise<Import>); // its contract
  console.log(describe(file, done));
  if (done.failed > 0) await tellErrors(url, token, done, options.errors);
  return done.status === 'finished' && done.failed === 0 ? 0 : 1;
}

async function send(url: string, token: string, file: string, query: URLSearchParams): Promise<Import> {
  const { size } = await stat(file);
  const bar = new SingleBar({ ...bars, format: 'sending {bar} {percentage} % | {eta_formatted}' });
  bar.start(size, 0);
  let read = 0;
  const bytes = createReadStream(file);
  bytes.on('data', (chunk) => {
    read += chunk.length;
    bar.update(read);
  });
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}/v1/imports?${query}`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/octet-stream' },
      body: Readable.toWeb(bytes) as ReadableStream, // the same, under the name of the browser
      duplex: 'half',
    } as RequestInit); // whose type does not know `duplex`
    const answer = (await response.json()) as Import & { detail?: string; code?: string }; // an import, or problem+json
    if (!response.ok)
      throw new ServiceError(`The service refused the file: ${answer.detail}`, response.status, answer.code ?? null);
    return answer;
  } catch (error) {
    if (error instanceof ServiceError || !(error instanceof TypeError)) throw error;
    throw new ServiceError(`${url} does not answer, or broke off. Nothing of the file was written.`, 0);
  } finally {
    bar.stop();
  }
}

async function follow({ id, lines }: Import, read: (id: string) => Promise<Import>): Promise<Import> {
  const bar = new SingleBar({
    ...bars,
    format: 'writing {bar} {percentage} % | line {value} of {total} | {failed} refused | {eta_formatted}',
  });
  bar.start(lines, 0, { failed: 0 });
  try {
    for (;;) {
      const now = await read(id);
      bar.update(now.done, { failed: now.failed });
      if (now.finishedAt !== null) return now;
      await sleep(500);
    }
  } finally {
    bar.stop();
  }
}

function describe(file: string, done: Import): string {
  const numbers = new Intl.NumberFormat('en');
  const columns = ['lines', 'created', 'updated', 'unchanged', 'stale', 'failed'] as const;
  return [
    done.status === 'finished'
      ? `${basename(file)} is ${done.dryRun ? 'checked; nothing was written.' : 'in.'}`
      : `${basename(file)}: ${done.status}. ${done.failure?.message ?? ''}`,
    columns.map((name) => name.padStart(11)).join(''),
    columns.map((name) => numbers.format(done[name]).padStart(11)).join(''),
  ].join('\n');
}

async function tellErrors(url: string, token: string, { id }: Import, file: string | undefined): Promise<void> {
  const address = `/v1/imports/${id}/errors`;
  const response = await fetch(url.replace(/\/+$/, '') + address, { headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok || !response.body) return;
  const body = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream); // the same, under another name
  if (file !== undefined) {
    await pipeline(body, createWriteStream(file));
    console.log(`The errors are in ${file}.`);
    return;
  }
  let text = '';
  for await (const chunk of body) {
    text += String(chunk);
    if (text.split('\n').length > 10) break;
  }
  console.log(`${text.split('\n').slice(0, 10).join('\n')}\nAll of them: GET ${address}`);
}

try {
  process.exitCode = await run(command.args[0] ?? '', command.opts<Options>());
} catch (error) {
  const isExpected =
    error instanceof ServiceError || (error instanceof Error && 'code' in error && error.code === 'ENOENT');
  console.error(isExpected && error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
