/**
 * Pins: which older versions somebody still reads. A version is needed when a pin lies between it (inclusive) and the
 * next newer version (exclusive).
 */

export class Pins {
  /** Ascending, each as often as it is pinned. */
  readonly #at: number[] = [];

  get count(): number {
    return this.#at.length;
  }

  add(at: number): void {
    this.#at.splice(this.#firstFrom(at), 0, at);
  }

  /** Returns whether it was there. */
  remove(at: number): boolean {
    const i = this.#firstFrom(at);
    if (this.#at[i] !== at) return false;
    this.#at.splice(i, 1);
    return true;
  }

  readonly needed = (version: number, newer: number): boolean => {
    if (this.#at.length === 0) return false;
    const pin = this.#at[this.#firstFrom(version)];
    return pin !== undefined && pin < newer;
  };

  copyTo(other: Pins): void {
    for (const at of this.#at) other.add(at);
  }

  #firstFrom(at: number): number {
    let low = 0;
    let high = this.#at.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#at[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
