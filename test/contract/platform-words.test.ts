import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getTableName } from 'drizzle-orm';
import t from 'tap';
import ts from 'typescript';
import { packageRoot } from '../../src/config.ts';
import { problemCodes } from '../../src/platform/errors.ts';
import '../../src/records/delete-guard.ts';
import '../../src/records/operations.ts';
import { storedTables } from '../../src/records/table.ts';

/*
 * Platform and records know no feature, not even by name: no table, no problem code and no folder of a feature stands in
 * their code. Comments may give examples.
 */

const words = () => [...storedTables().map(({ table }) => getTableName(table)), ...problemCodes()];
const own = new Set(words());
await import('../../src/features.ts');
const folders = readdirSync(join(packageRoot, 'src/features'));
const ofFeatures = new Set([...words(), ...folders].filter((word) => !own.has(word)));

/** Words that are the machinery's own as well. */
const shared = new Set([
  'customers', // the owner of records, and the scope of personal data (`customers:pii`)
  'partners', // those whose tokens are scoped
  'audit', // platform/audit.ts makes the entries
  'timeline', // what a definition says of it
  'assignments', // of columns, in an UPDATE
  'merged', // an English word, too
]);

/** Words that one file cannot do without. */
const exceptions: Record<string, readonly string[]> = {
  // Examples in messages and documents: a scope, an address.
  'src/platform/auth/claim-map.ts': ['orders'],
  'src/platform/http/openapi.ts': ['clients', 'orders'],
  'src/platform/http/openapi-service.ts': ['clients', 'metrics', 'orders'],
  // What Prometheus calls what a service tells of itself, and where it asks for it.
  'src/platform/http/metrics.ts': ['metrics'],
  'src/platform/service-metrics.ts': ['metrics'],
  // Answers of `metrics:read` are about groups, which have a guard of their own.
  'src/platform/masked-fields.ts': ['metrics'],
};

/** Words of features in the code of a file, as names, in texts or in SQL. */
function featureWords(source: string): string[] {
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) || ts.isLiteralExpression(node) || ts.isTemplateLiteralToken(node)) {
      for (const [word] of node.text.matchAll(/\w+(?:-\w+)*/g)) if (ofFeatures.has(word)) found.add(word);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('file.ts', source, ts.ScriptTarget.Latest));
  return [...found].sort();
}

t.test('no table, problem code or folder of a feature is named in platform or records', async (t) => {
  for (const root of ['src/platform', 'src/records']) {
    for (const name of readdirSync(join(packageRoot, root), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const path = `${root}/${name}`;
      const found = featureWords(readFileSync(join(packageRoot, path), 'utf8')).filter((word) => !shared.has(word));
      t.strictSame(found, exceptions[path] ?? [], path);
    }
  }
});

t.test('a word of a feature is found in SQL, in texts and as a name, and not in comments', async (t) => {
  t.strictSame(featureWords('const rows = sql`select ${id} from survey_answers s where s.id = ${id}`;'), [
    'survey_answers',
  ]);
  t.strictSame(featureWords("throw new Problem('out_of_stock', message);"), ['out_of_stock']);
  t.strictSame(featureWords('export const campaigns = 1;'), ['campaigns']);
  t.strictSame(featureWords('const seen = /^.v1.(leads|returns)/;'), ['leads', 'returns']);
  t.strictSame(featureWords('const text = `a ${b} of loyalty ${c} and orders`;'), ['loyalty', 'orders']);
  t.strictSame(featureWords("import '../features/lead-scores/bounds.ts';"), ['lead-scores']);
  t.strictSame(featureWords('/** Lines of orders. */ const lines = 1; // survey_answers'), []);
  t.strictSame(featureWords("throw new Problem('not_found', message);"), []);
});
