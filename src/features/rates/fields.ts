import { decimalText } from '../../platform/values.ts';
import { boolean, decimal } from '../../records/fields.ts';
import { rateInput } from './record.ts';

/** The rate that a record keeps for ever, and the factor between minor units that follows from it. */
export const frozenRate = {
  exchangeRate: decimal(rateInput, decimalText).says(
    'Base-currency major units per major unit of the currency, frozen with the record. Default: the uploaded rate of its date; null until there is one.',
  ),
  baseFactor: decimal(rateInput, decimalText).internal(),
  /** Whether the rate came with the record, and so is not for uploads to correct. null: written before this was noted. */
  rateGiven: boolean().internal(),
};
