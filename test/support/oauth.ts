import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { TestApp } from './app.ts';

/** Clients of the service's own tokens, and what tests ask of them. */

type Json = Record<string, any>;

/** A request to the token endpoint: the form as it is given, and Basic authorization if there is one. */
export async function post(
  { origin }: TestApp,
  path: string,
  form: Record<string, string> | string,
  basic?: readonly [string, string],
  headers: Record<string, string> = {},
) {
  const response = await fetch(origin + path, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      ...(basic && { Authorization: `Basic ${btoa(basic.map(encodeURIComponent).join(':'))}` }),
      ...headers,
    },
    body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
  });
  const text = await response.text();
  return {
    status: response.status,
    cache: response.headers.get('cache-control'),
    challenge: response.headers.get('www-authenticate'),
    type: response.headers.get('content-type'),
    body: (text === '' ? null : JSON.parse(text)) as Json,
  };
}

export async function newClient(
  api: TestApp,
  body: Json = {},
): Promise<{ id: string; secret: string; basic: [string, string] }> {
  const client = await api.request('POST', '/v1/clients', {
    body: { name: 'Shop', scopes: ['customers:read', 'orders:read'], ...body },
  });
  const secret = await api.request('POST', `/v1/clients/${client.body.id}/secrets`);
  if (secret.status !== 201) throw new Error(JSON.stringify([client.body, secret.body]));
  return { id: client.body.id, secret: secret.body.secret, basic: [client.body.id, secret.body.secret] };
}

export async function tokenFor(
  api: TestApp,
  client: { basic: [string, string] },
  form: Record<string, string> = {},
): Promise<string> {
  const answer = await post(api, '/oauth/token', { grant_type: 'client_credentials', ...form }, client.basic);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.access_token;
}

/** The status that a token gets, e.g. for a list that its scopes open. */
export async function tried({ origin }: TestApp, token: string, path = '/v1/customers'): Promise<number> {
  return (await fetch(origin + path, { headers: { Authorization: `Bearer ${token}` } })).status;
}

export async function within(t: Test, what: string, wanted: number, look: () => Promise<number>): Promise<void> {
  const deadline = Date.now() + 15_000;
  let seen = await look();
  while (seen !== wanted && Date.now() < deadline) {
    await sleep(50);
    seen = await look();
  }
  t.equal(seen, wanted, what);
}
