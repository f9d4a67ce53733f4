import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../../src/config.ts';

/** A refused refund is kept and takes nothing. Whoever sums refunds reads `appliedRefunds`, and cannot forget that. */
t.test('refunds that count are read by appliedRefunds', async (t) => {
  const definition = join('features', 'orders', 'record.ts');
  const files = readdirSync(join(packageRoot, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && file !== definition,
  );
  const readers = files.map((file) => ({ file, source: readFileSync(join(packageRoot, 'src', file), 'utf8') }));
  t.strictSame(
    readers.flatMap(({ file, source }) => (/\b(?:from|join)\s+"?refunds\b/i.test(source) ? [file] : [])),
    [],
    'select from ${appliedRefunds} of orders/record.ts, not from refunds',
  );
  t.strictSame(
    readers.flatMap(({ file, source }) => (/\b(?:from|join)\s+\$\{refunds\}/i.test(source) ? [file] : [])).sort(),
    ['refund-operations.ts', 'refund-write.ts'].map((file) => join('features', 'orders', file)),
    'only what answers refunds, and what looks for those that wait, reads the table itself',
  );
  t.ok(readers.filter(({ source }) => source.includes('${appliedRefunds}')).length >= 4, 'and it is read');
});
