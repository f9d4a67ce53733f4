import type { Db } from '../db/client.ts';
import { keepSettings, overwriteSettings, storedSettings } from '../db/settings.ts';
import type { Keys, RootKey } from './keys.ts';
import { opened, sealed } from './sealed-key.ts';
import { KeyError } from './signing-key.ts';

/*
 * The database remembers which root key it belongs to: under another one, nothing would fail, and erased persons would
 * come back.
 */

/** In `deployment_settings`: the fingerprint, and the secret of erased persons where it is that of a former root key. */
const fingerprintName = 'ROOT_KEY';
const erasureName = 'ERASURE_KEY';

/**
 * The keys as they hold for this store. A store without a fingerprint notes that of the key it is started with; of
 * replicas that start together, one decides for all.
 *
 * @throws KeyError when the store belongs to another root key
 */
export async function keysOfStore(db: Db, keys: Keys): Promise<Keys> {
  const before = await storedSettings(db);
  if (!before.has(fingerprintName)) await keepSettings(db, { [fingerprintName]: keys.root.fingerprint });
  const stored = before.has(fingerprintName) ? before : await storedSettings(db);
  if (stored.get(fingerprintName) !== keys.root.fingerprint) {
    throw new KeyError(
      'The database belongs to another root key than the configured one (JWT_SIGNING_KEY_FILE; signing-key.pem in RAPPORT_DATA_DIR; ' +
        'with JWT_JWKS_URL: CURSOR_SECRET, or cursor-secret in RAPPORT_DATA_DIR). Under this key erased persons would come back ' +
        'with the next import, and all cursors, survey links, tokens and rotated signing keys would end. Set the former key back. ' +
        'To sign tokens with a new key, run: npm run keys -- rotate (the root key stays). To replace the root key itself, stop the ' +
        'service and run: npm run keys -- accept-root --former <file of the former key>',
    );
  }
  return { ...keys, tombstoneSecret: erasureSecret(keys.root, stored.get(erasureName)) };
}

/**
 * Makes the configured root key that of the store.
 *
 * @param former the present root key of the store, whose secret of erased persons is kept; null: it is lost, and erased
 *   persons are not recognised any more
 * @throws KeyError when the former key is not that of the store
 */
export async function acceptRootKey(db: Db, { root }: Keys, former: RootKey | null): Promise<void> {
  const stored = await storedSettings(db);
  const known = stored.get(fingerprintName);
  if (former && known !== undefined && known !== former.fingerprint) {
    throw new KeyError('The file does not hold the former root key: the database belongs to another one.');
  }
  const secret = former ? erasureSecret(former, stored.get(erasureName)) : root.tombstoneSecret;
  await overwriteSettings(db, {
    [fingerprintName]: root.fingerprint,
    [erasureName]: sealed(root.sealSecret, erasureName, secret),
  });
}

function erasureSecret(root: RootKey, kept: string | undefined): Buffer {
  if (kept === undefined) return root.tombstoneSecret;
  const secret = opened(root.sealSecret, erasureName, kept);
  if (secret === null)
    throw new KeyError('The secret of erased persons in the database does not open with the root key.');
  return secret;
}
