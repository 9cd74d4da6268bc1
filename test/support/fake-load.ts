/** A clock that stands until it is moved, and a target whose answers come when a test says, for the load driver. */
import type { Clock } from '../../src/bench/driver.ts';
import { Driver } from '../../src/bench/driver.ts';
import { KeyCounter } from '../../src/bench/keys.ts';
import type { LoadPlan } from '../../src/bench/plan.ts';
import { Tally } from '../../src/bench/tally.ts';
import type { Operation, Outcome, Target, TargetEvents } from '../../src/bench/target.ts';
import { DONE } from '../../src/bench/target.ts';

export class ManualClock implements Clock {
  #nowMs = 0;
  #cpuMs = 0;
  #wakes: { readonly atMs: number; readonly wake: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  cpuMs(): number {
    return this.#cpuMs;
  }

  spendCpu(ms: number): void {
    this.#cpuMs += ms;
  }

  wakeAt(atMs: number, wake: () => void): void {
    this.#wakes.push({ atMs, wake });
  }

  /** Moves on to `toMs`, waking who asked for it on the way. */
  advance(toMs: number): void {
    for (;;) {
      const next = this.#wakes.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > toMs) break;
      this.#wakes.splice(this.#wakes.indexOf(next), 1);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
    }
    this.#nowMs = toMs;
  }

  /** Goes to `toMs` at once, as when the thread was busy: who asked for a time in between is woken then, late. */
  jump(toMs: number): void {
    this.#nowMs = toMs;
    this.advance(toMs);
  }
}

/** An operation that the target has taken. */
export interface Taken extends Operation {
  readonly slot: number;
  readonly atMs: number;
}

export class FakeTarget implements Target {
  /** All that was begun, in order. */
  readonly taken: Taken[] = [];
  /** Slots under way, the oldest first. */
  readonly underWay: number[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(_events: TargetEvents): Promise<void> {
    return Promise.resolve();
  }

  begin(slot: number, operation: Operation): void {
    this.taken.push({ ...operation, slot, atMs: this.#clock.nowMs() });
    this.underWay.push(slot);
  }

  flush(): void {
    // Nothing is held back.
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export interface FakeLoad {
  readonly clock: ManualClock;
  readonly target: FakeTarget;
  readonly tally: Tally;
  readonly driver: Driver;
  /** Settles as the run does. */
  readonly ended: Promise<string | null>;
  /** Answers the `count` oldest operations under way, as one turn of the loop. */
  answer(count: number, outcome?: Outcome): void;
}

const basicPlan: LoadPlan = {
  clients: 1,
  pipeline: 1,
  threads: 1,
  mix: [1, 0, 0, 0, 0],
  distribution: 'uniform',
  keyCount: 100,
  valueBytes: 100,
  ratePerSecond: null,
  warmUpMs: 0,
  durationMs: 1000,
  operations: null,
  seed: 1,
};

type IdleLoad = Omit<FakeLoad, 'ended' | 'answer'>;

/** A driver of one of the plan's threads whose run has not begun; time stands at 0. */
export function makeFakeLoad(changes: Partial<LoadPlan>, thread = 0): IdleLoad {
  const plan = { ...basicPlan, ...changes };
  const clock = new ManualClock();
  const target = new FakeTarget(clock);
  const tally = new Tally();
  const keys = new KeyCounter(KeyCounter.create(plan.keyCount));
  return { clock, target, tally, driver: new Driver({ plan, thread, target, tally, keys, clock }) };
}

/** The same, begun at time 0. */
export function startFakeLoad(changes: Partial<LoadPlan>, thread = 0): FakeLoad {
  const load = makeFakeLoad(changes, thread);
  const { clock, target, driver } = load;
  const ended = driver.run(0);
  clock.advance(0);
  return {
    ...load,
    ended,
    answer(count, outcome = DONE) {
      const slots = target.underWay.splice(0, count);
      for (const slot of slots) driver.done(slot, outcome, clock.nowMs());
      driver.turned(clock.nowMs());
    },
  };
}
