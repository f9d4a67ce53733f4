import { serverAudits } from 'graphql-http';
import t from 'tap';
import { testApp } from '../support/app.ts';

/** What the suite would like and we do not do, and why. None of these is a MUST. */
const declined: Record<string, string> = {
  '5A70': 'GET is refused: a URL with a query in it ends up in logs and caches.',
  D6D5: 'GET, as above.',
  '6A70': 'GET, as above.',
};

t.test('the GraphQL-over-HTTP audits pass, but for those declined with a reason', async (t) => {
  const { origin, token } = await testApp(t);
  const bearer = { authorization: `Bearer ${token('*')}` };
  const audits = serverAudits({
    url: `${origin}/graphql`,
    fetchFn: (url: string, init: RequestInit = {}) =>
      fetch(url, { ...init, headers: { ...(init.headers as Record<string, string>), ...bearer } }),
  });
  t.ok(audits.length >= 60, `${audits.length} audits`);
  const failed = [];
  for (const audit of audits) {
    const result = await audit.fn();
    if (result.status === 'ok') continue;
    failed.push(audit.id);
    t.notMatch(audit.name, /MUST/, `${audit.id} ${audit.name}: ${result.reason}`);
    t.ok(declined[audit.id], `${audit.id} ${audit.name} is declined knowingly: ${declined[audit.id] ?? result.reason}`);
  }
  t.same(failed.sort(), Object.keys(declined).sort(), 'nothing is declined that passes');
});
