import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

/** Algorithms a token may be signed with. Symmetric ones are absent: a public key must never serve as a secret. */
export const signingAlgorithms = ['ES256', 'EdDSA', 'RS256', 'PS256'] as const;
export type SigningAlgorithm = (typeof signingAlgorithms)[number];

/** The service's own key, when it issues its tokens itself. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  /** PEM, SPKI. */
  readonly publicKey: string;
  readonly algorithm: SigningAlgorithm;
  /** Thumbprint of RFC 7638: the same key has the same name on every replica. */
  readonly kid: string;
}

/** A key file cannot be used; the message says why and never shows the key. */
export class KeyError extends Error {
  override name = 'KeyError';
}

/**
 * Reads a PEM private key in PKCS8: EC P-256 signs ES256, Ed25519 EdDSA, RSA of 2048 bits or more RS256.
 *
 * @param name what the message calls the file
 * @throws KeyError
 */
export function readSigningKey(pem: string, name: string): SigningKey {
  if (!pem.includes('-----BEGIN PRIVATE KEY-----')) {
    throw new KeyError(`${name} is not an unencrypted private key in PEM, PKCS8 (-----BEGIN PRIVATE KEY-----)`);
  }
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch {
    throw new KeyError(`${name} holds a damaged private key`);
  }
  const [algorithm] = algorithmsOf(privateKey);
  if (algorithm === undefined) {
    throw new KeyError(`${name} must hold an EC key on P-256, an Ed25519 key or an RSA key of at least 2048 bits`);
  }
  const publicKey = createPublicKey(privateKey);
  return {
    privateKey,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    algorithm,
    kid: thumbprint(publicKey.export({ format: 'jwk' })),
  };
}

/** The algorithms that a key, private or public, is meant for and strong enough for; none when it is neither. */
export function algorithmsOf(key: KeyObject): SigningAlgorithm[] {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ec':
      return details?.namedCurve === 'prime256v1' ? ['ES256'] : [];
    case 'ed25519':
      return ['EdDSA'];
    case 'rsa':
      return (details?.modulusLength ?? 0) >= 2048 ? ['RS256', 'PS256'] : [];
    default:
      return [];
  }
}

function thumbprint(jwk: JsonWebKey): string {
  const { crv, e, kty, n, x, y } = jwk;
  // The order is that of the RFC; JSON leaves out what a kind of key does not have.
  return createHash('sha256').update(JSON.stringify({ crv, e, kty, n, x, y })).digest('base64url');
}
