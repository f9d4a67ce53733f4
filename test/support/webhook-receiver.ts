import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import type { Test } from 'tap';
import type { FeedEvent } from './feed.ts';

/** What a receiver was sent. */
export interface Received {
  id: string;
  headers: Record<string, string>;
  /** As it came: signatures are of the bytes. */
  text: string;
  event: FeedEvent;
}

export interface Receiver {
  url: string;
  /** Everything that was sent, in order, whatever was answered. */
  received: Received[];
  /** How it answers: a status, or whatever else it does with the request. */
  answer: number | ((request: IncomingMessage, response: ServerResponse, received: Received) => void | Promise<void>);
  types(): string[];
}

/** A real receiver on the loopback. */
export async function webhookReceiver(t: Pick<Test, 'teardown'>, path = '/hook'): Promise<Receiver> {
  const receiver: Receiver = {
    url: '',
    received: [],
    answer: 204,
    types: () => receiver.received.map(({ event }) => event.type),
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const headers = request.headers as Record<string, string>;
    const received = { id: headers['webhook-id'] ?? '', headers, text, event: JSON.parse(text) };
    receiver.received.push(received);
    if (typeof receiver.answer === 'number') response.writeHead(receiver.answer).end();
    else await receiver.answer(request, response, received);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  return receiver;
}

/** Whether the package of the standard accepts the message under a secret. */
export function verifies(secret: string, { text, headers }: Pick<Received, 'text' | 'headers'>): boolean {
  try {
    new Webhook(secret).verify(text, headers);
    return true;
  } catch {
    return false;
  }
}
