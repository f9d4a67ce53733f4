import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { packageRoot } from '../../src/config.ts';

/** `npm run demo` as a stranger meets it, with a small store. */

/** Under root the database's account has to pass through it. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'rapport-demo-'));
  chmodSync(path, 0o711);
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Demo {
  child: ChildProcessWithoutNullStreams;
  output: () => string;
  errors: () => string;
  ended: Promise<number | null>;
  /** Resolves when the text was printed; rejects when the demo ends without. */
  until(text: string): Promise<void>;
}

function startDemo(t: Test, args: string[]): Demo {
  const child = spawn(process.execPath, ['--import=tsx', 'scripts/demo.ts', '--customers', '200', ...args], {
    cwd: packageRoot,
  });
  t.teardown(() => child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return {
    child,
    output: () => stdout,
    errors: () => stderr,
    ended,
    until: (text) =>
      new Promise((resolve, reject) => {
        const look = () => stdout.includes(text) && resolve();
        child.stdout.on('data', look);
        ended.then(() => reject(new Error(`the demo ended without "${text}": ${stdout}${stderr}`)));
        look();
      }),
  };
}

/** Metrics and customer: what must never change for a seed. */
function tableOf(output: string): string {
  const table = /An invented shop[\s\S]*?(?=\nDocumentation)/.exec(output)?.[0];
  if (table === undefined) throw new Error(`no table in: ${output}`);
  return table;
}

t.test('the demo', async (t) => {
  const first = folder(t);
  const demo = startDemo(t, ['--port', '0', '--data-dir', first]);
  await demo.until('Serving until Ctrl-C');
  const output = demo.output();
  const table = tableOf(output);

  await t.test('shows numbers, and says why one is not known', async (t) => {
    t.match(
      output,
      /Building a store through the API: seed 1, 200 customers, \d+ orders, \d+ members, \d+ leads, \d+ interactions/,
    );
    t.match(table, /Repeat buyers \(two orders or more\) +\d+\.\d % +\d+ of 200/);
    t.match(table, /Average order value +\d+\.\d\d EUR/);
    t.match(table, /Lifetime value, four factors, cost of lines +— +.*Missing: margin/);
    t.match(table, /Who to call next[\s\S]+ 1 {2}\S.+ [A-D] +\d+\.\d +\S.* Filled in a form \d+\.\d \(2026-/);
    t.match(table, /Converted \d+\.\d % \(\d+ of \d+ leads\); of \d+ open ones [1-9]\d* are qualified by marketing/);
    t.match(
      table,
      /Net promoter score, after a purchase +-?\d+\.\d +\d+ promoters, \d+ passives, \d+ detractors +95 %: -?\d+\.\d to \d+\.\d/,
    );
    t.match(table, /Customer satisfaction +\d+\.\d +\d+ of \d+ +95 %: \d+\.\d to \d+\.\d/);
    t.match(table, /Customer effort, after a call for help +-?\d+\.\d +-?\d+ of \d+ +95 %/);
    t.match(table, /Unhappy customers called back in time +\d+\.\d % +\d+ of \d+/);
    t.match(
      table,
      /Loyalty liability +\d+\.\d\d EUR +\d+ points, \d+ of them not active yet; \d+\.\d % of earlier ones expired/,
    );
    t.match(table, /Green +× 1 +\d+ +\d+ +\d+\.\d\d EUR[\s\S]+Taken: \d+ × A cup for 60 \(\d+ left\)/);
    t.match(output, /Learned from \d+ leads .*AUC 0\.\d{3}/);
    t.match(table, /Spring roasts +\d+ +\d+ +\d+ +\d+ +\d+\.\d\d +900\.00 +\d+\.\d\d/);
    const [, all, some] =
      /the shop +(\d+) +\d+ +\d+\.\d % .*\nNordkaffee Service +(\d+) +\d+ .*\nC-\d+ +1 +\d+ +refused: not_supported/.exec(
        table,
      ) ?? [];
    t.ok(Number(some) > 0 && Number(some) < Number(all), `a partner sees ${some} of ${all}`);
    t.notMatch(table, /NaN|undefined|null/);
  });

  await t.test('the lines it prints can be pasted', async (t) => {
    const token = /^export TOKEN=(\S+)$/m.exec(output)?.[1] ?? '';
    const [rest = '', graphql = ''] = output.split('\n').filter((line) => line.startsWith('curl '));
    const explorer = output.split('\n').find((line) => line.endsWith('/graphiql')) ?? '';

    const answer = await paste(rest, token);
    t.match(answer, {
      metric: 'retention-rate',
      definition: 'retention-rate@1',
      value: Number,
      series: [{ value: Number }],
    });
    t.match(table, `${answer.numerator} of ${answer.denominator}`, 'and says what the table says');
    t.match(await paste(graphql, token), { data: { customer: { name: String, summary: { orders: Number } } } });

    const origin = new URL(explorer).origin;
    for (const page of [explorer, `${origin}/docs`, `${origin}/openapi.json`]) {
      const response = await fetch(page);
      t.equal(response.status, 200, page);
      await response.text();
    }
  });

  await t.test('Ctrl-C ends it and its database', async (t) => {
    demo.child.kill('SIGINT');
    t.equal(await demo.ended, 0, demo.errors());
    t.notOk(existsSync(join(first, 'postgres/postmaster.pid')));
  });

  await t.test('a second run finds the store, and another folder gets the same one', async (t) => {
    const again = startDemo(t, ['--port', '0', '--once', '--data-dir', first]);
    t.equal(await again.ended, 0, again.errors());
    t.match(again.output(), /built before: seed 1, 200 customers/);
    t.equal(tableOf(again.output()), table);

    const elsewhere = startDemo(t, ['--port', '0', '--once', '--data-dir', folder(t)]);
    t.equal(await elsewhere.ended, 0, elsewhere.errors());
    t.match(elsewhere.output(), 'Building a store');
    t.equal(tableOf(elsewhere.output()), table);
  });

  await t.test('a port in use is told before anything else happens', async (t) => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    t.teardown(() => taken.close());
    const address = taken.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const refused = startDemo(t, ['--port', String(port), '--data-dir', first]);
    t.equal(await refused.ended, 1);
    t.match(refused.errors(), `Port ${port} is in use`);
    t.match(refused.errors(), `--port ${port + 1}`);
  });
});

/** What curl would do with the line. */
async function paste(line: string, token: string): Promise<Record<string, unknown>> {
  const headers = new Headers();
  for (const [, double, single] of line.matchAll(/-H (?:"([^"]*)"|'([^']*)')/g)) {
    const [name = '', value = ''] = (double ?? single ?? '').replace('$TOKEN', token).split(': ');
    headers.set(name, value);
  }
  const url = /https?:\/\/[^\s']+/.exec(line)?.[0] ?? '';
  const body = /-d '([^']*)'/.exec(line)?.[1];
  const response = await fetch(url, { headers, ...(body !== undefined && { method: 'POST', body }) });
  return (await response.json()) as Record<string, unknown>; // both doors answer objects
}
