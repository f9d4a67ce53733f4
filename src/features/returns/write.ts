import { checkNotAhead } from '../../platform/errors.ts';
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
    return { ...next, ...freezeRate('returnedAt', next, state) };
  },
});
