import { Command } from 'commander';
import type { z } from 'zod';
import type { Client, newClientSecret } from '../src/features/clients/record.ts';
import { type Administration, administer } from './administration.ts';

/** `npm run -s clients -- create|list|rotate-secret|revoke-secret|disable|enable|revoke|revoke-token`: what `/v1/clients` does. */
const program = new Command('clients').description('Manages the clients that get their tokens from this service.');

type Secret = z.output<typeof newClientSecret>;

async function printSecret({ request }: Administration, id: string): Promise<void> {
  const { secret } = await request<Secret>('POST', `/v1/clients/${id}/secrets`);
  console.log(`CLIENT_ID=${id}\nCLIENT_SECRET=${secret}`);
}

interface Creation {
  name: string;
  scope: string;
  partner?: string;
  selfService: boolean;
  ttl?: string;
}

program
  .command('create')
  .description('adds a client and prints its id and its secret, which is shown only once')
  .requiredOption('--name <name>', 'for people')
  .requiredOption('--scope <scopes>', 'scopes, separated by spaces; "*" for all')
  .option('--partner <id>', 'its tokens only see what is shared with this partner')
  .option('--self-service', 'it may issue short-lived customer tokens', false)
  .option('--ttl <seconds>', 'how long its tokens last')
  .action(({ name, scope, partner, selfService, ttl }: Creation) =>
    administer(async (administration) => {
      const { id } = await administration.request<Client>('POST', '/v1/clients', {
        name,
        scopes: scope.split(' ').filter((one) => one !== ''),
        selfService,
        ...(partner !== undefined && { partnerId: partner }),
        ...(ttl !== undefined && { tokenTtl: Number(ttl) }),
      });
      await printSecret(administration, id);
    }),
  );

program
  .command('list')
  .description('lists the clients')
  .action(() =>
    administer(async ({ request }) => {
      const rows: Record<string, unknown>[] = [];
      let after = '';
      do {
        const { data, page } = await request<{ data: Client[]; page: { next: string | null } }>(
          'GET',
          `/v1/clients?limit=100&sort=createdAt${after}`,
        );
        rows.push(
          ...data.map(({ id, name, status, scopes, secrets }) => ({
            id,
            name,
            status,
            scopes: scopes.join(' '),
            secrets: secrets.map(({ hint, lastUsedAt }) => `…${hint} (${lastUsedAt ?? 'never used'})`).join(', '),
          })),
        );
        after = page.next === null ? '' : `&after=${encodeURIComponent(page.next)}`;
      } while (after !== '');
      console.table(rows);
    }),
  );

program
  .command('rotate-secret')
  .description('gives a client another secret; at most two are active')
  .argument('<id>')
  .option('--revoke-others', 'revoke its other secrets, but keep their tokens', false)
  .action((id: string, { revokeOthers }: { revokeOthers: boolean }) =>
    administer(async (administration) => {
      const { secrets } = await administration.request<Client>('GET', `/v1/clients/${id}`);
      for (const secret of revokeOthers ? secrets : []) {
        await administration.request('DELETE', `/v1/clients/${id}/secrets/${secret.id}?keepTokens=true`);
      }
      await printSecret(administration, id);
    }),
  );

program
  .command('revoke-secret')
  .description('revokes the secret of a client that ends in these four characters, as `list` shows them')
  .argument('<id>')
  .argument('<hint>')
  .option('--keep-tokens', 'keeps its tokens: for a secret that is replaced, not for one that leaked', false)
  .action((id: string, hint: string, { keepTokens }: { keepTokens: boolean }) =>
    administer(async ({ request }) => {
      const { secrets } = await request<Client>('GET', `/v1/clients/${id}`);
      const [secret, another] = secrets.filter((one) => one.hint === hint);
      if (!secret) throw new Error(`No active secret of this client ends in ${hint}.`);
      if (another) throw new Error(`Two secrets of this client end in ${hint}: revoke one by its id, over HTTP.`);
      await request('DELETE', `/v1/clients/${id}/secrets/${secret.id}?keepTokens=${keepTokens}`);
    }),
  );

for (const [name, status, description] of [
  ['disable', 'disabled', 'refuses a client and its tokens until it is enabled'],
  ['enable', 'active', 'enables a disabled client again'],
] as const) {
  program
    .command(name)
    .description(description)
    .argument('<id>')
    .action((id: string) =>
      administer(async ({ request }) => {
        await request('PATCH', `/v1/clients/${id}`, { status });
      }),
    );
}

program
  .command('revoke')
  .description('permanently revokes a client, with its secrets and tokens')
  .argument('<id>')
  .action((id: string) =>
    administer(async ({ request }) => {
      await request('DELETE', `/v1/clients/${id}`);
    }),
  );

program
  .command('revoke-token')
  .description('revokes one token, whoever it was issued to')
  .argument('<token>')
  .action((token: string) =>
    administer(async ({ request }) => {
      await request('POST', '/v1/revoked-tokens', { token });
    }),
  );

await program.parseAsync();
