/**
 * The disk of a simulated machine, and what befalls it: power failures that lose and tear what was not synced, a sync that
 * fails once, no room left. What goes wrong with a disk outlives the process.
 *
 *     process ─▶ FaultyDisk ── crash(): un-synced blocks old, new or torn      kill(): all is there, synced or not
 *                    ├─ failSync()  ─▶ one EIO, and the data is gone at the next power failure
 *                    └─ fill() … drain() ─▶ ENOSPC for whatever needs a new block
 */
import type { Prng } from '../../src/core/prng.ts';
import { FaultyDisk, SimulatedCrash } from '../support/faulty-disk.ts';
import type { Coverage } from './coverage.ts';

const BLOCK_BYTES = 4096;
/** Room that a full disk still has, at most. */
const LAST_BLOCKS = 8;

export class NodeDisk {
  readonly disk: FaultyDisk;
  readonly #prng: Prng;
  readonly #coverage: Coverage;
  #budgetBytes = Infinity;

  constructor(prng: Prng, coverage: Coverage) {
    this.#prng = prng;
    this.#coverage = coverage;
    this.disk = new FaultyDisk(1 + prng.below(2 ** 30));
  }

  get isFull(): boolean {
    return this.#budgetBytes !== Infinity;
  }

  /** The power fails: what was not synced is lost, kept or torn. */
  crash(): void {
    this.#coverage.count('machines crashed');
    this.disk.crash(() => {
      const draw = this.#prng.below(5);
      if (draw < 2) this.#coverage.count('disk blocks lost');
      if (draw === 4) this.#coverage.count('disk blocks torn');
      return draw < 2 ? 'old' : draw < 4 ? 'new' : 'torn';
    });
    this.#limit();
  }

  /** The process dies, and the machine goes on. */
  kill(): void {
    this.#coverage.count('processes killed');
    this.disk.kill();
    this.#limit();
  }

  /** Does what the process was about to do, and dies somewhere in it. */
  dieAt(operations: number, work: () => void): void {
    this.disk.faults = { ...this.disk.faults, crashAfter: operations };
    try {
      work();
    } catch (error) {
      if (!(error instanceof SimulatedCrash) && !isDiskError(error)) throw error;
      this.#coverage.count('crashes in the middle of disk work');
    }
  }

  /** One of the next syncs fails. */
  failSync(): void {
    this.disk.faults = { ...this.disk.faults, failSyncAfter: this.#prng.below(6) };
  }

  /** Somebody else's files take the room that is left, and maybe whatever becomes free. */
  fill(): void {
    if (this.isFull) return;
    this.#coverage.count('disks filled');
    const roomBytes = this.#prng.below(LAST_BLOCKS) * BLOCK_BYTES;
    this.#budgetBytes = this.#prng.chance(0.5) ? 0 : this.disk.allocatedBytes + roomBytes;
    this.#limit();
  }

  drain(): void {
    this.#budgetBytes = Infinity;
    this.#limit();
  }

  /** Nothing is wrong any more, from the next operation on. */
  heal(): void {
    this.#budgetBytes = Infinity;
    this.disk.faults = {};
  }

  #limit(): void {
    const { budgetBytes: _budget, ...others } = this.disk.faults;
    this.disk.faults = this.isFull ? { ...others, budgetBytes: this.#budgetBytes } : others;
  }
}

/** What a process hears from its operating system when the disk is full or broken. */
export function isDiskError(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EIO' || code === 'ENOSPC';
}
