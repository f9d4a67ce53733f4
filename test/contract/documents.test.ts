import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';

/* Whoever follows a pointer of a document or comment finds what it names, in this repository. */

/** All files of the repository: what begins with a dot is made on this machine, but for two folders. */
const files = readdirSync(packageRoot, { withFileTypes: true }).flatMap((entry) => {
  const { name } = entry;
  if (!entry.isDirectory()) return [name];
  if (name === 'node_modules' || (name.startsWith('.') && name !== '.github' && name !== '.ci')) return [];
  return readdirSync(join(packageRoot, name), { recursive: true, encoding: 'utf8' }).map((path) =>
    join(name, path).replaceAll('\\', '/'),
  );
});
const known = new Set(files);
const documents = files.filter((file) => file.endsWith('.md'));
const sources = files.filter((file) => /\.(ts|cjs)$|^Dockerfile$|^\.ci\//.test(file));

/** Made in an example of a how-to, or on a machine: not in the repository. */
const examples = /(^|\/)deals\//;

const pointer = /(?<![\w/.:*-])(?:\.{1,2}\/)?(?:[\w.-]+\/)*[\w-][\w.-]*\.(?:md|ts|cjs|sql|ya?ml|graphql)(?![\w/-])/g;

function commentsIn(file: string, text: string): string {
  const comment = /\.(ts|cjs)$/.test(file) ? /\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/.*$/gm : /^\s*#.*$/gm;
  return (text.match(comment) ?? []).join('\n');
}

/** Names that no file of the repository has: relative to the file, to the repository, or by the end of its path. */
function missing(file: string, text: string): string[] {
  return [...new Set(text.match(pointer) ?? [])].filter((name) => {
    if (examples.test(name)) return false;
    if (known.has(normalize(join(dirname(file), name))) || known.has(name)) return false;
    const end = `/${name.replace(/^(\.{1,2}\/)+/, '')}`;
    return !files.some((one) => one.endsWith(end));
  });
}

t.test('documents and comments name files that are there', async (t) => {
  for (const file of documents) {
    t.strictSame(missing(file, readFileSync(join(packageRoot, file), 'utf8')), [], file);
  }
  const wrong = sources.flatMap((file) =>
    missing(file, commentsIn(file, readFileSync(join(packageRoot, file), 'utf8'))).map((name) => `${file}: ${name}`),
  );
  t.strictSame(wrong, []);
});

t.test('links of documents lead to files that are there', async (t) => {
  for (const file of documents) {
    const text = readFileSync(join(packageRoot, file), 'utf8');
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].flatMap(([, link]) => link ?? []);
    const broken = links.filter((link) => {
      const path = normalize(join(dirname(file), link)).replace(/\/$/, '');
      return !known.has(path) && !files.some((one) => one.startsWith(`${path}/`));
    });
    t.strictSame(broken, [], file);
  }
});

t.test('documents say what a default is', async (t) => {
  for (const file of documents) {
    t.notMatch(readFileSync(join(packageRoot, file), 'utf8'), /unless told/i, `${file}: write 'Default: …'`);
  }
});

t.test('a pointer to nowhere is found', async (t) => {
  t.strictSame(missing('src/app.ts', 'see nowhere.md, src/app.ts and platform/gone.ts'), [
    'nowhere.md',
    'platform/gone.ts',
  ]);
  const inCode = ['const a = 1; /', '/ see nowhere.md'].join('');
  t.strictSame(missing('src/app.ts', commentsIn('src/app.ts', inCode)), ['nowhere.md']);
});
