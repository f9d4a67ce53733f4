import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../src/config.ts';
import { bundleTests } from './bundle.ts';
import { runNode } from './command.ts';

/** `npm run verify-rollups -- …` on the database at `url`, without npm and tsx. */
export async function rollupVerifier(t: Test, url: string) {
  const bundles = join(packageRoot, '.tap', `verify-rollups-${process.pid}`);
  t.teardown(() => rm(bundles, { recursive: true, force: true }));
  const [command = ''] = await bundleTests([join(packageRoot, 'scripts/verify-rollups.ts')], bundles);
  const settings = { NODE_OPTIONS: '', RAPPORT_ALLOW_UNSAFE_DATABASE: 'true', DATABASE_URL: url };

  return (args: string[] = [], env: Record<string, string> = {}) =>
    runNode(['--enable-source-maps', command, ...args], { ...settings, ...env });
}
