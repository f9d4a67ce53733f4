/**
 * ISO 4217 list one as of 2026: the currencies an order can be in, with the number of decimals of their minor unit.
 * Written out instead of asked from `Intl`, whose decimals are those of daily use (CLDR says HUF 0, ISO 4217 says 2)
 * and change with the ICU of the machine.
 *
 * Left out: metals, baskets and test codes (XAU, XDR, XTS, XXX …), which have no minor unit, and the fund codes
 * (BOV, CHE, CHW, COU, MXV, USN, UYI). CLF is a fund code too, but prices are quoted in it.
 */
const twoDecimals =
  'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP ' +
  'CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES ' +
  'KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK ' +
  'NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB ' +
  'TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG';
/**
 * Withdrawn since 1999, as list three has them, with the decimals they had. A shop's history reaches further back than list
 * one: such an order must not be lost.
 */
const withdrawn =
  'AFA ANG AON AOR ATS AYM AZM BGL BGN CSD CUC CYP DEM ECS EEK FIM FRF GHC HRK IEP LTL LVL MRO MTL MZM NLG ROL RUR SDD ' +
  'SIT SKK SLL SRG STD TJR TMM VEB VEF YUM ZMK ZRN ZWD ZWL ZWN ZWR';
const withdrawnWithoutDecimals = 'ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE TPE TRL';
const noDecimals = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF';
const threeDecimals = 'BHD IQD JOD KWD LYD OMR TND';
const fourDecimals = 'CLF UYW';

const exponents: ReadonlyMap<string, number> = new Map(
  (
    [
      [noDecimals, 0],
      [twoDecimals, 2],
      [withdrawn, 2],
      [withdrawnWithoutDecimals, 0],
      [threeDecimals, 3],
      [fourDecimals, 4],
    ] as const
  ).flatMap(([codes, exponent]) => codes.split(' ').map((code): [string, number] => [code, exponent])),
);

/** All accepted codes, sorted. */
export const currencies: readonly string[] = [...exponents.keys()].sort();

/** Whether `code` is an accepted currency; upper case only, as ISO 4217 writes them. */
export function isCurrency(code: string): boolean {
  return exponents.has(code);
}

/**
 * Decimals of the minor unit: EUR 2 (cents), JPY 0, KWD 3, CLF 4.
 * @throws RangeError for a code that is not accepted; ask `isCurrency` about foreign input first.
 */
export function minorUnits(code: string): number {
  const exponent = exponents.get(code);
  if (exponent === undefined) throw new RangeError(`${code} is not an ISO 4217 currency`);
  return exponent;
}
