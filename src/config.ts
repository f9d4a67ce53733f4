import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type ClaimMap, parseClaimMap } from './platform/auth/claim-map.ts';
import { currency, timeZone } from './platform/values.ts';

/** The folder of package.json: this file and the bundle (`.build/server.js`) both lie one level below it. */
export const packageRoot = fileURLToPath(new URL('..', import.meta.url));

/** What it takes to open the database: all that a command such as `npm run migrate` needs. */
export interface DatabaseConfig {
  /** Null: the embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: string | null;
  /** Connections of the service's pool. */
  readonly databasePoolSize: number;
  /** Seconds. */
  readonly databaseStatementTimeout: number;
  /** Absolute path of the embedded database and of the keys made at the first start. */
  readonly dataDir: string;
  /** Lifts the refusal of a server that may lose acknowledged writes. */
  readonly allowUnsafeDatabase: boolean;
  /** ISO 4217; what amounts of other currencies are valued in. */
  readonly baseCurrency: string;
  /** IANA zone in which months and purchase days are counted. */
  readonly reportingTimeZone: string;
}

/** The environment of the service, read once. */
export interface Config extends DatabaseConfig {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  /** Key set of an outside provider (https:, http: on this machine, or file:); null: the service issues its own tokens. */
  readonly jwtJwksUrl: string | null;
  /** What the claims of the outside provider mean here; null: the same as in the service's own tokens. */
  readonly jwtClaimMap: ClaimMap | null;
  /** Absolute path of a PEM private key; null: a key kept in `dataDir`, or an outside provider. */
  readonly jwtSigningKeyFile: string | null;
  readonly cursorSecret: string | null;
  /** Seconds that a request waits for a lock that another change holds. */
  readonly databaseLockTimeout: number;
  /** Milliseconds that the event loop may be late on average; beyond that requests are refused. */
  readonly maxEventLoopDelay: number;
  /** Collector of OpenTelemetry; null: nothing is traced. */
  readonly otlpEndpoint: string | null;
  /** Origins of browsers that may call; `*` is all. */
  readonly corsOrigins: readonly string[];
  /** Requests per second and client. */
  readonly rateLimit: number;
  /** Requests per minute and address where no token is asked for. */
  readonly publicRateLimit: number;
  /** Addresses or networks (CIDR) of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Processes that share the port, on machines with more than two cores. */
  readonly processes: number;
  /** How long the feed of changes keeps an event, days. */
  readonly eventsKeptDays: number;
  /** Hosts, addresses and networks (CIDR) that webhooks may go to although they are private, or over http in production. */
  readonly webhookAllow: readonly string[];
  /** Whether this process runs background jobs and sends webhooks; at least one process has to. */
  readonly worker: boolean;
  readonly logLevel: (typeof logLevels)[number];
  /** NODE_ENV=production: introspection and GraphiQL need a scope. */
  readonly production: boolean;
}

/** The environment cannot be understood; the message has a line per variable. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

function integer(min: number, max: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, { error: `must be an integer from ${min} to ${max}` })
    .transform(Number)
    .refine((value) => value >= min && value <= max, { error: `must be an integer from ${min} to ${max}` });
}

const flag = z
  .enum(['true', 'false', '1', '0'], { error: 'must be true or false' })
  .transform((value) => value === 'true' || value === '1');

const path = z.string().transform((value) => resolve(value));

const jwksUrl = z.string().refine(isJwksUrl, {
  error: 'must be an https: URL, an http: URL of this machine, or a file: URL',
});

function isJwksUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, host } = new URL(text);
  if (username !== '' || password !== '') return false;
  if (protocol === 'file:') return host === '';
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}

/** JSON, or the path of a file with JSON. */
const claimMap = z.string().transform((text, context) => {
  const fault = (message: string) => {
    context.addIssue(message);
    return z.NEVER;
  };
  let json = text;
  if (!text.trim().startsWith('{')) {
    try {
      json = readFileSync(resolve(text), 'utf8');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      return fault(`must be JSON or the path of a file with JSON, and the file cannot be read: ${code}`);
    }
  }
  const map = parseClaimMap(json);
  return Array.isArray(map) ? fault(map.join('; ')) : map;
});

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

const origins = z.string().transform((text, context) => {
  const list = text.split(',').map((entry) => entry.trim());
  for (const entry of list) {
    if (entry !== '*' && !(URL.canParse(entry) && new URL(entry).origin === entry)) {
      context.addIssue(
        `must be origins such as https://shop.example, separated by commas; ${JSON.stringify(entry)} is not one`,
      );
    }
  }
  return list;
});

const networks = z.string().transform((text, context) => {
  const list = text.split(',').map((entry) => entry.trim());
  for (const entry of list) {
    if (!isNetwork(entry)) {
      context.addIssue(
        `must be addresses or networks such as 10.0.0.0/8, separated by commas; ${JSON.stringify(entry)} is not one`,
      );
    }
  }
  return list;
});

const destinations = z.string().transform((text, context) => {
  const list = text.split(',').map((entry) => entry.trim().toLowerCase());
  for (const entry of list) {
    if (!isNetwork(entry) && !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(entry)) {
      context.addIssue(
        `must be host names, addresses or networks such as 10.0.0.0/8, separated by commas; ${JSON.stringify(entry)} is not one`,
      );
    }
  }
  return list;
});

function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

function accepts(vocabulary: z.ZodType) {
  return (value: string) => vocabulary.safeParse(value).success;
}

const databaseVariables = {
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, { error: 'must be a URL that starts with postgres:// or postgresql://' })
    .optional(),
  DATABASE_POOL_SIZE: integer(1, 1000).default(10),
  DATABASE_STATEMENT_TIMEOUT: integer(1, 3600).default(30),
  RAPPORT_EMBEDDED_DATABASE: flag.default(true),
  RAPPORT_DATA_DIR: path.default(resolve(packageRoot, '.data')),
  RAPPORT_ALLOW_UNSAFE_DATABASE: flag.default(false),
  BASE_CURRENCY: z
    .string()
    .refine((code) => /^[A-Z]{3}$/.test(code) && accepts(currency)(code), {
      error: 'must be an ISO 4217 code such as EUR',
    })
    .default('EUR'),
  REPORTING_TIME_ZONE: z
    .string()
    .refine(accepts(timeZone), { error: 'must be an IANA time zone such as Europe/London' })
    .default('UTC'),
};

const databaseSchema = z.object(databaseVariables).superRefine(requireDatabase);

/** The container image has no embedded server inside. */
function requireDatabase(
  env: { DATABASE_URL?: string | undefined; RAPPORT_EMBEDDED_DATABASE: boolean },
  context: z.RefinementCtx,
): void {
  if (env.DATABASE_URL !== undefined || env.RAPPORT_EMBEDDED_DATABASE) return;
  context.addIssue({
    code: 'custom',
    path: ['DATABASE_URL'],
    message: 'is required: there is no embedded database here (a PostgreSQL 15 or newer, postgres://…)',
  });
}

const schema = z
  .object({
    ...databaseVariables,
    HOST: z.string().default('127.0.0.1'),
    PORT: integer(0, 65_535).default(3000),
    JWT_ISSUER: z.string().max(255).optional(),
    JWT_AUDIENCE: z.string().max(255).default('rapport'),
    JWT_JWKS_URL: jwksUrl.optional(),
    JWT_CLAIM_MAP: claimMap.optional(),
    JWT_SIGNING_KEY_FILE: path.optional(),
    CURSOR_SECRET: z.string().min(32, { error: 'must have at least 32 characters' }).optional(),
    CORS_ORIGINS: origins.default([]),
    DATABASE_LOCK_TIMEOUT: integer(1, 3600).default(10),
    RAPPORT_MAX_EVENT_LOOP_DELAY: integer(10, 60_000).default(2000),
    OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http: or https: URL' }).optional(),
    RATE_LIMIT: integer(1, 100_000_000).default(1000),
    PUBLIC_RATE_LIMIT: integer(1, 100_000_000).default(120),
    TRUSTED_PROXIES: networks.default([]),
    RAPPORT_PROCESSES: integer(1, 64).default(1),
    RAPPORT_EVENTS_KEPT_DAYS: integer(1, 3650).default(90),
    RAPPORT_WEBHOOK_ALLOW: destinations.default([]),
    RAPPORT_WORKER: flag.default(true),
    LOG_LEVEL: z.enum(logLevels, { error: `must be one of ${logLevels.join(', ')}` }).default('info'),
    NODE_ENV: z.string().default('development'),
  })
  .superRefine((env, context) => {
    requireDatabase(env, context);
    const refuse = (variable: string, message: string) =>
      context.addIssue({ code: 'custom', path: [variable], message });
    if (env.JWT_JWKS_URL && env.JWT_SIGNING_KEY_FILE) {
      refuse(
        'JWT_SIGNING_KEY_FILE',
        'cannot be combined with JWT_JWKS_URL: either an outside provider issues the tokens or this service does',
      );
    }
    if (env.JWT_CLAIM_MAP && !env.JWT_JWKS_URL) {
      refuse('JWT_CLAIM_MAP', 'needs JWT_JWKS_URL: the tokens of the service itself need no map');
    }
    if (env.JWT_JWKS_URL && !env.JWT_ISSUER) {
      refuse('JWT_ISSUER', 'is required with JWT_JWKS_URL: the issuer that the provider names in its tokens');
    }
    if (env.DATABASE_URL && !env.JWT_JWKS_URL && !env.JWT_SIGNING_KEY_FILE) {
      refuse(
        'JWT_SIGNING_KEY_FILE',
        'is required with DATABASE_URL, so that replicas agree on the key (or JWT_JWKS_URL for an outside provider)',
      );
    }
    if (env.DATABASE_URL && env.JWT_JWKS_URL && !env.CURSOR_SECRET) {
      refuse(
        'CURSOR_SECRET',
        'is required with DATABASE_URL and JWT_JWKS_URL, so that replicas accept each other’s cursors',
      );
    }
  });

/** @throws ConfigError naming each variable that is wrong; values are not repeated where they may be secret */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const read = parse(schema, env);
  return {
    ...databaseConfig(read),
    host: read.HOST,
    port: read.PORT,
    jwtIssuer: read.JWT_ISSUER ?? 'rapport',
    jwtAudience: read.JWT_AUDIENCE,
    jwtJwksUrl: read.JWT_JWKS_URL ?? null,
    jwtClaimMap: read.JWT_CLAIM_MAP ?? null,
    jwtSigningKeyFile: read.JWT_SIGNING_KEY_FILE ?? null,
    cursorSecret: read.CURSOR_SECRET ?? null,
    databaseLockTimeout: read.DATABASE_LOCK_TIMEOUT,
    maxEventLoopDelay: read.RAPPORT_MAX_EVENT_LOOP_DELAY,
    otlpEndpoint: read.OTEL_EXPORTER_OTLP_ENDPOINT ?? null,
    corsOrigins: read.CORS_ORIGINS,
    rateLimit: read.RATE_LIMIT,
    publicRateLimit: read.PUBLIC_RATE_LIMIT,
    trustedProxies: read.TRUSTED_PROXIES,
    processes: read.RAPPORT_PROCESSES,
    eventsKeptDays: read.RAPPORT_EVENTS_KEPT_DAYS,
    webhookAllow: read.RAPPORT_WEBHOOK_ALLOW,
    worker: read.RAPPORT_WORKER,
    logLevel: read.LOG_LEVEL,
    production: read.NODE_ENV === 'production',
  };
}

/**
 * The part that concerns the database, for commands that have nothing to do with tokens.
 *
 * @throws ConfigError
 */
export function readDatabaseConfig(env: NodeJS.ProcessEnv): DatabaseConfig {
  return databaseConfig(parse(databaseSchema, env));
}

function databaseConfig(read: z.output<typeof databaseSchema>): DatabaseConfig {
  return {
    databaseUrl: read.DATABASE_URL ?? null,
    databasePoolSize: read.DATABASE_POOL_SIZE,
    databaseStatementTimeout: read.DATABASE_STATEMENT_TIMEOUT,
    dataDir: read.RAPPORT_DATA_DIR,
    allowUnsafeDatabase: read.RAPPORT_ALLOW_UNSAFE_DATABASE,
    baseCurrency: read.BASE_CURRENCY,
    reportingTimeZone: read.REPORTING_TIME_ZONE,
  };
}

function parse<T extends z.ZodType>(variables: T, env: NodeJS.ProcessEnv): z.output<T> {
  // Compose files and shells set a variable to nothing where they mean to leave it out.
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => !isUnset(value)));
  const result = variables.safeParse(set);
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
  throw new ConfigError([...new Set(faults)].join('\n'));
}

function isUnset(value: string | undefined): boolean {
  return value === undefined || value.trim() === '';
}
