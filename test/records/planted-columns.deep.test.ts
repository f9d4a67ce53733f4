import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';
import { bundleTests } from '../support/bundle.ts';

/*
 * Every table that may be changed and is not derived gets an internal column that no code names, and every row a value in
 * it. Then the taint test calls every operation. A write that forgets the column would lose the value: a trigger refuses
 * that, and the operation answers 500. An answer that tells what is stored, and not what clients receive, has the value:
 * the taint test finds it.
 */

t.setTimeout(600_000);

/** Rows that are always made anew, as literals of all columns: the compiler finds one that is missing. */
const anew = ['external_refs', 'loyalty_earnings', 'loyalty_tier_changes', 'partner_shares', 'survey_answers'];

const plants: { file: string; behind: string; planted: string }[] = [
  {
    file: 'src/platform/db/client.ts',
    behind: 'function conflictOf(error: unknown): ProblemCode | undefined {\n',
    planted: 'if (!(error instanceof Retry)) console.error(String(error), error.where);\n',
  },
  {
    file: 'src/records/table.ts',
    behind: '(tableName: string, definition: TableDefinition<F>): TableOf<F> {\n',
    planted: `if (definition.access !== 'append' && definition.nature !== 'derived' && !('planted' in definition.fields) && !${JSON.stringify(anew)}.includes(tableName)) definition = { ...definition, fields: { ...definition.fields, planted: plantedText(20).plain().internal() } };\n`,
  },
  {
    file: 'src/records/table.ts',
    behind: "import type { ProblemCode } from '../platform/errors.ts';\n",
    planted: "import { text as plantedText } from './fields.ts';\n",
  },
  {
    file: 'src/records/record.ts',
    behind: '    version: version(),\n',
    planted: '    planted: plantedText(20).plain().internal(),\n',
  },
  {
    file: 'src/records/record.ts',
    behind: "import { z } from 'zod';\n",
    planted: "import { text as plantedText } from './fields.ts';\n",
  },
  {
    file: 'test/records/taint.test.ts',
    behind: "import { columnNamed } from '../../src/records/table.ts';\n",
    planted: `import { storedTables } from '../../src/records/table.ts';
      const plantedTables = storedTables().filter(({ fields }) => 'planted' in fields).map(({ table }) => getTableName(table));\n`,
  },
  {
    file: 'test/records/taint.test.ts',
    behind: 'await database.connect();\n',
    planted: `await database.query(\`create function refuse_loss() returns trigger language plpgsql as
        'begin raise exception ''% loses its planted column'', tg_table_name; end'\`);
      for (const name of plantedTables) await database.query(\`alter table \${name} add column planted text;
        create trigger planted_is_kept before update on \${name} for each row
          when (new.planted is distinct from old.planted and old.planted is not null) execute function refuse_loss()\`);\n`,
  },
  {
    file: 'test/records/taint.test.ts',
    behind: 'async function taint(): Promise<void> {\n',
    planted:
      "for (const name of plantedTables) await database.query(`update ${name} set planted = 'Taint_planted' where planted is null`);\n",
  },
];

t.test('no write loses a column that is added to its table', async (t) => {
  const folder = join(packageRoot, '.tap', `planted-columns-${process.pid}`);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  let places = 0;
  const [script = ''] = await bundleTests([join(packageRoot, 'test/records/taint.test.ts')], folder, (path, source) =>
    plants
      .filter(({ file }) => path.endsWith(file))
      .reduce((text, { behind, planted }) => {
        places += text.split(behind).length - 1;
        return text.replace(behind, () => `${behind}${planted}`);
      }, source),
  );
  t.equal(places, plants.length, 'the lines are there to be planted behind');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', cwd: packageRoot });
  t.equal(status, 0, `${stdout}\n${stderr}`.slice(-6000));
});
