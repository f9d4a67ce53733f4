/**
 * A seeded source of chance: the same numbers on every machine, since V8 computes logarithms and powers by itself and
 * not by the system's library.
 */
export interface Random {
  /** In (0, 1). */
  uniform(): number;
  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  weighted<T>(from: readonly (readonly [T, number])[]): T;
  /** Mean 1 ÷ `rate`. */
  exponential(rate: number): number;
  /** Mean `shape` ÷ `rate`. */
  gamma(shape: number, rate: number): number;
  beta(a: number, b: number): number;
}

export function seededRandom(seed: number): Random {
  const uniform = mulberry32(seed);
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  /** Marsaglia & Tsang 2000; shapes below 1 by their note. */
  const gamma = (shape: number, rate: number): number => {
    if (shape < 1) return gamma(shape + 1, rate) * uniform() ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return (d * v) / rate;
    }
  };
  const pick = <T>(from: readonly T[]): T => {
    const one = from[Math.floor(uniform() * from.length)];
    if (one === undefined) throw new RangeError('nothing to pick from');
    return one;
  };
  return {
    uniform,
    integer: (low, high) => low + Math.floor(uniform() * (high - low + 1)),
    chance: (probability) => uniform() < probability,
    pick,
    weighted(from) {
      let left = uniform() * from.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [value, weight] of from) {
        left -= weight;
        if (left < 0) return value;
      }
      return pick(from)[0];
    },
    exponential: (rate) => -Math.log(uniform()) / rate,
    gamma,
    beta(a, b) {
      const x = gamma(a, 1);
      return x / (x + gamma(b, 1));
    },
  };
}

/** Tommy Ettinger's mulberry32; 0 is left out, for the logarithms. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4_294_967_296;
  };
}
