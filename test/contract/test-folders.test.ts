import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';

/* The tests of a feature are in the folder of its name, and in no other. */

const features = readdirSync(join(packageRoot, 'src/features'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const folder = join(packageRoot, 'test/features');
const tested = readdirSync(folder, { withFileTypes: true });

t.strictSame(
  tested.map(({ name }) => name).sort(),
  features.sort(),
  'test/features has a folder for every feature of src/features, and nothing else',
);
for (const { name } of tested.filter((entry) => entry.isDirectory())) {
  const files = readdirSync(join(folder, name));
  t.ok(
    files.some((file) => file.endsWith('.test.ts')),
    `test/features/${name} has a test`,
  );
}
