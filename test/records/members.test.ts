import t from 'tap';
import { z } from 'zod';
import { boolean, integer, key, quantity, text } from '../../src/records/fields.ts';
import { answeredMembers, sentMembers } from '../../src/records/table.ts';

const fields = {
  id: key(),
  name: text(20).plain().required(),
  note: text(20).plain(),
  weight: quantity(z.number()),
  years: integer(0, 9).defaultsTo(3),
  open: boolean().required().readOnly(),
  secret: text(20).plain().internal(),
};
const row = { id: 'a', name: 'A', note: 'old', weight: '1.5', years: 7, open: true, secret: 's' };

t.test('what is sent becomes what is stored', (t) => {
  t.strictSame(
    sentMembers(fields, { name: 'B', weight: 0 }, null),
    { name: 'B', note: null, weight: '0', years: 3 },
    'a new row takes defaults',
  );
  t.strictSame(
    sentMembers(fields, { note: null, weight: 2.5 }, row),
    { name: 'A', note: null, weight: '2.5', years: 7 },
    'members left out stay, null clears',
  );
  t.strictSame(Object.keys(sentMembers(fields, { open: false, id: 'b' } as object, row)), [
    'name',
    'note',
    'weight',
    'years',
  ]);
  t.end();
});

t.test('what is internal is not answered', (t) => {
  const { secret: _, ...answered } = row;
  t.strictSame(answeredMembers(fields, row), answered);
  t.end();
});
