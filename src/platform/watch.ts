import { channel } from 'node:diagnostics_channel';

/**
 * Where the service tells what it does, to whoever watches it: its metrics, traces, and anything else that subscribes to these
 * channels of `node:diagnostics_channel`. While nobody has, telling costs a comparison. No message holds an id or a value.
 */
export interface Told<Message> {
  /** Whether anybody hears it. */
  readonly isHeard: boolean;
  tell(message: Message): void;
  /** @returns ends it */
  hear(listener: (message: Message) => void): () => void;
}

function told<Message extends object>(name: string): Told<Message> {
  const made = channel(name);
  return {
    get isHeard() {
      return made.hasSubscribers;
    },
    tell: (message) => made.publish(message),
    hear(listener) {
      const heard = (message: unknown) => listener(message as Message); // of `tell`
      made.subscribe(heard);
      return () => void made.unsubscribe(heard);
    },
  };
}

/** An operation was called, over REST, GraphQL, or by a job. */
export const calls = told<{
  operation: string;
  door: string;
  /** `ok`, or the code of the problem. */
  outcome: string;
  seconds: number;
}>('rapport:call');

/** A statement is sent. Whoever wants to know when it is answered sets `ended`. */
export const statements = told<{
  /** Of this program. */
  name: string;
  ended?: (error: Error | null) => void;
}>('rapport:statement');
