import { join } from 'node:path';
import t from 'tap';
import { ConfigError, packageRoot, readConfig, readDatabaseConfig } from '../../src/config.ts';

const url = 'postgres://rapport:hunter2@db.example/rapport';
const secret = 'a secret of thirty-two characters';

function refusal(env: NodeJS.ProcessEnv): string {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

t.test('an empty environment is the documented defaults', async (t) => {
  t.match(readConfig({}), {
    host: '127.0.0.1',
    port: 3000,
    databaseUrl: null,
    databasePoolSize: 10,
    databaseStatementTimeout: 30,
    dataDir: join(packageRoot, '.data'),
    allowUnsafeDatabase: false,
    baseCurrency: 'EUR',
    reportingTimeZone: 'UTC',
    jwtJwksUrl: null,
    jwtClaimMap: null,
    jwtSigningKeyFile: null,
    cursorSecret: null,
    databaseLockTimeout: 10,
    maxEventLoopDelay: 2000,
    otlpEndpoint: null,
    corsOrigins: [],
    rateLimit: 1000,
    publicRateLimit: 120,
    trustedProxies: [],
    eventsKeptDays: 90,
    webhookAllow: [],
    worker: true,
    logLevel: 'info',
    production: false,
  });
  t.match(readConfig({ PORT: '', DATABASE_URL: ' ' }), { port: 3000, databaseUrl: null }, 'empty is unset');
});

t.test('every variable is read', async (t) => {
  const config = readConfig({
    HOST: '::1',
    PORT: '0',
    DATABASE_URL: url,
    DATABASE_POOL_SIZE: '3',
    DATABASE_STATEMENT_TIMEOUT: '120',
    DATABASE_LOCK_TIMEOUT: '7',
    RAPPORT_MAX_EVENT_LOOP_DELAY: '500',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.example:4318',
    RAPPORT_DATA_DIR: '/srv/rapport',
    RAPPORT_ALLOW_UNSAFE_DATABASE: 'true',
    BASE_CURRENCY: 'JPY',
    REPORTING_TIME_ZONE: 'Asia/Tokyo',
    JWT_ISSUER: 'https://issuer.example',
    JWT_AUDIENCE: 'crm',
    JWT_JWKS_URL: 'https://issuer.example/jwks',
    JWT_CLAIM_MAP: '{"client":"azp","partner":null}',
    CURSOR_SECRET: secret,
    CORS_ORIGINS: 'https://a.example, http://localhost:5173',
    RATE_LIMIT: '5',
    PUBLIC_RATE_LIMIT: '6',
    TRUSTED_PROXIES: '10.0.0.0/8, ::1',
    RAPPORT_PROCESSES: '4',
    RAPPORT_EVENTS_KEPT_DAYS: '30',
    RAPPORT_WEBHOOK_ALLOW: '127.0.0.1, 10.0.0.0/8,hooks.internal',
    RAPPORT_WORKER: 'false',
    LOG_LEVEL: 'silent',
    NODE_ENV: 'production',
  });
  t.strictSame(config, {
    host: '::1',
    port: 0,
    databaseUrl: url,
    databasePoolSize: 3,
    databaseStatementTimeout: 120,
    databaseLockTimeout: 7,
    maxEventLoopDelay: 500,
    otlpEndpoint: 'http://collector.example:4318',
    dataDir: '/srv/rapport',
    allowUnsafeDatabase: true,
    baseCurrency: 'JPY',
    reportingTimeZone: 'Asia/Tokyo',
    jwtIssuer: 'https://issuer.example',
    jwtAudience: 'crm',
    jwtJwksUrl: 'https://issuer.example/jwks',
    jwtClaimMap: {
      client: ['azp'],
      scopes: { scope: 'verbatim', scp: 'verbatim' },
      partner: null,
      customer: 'customer',
    },
    jwtSigningKeyFile: null,
    cursorSecret: secret,
    corsOrigins: ['https://a.example', 'http://localhost:5173'],
    rateLimit: 5,
    publicRateLimit: 6,
    trustedProxies: ['10.0.0.0/8', '::1'],
    processes: 4,
    eventsKeptDays: 30,
    webhookAllow: ['127.0.0.1', '10.0.0.0/8', 'hooks.internal'],
    worker: false,
    logLevel: 'silent',
    production: true,
  });
});

t.test('a wrong value is refused under the name of its variable', async (t) => {
  const wrong: Record<string, string[]> = {
    PORT: ['http', '65536', '-1', '3000.5', '0x10'],
    DATABASE_URL: ['mysql://db/x', 'db.example'],
    DATABASE_POOL_SIZE: ['0', 'many'],
    DATABASE_STATEMENT_TIMEOUT: ['0', 'never'],
    DATABASE_LOCK_TIMEOUT: ['0', '1.5'],
    RAPPORT_MAX_EVENT_LOOP_DELAY: ['0', 'soon'],
    OTEL_EXPORTER_OTLP_ENDPOINT: ['collector:4318', 'ftp://collector.example'],
    RAPPORT_ALLOW_UNSAFE_DATABASE: ['yes please'],
    BASE_CURRENCY: ['eur', 'XXY', 'EURO'],
    REPORTING_TIME_ZONE: ['Mars/Olympus', '+02:00', 'Berlin'],
    JWT_JWKS_URL: [
      'http://issuer.example/jwks',
      'ftp://issuer.example',
      'jwks.json',
      'https://user:pw@issuer.example/',
    ],
    CURSOR_SECRET: ['short'],
    CORS_ORIGINS: ['shop.example', 'https://shop.example/path', 'https://a.example,,https://b.example'],
    RATE_LIMIT: ['0', 'none'],
    PUBLIC_RATE_LIMIT: ['0', 'none'],
    TRUSTED_PROXIES: ['proxy', '10.0.0.0/33', '::1/129', '10.0.0.1,', '10.0.0.0/8/8', '10.0.0.0/x'],
    RAPPORT_PROCESSES: ['0', 'all'],
    RAPPORT_EVENTS_KEPT_DAYS: ['0', 'many'],
    RAPPORT_WEBHOOK_ALLOW: ['10.0.0.0/33', 'http://hooks.internal/', 'a,,b'],
    RAPPORT_WORKER: ['once'],
    LOG_LEVEL: ['loud'],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values)
      t.match(refusal({ [name]: value }), new RegExp(`^${name} must `, 'm'), `${name}=${value}`);
  }
  t.match(refusal({ PORT: 'x', LOG_LEVEL: 'x' }), /^PORT .*\nLOG_LEVEL /, 'all of them at once');
  t.notMatch(refusal({ DATABASE_URL: 'mysql://root:hunter2@db/x' }), /hunter2/, 'without the password');
});

t.test('key sets come over TLS, from this machine or from a file', async (t) => {
  for (const jwks of [
    'http://localhost:8080/jwks',
    'http://127.0.0.1/jwks',
    'http://[::1]:1/jwks',
    'file:///etc/jwks.json',
  ]) {
    t.equal(readConfig({ JWT_JWKS_URL: jwks, JWT_ISSUER: 'x' }).jwtJwksUrl, jwks);
  }
});

t.test('replicas have to agree on their keys', async (t) => {
  t.match(refusal({ DATABASE_URL: url }), /^JWT_SIGNING_KEY_FILE is required with DATABASE_URL/);
  t.equal(refusal({ DATABASE_URL: url, JWT_SIGNING_KEY_FILE: '/run/key.pem' }), 'accepted');
  const provider = {
    DATABASE_URL: url,
    JWT_JWKS_URL: 'https://issuer.example/jwks',
    JWT_ISSUER: 'https://issuer.example',
  };
  t.match(refusal(provider), /^CURSOR_SECRET is required/);
  t.equal(refusal({ ...provider, CURSOR_SECRET: secret }), 'accepted');
  t.match(refusal({ JWT_JWKS_URL: 'https://issuer.example/jwks' }), /^JWT_ISSUER is required with JWT_JWKS_URL/);
  t.match(
    refusal({ ...provider, CURSOR_SECRET: secret, JWT_SIGNING_KEY_FILE: '/run/key.pem' }),
    /^JWT_SIGNING_KEY_FILE cannot be combined with JWT_JWKS_URL/,
  );
});

t.test('where there is no embedded database, DATABASE_URL is required', async (t) => {
  const inside = { RAPPORT_EMBEDDED_DATABASE: 'false' };
  t.match(refusal(inside), /^DATABASE_URL is required/);
  t.throws(() => readDatabaseConfig(inside), { message: /^DATABASE_URL is required/ });
  t.equal(readDatabaseConfig({ ...inside, DATABASE_URL: url }).databaseUrl, url);
});

t.test('a command that only opens the database needs no keys', async (t) => {
  t.match(readDatabaseConfig({ DATABASE_URL: url }), { databaseUrl: url });
});
