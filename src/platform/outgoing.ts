import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Agent, buildConnector } from 'undici';

/**
 * Requests to addresses that clients name. None of them reaches what is private to this machine or its network (server-side request forgery):
 * every connection goes to an address that was checked for this very connection, so a name that resolves to something else a moment
 * later gains nothing. Redirects are not followed.
 */
export interface Outgoing {
  /** Why nothing is ever sent to this URL; null: that depends on the addresses of its host. */
  refusal(url: string): string | null;
  /** Sends, and resolves whatever becomes of it. At most a little of the answer is read, and none of it kept. */
  post(url: string, headers: Readonly<Record<string, string>>, body: string): Promise<Sent>;
  /** Ends all connections, and what is under way on them. */
  close(): Promise<void>;
}

export const sendingErrors = ['timeout', 'unknown_host', 'address_refused', 'connection_failed', 'tls_failed'] as const;
export type SendingError = (typeof sendingErrors)[number];

/** The status of the answer, or why there is none. */
export type Sent = { status: number; error: null } | { status: null; error: SendingError };

export interface OutgoingOptions {
  /** Hosts, addresses and networks that are open although they are private, and to plain http in production. */
  allow: readonly string[];
  production: boolean;
  /** Milliseconds for everything, from the name to the end of the answer. */
  timeout?: number;
  /** Resolves names; a test may have its own. */
  lookup?: LookupFunction;
}

/** Bytes of an answer that are read, so that its connection can be used again. */
const mostOfAnswer = 16_384;
const connectionsPerHost = 64;

class AddressRefusedError extends Error {
  override name = 'AddressRefusedError';
}

export function openOutgoing(options: OutgoingOptions): Outgoing {
  const { allow, production, timeout = 15_000, lookup = systemLookup as LookupFunction } = options;
  const networks = allow.flatMap((entry): Network[] => {
    const network = networkOf(entry);
    return network ? [network] : [];
  });
  const names = new Set(allow.filter((entry) => networkOf(entry) === null));

  const isNamed = (host: string) => names.has(host.replace(/\.$/, ''));
  const isAllowed = (address: string) => {
    const parsed = ipaddr.process(address);
    return networks.some((network) => network[0].kind() === parsed.kind() && parsed.match(network));
  };
  const isOpen = (address: string) => ipaddr.isValid(address) && (isPublic(address) || isAllowed(address));

  const checkedLookup: LookupFunction = (host, asked, done) => {
    lookup(host, { ...asked, all: true }, (error, found) => {
      if (error) return done(error, '');
      const addresses = typeof found === 'string' ? [{ address: found, family: isIP(found) }] : found;
      const [first] = addresses;
      // One address that is refused refuses them all: a name of the Internet has none.
      const refused = !first || (!isNamed(host) && !addresses.every(({ address }) => isOpen(address)));
      if (refused) return done(new AddressRefusedError(), '');
      if (asked.all) done(null, addresses);
      else done(null, first.address, first.family);
    });
  };

  async function openAgent(): Promise<Agent> {
    // 50 ms that a service which sends nothing need not spend.
    const { Agent, buildConnector } = await import('undici');
    const connect = buildConnector({ lookup: checkedLookup, timeout } as buildConnector.BuildOptions); // passed on to net.connect
    return new Agent({
      connections: connectionsPerHost,
      connect(to, done) {
        const host = to.hostname.replace(/^\[|\]$/g, '');
        // Addresses are connected to without a look-up.
        if (isIP(host) !== 0 && !isOpen(host)) return done(new AddressRefusedError(), null);
        connect(to, (...[error, socket]) => {
          if (error) return done(error, null);
          if (isNamed(host) || isOpen((socket as Socket).remoteAddress ?? '')) return done(null, socket); // of net or tls
          socket.destroy();
          done(new AddressRefusedError(), null);
        });
      },
    });
  }
  let agent: Promise<Agent> | null = null;

  return {
    refusal(text) {
      if (!URL.canParse(text)) return 'Must be an absolute URL such as https://shop.example/hooks.';
      const { protocol, hostname, username, password } = new URL(text);
      const host = hostname.replace(/^\[|\]$/g, '');
      const isOwn = isNamed(host) || (isIP(host) !== 0 && isAllowed(host));
      if (protocol !== 'https:' && (protocol !== 'http:' || (production && !isOwn))) {
        return production ? 'Must begin with https://.' : 'Must begin with https:// or http://.';
      }
      if (username !== '' || password !== '') return 'Must not contain a user name or password.';
      const isLocal = /(^|\.)localhost\.?$/.test(host) || (isIP(host) !== 0 && !isOpen(host));
      if (isLocal && !isOwn)
        return 'Is an address of a private network: the operator can allow it (RAPPORT_WEBHOOK_ALLOW).';
      return null;
    },
    async post(url, headers, body) {
      if (this.refusal(url) !== null) return { status: null, error: 'address_refused' };
      try {
        agent ??= openAgent();
        const dispatcher = await agent;
        const signal = AbortSignal.timeout(timeout);
        const { origin, pathname, search } = new URL(url);
        const answer = await dispatcher.request({
          origin,
          path: pathname + search,
          method: 'POST',
          headers,
          body,
          signal,
        });
        // What was answered counts, whether or not the rest of it comes.
        await answer.body.dump({ limit: mostOfAnswer, signal }).catch(() => undefined);
        return { status: answer.statusCode, error: null };
      } catch (error) {
        return { status: null, error: errorOf(error) };
      }
    },
    async close() {
      await (await agent)?.destroy();
    },
  };
}

/** What IANA has given out as unicast of IPv6: whatever else there is, is for something special. */
const unicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** Only what is unicast in the Internet: whatever else there is, or will be, has to be allowed. */
function isPublic(text: string): boolean {
  const address = ipaddr.process(text);
  return address.range() === 'unicast' && (address instanceof ipaddr.IPv4 || address.match(unicast));
}

type Network = [ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/** null: it is a name. */
function networkOf(entry: string): Network | null {
  if (ipaddr.isValidCIDR(entry)) return ipaddr.parseCIDR(entry);
  if (isIP(entry) === 0) return null;
  const address = ipaddr.process(entry);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function errorOf(error: unknown): SendingError {
  if (error instanceof AddressRefusedError) return 'address_refused';
  if (!(error instanceof Error)) return 'connection_failed';
  const code = 'code' in error ? String(error.code) : '';
  if (error.name === 'TimeoutError' || /TIMEOUT|ETIMEDOUT/.test(code)) return 'timeout';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'ENODATA') return 'unknown_host';
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code)) return 'tls_failed';
  return 'connection_failed';
}
