import fc from 'fast-check';
import t from 'tap';
import { currencies, isCurrency, minorUnits } from '../../src/domain/currencies.ts';
import {
  baseFactor,
  convertToBase,
  divideRounded,
  exactInteger,
  formatDecimal,
  minorFromDecimalLines,
  orderTotal,
  parseDecimal,
  ratio,
  safeNumber,
} from '../../src/domain/money.ts';

t.test('currencies have the decimals of ISO 4217, not those of daily use', async (t) => {
  const published = {
    EUR: 2,
    USD: 2,
    HUF: 2,
    IDR: 2,
    JPY: 0,
    KRW: 0,
    ISK: 0,
    UGX: 0,
    KWD: 3,
    TND: 3,
    IQD: 3,
    CLF: 4,
    UYW: 4,
    // Withdrawn.
    DEM: 2,
    HRK: 2,
    ITL: 0,
    ESP: 0,
    TRL: 0,
  };
  for (const [code, decimals] of Object.entries(published)) t.equal(minorUnits(code), decimals, code);
  for (const code of ['XAU', 'XDR', 'XTS', 'XXX', 'USN', 'XEU', 'eur', 'EURO', '', 'constructor']) {
    t.notOk(isCurrency(code), code);
    t.throws(() => minorUnits(code), RangeError);
  }
  t.equal(new Set(currencies).size, currencies.length, 'no code is listed twice');
  t.ok(currencies.every((code) => /^[A-Z]{3}$/.test(code) && isCurrency(code)));
});

t.test('decimals are read and written without loss', async (t) => {
  t.equal(formatDecimal(parseDecimal('0.0550')), '0.055');
  t.equal(formatDecimal(parseDecimal('-12.00')), '-12');
  t.equal(formatDecimal(parseDecimal('1e-7')), '0.0000001');
  t.equal(formatDecimal(parseDecimal('1.5e3')), '1500');
  t.equal(formatDecimal(parseDecimal('-0.0')), '0');
  for (const text of ['', '.', '.5', '5.', '1,5', 'NaN', 'Infinity', '0x10', ' 1', '1e9999', '1\n']) {
    t.throws(() => parseDecimal(text), RangeError, JSON.stringify(text));
  }
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(20), (digits, scale) => {
      const again = parseDecimal(formatDecimal({ digits, scale }));
      return digits * 10n ** BigInt(again.scale) === again.digits * 10n ** BigInt(scale);
    }),
  );
});

t.test('a net amount is converted exactly and rounded half away from zero', async (t) => {
  // hand-made: net, rate, from, base, minor units of the base
  const table: [number, string, string, string, number][] = [
    [10_000, '0.85', 'GBP', 'EUR', 8_500],
    [1, '0.5', 'USD', 'EUR', 1],
    [-1, '0.5', 'USD', 'EUR', -1],
    [1, '0.4999999999999999999', 'USD', 'EUR', 0],
    [150, '1.15', 'USD', 'EUR', 173], // 172.5; the float 1.15 × 150 is 172.49999999999997
    [-150, '1.15', 'USD', 'EUR', -173],
    [1_000, '0.0062', 'JPY', 'EUR', 620], // ¥1000 → €6.20
    [620, '161.29', 'EUR', 'JPY', 1_000], // €6.20 → ¥999.998
    [1_234, '3.25', 'KWD', 'USD', 401], // 1.234 KWD → $4.0105
    [1_000_000_000_000, '0.000000000001', 'USD', 'EUR', 1],
    [5, '1', 'EUR', 'EUR', 5],
    [0, '1.1', 'USD', 'EUR', 0],
  ];
  for (const [net, rate, from, base, expected] of table) {
    t.equal(convertToBase(net, rate, from, base), expected, `${net} ${from} at ${rate} in ${base}`);
  }
  t.equal(baseFactor('0.0062', 'JPY', 'EUR'), '0.62');
  t.equal(baseFactor('161.29', 'EUR', 'JPY'), '1.6129');
  t.equal(baseFactor('1.10', 'USD', 'EUR'), '1.1');
  t.equal(baseFactor('2', 'JPY', 'KWD'), '2000');
  t.throws(() => convertToBase(10 ** 12, '10000', 'USD', 'EUR'), RangeError, 'beyond 2^53 − 1');
  t.throws(() => convertToBase(1, '1', 'XAU', 'EUR'), RangeError);

  const code = fc.constantFrom('EUR', 'JPY', 'KWD', 'CLF', 'USD');
  fc.assert(
    fc.property(
      fc.integer({ min: -5e8, max: 5e8 }),
      fc.bigInt({ min: 0n, max: 10n ** 12n }),
      fc.integer({ min: 9, max: 15 }),
      code,
      code,
      (net, digits, scale, from, base) => {
        const rate = formatDecimal({ digits, scale });
        // The naive oracle: twice the exact rational, in units of 10^-30, compared with twice the rounded answer.
        const unit = 10n ** 30n;
        const exact =
          (BigInt(net) * digits * unit * 10n ** BigInt(minorUnits(base))) / 10n ** BigInt(scale + minorUnits(from));
        const distance = BigInt(convertToBase(net, rate, from, base)) * unit - exact;
        const towardsZero = net < 0 ? distance > 0n : distance < 0n;
        const twice = 2n * (distance < 0n ? -distance : distance);
        return towardsZero ? twice < unit : twice <= unit;
      },
    ),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: -(10 ** 9), max: 10 ** 9 }),
      fc.nat(10 ** 9),
      code,
      code,
      (net, digits, from, base) => {
        // What SQL does with the factor is what the domain does with the rate.
        const rate = formatDecimal({ digits: BigInt(digits), scale: 9 });
        const factor = parseDecimal(baseFactor(rate, from, base));
        const sql = divideRounded(BigInt(net) * factor.digits, 10n ** BigInt(factor.scale));
        return BigInt(convertToBase(net, rate, from, base)) === sql;
      },
    ),
  );
});

t.test('an order adds up: tax only when it is not in the prices, discount subtracted', async (t) => {
  const items = [{ total: 1_000 }, { total: 250 }, { total: -50 }];
  t.equal(orderTotal({ items }), 1_200n);
  t.equal(orderTotal({ items, shipping: 490, fees: 10, tax: 190, discount: 100, rounding: -1 }), 1_789n);
  t.equal(
    orderTotal({ items, shipping: 490, fees: 10, tax: 190, taxIncluded: true, discount: 100, rounding: -1 }),
    1_599n,
  );
  t.equal(orderTotal({ items: [], shipping: null, tax: undefined }), 0n);
  const many = Array.from({ length: 9_008 }, () => ({ total: 10 ** 12 }));
  t.equal(orderTotal({ items: [...many, { total: 1 }] }), 9_008_000_000_000_001n, 'no cent is lost beyond 2^53');
});

t.test('lines with many decimals are summed exactly and rounded once', async (t) => {
  const line = { quantity: '1', price: '0.055' };
  t.equal(minorFromDecimalLines([line], 'GBP'), 6, '5.5 pence');
  t.equal(minorFromDecimalLines([line, line], 'GBP'), 11, '11 pence, not twice 6');
  t.equal(minorFromDecimalLines([{ quantity: '-1', price: '0.055' }], 'GBP'), -6, 'away from zero');
  t.equal(
    minorFromDecimalLines(
      [
        { quantity: '12', price: '6.95' },
        { quantity: '0.5', price: '1.01' },
      ],
      'GBP',
    ),
    8_391,
  );
  t.equal(minorFromDecimalLines([{ quantity: '3', price: '33.5' }], 'JPY'), 101);
  t.equal(minorFromDecimalLines([], 'EUR'), 0);
  t.throws(() => minorFromDecimalLines([{ quantity: '', price: '1' }], 'EUR'), RangeError);
  const decimal = fc.tuple(fc.integer({ min: -99_999, max: 99_999 }), fc.nat(4));
  fc.assert(
    fc.property(fc.array(fc.tuple(decimal, decimal), { maxLength: 20 }), (lines) => {
      const text = ([digits, scale]: [number, number]) => formatDecimal({ digits: BigInt(digits), scale });
      const sum = lines.reduce((total, [[q, qs], [p, ps]]) => total + BigInt(q * p) * 10n ** BigInt(8 - qs - ps), 0n);
      const rounded = minorFromDecimalLines(
        lines.map(([q, p]) => ({ quantity: text(q), price: text(p) })),
        'EUR',
      );
      return BigInt(rounded) === divideRounded(sum, 10n ** 6n);
    }),
  );
});

t.test('integers from SQL keep every digit or are refused', async (t) => {
  t.equal(exactInteger('9007199254740993'), 9_007_199_254_740_993n);
  t.equal(exactInteger('-123.000'), -123n);
  t.equal(exactInteger(42), 42n);
  t.throws(() => exactInteger('1.5'), RangeError);
  t.throws(() => exactInteger(2 ** 53), RangeError);
  t.throws(() => exactInteger(Number.NaN), RangeError);
  t.equal(safeNumber(9_007_199_254_740_991n), 9_007_199_254_740_991);
  t.equal(safeNumber(9_007_199_254_740_992n), null);
});

t.test('a ratio of integers is the nearest double, of any size', async (t) => {
  t.equal(ratio(1n, 3n), 1 / 3);
  t.equal(ratio(-2n, 3n), -2 / 3);
  t.equal(ratio(0n, 7n), 0);
  t.equal(ratio(24_409_194n, 2_357n), 24_409_194 / 2_357);
  t.equal(ratio(9_007_199_254_740_993n, 1n), 9_007_199_254_740_992, 'a tie goes to even');
  t.equal(
    ratio(9_007_199_254_740_993n * 10n ** 40n + 1n, 10n ** 40n),
    9_007_199_254_740_994,
    'a little more than a tie',
  );
  t.equal(ratio(10n ** 60n, 3n * 10n ** 60n), 1 / 3);
  t.equal(ratio(9_007_199_254_740_993n, 9_007_199_254_740_993n), 1, 'where floats would be off');
  t.throws(() => ratio(1n, 0n), RangeError);
  const safe = fc.maxSafeInteger();
  fc.assert(
    fc.property(safe, safe, fc.bigInt({ min: 1n, max: 10n ** 40n }), (a, b, k) => {
      // IEEE division of two exact doubles is correctly rounded, and enlarging the fraction changes nothing.
      fc.pre(b !== 0 && a !== 0);
      return ratio(BigInt(a), BigInt(b)) === a / b && ratio(BigInt(a) * k, BigInt(b) * k) === a / b;
    }),
  );
});
