import { Command, InvalidArgumentError, Option } from 'commander';
import { readConfig } from '../src/config.ts';
import { issueToken } from '../src/platform/auth/issue-token.ts';
import { openKeys } from '../src/platform/auth/keys.ts';
import { id } from '../src/platform/values.ts';

/** `npm run -s token -- --scope "…"`: one access token of the running configuration on standard output, nothing else. */
interface Options {
  scope: string;
  client: string;
  ttl: number;
  partner?: string;
  customer?: string;
}

const longestTtl = 10 * 365 * 86_400;

function scopeList(text: string): string {
  const scopes = text.split(' ').filter((scope) => scope !== '');
  if (scopes.length === 0) throw new InvalidArgumentError('Name at least one scope, or "*" for all.');
  const odd = scopes.find((scope) => !/^(\*|[a-z-]+:[a-z-]+)$/.test(scope));
  if (odd !== undefined) throw new InvalidArgumentError(`${odd} is not a scope such as orders:read.`);
  return scopes.join(' ');
}

function clientName(text: string): string {
  if (!/^[\x21-\x7e]{1,255}$/.test(text))
    throw new InvalidArgumentError('Up to 255 visible ASCII characters without spaces.');
  return text;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > longestTtl)
    throw new InvalidArgumentError(`Seconds, 1 to ${longestTtl}.`);
  return value;
}

function uuid(text: string): string {
  const parsed = id.safeParse(text);
  if (!parsed.success) throw new InvalidArgumentError('A UUID.');
  return parsed.data;
}

const command = new Command('token')
  .description('Prints an access token for this configuration.')
  .requiredOption('--scope <scopes>', 'scopes, separated by spaces; "*" for all', scopeList)
  .option('--client <name>', 'the client it is for', clientName, 'cli')
  .option('--ttl <seconds>', 'how long it is valid', seconds, 3600)
  .option('--partner <id>', 'a partner token: it only sees what is shared with this partner', uuid)
  .addOption(
    new Option('--customer <id>', 'a customer token: it only sees this customer').argParser(uuid).conflicts('partner'),
  )
  .allowExcessArguments(false)
  .parse();

try {
  const config = readConfig(process.env);
  if (config.jwtJwksUrl !== null) {
    throw new Error('JWT_JWKS_URL is set: tokens come from that provider, this service issues none.');
  }
  const { signing } = await openKeys(config);
  if (signing === null) throw new Error('There is no signing key.');
  process.stdout.write(`${issueToken(config, signing, command.opts<Options>())}\n`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
