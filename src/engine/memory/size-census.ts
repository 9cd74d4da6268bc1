/**
 * How many extents there are of each length, roughly: four classes to a doubling, so that the longest one is known within
 * a quarter at any time, for two additions per extent made or freed.
 *
 *     class = 4 × exponent + next two bits of the length       … 1 MiB   1.25 MiB   1.5 MiB   1.75 MiB   2 MiB …
 */

const CLASSES_PER_DOUBLING_SHIFT = 2;
const CLASSES = 32 << CLASSES_PER_DOUBLING_SHIFT;

/** `bytes` is at least 4. */
function classOf(bytes: number): number {
  const exponent = 31 - Math.clz32(bytes);
  return (exponent << CLASSES_PER_DOUBLING_SHIFT) | ((bytes >>> (exponent - CLASSES_PER_DOUBLING_SHIFT)) & 3);
}

/** The longest length of a class. */
function lengthMax(sizeClass: number): number {
  const exponent = sizeClass >> CLASSES_PER_DOUBLING_SHIFT;
  return ((sizeClass & 3) + 5) * 2 ** (exponent - CLASSES_PER_DOUBLING_SHIFT) - 1;
}

export class SizeCensus {
  readonly #counts = new Float64Array(CLASSES);
  #top = 0;

  add(bytes: number): void {
    const sizeClass = classOf(bytes);
    this.#counts[sizeClass] = (this.#counts[sizeClass] as number) + 1;
    if (sizeClass > this.#top) this.#top = sizeClass;
  }

  remove(bytes: number): void {
    const sizeClass = classOf(bytes);
    this.#counts[sizeClass] = (this.#counts[sizeClass] as number) - 1;
    while (this.#top > 0 && this.#counts[this.#top] === 0) this.#top--;
  }

  /** None is longer than this; 0 = there are none. */
  get longest(): number {
    return this.#top === 0 ? 0 : lengthMax(this.#top);
  }
}
