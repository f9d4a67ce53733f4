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
    seal(privateKey, kid) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', secret, iv).setAAD(Buffer.from(kid));
      const text = cipher.update(privateKey.export({ type: 'pkcs8', format: 'pem' }));
      return Buffer.concat([iv, text, cipher.final(), cipher.getAuthTag()]).toString('base64');
    },
    open(sealed, kid) {
      try {
        const bytes = Buffer.from(sealed, 'base64');
        const decipher = createDecipheriv('aes-256-gcm', secret, bytes.subarray(0, ivBytes), {
          authTagLength: tagBytes,
        });
        decipher.setAAD(Buffer.from(kid)).setAuthTag(bytes.subarray(-tagBytes));
        const pem = Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]);
        const key = readSigningKey(pem.toString(), kid);
        return key.kid === kid ? key : null;
      } catch {
        return null;
      }
    },
  };
}

/** The public members of a key as RFC 7517 has them; nothing of the private part passes through here. */
export function publicJwk({ publicKey, kid, algorithm }: Pick<SigningKey, 'publicKey' | 'kid' | 'algorithm'>) {
  return { ...createPublicKey(publicKey).export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' };
}
