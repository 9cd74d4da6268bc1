/** One generator thread's part of a load: its target, its driver, its clock. */
import { connect } from '../client/connect.ts';
import { Driver, slotsOf, type Clock } from './driver.ts';
import { KeyCounter } from './keys.ts';
import type { LoadPlan, TargetSpec } from './plan.ts';
import { createRespTarget } from './resp-target.ts';
import { createStoreTarget } from './store-target.ts';
import { Tally } from './tally.ts';
import type { Target } from './target.ts';

/** What a thread is told; crosses threads. */
export interface ThreadJob {
  readonly plan: LoadPlan;
  readonly thread: number;
  readonly target: TargetSpec;
  readonly tally: SharedArrayBuffer;
  readonly keys: SharedArrayBuffer;
}

/** What a thread says, once each. */
export type ThreadMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'finished'; readonly failure: string | null }
  | { readonly type: 'broken'; readonly message: string };

/** Milliseconds of a clock that all threads of the machine share. */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}

const clock: Clock = {
  nowMs: () => performance.now(),
  cpuMs() {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  },
  wakeAt(atMs, wake) {
    const look = (): void => {
      const delayMs = atMs - performance.now();
      if (delayMs <= 0) wake();
      // Timers may be up to a millisecond early, and what is answered before the start is not counted.
      else setTimeout(look, delayMs);
    };
    setImmediate(look);
  },
};

function createTarget(spec: TargetSpec, plan: LoadPlan, thread: number): Target {
  const connections = slotsOf(plan, thread) / plan.pipeline;
  const { pipeline, valueBytes } = plan;
  const { nowMs } = clock;
  if (spec.kind === 'resp') {
    return createRespTarget({ host: spec.host, port: spec.port, connections, pipeline, valueBytes, nowMs });
  }
  const openStore = () => connect(`skerry://${spec.server}`, { timeoutMs: 60_000 });
  return createStoreTarget({ openStore, stores: connections, slotsPerStore: pipeline, valueBytes, nowMs });
}

export interface OpenLoad {
  /** `startAtMs`: of sharedNowMs(). Resolves with the first error reply's text, or null. */
  run(startAtMs: number): Promise<string | null>;
}

/** Connects the target, ready to run. */
export async function openLoad(job: Omit<ThreadJob, 'target'>, target: Target): Promise<OpenLoad> {
  const { plan, thread } = job;
  const driver = new Driver({
    plan,
    thread,
    target,
    tally: new Tally(job.tally),
    keys: new KeyCounter(job.keys),
    clock,
  });
  await target.open(driver);
  return {
    async run(startAtMs) {
      try {
        return await driver.run(startAtMs - performance.timeOrigin);
      } finally {
        await target.close();
      }
    },
  };
}

/** The whole life of a thread: connects, says so, runs when it is told when, says how it went. */
export async function serveJob(
  job: ThreadJob,
  say: (message: ThreadMessage) => void,
  whenToStart: Promise<number>,
): Promise<void> {
  try {
    const load = await openLoad(job, createTarget(job.target, job.plan, job.thread));
    say({ type: 'ready' });
    say({ type: 'finished', failure: await load.run(await whenToStart) });
  } catch (error) {
    say({ type: 'broken', message: error instanceof Error ? error.message : String(error) });
  }
}
