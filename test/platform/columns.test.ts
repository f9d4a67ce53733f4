import t from 'tap';
import { canonicalInstant } from '../../src/platform/db/columns.ts';

t.test('an instant has one form, however the database wrote it', async (t) => {
  for (const [fraction, canonical] of [
    ['', '.000'],
    ['.5', '.500'],
    ['.123', '.123'],
    ['.1234', '.123400'],
    ['.000001', '.000001'],
  ]) {
    const expected = `2009-12-01T07:45:00${canonical}Z`;
    t.equal(canonicalInstant(`2009-12-01 07:45:00${fraction}+00`), expected, 'as text');
    t.equal(canonicalInstant(`2009-12-01T07:45:00${fraction}+00:00`), expected, 'in JSON');
    t.equal(canonicalInstant(expected), expected, 'as it is already');
  }
});
