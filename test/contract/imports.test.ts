import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';

interface Cruise {
  modules: { source: string; dependencies: { resolved: string; dependencyTypes: string[] }[] }[];
  summary: { violations: { rule: { name: string }; from: string }[] };
}

const read = (name: string) => readFileSync(join(packageRoot, name), 'utf8');

/** What dependency-cruiser says about a folder laid out like the repository. Exit code 1 and up count violations. */
async function cruise(folder: string): Promise<Cruise> {
  const tool = join(packageRoot, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const args = [tool, 'src', 'scripts', '--config', '.dependency-cruiser.cjs', '--output-type', 'json'];
  const run = promisify(execFile)(process.execPath, args, { cwd: folder, maxBuffer: 64 * 1024 * 1024 });
  const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => {
    if (!error.stdout) throw new Error(error.stderr);
    return error;
  });
  return JSON.parse(stdout) as Cruise; // the tool's own format
}

t.test('the imports of the house keep its rules, and the tool has read every file of it', async (t) => {
  const { modules, summary } = await cruise(packageRoot);
  t.strictSame(summary.violations, []);
  const files = ['src', 'scripts'].flatMap((folder) =>
    readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  const seen = modules.map(({ source }) => source).filter((source) => /^(src|scripts)\/.*\.ts$/.test(source));
  t.strictSame(seen.sort(), files.sort());
  t.ok(seen.length > 80, `${seen.length} modules`);
  const dependencies = modules.flatMap((module) => module.dependencies);
  t.ok(
    dependencies.filter(({ resolved }) => resolved.endsWith('.ts')).length > 300,
    'imports of .ts files are followed',
  );
  t.ok(
    dependencies.filter(({ dependencyTypes }) => dependencyTypes.includes('type-only')).length > 50,
    'imports of types are seen',
  );
});

/** File → its one import, and the one rule that it breaks. */
const planted: Record<string, [statement: string, rule: string]> = {
  'src/domain/reads.ts': ["import 'node:fs'", 'domain-is-pure'],
  'src/domain/knows.ts': ["import type { Config } from '../config.ts'", 'domain-is-pure'],
  'src/domain/adds.ts': ["import 'zod'", 'domain-is-pure'],
  'src/platform/knows.ts': ["import type { A } from '../features/a/model.ts'", 'platform-knows-no-feature'],
  'src/platform/records.ts': ["import type { A } from '../records/record.ts'", 'platform-knows-no-feature'],
  'src/records/walk.ts': ["import type { A } from '../config.ts'", 'walker-is-a-leaf'],
  'src/features/a/up.ts': ["import type { A } from '../../app.ts'", 'features-do-not-reach-up'],
  'src/features/a/routes.ts': ["import '../b/routes.ts'", 'features-meet-behind-their-doors'],
  'src/features/a/queries.ts': ["import type { FastifyRequest } from 'fastify'", 'operations-know-no-door'],
  'src/features/a/write.ts': ["import type { Route } from '../../platform/http/rest.ts'", 'operations-know-no-door'],
  'src/platform/operation.ts': ["import { GraphQLError } from 'graphql'", 'core-knows-no-door'],
  'src/features/a/resolvers.ts': ["import { sql } from 'drizzle-orm'", 'doors-write-no-sql'],
  'src/features/b/resolvers.ts': ["import type { Db } from '../../platform/db/client.ts'", 'doors-write-no-sql'],
  'src/platform/one.ts': ["import type { Two } from './two.ts'", 'no-cycles'],
  'src/features/a/dead.ts': ['', 'no-orphans'],
  'src/platform/tested.ts': ["import '../../test/support/app.ts'", 'src-imports-no-tests'],
  'src/platform/develops.ts': ["import 'fast-check'", 'src-needs-what-production-has'],
  'src/platform/nowhere.ts': ["import './missing.ts'", 'imports-lead-somewhere'],
};

// Of a cycle, one end is reported.
const otherEnd = { 'src/platform/two.ts': "import type { One } from './one.ts';\nexport {};\n" };
const innocent = [
  'src/records/record.ts',
  'src/config.ts',
  'src/app.ts',
  'src/features/a/model.ts',
  'src/features/b/routes.ts',
];
const alsoInnocent = ['src/platform/http/rest.ts', 'src/platform/db/client.ts', 'test/support/app.ts'];

t.test('a planted violation of each rule is reported', async (t) => {
  const needed = Object.keys(planted).filter((file) => file !== 'src/features/a/dead.ts');
  const files: Record<string, string> = {
    'package.json': JSON.stringify({
      type: 'module',
      dependencies: { zod: '*', fastify: '*', graphql: '*', 'drizzle-orm': '*' },
      devDependencies: { 'fast-check': '*' },
    }),
    'tsconfig.json': read('tsconfig.json'),
    '.dependency-cruiser.cjs': read('.dependency-cruiser.cjs'),
    'scripts/nothing.ts': 'export {};\n',
    'src/server.ts': [...needed, ...innocent, ...alsoInnocent]
      .filter((file) => file.startsWith('src/'))
      .map((file) => `import './${file.slice('src/'.length)}';\n`)
      .join(''),
    ...Object.fromEntries([...innocent, ...alsoInnocent].map((file) => [file, 'export {};\n'])),
    ...otherEnd,
    ...Object.fromEntries(Object.entries(planted).map(([file, [statement]]) => [file, `${statement};\nexport {};\n`])),
  };
  const { summary } = await cruise(t.testdir(tree(files)));
  const reported = summary.violations.map(({ rule, from }) => `${from}: ${rule.name}`);
  const expected = Object.entries(planted).map(([file, [, rule]]) => `${file}: ${rule}`);
  const missing = expected.filter((one) => !reported.includes(one));
  t.strictSame(missing, [], 'all are reported');
  const rules = await ruleNames();
  const broken = new Set(Object.values(planted).map(([, rule]) => rule));
  t.strictSame(
    rules.filter((name) => !broken.has(name)),
    [],
    'every rule was tried',
  );
  const surprises = reported.filter((said) => !expected.includes(said));
  t.strictSame(surprises, [], 'nothing else is');
});

async function ruleNames(): Promise<string[]> {
  const module: { default: { forbidden: { name: string }[] } } = await import(
    join(packageRoot, '.dependency-cruiser.cjs')
  );
  return module.default.forbidden.map(({ name }) => name);
}

type Tree = { [name: string]: string | Tree };

function tree(files: Record<string, string>): Tree {
  const root: Tree = {};
  for (const [path, content] of Object.entries(files)) {
    const steps = path.split('/');
    const name = steps.pop() ?? '';
    let folder = root;
    for (const step of steps) {
      const inner = folder[step];
      const next: Tree = typeof inner === 'object' ? inner : {};
      folder[step] = next;
      folder = next;
    }
    folder[name] = content;
  }
  return root;
}

t.test('packages with known faults are not in the lock file', async (t) => {
  const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, { version?: string }> };
  const minimums = { fastify: '5.8.5', mercurius: '16.8.0', 'fast-jwt': '6.2.4', 'drizzle-orm': '0.45.2' };
  for (const [name, minimum] of Object.entries(minimums)) {
    const found = Object.entries(lock.packages).filter(([path]) => path.endsWith(`node_modules/${name}`));
    t.ok(found.length > 0, `${name} is there`);
    for (const [path, { version = '' }] of found) t.ok(isAtLeast(version, minimum), `${path} ${version} ≥ ${minimum}`);
  }
});

function isAtLeast(version: string, minimum: string): boolean {
  // A pre-release comes before its release.
  if (version.includes('-')) return false;
  const [actual, wanted] = [version, minimum].map((text) => text.split('.').map(Number));
  const at = actual?.findIndex((part, i) => part !== wanted?.[i]) ?? -1;
  return at === -1 || (actual?.[at] ?? 0) > (wanted?.[at] ?? 0);
}

t.test('npm ci finds every package that another one names in the lock file, for all platforms', async (t) => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !lock.packages[`node_modules/${name}`] && !lock.packages[`${path}/node_modules/${name}`],
    ),
  );
  t.strictSame(missing, [], 'npm leaves out what its registry did not have: put them in by hand');
});
