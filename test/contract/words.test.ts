import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';

/*
 * One word for one thing, and the one of the field. What we do not say, with what we say instead. Words that mean
 * something else as well (`scope`, `source`, `settle`) cannot be told apart by a test.
 */
const words: Record<string, RegExp> = {
  'personal-data inventory': /\b[hH]oldings\b|[a-z]Holdings/,
  'access policy, scoped token': /\b[cC]onfin(e|ement)|[a-z]Confin|\beyes\b/,
  'as the service': /\b[eE]levated?\b/,
  'merged ids, redirects': /\b[sS]uccessors?\b|\bMoved\b/,
  'audit context': /\b[tT]rails?\b|[a-z]Trail\b/,
  'masked field': /\b[wW]ithheld|\b[sS]ight\b|\bofOthers\b/,
  'gzipped buffer': /\b[sS]pool/,
  'pipelined statements': /\b[pP]ackets?\b|\b[gG]ather|\b[dD]efer(?!rable|red for each)/,
  'survey scores': /\b[vV]oice|[a-z]Voice/,
  'metric response': /\b[eE]nvelope/,
  'bucket or interval': /\b[bB]rackets?\b/,
  recompute: /\b[rR]ecount/,
  'Default: …': /\b[uU]nless told/,
};

/** Names that stay, because clients or databases hold them: `src/README.md` says which. */
const staying = [/Voice(\w+|…)/g, /confined_client/g, /\bconfinement(_id|Id)?\b/g];

/** A line about the words themselves. */
const saying = ['test/contract/documents.test.ts', 'test/contract/words.test.ts'];

function filesIn(path: string): string[] {
  const full = join(packageRoot, path);
  if (!existsSync(full)) return [];
  if (!statSync(full).isDirectory()) return [path];
  return readdirSync(full, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|md)$/.test(name))
    .map((name) => `${path}/${name}`);
}

/** Says of each unwanted word which one to write. */
function faultsIn(text: string): string[] {
  const left = staying.reduce((rest, name) => rest.replaceAll(name, ''), text);
  return Object.entries(words).flatMap(([say, not]) => {
    const found = not.exec(left);
    return found ? [`write '${say}' instead of '${found[0]}'`] : [];
  });
}

t.test('the words of the house are used, and no others', async (t) => {
  const files = ['src', 'scripts', 'test', 'README.md', '.github'].flatMap(filesIn);
  t.ok(files.length > 400, `${files.length} files`);
  for (const path of files.filter((path) => !saying.includes(path))) {
    const faults = faultsIn(readFileSync(join(packageRoot, path), 'utf8'));
    if (faults.length > 0) t.fail(`${path}: ${faults.join(', ')}`);
  }
});

t.test('the names that stay are said to stay', async (t) => {
  const readme = readFileSync(join(packageRoot, 'src/README.md'), 'utf8');
  const [said = ''] = /Names that stay[^\n]*\n(.+\n)+/.exec(readme) ?? [];
  for (const name of ['`Voice…`', '`confined_client`', '`confinement`', '`confinement_id`'])
    t.ok(said.includes(name), name);
});

t.test('an unwanted word is found in a name, a comment and a text, and not inside another word', async (t) => {
  t.strictSame(faultsIn('const holdings = 1;'), ["write 'personal-data inventory' instead of 'holdings'"]);
  t.strictSame(faultsIn('// what the audit trail says'), ["write 'audit context' instead of 'trail'"]);
  t.strictSame(faultsIn('type SurveyVoice = 1; recountAll();').length, 2);
  t.strictSame(faultsIn("'Invoices, insight, trailing, VoiceMember, confined_client'"), []);
});
