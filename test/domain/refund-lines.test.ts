import t from 'tap';
import { linesOfItem } from '../../src/domain/refund-lines.ts';

const lines = [
  { externalId: 'L1', sku: 'A' },
  { externalId: 'L2', sku: 'A' },
  { externalId: null, sku: 'B' },
  { externalId: null, sku: null },
];
const none = { externalId: null, line: null, sku: null };

t.test('which lines of its order a refund item may mean', (t) => {
  const table: [string, Partial<typeof none> | object, number[]][] = [
    ['the id of a line decides', { externalId: 'L2', line: 2, sku: 'B' }, [1]],
    ['then its position', { line: 3, sku: 'B' }, [3]],
    ['then its sku', { sku: 'B' }, [2]],
    ['a sku may be that of several lines', { sku: 'A' }, [0, 1]],
    ['an id the order does not know is passed over', { externalId: 'L9', sku: 'B' }, [2]],
    ['and so is a position', { line: 4, sku: 'B' }, [2]],
    ['nothing known: none', { externalId: 'L9', line: 4, sku: 'C' }, []],
    ['nothing said: none', {}, []],
  ];
  for (const [why, item, expected] of table) t.same(linesOfItem({ ...none, ...item }, lines), expected, why);
  t.end();
});
