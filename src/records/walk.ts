import type { z } from 'zod';

/**
 * The one walker over schemas. Masks, the audit, the documents and what takes null for 'not given' ask it what is inside a schema. It knows every kind of
 * node that zod has, and throws on one that it does not know: skipping a node would mean missing a mark.
 */

export type Schema = z.core.$ZodType;

/** What a schema is made of. */
type Parts =
  /** Nothing is inside, or (`any`, `unknown`, `custom`) nothing that a schema tells. */
  | { kind: 'leaf' }
  /** It says something about the value of another schema. */
  | { kind: 'wrapper'; inner: Schema }
  | { kind: 'object'; members: readonly [key: string, schema: Schema][]; rest: Schema | null }
  | { kind: 'list'; items: readonly Schema[]; rest: Schema | null }
  | { kind: 'record'; key: Schema; value: Schema }
  | { kind: 'union'; options: readonly Schema[] }
  | { kind: 'intersection'; sides: readonly Schema[] }
  /** The value is that of `output`; what becomes of what is inside `input`, no schema tells. */
  | { kind: 'pipe'; input: Schema; output: Schema };

function partsOf(schema: Schema): Parts {
  // zod's own list of all nodes: the compiler sees when a version brings another one, and so does the last line.
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case 'string':
    case 'number':
    case 'boolean':
    case 'bigint':
    case 'date':
    case 'null':
    case 'undefined':
    case 'void':
    case 'never':
    case 'nan':
    case 'enum':
    case 'literal':
    case 'template_literal':
    case 'any':
    case 'unknown':
    case 'custom':
    case 'transform':
      return { kind: 'leaf' };
    case 'optional':
    case 'nullable':
    case 'nonoptional':
    case 'default':
    case 'prefault':
    case 'catch':
    case 'readonly':
      return { kind: 'wrapper', inner: def.innerType };
    case 'lazy':
      return { kind: 'wrapper', inner: def.getter() };
    case 'object':
      return { kind: 'object', members: Object.entries(def.shape), rest: def.catchall ?? null };
    case 'array':
      return { kind: 'list', items: [], rest: def.element };
    case 'tuple':
      return { kind: 'list', items: def.items, rest: def.rest };
    case 'record':
      return { kind: 'record', key: def.keyType, value: def.valueType };
    case 'union':
      return { kind: 'union', options: def.options };
    case 'intersection':
      return { kind: 'intersection', sides: [def.left, def.right] };
    case 'pipe':
      return { kind: 'pipe', input: def.in, output: def.out };
    case 'map':
    case 'set':
    case 'promise':
    case 'function':
    case 'symbol':
    case 'file':
    case 'success':
      throw new Error(`A schema of type ${def.type} cannot be walked: no JSON document holds its value.`);
    default:
      return unknownNode(def);
  }
}

function unknownNode(def: never): never {
  throw new Error(`The walker does not know schemas of type ${String((def as { type: unknown }).type)}.`); // a newer zod's
}

/** The schema inside all wrappers: `z.object(…)` of `z.object(…).nullable().optional()`. */
export function unwrapped(schema: Schema): Schema {
  const parts = partsOf(schema);
  if (parts.kind === 'wrapper') return unwrapped(parts.inner);
  return parts.kind === 'pipe' && partsOf(parts.output).kind !== 'leaf' ? unwrapped(parts.output) : schema;
}

/** The members of an object, inside all wrappers; none when it is something else. */
export function membersOf(schema: Schema): readonly [key: string, schema: Schema][] {
  const parts = partsOf(unwrapped(schema));
  return parts.kind === 'object' ? parts.members : [];
}

/** The schema of the elements of an array, inside all wrappers; null when it is something else. */
export function elementOf(schema: Schema): Schema | null {
  const parts = partsOf(unwrapped(schema));
  return parts.kind === 'list' && parts.items.length === 0 ? parts.rest : null;
}

/** Schemas do not change once they are made, and every answer asks for their aspects. */
const knownAspects = new WeakMap<Schema, ReadonlySet<Schema>>();

/** Every schema that speaks of the same value: a mark on one of them marks the value. Objects and lists end it. */
function aspectsOf(schema: Schema): ReadonlySet<Schema> {
  const known = knownAspects.get(schema);
  if (known) return known;
  const aspects = new Set<Schema>();
  addAspects(schema, aspects);
  knownAspects.set(schema, aspects);
  return aspects;
}

function addAspects(schema: Schema, aspects: Set<Schema>): void {
  if (aspects.has(schema)) return;
  aspects.add(schema);
  const parts = partsOf(schema);
  if (parts.kind === 'wrapper') addAspects(parts.inner, aspects);
  else if (parts.kind === 'union') for (const option of parts.options) addAspects(option, aspects);
  else if (parts.kind === 'intersection') for (const side of parts.sides) addAspects(side, aspects);
  else if (parts.kind === 'pipe') for (const end of [parts.input, parts.output]) addAspects(end, aspects);
}

/** The mark of a value in a registry, whatever wraps it. `get` sees what a schema was cloned from (`.meta()`); `has` does not. */
export function markOf<Mark extends object>(
  registry: { get(schema: Schema): Mark | undefined },
  schema: Schema,
): Mark | null {
  for (const aspect of aspectsOf(schema)) {
    const mark = registry.get(aspect);
    if (mark) return mark;
  }
  return null;
}

/** Whether null is among its values, by what the schema says of itself: `any` and `unknown` do not say so. */
export function isNullable(schema: Schema): boolean {
  for (const aspect of aspectsOf(schema)) {
    const { def } = (aspect as z.core.$ZodTypes)._zod; // as above
    if (def.type === 'nullable' || def.type === 'null') return true;
    if (def.type === 'literal' && def.values.includes(null)) return true;
  }
  return false;
}

/** Where a value stands. */
export interface Place {
  /** What it has to be, with its wrappers. */
  schema: Schema;
  /** The member of an object; null for elements, values of records and the whole. */
  key: string | null;
  /** The object whose member it is. */
  holder: Schema | null;
  /** What `inside` said of the member that this stands in. */
  within: string | null;
}

/** Looks at a value and answers what stands in its place from then on: mostly the same. A member that becomes undefined goes. */
export type Act<State = void> = (value: unknown, state: State) => unknown;

/** `clear`: it becomes null. `enter`: what is inside is looked at. `leave`: it is not. Else this is done with the value. */
export type Step<State = void> = 'clear' | 'enter' | 'leave' | Act<State>;

export interface Rules<State = void> {
  at(place: Place): Step<State>;
  /** Passed as `within` to the places inside of a member. */
  inside?(place: Place): string | null;
}

/**
 * Compiles schemas by rules: a function for each that does what they say in place, on every value of that schema; null
 * where there is nothing to do. Compiled once per schema.
 *
 * @throws Error for a schema inside of which it could not be done for certain: below a union or in front of a transform
 */
export function walker<State = void>(rules: Rules<State>): (schema: Schema) => Act<State> | null {
  const compiled = new WeakMap<Schema, Map<string | null, Act<State> | null>>();

  function compile(schema: Schema, within: string | null): Act<State> | null {
    const known = compiled.get(schema) ?? new Map<string | null, Act<State> | null>();
    compiled.set(schema, known);
    const before = known.get(within);
    if (before !== undefined) return before;
    // A schema that holds itself meets this; it is called only when there is a value, after all was compiled.
    known.set(within, (value, state) => known.get(within)?.(value, state) ?? value);
    try {
      const made = build(schema, within);
      known.set(within, made);
      return made;
    } catch (error) {
      // Refused once is refused always: what stands in for it meanwhile does nothing.
      known.delete(within);
      throw error;
    }
  }

  function build(schema: Schema, within: string | null): Act<State> | null {
    const parts = partsOf(schema);
    switch (parts.kind) {
      case 'leaf':
        return null;
      case 'wrapper':
        return compile(parts.inner, within);
      case 'object':
        return inObject(schema, parts.members, parts.rest, within);
      case 'list':
        return inList(parts.items, parts.rest, within);
      case 'record': {
        refuse([parts.key], within, 'in the keys of a record');
        const act = element(parts.value, within);
        return act && inValues(act, noKeys);
      }
      case 'union':
        refuse(parts.options, within, 'inside a union');
        return null;
      case 'intersection':
        return inTurn(parts.sides.flatMap((side) => compile(side, within) ?? []));
      case 'pipe':
        refuse([parts.input], within, 'in front of a transform');
        return compile(parts.output, within);
    }
  }

  /** @throws Error when there is something to do in one of them */
  function refuse(schemas: readonly Schema[], within: string | null, where: string): void {
    if (schemas.some((schema) => element(schema, within) !== null))
      throw new Error(`A member that is masked or audited cannot be ${where}.`);
  }

  /** What is done with a value that is no member of an object. */
  function element(schema: Schema, within: string | null): Act<State> | null {
    const step = rules.at({ schema, key: null, holder: null, within });
    if (step === 'enter') return compile(schema, within);
    return step === 'clear' ? toNull : step === 'leave' ? null : step;
  }

  function inObject(
    holder: Schema,
    members: readonly [string, Schema][],
    rest: Schema | null,
    within: string | null,
  ): Act<State> | null {
    const cleared: string[] = [];
    const acts: [string, Act<State>][] = [];
    for (const [key, schema] of members) {
      const place = { schema, key, holder, within };
      const step = rules.at(place);
      if (step === 'clear') cleared.push(key);
      else if (step !== 'leave') {
        const act = step === 'enter' ? compile(schema, rules.inside ? rules.inside(place) : within) : step;
        if (act) acts.push([key, act]);
      }
    }
    const other = rest && element(rest, within);
    const inOthers = other && inValues(other, new Set(members.map(([key]) => key)));
    if (cleared.length === 0 && acts.length === 0) return inOthers;
    return (value, state) => {
      if (typeof value !== 'object' || value === null) return value;
      const record = value as Record<string, unknown>; // an object by the line above
      for (const key of cleared) if (key in record) record[key] = null;
      for (const [key, act] of acts) {
        const before = record[key];
        const after = act(before, state);
        if (after === before) continue;
        if (after === undefined) delete record[key];
        else record[key] = after;
      }
      inOthers?.(value, state);
      return value;
    };
  }

  function inList(items: readonly Schema[], rest: Schema | null, within: string | null): Act<State> | null {
    const first = items.map((item) => element(item, within));
    const other = rest && element(rest, within);
    if (!other && first.every((act) => act === null)) return null;
    return (value, state) => {
      if (!Array.isArray(value)) return value;
      for (let index = 0; index < value.length; index += 1) {
        const act = index < first.length ? first[index] : other;
        if (!act) continue;
        const before: unknown = value[index];
        const after = act(before, state);
        if (after !== before) value[index] = after;
      }
      return value;
    };
  }

  function inValues(act: Act<State>, besides: ReadonlySet<string>): Act<State> {
    return (value, state) => {
      if (typeof value !== 'object' || value === null) return value;
      const record = value as Record<string, unknown>; // an object by the line above
      for (const key of Object.keys(record)) if (!besides.has(key)) record[key] = act(record[key], state);
      return value;
    };
  }

  return (schema) => {
    const act = element(schema, null);
    // The whole answer stands nowhere: nothing could be put in its place.
    if (act === toNull) throw new Error('A whole answer cannot be masked: put it into a member.');
    return act;
  };
}

const noKeys: ReadonlySet<string> = new Set();

const toNull = (): null => null;

function inTurn<State>(acts: readonly Act<State>[]): Act<State> | null {
  const [first, ...others] = acts;
  if (!first || others.length === 0) return first ?? null;
  return (value, state) => acts.reduce((held, act) => act(held, state), value);
}
