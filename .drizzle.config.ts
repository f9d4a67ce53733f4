import { defineConfig } from 'drizzle-kit';

// drizzle-kit asks for a default export.
// biome-ignore lint/style/noDefaultExport: the tool's contract
export default defineConfig({
  dialect: 'postgresql',
  schema: [
    './src/features/*/record.ts',
    './src/records/references/record.ts',
    './src/platform/idempotency.ts',
    './src/platform/db/settings.ts',
  ],
  out: './migrations',
});
