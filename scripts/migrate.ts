import { readDatabaseConfig } from '../src/config.ts';
import { tablePolicies } from '../src/features.ts';
import { openDatabase } from '../src/platform/db/open.ts';

/** `npm run migrate`: brings the configured database to this version's schema. A start of the service does the same. */
const note = (message: string) => console.log(message);
try {
  const database = await openDatabase(readDatabaseConfig(process.env), tablePolicies(), note, { checkSettings: false });
  await database.stop();
  console.log('The database is up to date.');
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
