/**
 * A process that starts or joins an embedded server, for tests that kill it: `start-embedded.ts MODULE DATA_DIR`.
 * Prints one line of JSON when it is connected, and stops what it started at the end of its standard input.
 */
import { once } from 'node:events';

const [module, dataDir] = process.argv.slice(2);
const { startEmbedded } = await import(String(module));
const notes: string[] = [];
const server = await startEmbedded({
  dataDir,
  settings: { fsync: 'off' },
  note: (message: string) => notes.push(message),
});
const { connection, startedHere, directory } = server;
console.log(JSON.stringify({ connection, startedHere, directory, notes }));
process.stdin.resume();
await once(process.stdin, 'end');
await server.stop();
