import { type SQL, sql } from 'drizzle-orm';
import { index, type PgColumn, type PgTable } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text as boundedText, isStorableJson } from '../platform/values.ts';
import { type Field, json, texts } from './fields.ts';
import { columnNamed, definitionOf } from './table.ts';

/*
 * What clients keep with records in their own words: `attributes` and `tags`. Every kind has them (record.ts), and so has what is
 * written by hand and sent by clients; every list is filtered by them.
 */

const maxAttributes = 16_384;
const attributes = z
  .record(boundedText(100), z.unknown())
  .refine((value) => isStorableJson(value), {
    error:
      'is nested deeper than 64 levels, or has NUL characters, lone surrogates or numbers beyond 2^53 − 1 (send these as strings)',
    params: { code: 'invalid_json' },
  })
  .refine((value) => JSON.stringify(value).length <= maxAttributes, {
    error: `is larger than ${maxAttributes} characters of JSON`,
    params: { code: 'too_large' },
  })
  .meta({ description: 'Custom attributes, at most 16 KiB of JSON.', example: { tier: 'gold' } });
const answeredAttributes = z.record(z.string(), z.unknown());

const tag = boundedText(100);
const tags = z.array(tag).max(100);

// Not an interface: these are fields by name.
export type CustomFields = {
  attributes: Field<Record<string, unknown>, 'optional', typeof attributes, z.ZodNullable<typeof answeredAttributes>>;
  tags: Field<string[], 'optional', typeof tags, z.ZodNullable<z.ZodArray<z.ZodString>>>;
};

export function customFields({ personal }: { personal: boolean }): CustomFields {
  const own = json(attributes, answeredAttributes);
  const list = texts(100);
  return {
    attributes: personal ? own.personal() : own.plain().answers(answeredAttributes.nullable()),
    tags: (personal ? list.personal() : list.plain().answers(z.array(z.string()).nullable()))
      .takes(tags)
      .says('Tags, at most 100 of up to 100 characters each.', ['gift']),
  };
}

/** What two records that become one keep of both: the second's only where the first says nothing. */
export function joinedCustom<T extends Custom>(first: T | null, second: T | null): Custom {
  const all = [...(first?.tags ?? []), ...(second?.tags ?? [])];
  const documents = [second?.attributes, first?.attributes].filter((document) => document != null);
  return {
    attributes: documents.length === 0 ? null : Object.assign({}, ...documents),
    tags: first?.tags || second?.tags ? [...new Set(all)] : null,
  };
}

interface Custom {
  attributes: Record<string, unknown> | null;
  tags: string[] | null;
}

/** `attributes.color=red`: text says it also of the number or boolean that it spells, as a query can send nothing else. */
const wanted = z
  .record(
    boundedText(100, 0).min(1, { error: 'Name the attribute, e.g. attributes.color=red.' }),
    z.union([z.string().max(1_000), z.number(), z.boolean()]),
  )
  .refine((value) => isStorableJson(value), { error: 'has NUL characters, lone surrogates or numbers beyond 2^53 − 1' })
  .refine((value) => Object.keys(value).length <= 5, { error: 'has more than 5 names' });

/** Every document that an attribute filter accepts; one of them has to be contained. */
export function acceptedAttributes(filter: z.output<typeof wanted>): string[] {
  let accepted: Record<string, unknown>[] = [{}];
  for (const [name, value] of Object.entries(filter)) {
    const values = typeof value === 'string' ? [value, ...spelled(value)] : [value];
    accepted = accepted.flatMap((document) => values.map((one) => ({ ...document, [name]: one })));
  }
  return accepted.map((document) => JSON.stringify(document));
}

function spelled(value: string): (number | boolean)[] {
  if (value === 'true' || value === 'false') return [value === 'true'];
  const number = Number(value);
  const isNumber = /^-?\d+(\.\d+)?$/.test(value) && Math.abs(number) <= Number.MAX_SAFE_INTEGER;
  return isNumber ? [number] : [];
}

/** For large tables whose records are looked up by what other systems call them: `attributes.cart=C-77`. */
export function attributesIndex(name: string, attributes: PgColumn) {
  return index(name).using('gin', sql`${attributes} jsonb_path_ops`).where(sql`attributes is not null`);
}

/** The filters of a list by what clients keep with its records. */
export function customFilters(table: PgTable) {
  const columns = { attributes: columnNamed(table, 'attributes'), tags: columnNamed(table, 'tags') };
  const marks = { uneven: true, personal: definitionOf(table).fields['attributes']?.spec.personal !== null } as const;
  return {
    attributes: {
      input: wanted.optional().meta({
        description:
          'Only records whose attributes of these names have these values: texts, numbers or booleans, at most 5. A text also finds the number or boolean that it spells.',
        example: { color: 'red' },
      }),
      condition: (value: SQL) => sql`${columns.attributes} @> any(${value}::jsonb[])`,
      normalize: (value: unknown) => acceptedAttributes(value as z.output<typeof wanted>), // parsed by it
      ...marks,
    },
    tag: {
      input: tag.optional().meta({ description: 'Only records with this tag.', example: 'gift' }),
      condition: (value: SQL) => sql`${columns.tags} @> array[${value}::text]`,
      ...marks,
    },
    tags: {
      input: tags.optional().meta({ description: 'Only records with all of these tags.', example: ['gift'] }),
      condition: (value: SQL) => sql`${columns.tags} @> ${value}::text[]`,
      ...marks,
    },
  };
}

/** The same for a list that is written by hand: parameters of its operation, and what `keysetList` is told of them. */
export function customList(table: PgTable) {
  const { attributes, tag, tags } = customFilters(table);
  return {
    parameters: { attributes: attributes.input, tag: tag.input, tags: tags.input },
    personalParameters: attributes.personal ? (['attributes', 'tag', 'tags'] as const) : [],
    filters: { attributes: attributes.condition, tag: tag.condition, tags: tags.condition },
    uneven: ['attributes', 'tag', 'tags'] as const,
    normalize: { attributes: attributes.normalize },
  };
}
