import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { runNode } from '../../support/command.ts';
import { anOrder, ndjson } from '../../support/imports.ts';

t.test('npm run import sends a file, follows it and tells what became of it', async (t) => {
  const api = await testApp(t);
  api.app.jobs.startWorker();
  const file = join(t.testdir({}), 'orders.ndjson.gz');
  writeFileSync(file, gzipSync(ndjson([...Array.from({ length: 1_100 }, (_, n) => anOrder(n)), { bad: 1 }])));
  const env = { RAPPORT_URL: api.origin, RAPPORT_TOKEN: api.token('*') };
  const run = (...args: string[]) => runNode(['--import', 'tsx', 'scripts/import.ts', file, ...args], env);
  const checked = await run('--kind', 'orders', '--dry-run');
  t.match(checked.output, /orders\.ndjson\.gz is checked; nothing was written/);
  const { code, output } = await run('--kind', 'orders');
  t.equal(code, 1, 'a line was refused');
  t.match(output, /orders\.ndjson\.gz is in/);
  t.match(output, /1,101 +1,100 +0 +0 +0 +1\n/);
  t.match(output, /"line":1101,"code":"required"/);
  const other = await run('--kind', 'returns', '--format', 'csv');
  t.equal(other.code, 1);
  t.match(other.output, /The service refused the file/);
});
