/**
 * The loop of a thread that serves rings and sockets: everything that is there is taken, all of it is stepped, and what
 * comes of it leaves at once, with one doorbell per neighbour and one write per socket.
 *
 *     socket bytes ─▶ schedule() ─▶ (the loop's other sockets) ─▶ turn
 *     doorbell ─────────────────────────────────────────────────▶ turn ─▶ nothing left? ─▶ park on the doorbell
 */
import type { Doorbell } from '../src/sharedarraybuffer-ring/index.ts';

export interface TurnLoopOptions {
  readonly doorbell: Doorbell;
  /** Does all the work there is. */
  readonly turn: () => void;
  /** Whether other threads have left something for turn(). Reads shared memory only. */
  readonly isReady: () => boolean;
  /** Something in here threw: nothing is certain any more, the node must stop. */
  readonly onFatal: (error: unknown) => void;
}

/** How often a loop that is to stop looks whether everything is answered. */
const QUIET_CHECK_MS = 5;

export class TurnLoop {
  readonly #options: TurnLoopOptions;
  #isScheduled = false;
  #isParked = false;
  #isStopped = false;
  #alarm: NodeJS.Timeout | null = null;

  constructor(options: TurnLoopOptions) {
    this.#options = options;
  }

  /**
   * Asks for a turn after the sockets that are readable now were read: their commands share the turn, its log entry and
   * its writes.
   */
  readonly schedule = (): void => {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(this.#run);
  };

  /** Asks for a turn in `delayMs`, or before that when one was asked for already. */
  scheduleIn(delayMs: number): void {
    this.#alarm ??= setTimeout(() => {
      this.#alarm = null;
      this.schedule();
    }, delayMs);
  }

  /** Stops once `isQuiet`, then calls back. */
  stopWhen(isQuiet: () => boolean, stopped: () => void): void {
    this.schedule();
    const checking = setInterval(() => {
      if (!isQuiet()) return;
      clearInterval(checking);
      this.stop();
      stopped();
    }, QUIET_CHECK_MS);
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#isParked) this.#options.doorbell.unpark();
    this.#isParked = false;
    if (this.#alarm !== null) clearTimeout(this.#alarm);
  }

  readonly #run = (): void => {
    this.#isScheduled = false;
    if (this.#isStopped) return;
    const { doorbell, turn, isReady, onFatal } = this.#options;
    if (this.#isParked) doorbell.unpark();
    this.#isParked = false;
    try {
      turn();
    } catch (error) {
      this.#isStopped = true;
      onFatal(error);
      return;
    }
    if (this.#isScheduled || this.#isStopped) return;
    this.#isParked = doorbell.park(isReady, this.#woken);
    if (!this.#isParked) this.schedule();
  };

  readonly #woken = (): void => {
    this.#isParked = false;
    // At once, not after the sockets: the disk is idle until this thread hands it the next batch.
    if (!this.#isScheduled) this.#run();
  };
}
