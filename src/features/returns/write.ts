import { checkNotAhead, invalid } from '../../platform/errors.ts';
import { writtenBy } from '../../records/write.ts';
import { awaitRates, freezeRate, lookUpRates } from '../rates/freeze.ts';
import { returnRecord } from './record.ts';

writtenBy(returnRecord, {
  await: awaitRates,
  lookUp(tx, context, given) {
    return lookUpRates('returnedAt')(tx, context, given);
  },
  plan(next, state) {
    checkNotAhead(next.returnedAt, state.context.now, '/returnedAt');
    if (next.tax !== null && next.tax > next.total) {
      throw invalid(
        '/tax',
        'tax_exceeds_total',
        `The tax is ${next.tax}, more than the total: send at most ${next.total}.`,
      );
    }
    return { ...next, ...freezeRate('returnedAt', next, state) };
  },
});
