/**
 * Import directions of the house (src/README.md). test/contract/imports.test.ts plants a violation of every rule to see
 * it reported, and counts the modules: a tool that cannot read TypeScript finds nothing wrong.
 */
const door = '^src/features/[^/]+/(routes|resolvers)\\.ts$';
const npm = (names) => `(^|/)node_modules/(${names})(/|$)`;

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'domain-is-pure',
      comment: 'Pure maths: no clock, no I/O, nothing from outside itself but calendar arithmetic.',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: ['^src/domain/', npm('temporal-polyfill')] },
    },
    {
      name: 'platform-knows-no-feature',
      comment: 'Machinery. Only app.ts and server.ts put it together with the features.',
      severity: 'error',
      from: { path: '^src/platform/' },
      to: { path: '^src/', pathNot: ['^src/(platform|domain)/', '^src/records/walk\\.ts$', '^src/config\\.ts$'] },
    },
    {
      name: 'walker-is-a-leaf',
      comment: 'What is inside a schema: platform and records ask it, and it asks zod alone.',
      severity: 'error',
      from: { path: '^src/records/walk\\.ts$' },
      to: { pathNot: npm('zod') },
    },
    {
      name: 'features-do-not-reach-up',
      comment: 'A feature is put into the service by app.ts; it does not know the service.',
      severity: 'error',
      from: { path: '^src/features/' },
      to: { path: '^src/(app|server|guide|config)\\.ts$' },
    },
    {
      name: 'features-meet-behind-their-doors',
      comment:
        'Another feature is met through its models, queries and operations, never through its routes or resolvers.',
      severity: 'error',
      from: { path: '^src/features/([^/]+)/' },
      to: { path: door, pathNot: '^src/features/$1/' },
    },
    {
      name: 'operations-know-no-door',
      comment: 'Behind routes.ts and resolvers.ts nothing knows HTTP or GraphQL: one operation serves both.',
      severity: 'error',
      from: { path: '^src/features/', pathNot: door },
      to: { path: [npm('fastify|@fastify/[^/]+|graphql|mercurius'), '^src/platform/(http|graphql)/', door] },
    },
    {
      name: 'core-knows-no-door',
      comment: 'Operations, pages, errors and the database belong to both doors.',
      severity: 'error',
      from: { path: '^src/platform/([^/]+\\.ts$|db/)' },
      to: { path: [npm('fastify|@fastify/[^/]+|graphql|mercurius'), '^src/platform/(http|graphql)/'] },
    },
    {
      name: 'doors-write-no-sql',
      comment: 'Routes and resolvers name operations; SQL is in queries.ts and operations.ts.',
      severity: 'error',
      from: { path: door },
      to: { path: [npm('drizzle-orm|pg'), '^src/platform/db/'] },
    },
    {
      name: 'no-cycles',
      comment: 'Types included: files that need each other are one file, or three.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      comment: 'A file that neither the service nor a command needs is dead.',
      severity: 'error',
      from: { path: '^(src/server\\.ts$|scripts/)' },
      // What declares types has no code that anybody needs.
      to: { path: '^src/', pathNot: '^src/server\\.ts$|\\.d\\.ts$', reachable: false },
    },
    {
      name: 'src-imports-no-tests',
      comment: 'The service stands without its tests and commands.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|scripts)/' },
    },
    {
      name: 'src-needs-what-production-has',
      comment: 'The image holds dependencies only, and what is imported has to be there.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'imports-lead-somewhere',
      comment: 'An import that cannot be resolved is checked by no rule.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.cjs', '.mjs', '.json', '.d.ts'],
    },
  },
};
