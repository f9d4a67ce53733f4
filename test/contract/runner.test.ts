import { join } from 'node:path';
import t from 'tap';
import { closingLines, describeFile, type FileReport, runTestFile } from '../support/report.ts';

/* The runner tells a file that never came to its tests from a test that failed. */

const files = {
  'passes.mjs': `import t from 'tap'; t.equal(1, 1); t.test('one', async (t) => t.ok(true));`,
  'fails.mjs': `import t from 'tap'; t.test('one and two', async (t) => t.equal(1, 2, 'are the same'));`,
  'throws-in-a-test.mjs': `import t from 'tap'; t.test('one', async () => { throw new Error('in a test'); });`,
  'hangs-in-a-test.mjs': `import t from 'tap'; t.test('waits', () => new Promise((done) => setTimeout(done, 60_000)));`,
  'dies-between-tests.mjs': `import t from 'tap'; await t.test('one', async (t) => t.ok(true)); throw new Error('later');`,
  'imports-nothing.mjs': `import t from 'tap'; import './nothing.mjs'; t.ok(true);`,
  'throws.mjs': `import t from 'tap'; throw new Error('at import'); t.ok(true);`,
  'no-database.mjs': `import pg from 'pg'; import t from 'tap';
    const client = new pg.Client({ host: '127.0.0.1', port: 1 });
    await client.connect();
    t.ok(true);`,
  'throws-late.mjs': `import t from 'tap'; t.teardown(() => {}); setTimeout(() => { throw new Error('in a timer'); });
    await new Promise((done) => setTimeout(done, 60_000));`,
  'hangs.mjs': `import t from 'tap'; t.teardown(() => {}); await new Promise((done) => setTimeout(done, 60_000)); t.ok(true);`,
  'tests-nothing.mjs': `import 'tap';`,
};

const folder = t.testdir(files);
const run = (file: string) =>
  runTestFile(file, join(folder, file), {
    env: process.env,
    timeoutSeconds: file.startsWith('hangs') ? 2 : 60,
    signal: new AbortController().signal,
  });

const inTests: Record<string, RegExp> = {
  'fails.mjs': /not ok .*one and two > are the same\n[\s\S]*-2[\s\S]*\+1/,
  'throws-in-a-test.mjs': /not ok .*in a test/,
  'hangs-in-a-test.mjs': /not ok .*waits > timeout!/,
  'dies-between-tests.mjs': /1 passed, 1 failed[\s\S]*later/,
};
const inSetUp: Record<string, RegExp> = {
  'imports-nothing.mjs': /Cannot find module '[^']*nothing\.mjs'/,
  'throws.mjs': /Error: at import/,
  'no-database.mjs': /ECONNREFUSED/,
  'throws-late.mjs': /in a timer/,
  'hangs.mjs': /timeout!/,
  'tests-nothing.mjs': /no test was run/,
};

const reports = new Map(await Promise.all(Object.keys(files).map(async (file) => [file, await run(file)] as const)));
const reportOf = (file: string): FileReport => {
  const report = reports.get(file);
  if (!report) throw new Error(`${file} is not there`);
  return report;
};

for (const [file, expected] of Object.entries(inTests)) {
  t.test(`${file}: a test that fails`, async (t) => {
    const report = reportOf(file);
    t.match(report, { setupFailed: false, failed: { length: 1 } });
    t.match(describeFile(report), /^FAILED /);
    t.match(describeFile(report), expected);
    t.match(closingLines([report]), /^\d passed, 1 failed, 0 skipped$/);
  });
}

for (const [file, expected] of Object.entries(inSetUp)) {
  t.test(`${file}: a set-up that fails`, async (t) => {
    const report = reportOf(file);
    t.match(report, { setupFailed: true, passed: 0, failed: { length: 1 } });
    const text = describeFile(report);
    t.match(text, /^SETUP FAILED /);
    t.match(text, expected);
    t.ok(text.split('\n').length < 25, `a few lines, not ${text.split('\n').length}`);
  });
}

t.test('a run of all kinds', async (t) => {
  const all = ['passes.mjs', 'fails.mjs', 'throws.mjs', 'no-database.mjs'].map(reportOf);
  t.equal(
    closingLines(all),
    '2 setup failed: throws.mjs, no-database.mjs\n2 passed, 3 failed, 0 skipped',
    'set-ups are named apart, and counted as failures',
  );
  t.equal(closingLines(all.slice(0, 1)), '2 passed, 0 failed, 0 skipped');
});
