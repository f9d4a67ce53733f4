import { createCipheriv, createDecipheriv, createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { readSigningKey, type SigningKey } from './signing-key.ts';

/**
 * Encrypts signing keys for the database (AES-256-GCM) under a secret that is derived from the key of the configuration:
 * a copy of the database signs nothing, and a key that somebody wrote into the database does not open, so it is none.
 */
export interface KeySeal {
  seal(privateKey: KeyObject, kid: string): string;
  /** null: not sealed here, under this name; or changed since. */
  open(sealed: string, kid: string): SigningKey | null;
}

const ivBytes = 12;
const tagBytes = 16;

/** @param secret 32 bytes */
export function keySeal(secret: Buffer): KeySeal {
  return {
    seal: (privateKey, kid) =>
      sealed(secret, kid, Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())),
    open(text, kid) {
      const pem = opened(secret, kid, text);
      try {
        const key = pem && readSigningKey(pem.toString(), kid);
        return key && key.kid === kid ? key : null;
      } catch {
        return null;
      }
    },
  };
}

/** AES-256-GCM under a name: what is sealed under one does not open under another. */
export function sealed(secret: Buffer, name: string, content: Buffer): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', secret, iv).setAAD(Buffer.from(name));
  return Buffer.concat([iv, cipher.update(content), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

/** null: not sealed under this secret and name; or changed since. */
export function opened(secret: Buffer, name: string, text: string): Buffer | null {
  try {
    const bytes = Buffer.from(text, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', secret, bytes.subarray(0, ivBytes), { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(name)).setAuthTag(bytes.subarray(-tagBytes));
    return Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]);
  } catch {
    return null;
  }
}

/** The public members of a key as RFC 7517 has them; nothing of the private part passes through here. */
export function publicJwk({ publicKey, kid, algorithm }: Pick<SigningKey, 'publicKey' | 'kid' | 'algorithm'>) {
  return { ...createPublicKey(publicKey).export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' };
}
