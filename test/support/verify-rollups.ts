import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../src/config.ts';
import { bundleTests } from './bundle.ts';

/** `npm run verify-rollups -- …` on the database at `url`, without npm and tsx. */
export async function rollupVerifier(t: Test, url: string) {
  const bundles = join(packageRoot, '.tap', `verify-rollups-${process.pid}`);
  t.teardown(() => rm(bundles, { recursive: true, force: true }));
  const [command = ''] = await bundleTests([join(packageRoot, 'scripts/verify-rollups.ts')], bundles);

  return async (args: string[] = [], env: Record<string, string> = {}): Promise<{ code: number; output: string }> => {
    const child = spawn(process.execPath, ['--enable-source-maps', command, ...args], {
      cwd: packageRoot,
      env: { ...process.env, NODE_OPTIONS: '', RAPPORT_ALLOW_UNSAFE_DATABASE: 'true', DATABASE_URL: url, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    const [code] = await once(child, 'close');
    return { code, output };
  };
}
