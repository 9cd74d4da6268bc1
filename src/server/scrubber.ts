/**
 * Reads checkpoints and sealed log segments in the background, so that damage is found while there is something to repair it from: this
 * node's memory. One slice at a time, at a set rate.
 *
 *     files ─▶ slice ─▶ I/O thread: checksums ─▶ rest as long as the rate wants ─▶ slice …
 *                             └ damaged, twice ─▶ said, and the ranges concerned are checkpointed anew
 *
 * A file may be replaced while it is read. So damage counts only when a second reading of the whole file, under the same name,
 * finds it as well.
 */
import type { ScrubResult, ScrubSlice } from '../storage/scrub.ts';

export interface ScrubberPorts {
  readonly rateBytes: number;
  /** From the beginning of one pass to that of the next. */
  readonly intervalMs: number;
  /** What is to be read. */
  readonly files: () => ScrubSlice[];
  readonly read: (slice: ScrubSlice, bytesMax: number) => Promise<ScrubResult>;
  readonly damaged: (file: ScrubSlice, what: string) => void;
  readonly failed: (error: unknown) => void;
  readonly count: (event: 'bytes' | 'files' | 'passes', times: number) => void;
  /** Share of the pass that is done. */
  readonly progress: (share: number) => void;
  readonly nowMs: () => number;
}

/** Small enough that nobody waits for it to end. */
const SLICE_BYTES = 256 * 1024;

export class Scrubber {
  readonly #ports: ScrubberPorts;
  #isStopped = false;
  /** Ends the rest that is under way. */
  #goOn: () => void = () => {};

  constructor(ports: ScrubberPorts) {
    this.#ports = ports;
    void this.#run();
  }

  /** What is being read may still be. */
  stop(): void {
    this.#isStopped = true;
    this.#goOn();
  }

  async #run(): Promise<void> {
    const { nowMs, intervalMs, failed } = this.#ports;
    while (!this.#isStopped) {
      const nextMs = nowMs() + intervalMs;
      try {
        await this.#pass();
      } catch (error) {
        if (!this.#isStopped) failed(error);
      }
      await this.#rest(Math.max(0, nextMs - nowMs()));
    }
  }

  async #pass(): Promise<void> {
    const { files, damaged, count, progress } = this.#ports;
    const all = files();
    for (const [i, file] of all.entries()) {
      if (this.#isStopped) return;
      progress(i / all.length);
      const what = (await this.#readFile(file)) === null ? null : await this.#readFile(file);
      if (what !== null) damaged(file, what);
      count('files', 1);
    }
    progress(1);
    count('passes', 1);
  }

  /** What is damaged, or null. */
  async #readFile(file: ScrubSlice): Promise<string | null> {
    const { read, rateBytes, count } = this.#ports;
    for (let slice: ScrubSlice | null = file; slice !== null && !this.#isStopped;) {
      const result: ScrubResult = await read(slice, SLICE_BYTES);
      if (result.damage !== null) return result.damage;
      count('bytes', SLICE_BYTES);
      await this.#rest((SLICE_BYTES / rateBytes) * 1000);
      slice = result.next;
    }
    return null;
  }

  async #rest(ms: number): Promise<void> {
    // A timer cannot wait for less.
    if (ms < 1 || this.#isStopped) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1)).unref();
    this.#goOn = resolve;
    await promise;
    clearTimeout(timer);
  }
}
