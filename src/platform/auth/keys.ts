import { generateKeyPairSync, hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config.ts';
import type { AccessDirectory } from './directory.ts';
import { type KeySet, ownKeys, providerKeys } from './key-set.ts';
import { KeyError, readSigningKey, type SigningKey } from './signing-key.ts';

/** The secrets of a running configuration. */
export interface Keys {
  /** Signs the service's own tokens; null under an outside provider. */
  readonly signing: SigningKey | null;
  /** What verifies tokens: these, and the keys that the directory knows. */
  readonly verifying: (directory: AccessDirectory) => KeySet;
  /** 32 bytes that keep further signing keys in the database; null under an outside provider. */
  readonly sealSecret: Buffer | null;
  /** 32 bytes that authenticate cursors. */
  readonly cursorSecret: Buffer;
  /** 32 bytes that authenticate links; of the same material, so that replicas agree. */
  readonly linkSecret: Buffer;
  /**
   * 32 bytes by which erased persons are recognised. Always of the root key, which stays when others are rotated, and under
   * an outside provider of the secret of cursors: with another key nobody who was erased is recognised any more. That of a
   * store whose root key was replaced is the former one: `keysOfStore` knows.
   */
  readonly tombstoneSecret: Buffer;
  /** 32 bytes that keep secrets in the database which the service has to use itself (stored-secrets.ts). */
  readonly storedSecretsKey: Buffer;
  readonly root: RootKey;
}

/** What the database may know of the root key, and what only its owner can do. */
export interface RootKey {
  /** The same for the same key; says nothing else of it. */
  readonly fingerprint: string;
  /** 32 bytes that keep the secret of erased persons in the database when another root key follows. */
  readonly sealSecret: Buffer;
  readonly tombstoneSecret: Buffer;
}

/**
 * Opens the configured keys; makes those that are kept in the data directory when they are missing.
 *
 * @throws KeyError
 */
export async function openKeys(config: Config): Promise<Keys> {
  if (config.jwtJwksUrl !== null) {
    const secret = config.cursorSecret ?? (await readOrCreate(config.dataDir, 'cursor-secret', newSecret));
    const provider = providerKeys(config.jwtJwksUrl);
    return { signing: null, verifying: () => provider, sealSecret: null, ...derivedSecrets(secret, secret) };
  }
  const signing = await openSigningKey(config);
  const der = derOf(signing);
  return {
    signing,
    verifying: (directory) => ownKeys(signing, directory),
    sealSecret: derive(der, 'rapport signing keys'),
    ...derivedSecrets(config.cursorSecret ?? der, der),
  };
}

function derOf({ privateKey }: SigningKey): Buffer {
  return privateKey.export({ type: 'pkcs8', format: 'der' });
}

async function openSigningKey(config: Config): Promise<SigningKey> {
  if (config.jwtSigningKeyFile !== null) {
    const pem = await readFile(config.jwtSigningKeyFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new KeyError(`JWT_SIGNING_KEY_FILE cannot be read: ${error.code ?? error.message}`);
    });
    return readSigningKey(pem, 'JWT_SIGNING_KEY_FILE');
  }
  const name = 'signing-key.pem';
  return readSigningKey(await readOrCreate(config.dataDir, name, newKey), join(config.dataDir, name));
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** The purpose is part of the derivation: what authenticates cursors says nothing about the key that signs tokens. */
function derivedSecrets(
  material: string | Buffer,
  root: string | Buffer,
): Pick<Keys, 'cursorSecret' | 'linkSecret' | 'tombstoneSecret' | 'storedSecretsKey' | 'root'> {
  const rootKey = rootKeyOf(root);
  return {
    cursorSecret: derive(material, 'rapport cursors'),
    linkSecret: derive(material, 'rapport links'),
    tombstoneSecret: rootKey.tombstoneSecret,
    storedSecretsKey: derive(root, 'rapport stored secrets'),
    root: rootKey,
  };
}

function rootKeyOf(material: string | Buffer): RootKey {
  return {
    fingerprint: derive(material, 'rapport root key').toString('base64url'),
    sealSecret: derive(material, 'rapport erasure key'),
    tombstoneSecret: derive(material, 'rapport tombstones'),
  };
}

/**
 * The root key in a file: a signing key, or a secret (`cursor-secret`, a CURSOR_SECRET).
 *
 * @throws KeyError
 */
export async function readRootKey(path: string): Promise<RootKey> {
  const content = await readIfThere(path);
  if (content === null) throw new KeyError(`${path} is not there`);
  return rootKeyOf(content.includes('-----BEGIN') ? derOf(readSigningKey(content, path)) : content.trim());
}

function derive(material: string | Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', material, '', purpose, 32));
}

/**
 * The content of a private file, made if it is missing. It appears under its name complete and at once, by a hard
 * link, which fails when the name is taken: of starters that race, one wins and all read what it wrote.
 */
async function readOrCreate(directory: string, name: string, create: () => string): Promise<string> {
  const path = join(directory, name);
  const existing = await readIfThere(path);
  if (existing !== null) return existing;
  await mkdir(directory, { recursive: true });
  const draft = `${path}.${randomUUID()}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(create());
    await file.sync();
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await file.close();
    await unlink(draft);
  }
  return readFile(path, 'utf8');
}

async function readIfThere(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new KeyError(`${path} cannot be read: ${error.code ?? error.message}`);
  });
}
