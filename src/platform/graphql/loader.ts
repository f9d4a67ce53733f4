import type { FieldNode, GraphQLResolveInfo } from 'graphql';
import { type Context, call, type Operation } from '../operation.ts';

/** Loads of a request that were asked for and not sent yet, by the field of the document that asks. */
export type Batches = Map<FieldNode, Batch>;

interface Batch {
  operation: Operation;
  /** Equal keys are loaded once. */
  waiting: Map<
    unknown,
    { result: Promise<unknown>; resolve: (value: unknown) => void; reject: (error: unknown) => void }
  >;
}

interface Loading {
  call: Context;
  batches: Batches;
}

/**
 * What fields of one tick want of a set operation, in one call: the number of statements follows the shape of a query
 * and not its rows. The output is an array in the order of the keys.
 */
export function loadSet(
  context: Loading,
  info: Pick<GraphQLResolveInfo, 'fieldNodes'>,
  operation: Operation,
  key: unknown,
  input: (keys: unknown[]) => unknown,
): Promise<unknown> {
  return enqueue(context, info, operation, key, async ({ waiting }) => {
    const { output } = await call(operation, context.call, input([...waiting.keys()]));
    if (!Array.isArray(output) || output.length !== waiting.size) {
      throw new Error(`${operation.name} does not answer an entry per key`);
    }
    for (const [index, entry] of [...waiting.values()].entries()) entry.resolve(output[index]);
  });
}

/** The same with an operation that knows one key only: a call per different key. */
export function loadEach(
  context: Loading,
  info: Pick<GraphQLResolveInfo, 'fieldNodes'>,
  operation: Operation,
  key: unknown,
  input: (key: unknown) => unknown,
): Promise<unknown> {
  return enqueue(context, info, operation, key, async ({ waiting }) => {
    for (const [one, entry] of waiting) {
      call(operation, context.call, input(one)).then(({ output }) => entry.resolve(output), entry.reject);
    }
  });
}

function enqueue(
  { batches }: Loading,
  { fieldNodes: [node] }: Pick<GraphQLResolveInfo, 'fieldNodes'>,
  operation: Operation,
  key: unknown,
  send: (batch: Batch) => Promise<void>,
): Promise<unknown> {
  if (!node) throw new Error('A field is resolved that the document does not select');
  let batch = batches.get(node);
  if (batch?.operation !== operation) {
    const made: Batch = { operation, waiting: new Map() };
    batch = made;
    batches.set(node, made);
    // Behind everything that the answer of the parents sets in motion.
    queueMicrotask(() =>
      process.nextTick(() => {
        if (batches.get(node) === made) batches.delete(node);
        send(made).catch((error: unknown) => {
          for (const entry of made.waiting.values()) entry.reject(error);
        });
      }),
    );
  }
  const known = batch.waiting.get(key);
  if (known) return known.result;
  let resolve: (value: unknown) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const result = new Promise<unknown>((fulfil, fail) => {
    resolve = fulfil;
    reject = fail;
  });
  batch.waiting.set(key, { result, resolve, reject });
  return result;
}
