import { opened, sealed } from './sealed-key.ts';

/**
 * Secrets that the service has to use itself, so that no hash of them would do: encrypted (AES-256-GCM) for the database under a key that is
 * derived from the root key. A copy of the database alone says nothing of them.
 */
export interface StoredSecrets {
  /** @param name whose it is: it opens under this name only */
  seal(secret: string, name: string): string;
  /** null: it was sealed under another root key, or changed since. */
  open(text: string, name: string): string | null;
}

/** @param key 32 bytes */
export function storedSecrets(key: Buffer): StoredSecrets {
  return {
    seal: (secret, name) => sealed(key, name, Buffer.from(secret)),
    open: (text, name) => opened(key, name, text)?.toString() ?? null,
  };
}
