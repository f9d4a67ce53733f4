import t from 'tap';
import { z } from 'zod';
import { inputMessage } from '../../src/platform/input-messages.ts';
import { testApp } from '../support/app.ts';
import { newKey, orderOf } from '../support/shop.ts';

/* What callers read when an input is refused is plain English, and zod's own words nowhere. */

t.test('every fault of a value says what to send instead', async (t) => {
  const table: [z.ZodType, unknown, string][] = [
    [z.int().min(0), -1, 'Must be at least 0.'],
    [z.int().max(100), 101, 'Must be at most 100.'],
    [z.number().positive(), 0, 'Must be more than 0.'],
    [z.number().lt(1), 1, 'Must be less than 1.'],
    [z.number().multipleOf(5), 3, 'Must be a multiple of 5.'],
    [z.string().min(1), '', 'Must not be empty.'],
    [z.string().min(2), 'a', 'Must have at least 2 characters.'],
    [z.string().max(1), 'ab', 'Must have at most 1 character.'],
    [z.array(z.int()).min(1), [], 'Must not be empty.'],
    [z.array(z.int()).max(2), [1, 2, 3], 'Must have at most 2 items.'],
    [z.string(), 1, 'Must be a string.'],
    [z.int(), 1.5, 'Must be an integer.'],
    [z.int(), '1', 'Must be a number.'],
    [z.boolean(), 'yes', 'Must be true or false.'],
    [z.strictObject({}), [], 'Must be an object.'],
    [z.record(z.string(), z.int()), 1, 'Must be an object.'],
    [z.array(z.int()), {}, 'Must be an array.'],
    [z.null(), 1, 'Must be null.'],
    [z.enum(['paid', 'open']), 'x', 'Must be one of "paid", "open".'],
    [z.literal('a'), 'b', 'Must be "a".'],
    [z.uuid(), 'x', 'Must be an id (a UUID).'],
    [z.iso.date(), 'x', 'Must be a date, e.g. 2026-11-30.'],
    [z.string().regex(/^[a-z]+$/), 'A', 'Must match /^[a-z]+$/.'],
    [z.int().min(0, { error: 'Its own words.' }), -1, 'Its own words.'],
  ];
  for (const [schema, value, message] of table) {
    const { error } = schema.safeParse(value, { error: inputMessage });
    t.equal(error?.issues[0]?.message, message);
  }
});

t.test('both doors use it', async (t) => {
  const api = await testApp(t);
  const body = { ...orderOf({ customer: { externalId: 'C-1' } }), total: -1, currency: 5 };
  const refused = await api.request('POST', '/v1/orders', { body, headers: newKey() });
  t.equal(refused.status, 422);
  const { results } = (await api.request('POST', '/v1/orders/batch', { body: { orders: [body] } })).body;
  for (const { errors } of [refused.body, results[0].error]) {
    t.match(errors, [
      { pointer: '/currency', message: 'Must be a string.' },
      { pointer: '/total', message: 'Must be at least 0.' },
    ]);
  }
  const asked = await api.request('GET', '/v1/orders?limit=0');
  t.match(asked.body.errors, [{ parameter: 'limit', message: 'Must be at least 1.' }]);
});

t.test('filters say how to write them', async (t) => {
  const api = await testApp(t);
  const nameless = await api.request('GET', '/v1/orders?attributes.=red');
  t.equal(nameless.status, 422);
  t.match(nameless.body.errors, [
    { parameter: 'attributes', message: 'Name the attribute, e.g. attributes.color=red.' },
  ]);
  const phone = await api.request('GET', '/v1/customers?phone=020');
  t.match(phone.body.errors, [
    {
      parameter: 'phone',
      message: 'The phone is not a phone number: write it with its country code, e.g. +442071234567.',
    },
  ]);
});
