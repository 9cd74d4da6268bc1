/**
 * Seeded pseudo-random numbers (sfc32, Chris Doty-Humphrey, PractRand): everything random in the core and in the
 * simulator comes from one of these, so that a run is its seed.
 */

export interface Prng {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in [0, bound). */
  below(bound: number): number;
  /** True with the given probability. */
  chance(probability: number): boolean;
  /** An independent stream, so that one consumer's draws do not shift another's. */
  fork(): Prng;
}

export function createPrng(seed: number): Prng {
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) >>> 0;
  let c = 0x9e3779b9;
  let counter = 1;
  const uint32 = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 12; round++) uint32();
  const prng: Prng = {
    next: () => uint32() / 2 ** 32,
    below: (bound) => Math.floor((uint32() / 2 ** 32) * bound),
    chance: (probability) => uint32() / 2 ** 32 < probability,
    fork: () => createPrng(uint32() * 2 ** 20 + (uint32() >>> 12)),
  };
  return prng;
}
