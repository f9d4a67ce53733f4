import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';
import { bundleTests } from '../support/bundle.ts';

/** A field, planted in the definition of customers by one line: see planted-field-cases.ts for what it shows. */

const line = '    givenName: text(100).personal(),\n';
const planted = '    nickname: text(100).personal().filter().sort(),\n';

t.test('a field is added by one line of its definition and a migration', async (t) => {
  const folder = join(packageRoot, '.tap', `planted-${process.pid}`);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  let places = 0;
  const [script = ''] = await bundleTests(
    [join(packageRoot, 'test/support/planted-field-cases.ts')],
    folder,
    (path, source) => {
      if (!path.endsWith('src/features/customers/record.ts')) return source;
      places += source.split(line).length - 1;
      return source.replace(line, `${line}${planted}`);
    },
  );
  t.equal(places, 1, 'the line is there to be planted behind');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', cwd: packageRoot });
  t.equal(status, 0, `${stdout}\n${stderr}`.slice(0, 6000));
});
