import { Command } from 'commander';
import type { SigningKeyDocument } from '../src/features/clients/record.ts';
import { administer } from './administration.ts';

/** `npm run -s keys -- rotate|list|revoke`: what `/v1/signing-keys` does. */
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

await program.parseAsync();
