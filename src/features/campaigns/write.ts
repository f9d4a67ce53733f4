import { invalid } from '../../platform/errors.ts';
import { writtenBy } from '../../records/write.ts';
import { campaignRecord } from './record.ts';

writtenBy(campaignRecord, {
  plan(next) {
    // Calendar dates of four-digit years compare as text.
    if (next.startsOn !== null && next.endsOn !== null && next.endsOn < next.startsOn) {
      throw invalid('/endsOn', 'ends_before_start', `The campaign would end on ${next.endsOn}, before it starts.`);
    }
    return next;
  },
});
