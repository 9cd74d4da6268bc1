/**
 * Looks at checkpoint files that a follower did not take as a snapshot: one that is damaged would be sent, and refused, again and
 * again. A few slices a turn, and most of the time is left to commands.
 *
 *     not taken ─▶ read, checksums ─ whole ─▶ nothing: the reason is elsewhere
 *                                  └ damaged, twice ─▶ damaged(): a new one is made of what is in memory
 */
import type { RangeId } from '../src/core/brands.ts';
import type { Disk } from '../src/storage/disk.ts';
import type { ScrubSlice } from '../src/storage/scrub.ts';
import { scrubSlice } from '../src/storage/scrub.ts';
import { BackgroundWork } from './background-work.ts';

export interface CheckpointCheckPorts {
  readonly disk: Disk;
  readonly damaged: (rangeId: RangeId, file: string, what: string) => void;
  readonly failed: (rangeId: RangeId, error: unknown) => void;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
}

interface Check {
  readonly rangeId: RangeId;
  readonly file: string;
  /** Damage was found once. The file may have been replaced while it was read. */
  isSecond: boolean;
  next: ScrubSlice;
}

const TURN_MS = 1;
const SLICE_BYTES = 256 * 1024;

export class CheckpointCheck {
  readonly #ports: CheckpointCheckPorts;
  readonly #checks: Check[] = [];
  readonly #work: BackgroundWork;

  constructor(ports: CheckpointCheckPorts) {
    this.#ports = ports;
    this.#work = new BackgroundWork({ turnMs: TURN_MS, monotonicMs: ports.monotonicMs });
  }

  /** Asks for a look; one that is under way is enough. */
  look(rangeId: RangeId, file: string): void {
    if (this.#checks.some((check) => check.file === file)) return;
    this.#checks.push({ rangeId, file, isSecond: false, next: begin(file) });
  }

  /** Reads for a while. In how many milliseconds there is more to do; null = there is nothing. */
  turn(): number | null {
    if (this.#checks.length === 0) return null;
    return this.#work.turn(() => {
      const [check] = this.#checks;
      if (check === undefined) return false;
      if (this.#step(check)) this.#checks.shift();
      return true;
    });
  }

  /** Whether that was the end of it. */
  #step(check: Check): boolean {
    const { rangeId, file } = check;
    const { disk, damaged, failed } = this.#ports;
    try {
      const { next, damage } = scrubSlice(disk, check.next, SLICE_BYTES);
      if (damage === null && next !== null) {
        check.next = next;
        return false;
      }
      if (damage === null) return true;
      if (check.isSecond) {
        damaged(rangeId, file, damage);
        return true;
      }
      check.isSecond = true;
      check.next = begin(file);
      return false;
    } catch (error) {
      failed(rangeId, error);
      return true;
    }
  }
}

const begin = (file: string): ScrubSlice => ({ kind: 'checkpoint', file, from: null });
