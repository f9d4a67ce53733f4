import { Command } from 'commander';
import type { SigningKeyDocument } from '../src/features/clients/record.ts';
import { openKeys, readRootKey } from '../src/platform/auth/keys.ts';
import { acceptRootKey } from '../src/platform/auth/root-key.ts';
import { openPool, poolDb } from '../src/platform/db/client.ts';
import { administer, withDatabase } from './administration.ts';

/** `npm run -s keys -- rotate|list|revoke`: what `/v1/signing-keys` does; `accept-root`: what no running service can do. */
const program = new Command('keys').description('Manages the keys that sign the tokens of this service.');

program
  .command('list')
  .description('lists the keys, in the order in which they sign')
  .action(() =>
    administer(async ({ request }) => {
      const { data } = await request<{ data: SigningKeyDocument[] }>('GET', '/v1/signing-keys');
      console.table(
        data.map(({ kid, algorithm, status, signsFrom, verifiesUntil, configured }) => ({
          kid,
          algorithm,
          status: configured ? `${status} (configuration)` : status,
          signsFrom,
          verifiesUntil,
        })),
      );
    }),
  );

program
  .command('rotate')
  .description('makes a new key, which signs after a notice period')
  .option('--signs-after <seconds>', 'the notice period. Default: 300.')
  .action(({ signsAfter }: { signsAfter?: string }) =>
    administer(async ({ request }) => {
      const body = signsAfter === undefined ? {} : { signsAfter: Number(signsAfter) };
      const { kid, signsFrom } = await request<SigningKeyDocument>('POST', '/v1/signing-keys/rotate', body);
      console.log(`${kid} signs from ${signsFrom}`);
    }),
  );

program
  .command('revoke')
  .description('permanently refuses every token that a key signed')
  .argument('<kid>')
  .action((kid: string) =>
    administer(async ({ request }) => {
      await request('POST', `/v1/signing-keys/${encodeURIComponent(kid)}/revoke`);
    }),
  );

program
  .command('accept-root')
  .description('makes the configured root key that of the database (stop the service first)')
  .option('--former <file>', 'the former root key: erased persons are still recognised')
  .option('--lose-erased', 'the former key is lost: erased persons come back with the next import')
  .action(({ former, loseErased }: { former?: string; loseErased?: true }) => {
    if ((former === undefined) === (loseErased === undefined)) program.error('Send either --former or --lose-erased.');
    return withDatabase(async (config, connection) => {
      const formerKey = former === undefined ? null : await readRootKey(former);
      const keys = await openKeys(config);
      const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
      try {
        await acceptRootKey(poolDb(pool), keys, formerKey);
      } finally {
        await pool.end();
      }
      console.log(
        `The database belongs to the configured root key now. Tokens, rotated signing keys, cursors and survey links of the former one have ended; erased persons are ${formerKey ? 'still' : 'no longer'} recognised.`,
      );
    });
  });

await program.parseAsync();
