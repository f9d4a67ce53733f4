import { Problem } from './errors.ts';
import { inSlices } from './slices.ts';

/** What a body may be made of. No valid request needs more; one that has it would cost much before it is refused. */
export const bodyLimits = { depth: 64, members: 5_000, elements: 10_000, values: 2_000_000 } as const;

/** Characters that are parsed at once: some milliseconds' worth. */
const pieceSize = 128 * 1024;

/**
 * The value of a JSON text. A long one is parsed in pieces, between which other requests go on.
 *
 * @param parse parses a text at once
 * @throws Problem invalid_json
 */
export async function parseJson(text: string, parse: (text: string) => unknown): Promise<unknown> {
  const scan = new Scan(text);
  if (text.length <= pieceSize) {
    scan.to(text.length);
    return parsedPiece(text, parse);
  }
  const pause = inSlices();
  for (let at = pieceSize; at < text.length + pieceSize; at += pieceSize) {
    scan.to(Math.min(at, text.length));
    await pause();
  }
  if (scan.isOpen) throw invalid();
  return scan.root ? assembled(text, scan.root, parse, pause) : parsedPiece(text, parse);
}

/** A JSON text that is no body, as strict as one. @throws Problem invalid_json */
export function parseLine(text: string): Promise<unknown> {
  return parseJson(text, (part) => {
    const value: unknown = JSON.parse(part);
    if (/__proto__|constructor|\\u/.test(part) && namesPrototype(value)) throw invalid();
    return value;
  });
}

/** Whether a member would be taken for the prototype of its object, or for a way to it. */
function namesPrototype(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(
    ([name, member]) =>
      name === '__proto__' ||
      (name === 'constructor' && typeof member === 'object' && member !== null && Object.hasOwn(member, 'prototype')) ||
      namesPrototype(member),
  );
}

function invalid(detail = 'The body is not valid JSON.'): Problem {
  return new Problem('invalid_json', detail);
}

function parsedPiece(text: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text);
  } catch {
    throw invalid();
  }
}

/** An array or object that is too long to be parsed at once. */
interface Container {
  start: number;
  end: number;
  isObject: boolean;
  pieces: Piece[];
}

/** Some of its elements, or the one that holds a long container. */
interface Piece {
  from: number;
  to: number;
  child: Container | null;
}

/** A container whose end is not reached. */
interface Open extends Omit<Container, 'end'> {
  members: number;
  pieceFrom: number;
  elementFrom: number;
  /** The long container of the element that is being read. */
  child: Container | null;
}

/** Reads where arrays, objects and strings begin and end, and nothing else: the rest is for the parser. */
class Scan {
  readonly #text: string;
  readonly #open: Open[] = [];
  #at = 0;
  #inString = false;
  #values = 1;
  /** The whole, when it is long. */
  root: Container | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  /** @throws Problem when the text is beyond the limits, or what ends is not what began */
  to(end: number): void {
    const text = this.#text;
    let at = this.#at;
    let inString = this.#inString;
    for (; at < end; at += 1) {
      const char = text.charCodeAt(at);
      if (inString) {
        if (char === 92) at += 1;
        else if (char === 34) inString = false;
      } else if (char === 34) inString = true;
      else if (char === 44) this.#comma(at);
      else if (char === 123 || char === 91) this.#opens(at, char === 123);
      else if (char === 125 || char === 93) this.#closes(at, char === 125);
    }
    this.#at = at;
    this.#inString = inString;
  }

  get isOpen(): boolean {
    return this.#inString || this.#open.length > 0;
  }

  #count(): void {
    this.#values += 1;
    if (this.#values > bodyLimits.values) throw invalid('The body holds more than two million values.');
  }

  #opens(at: number, isObject: boolean): void {
    if (this.#open.length === bodyLimits.depth)
      throw invalid(`The body is nested deeper than ${bodyLimits.depth} levels.`);
    this.#count();
    this.#open.push({
      start: at,
      isObject,
      pieces: [],
      members: 1,
      pieceFrom: at + 1,
      elementFrom: at + 1,
      child: null,
    });
  }

  #comma(at: number): void {
    const open = this.#open.at(-1);
    if (!open) return;
    this.#count();
    open.members += 1;
    if (open.members > (open.isObject ? bodyLimits.members : bodyLimits.elements)) throw tooMany(open);
    if (open.child || at - open.pieceFrom >= pieceSize) cut(open, at);
    open.elementFrom = at + 1;
  }

  #closes(at: number, isObject: boolean): void {
    const open = this.#open.pop();
    if (!open || open.isObject !== isObject) throw invalid();
    if (at - open.start < pieceSize) return;
    cut(open, at);
    const { start, pieces } = open;
    const container: Container = { start, end: at + 1, isObject, pieces };
    const parent = this.#open.at(-1);
    if (parent) parent.child = container;
    else this.root ??= container;
  }
}

function tooMany({ isObject }: Open): Problem {
  return invalid(
    isObject
      ? `An object of the body has more than ${bodyLimits.members} members.`
      : `An array of the body has more than ${bodyLimits.elements} elements.`,
  );
}

/** Ends a piece behind the element that ends here. A long container is a piece of its own. */
function cut(open: Open, at: number): void {
  const { child, pieceFrom, elementFrom } = open;
  if (child && elementFrom > pieceFrom) open.pieces.push({ from: pieceFrom, to: elementFrom - 1, child: null });
  open.pieces.push({ from: child ? elementFrom : pieceFrom, to: at, child });
  open.pieceFrom = at + 1;
  open.child = null;
}

/** The value of a long container, piece by piece. */
async function assembled(
  text: string,
  root: Container,
  parse: (text: string) => unknown,
  pause: () => Promise<void> | undefined,
): Promise<unknown> {
  /** What stands beside a long container must be what stands beside a value there. */
  function around(
    { from, to }: Pick<Piece, 'from' | 'to'>,
    { start, end }: Container,
    isObject: boolean,
  ): string | null {
    const rest = `${text.slice(from, start)}null${text.slice(end, to)}`;
    const value = parsedPiece(isObject ? `{${rest}}` : `[${rest}]`, parse);
    return isObject ? (Object.keys(value as object)[0] ?? null) : null; // one member or element, or not parsed
  }

  async function build({ isObject, pieces }: Container): Promise<unknown> {
    const list: unknown[] = [];
    const members: Record<string, unknown> = {};
    for (const { from, to, child } of pieces) {
      await pause();
      if (child) {
        const name = around({ from, to }, child, isObject);
        const value = await build(child);
        if (name === null) list.push(value);
        // What the parser looks for within a piece.
        else if (name === 'constructor' && Object.hasOwn(value as object, 'prototype')) throw invalid();
        else members[name] = value;
        continue;
      }
      const inside = text.slice(from, to);
      // Between two commas there has to be something.
      if (pieces.length > 1 && inside.trim() === '') throw invalid();
      const some = parsedPiece(isObject ? `{${inside}}` : `[${inside}]`, parse);
      if (isObject) Object.assign(members, some);
      else for (const item of some as unknown[]) list.push(item);
    }
    return isObject ? members : list;
  }

  parsedPiece(`${text.slice(0, root.start)}null${text.slice(root.end)}`, parse);
  return build(root);
}
