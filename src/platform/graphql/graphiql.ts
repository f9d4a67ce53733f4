import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import staticFiles from '@fastify/static';
import type { FastifyInstance } from 'fastify';

/** Name under /graphiql/ → file of an installed package, so that the page needs no network but this service. */
const files: Readonly<Record<string, [pkg: string, path: string]>> = {
  'react.js': ['react', 'umd/react.production.min.js'],
  'react-dom.js': ['react-dom', 'umd/react-dom.production.min.js'],
  'graphiql.js': ['graphiql', 'graphiql.min.js'],
  'graphiql.css': ['graphiql', 'graphiql.min.css'],
};

/** Nothing from elsewhere, no inline script; the editor sets styles on its elements. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rapport · GraphiQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/graphiql/graphiql.css">
<link rel="stylesheet" href="/graphiql/page.css">
</head>
<body>
<form id="access">
<label for="token">Access token</label>
<input id="token" type="password" autocomplete="off" spellcheck="false" placeholder="npm run -s token -- --scope '*'">
<button type="submit">Use</button>
<output id="note">Paste a token to load the schema.</output>
</form>
<div id="explorer"></div>
<script src="/graphiql/react.js"></script>
<script src="/graphiql/react-dom.js"></script>
<script src="/graphiql/graphiql.js"></script>
<script src="/graphiql/page.js"></script>
</body>
</html>
`;

const style = `html, body { height: 100%; margin: 0; }
body { display: flex; flex-direction: column; font-family: system-ui, sans-serif; }
#access { display: flex; gap: 0.75rem; align-items: center; padding: 0.5rem 1rem; border-bottom: 1px solid #8884; }
#token { flex: 0 1 32rem; padding: 0.3rem 0.5rem; font: inherit; }
#note { color: #666; }
#explorer { flex: 1; min-height: 0; }
`;

/** The token stays in the tab (sessionStorage); `/graphiql#token=…` hands one over without sending it in a URL. */
const script = (firstQuery: string) => `'use strict';
const defaultQuery = ${JSON.stringify(firstQuery)};
const form = document.getElementById('access');
const field = document.getElementById('token');
const note = document.getElementById('note');
const root = ReactDOM.createRoot(document.getElementById('explorer'));
let tries = 0;

async function fetcher(request, options) {
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/json',
      Authorization: 'Bearer ' + field.value.trim(),
      ...(options && options.headers),
    },
    body: JSON.stringify({ query: request.query, operationName: request.operationName, variables: request.variables }),
  });
  const answer = await response.json();
  const refused = response.status === 401 || response.status === 403;
  note.textContent = refused && answer.errors ? answer.errors[0].message : '';
  return answer;
}

function show() {
  tries += 1;
  root.render(React.createElement(GraphiQL, { key: tries, fetcher, defaultQuery, shouldPersistHeaders: false }));
}

const handed = /^#token=([\\w.-]+)$/.exec(location.hash);
if (handed) {
  sessionStorage.setItem('token', handed[1]);
  history.replaceState(null, '', location.pathname);
}
field.value = sessionStorage.getItem('token') || '';
form.addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', field.value.trim());
  show();
});
show();
`;

/**
 * GraphiQL at /graphiql, in development and production alike: the page holds nothing but itself. Whatever it shows it
 * asks of POST /graphql with the token pasted into it, where introspection in production needs the scope `schema:read`.
 *
 * @param firstQuery what stands in it at first
 */
export async function serveGraphiql(app: FastifyInstance, firstQuery: string): Promise<void> {
  const { resolve } = createRequire(import.meta.url);
  await app.register(async (scope) => {
    // Only for `sendFile`: no folder is open to requests.
    await scope.register(staticFiles, { root: dirname(resolve('graphiql/package.json')), serve: false });
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers({ 'Content-Security-Policy': policy, 'Referrer-Policy': 'no-referrer' });
      done();
    });
    scope.get('/graphiql', (_request, reply) => reply.type('text/html; charset=utf-8').send(page));
    scope.get('/graphiql/page.css', (_request, reply) => reply.type('text/css; charset=utf-8').send(style));
    scope.get('/graphiql/page.js', (_request, reply) =>
      reply.type('text/javascript; charset=utf-8').send(script(firstQuery)),
    );
    for (const [name, [pkg, path]] of Object.entries(files)) {
      const folder = dirname(resolve(`${pkg}/package.json`));
      scope.get(`/graphiql/${name}`, (_request, reply) => reply.sendFile(path, folder));
    }
  });
}
