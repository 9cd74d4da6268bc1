/** Spreads bytes over time: whoever sends takes its turn first. Shared by all snapshots that a worker sends. */
export class Pacer {
  readonly #bytesPerSecond: () => number;
  /** When the next bytes may go, by performance.now(). */
  #nextMs = 0;

  /** Asked before each piece; 0 = as fast as it goes. */
  constructor(bytesPerSecond: () => number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when these bytes may be sent. */
  async take(bytes: number): Promise<void> {
    const bytesPerSecond = this.#bytesPerSecond();
    if (bytesPerSecond === 0) return;
    const nowMs = performance.now();
    const dueMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = dueMs + (bytes / bytesPerSecond) * 1000;
    if (dueMs > nowMs) await new Promise((resolve) => setTimeout(resolve, dueMs - nowMs).unref());
  }
}
