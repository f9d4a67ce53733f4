import { spawn } from 'node:child_process';
import { inspect } from 'node:util';
import { Parser, type Result } from 'tap-parser';

/** What one test file said. Counts are of single checks, as tap counts them. */
export type FileReport = {
  file: string;
  passed: number;
  skipped: { name: string; reason: string }[];
  failed: { name: string; details: string }[];
  /** The file ended before its first test: an import failed, there was no database, it hung. `failed` says why. */
  setupFailed: boolean;
  seconds: number;
};

/** A difference of two large answers is worth reading; an error that drags its whole connection along is not. */
const LONGEST_DIAGNOSTIC = 8000;
/** The statement that threw, the error and where it came from. */
const SETUP_LINES = 20;

type RunOptions = { env: NodeJS.ProcessEnv; timeoutSeconds: number; signal: AbortSignal };

/** Runs one file in Node.js and reads its TAP. Never rejects: a file that crashes or hangs is a failed one. */
export async function runTestFile(file: string, script: string, options: RunOptions): Promise<FileReport> {
  const report: FileReport = { file, passed: 0, skipped: [], failed: [], setupFailed: false, seconds: 0 };
  const started = process.hrtime.bigint();
  const child = spawn(process.execPath, ['--enable-source-maps', script], {
    // tap gives each test half a minute otherwise.
    env: { ...options.env, TAP_TIMEOUT: String(options.timeoutSeconds) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stop = (): void => void child.kill('SIGTERM');
  options.signal.addEventListener('abort', stop, { once: true });
  // The file's own timeout comes first and says which test it was; this is for one that no longer listens.
  const hung = setTimeout(() => child.kill('SIGKILL'), (options.timeoutSeconds + 30) * 1000);

  const parser = new Parser({ name: file });
  collect(parser, report);
  let testBegan = false;
  parser.on('child', () => {
    testBegan = true;
  });
  parser.on('assert', (result: Result) => {
    testBegan ||= !isFaultOfTheFile(result);
  });
  const finished = new Promise<boolean>((resolve) => {
    parser.on('complete', ({ ok }: { ok: boolean }) => resolve(ok));
  });
  const output = new Tail();
  child.stdout.on('data', (chunk: Buffer) => output.add(chunk));
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output.add(chunk);
    if (errors.length < LONGEST_DIAGNOSTIC) errors += chunk.toString();
  });
  child.stdout.pipe(parser);

  const exit = await new Promise<string | undefined>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === 0 ? undefined : `ended with ${signal ?? `code ${code}`}`));
  });
  parser.end();
  const ok = await finished;
  clearTimeout(hung);
  options.signal.removeEventListener('abort', stop);
  report.seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (!testBegan) {
    // Even if it ended well: a file that tests nothing would never fail.
    const [fault] = report.failed;
    const lines = (fault?.details || errors.trim()).split('\n');
    report.setupFailed = true;
    report.failed = [
      { name: fault?.name ?? exit ?? 'no test was run', details: lines.slice(0, SETUP_LINES).join('\n') },
    ];
  } else if ((exit !== undefined || !ok) && report.failed.length === 0) {
    report.failed.push({ name: exit ?? 'the plan was not kept', details: output.text });
  }
  return report;
}

/** What tap says of a file outside any test: it hung, or something was thrown that nobody caught. */
function isFaultOfTheFile({ ok, diag }: Result): boolean {
  return !ok && typeof diag === 'object' && diag !== null && ('expired' in diag || 'tapCaught' in diag);
}

function collect(parser: Parser, report: FileReport): void {
  parser.on('child', (child: Parser) => collect(child, report));
  parser.on('assert', (result: Result) => {
    // The point that closes a subtest repeats what its own points said.
    if (result.closingTestPoint) return;
    if (result.skip || result.todo) {
      report.skipped.push({ name: result.fullname, reason: String(result.skip || result.todo) });
    } else if (result.ok) {
      report.passed += 1;
    } else {
      report.failed.push({ name: result.fullname, details: describe(result.diag) });
    }
  });
}

/** tap's diagnostics hold whatever the test compared, functions and cycles included. */
function describe(diagnostics: unknown): string {
  if (typeof diagnostics !== 'object' || diagnostics === null) return '';
  return Object.entries(diagnostics)
    .map(([key, value]) => {
      const text = typeof value === 'string' ? value.trimEnd() : inspect(value, { depth: 1, breakLength: 100 });
      if (text.length > LONGEST_DIAGNOSTIC) return `${key}: ${text.length} characters, left out`;
      return text.includes('\n') ? `${key}:\n${text.replaceAll(/^/gm, '  ')}` : `${key}: ${text}`;
    })
    .join('\n');
}

/** The last lines of what a file printed, for when it ends without saying why. */
class Tail {
  text = '';

  add(chunk: Buffer): void {
    this.text = (this.text + chunk.toString()).split('\n').slice(-60).join('\n');
  }
}

/** A line for the file, and below it what failed and what was skipped. */
export function describeFile({ file, passed, failed, skipped, setupFailed, seconds }: FileReport): string {
  if (setupFailed) {
    const why = failed.map(({ name, details }) => `${name}\n${details}`).join('\n');
    return `SETUP FAILED ${file}  ${seconds.toFixed(1)} s\n${why.trimEnd().replaceAll(/^/gm, '    ')}`;
  }
  const mark = failed.length > 0 ? 'FAILED' : 'ok';
  const lines = [`${mark.padEnd(6)} ${file}  ${passed} passed, ${failed.length} failed  ${seconds.toFixed(1)} s`];
  for (const { name, reason } of skipped) lines.push(`         skipped: ${name}: ${reason}`);
  for (const { name, details } of failed) lines.push(`  not ok ${name}`, details.replaceAll(/^/gm, '    '));
  return lines.join('\n');
}

/** The end of a run. A file whose set-up failed is named, and is one failure in the totals. */
export function closingLines(reports: FileReport[]): string {
  const broken = reports.filter(({ setupFailed }) => setupFailed).map(({ file }) => file);
  const setups = broken.length > 0 ? `${broken.length} setup failed: ${broken.join(', ')}\n` : '';
  return setups + totalsOf(reports);
}

function totalsOf(reports: FileReport[]): string {
  const sum = (count: (report: FileReport) => number): number =>
    reports.reduce((total, report) => total + count(report), 0);
  return `${sum((r) => r.passed)} passed, ${sum((r) => r.failed.length)} failed, ${sum((r) => r.skipped.length)} skipped`;
}
