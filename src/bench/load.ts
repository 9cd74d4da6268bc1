/**
 * Runs a load plan and says what came out. Its threads connect first and start at one instant; a target that only this
 * thread can reach (an embedded store) is driven from here.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { SkerryError } from '../core/errors.ts';
import type { Store } from '../client/store.ts';
import { KeyCounter } from './keys.ts';
import { KIND_NAMES } from './operations.ts';
import { checkPlan, type LoadPlan, type TargetSpec } from './plan.ts';
import { createStoreTarget } from './store-target.ts';
import { counters, summarizeLatency, Tally, type LatencySummary } from './tally.ts';
import type { Target } from './target.ts';
import { openLoad, sharedNowMs, type ThreadJob, type ThreadMessage } from './thread.ts';

/** Between everybody being told to start and the start. */
const START_DELAY_MS = 50;
const PROGRESS_EVERY_MS = 500;

/** A target that threads of the generator reach by themselves, or one that is driven from the calling thread. */
export type LoadTarget = TargetSpec | { readonly kind: 'here'; readonly createTarget: (plan: LoadPlan) => Target };

/** A store of this process, which stays open. */
export function embeddedTarget(store: Store): LoadTarget {
  return {
    kind: 'here',
    createTarget: ({ clients, pipeline, valueBytes }) => ({
      ...createStoreTarget({
        openStore: () => Promise.resolve(store),
        stores: 1,
        slotsPerStore: clients * pipeline,
        valueBytes,
        nowMs: () => performance.now(),
      }),
      close: () => Promise.resolve(),
    }),
  };
}

export interface LoadProgress {
  readonly phase: 'warming up' | 'measuring' | 'draining';
  readonly elapsedMs: number;
  readonly totalMs: number;
  readonly operations: number;
  readonly operationsMax: number | null;
  readonly perSecond: number;
  readonly errors: number;
}

export interface LoadHooks {
  /** Called at the start and at the end of measuring, to take the target's own numbers at these times. */
  readonly atMeasureStart?: () => Promise<void>;
  readonly atMeasureEnd?: () => Promise<void>;
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadResult {
  readonly plan: LoadPlan;
  /** Measured time. */
  readonly seconds: number;
  /** Answered without an error within the measured time. */
  readonly operations: number;
  readonly operationsPerSecond: number;
  /** Those of them that wrote. */
  readonly writesPerSecond: number;
  readonly errors: number;
  /** The first error reply. */
  readonly firstError: string | null;
  readonly misses: number;
  /** Sent or due, and not answered when the run was given up. Their waiting is in the latencies. */
  readonly unanswered: number;
  readonly unsent: number;
  readonly latency: LatencySummary;
  /** Of kinds that occurred. */
  readonly latencyByKind: Readonly<Record<string, LatencySummary>>;
  readonly generator: {
    readonly cpuUsPerOperation: number;
    /** Share of one core for each thread; near 1 the generator is the limit, not the target. */
    readonly cpuSharePerThread: number;
    /** Open loop: how late operations left because the generator itself was late; it is part of the latencies. */
    readonly lag: LatencySummary | null;
  };
}

/** Rejects with SkerryError when the target cannot be reached or is lost. */
export async function runLoad(given: LoadPlan, target: LoadTarget, hooks: LoadHooks = {}): Promise<LoadResult> {
  const plan = target.kind === 'here' ? { ...given, threads: 1 } : given;
  checkPlan(plan);
  const keys = KeyCounter.create(plan.keyCount);
  const tallies = Array.from({ length: plan.threads }, () => Tally.create());
  const jobs = tallies.map((tally, thread) => ({ plan, thread, tally, keys }));
  const runner =
    target.kind === 'here' ? await openHere(jobs, target.createTarget(plan)) : await openThreads(jobs, target);
  const startAtMs = sharedNowMs() + START_DELAY_MS;
  const timers = schedule(plan, startAtMs, hooks, tallies);
  try {
    const failures = await runner.run(startAtMs);
    await timers.ended();
    return summarize(plan, tallies, failures.find((failure) => failure !== null) ?? null);
  } finally {
    timers.stop();
    await runner.stop();
  }
}

interface Runner {
  run(startAtMs: number): Promise<(string | null)[]>;
  stop(): Promise<void>;
}

async function openHere(jobs: readonly Omit<ThreadJob, 'target'>[], target: Target): Promise<Runner> {
  const [job] = jobs as [Omit<ThreadJob, 'target'>];
  const load = await openLoad(job, target);
  return { run: async (startAtMs) => [await load.run(startAtMs)], stop: () => Promise.resolve() };
}

/** What a thread says next. */
async function hear(thread: Worker): Promise<ThreadMessage> {
  const [message] = (await once(thread, 'message')) as [ThreadMessage];
  if (message.type === 'broken') throw new SkerryError('KV_NETWORK', message.message);
  return message;
}

async function openThreads(jobs: readonly Omit<ThreadJob, 'target'>[], target: TargetSpec): Promise<Runner> {
  const threads = jobs.map((job) => {
    const workerData: ThreadJob = { ...job, target };
    return new Worker(new URL('../../workers/load.worker.ts', import.meta.url), { workerData, name: 'load' });
  });
  const stop = async (): Promise<void> => {
    await Promise.all(threads.map((thread) => thread.terminate()));
  };
  try {
    await Promise.all(threads.map(hear));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    async run(startAtMs) {
      const answers = threads.map(hear);
      for (const thread of threads) thread.postMessage(startAtMs);
      const messages = await Promise.all(answers);
      return messages.map((message) => (message.type === 'finished' ? message.failure : null));
    },
    stop,
  };
}

function mergeAll(tallies: readonly SharedArrayBuffer[]): Tally {
  const all = new Tally();
  for (const tally of tallies) all.merge(new Tally(tally));
  return all;
}

/** Calls the hooks at their times. */
function schedule(
  plan: LoadPlan,
  startAtMs: number,
  hooks: LoadHooks,
  tallies: readonly SharedArrayBuffer[],
): { ended(): Promise<void>; stop(): void } {
  const endMs = plan.warmUpMs + plan.durationMs;
  const timers: NodeJS.Timeout[] = [];
  const at = (ms: number, hook: () => Promise<void>): Promise<void> =>
    new Promise((resolve, reject) => {
      const run = (): void => {
        hook().then(resolve, reject);
      };
      timers.push(setTimeout(run, startAtMs + ms - sharedNowMs()));
    });
  const started = at(plan.warmUpMs, hooks.atMeasureStart ?? (() => Promise.resolve()));
  const isTimed = plan.operations === null;
  const atEnd = hooks.atMeasureEnd ?? (() => Promise.resolve());
  const ended = isTimed ? at(endMs, atEnd) : null;
  // Whoever awaits them does so later.
  started.catch(() => undefined);
  ended?.catch(() => undefined);
  let last = { operations: 0, atMs: startAtMs };
  if (hooks.onProgress !== undefined) {
    const { onProgress } = hooks;
    timers.push(
      setInterval(() => {
        const nowMs = sharedNowMs();
        const all = mergeAll(tallies);
        const operations = all.get(counters.answered);
        const elapsedMs = nowMs - startAtMs;
        onProgress({
          phase: elapsedMs < plan.warmUpMs ? 'warming up' : elapsedMs < endMs ? 'measuring' : 'draining',
          elapsedMs,
          totalMs: endMs,
          operations,
          operationsMax: plan.operations,
          perSecond: ((operations - last.operations) * 1000) / (nowMs - last.atMs),
          errors: all.get(counters.errors),
        });
        last = { operations, atMs: nowMs };
      }, PROGRESS_EVERY_MS),
    );
  }
  return {
    async ended() {
      await started;
      await (ended ?? atEnd());
    },
    stop() {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

function summarize(plan: LoadPlan, tallies: readonly SharedArrayBuffer[], firstError: string | null): LoadResult {
  const all = mergeAll(tallies);
  const seconds = all.get(counters.elapsedMs) / 1000;
  const operations = all.get(counters.completed);
  const cpuMs = all.get(counters.cpuMs);
  const kinds = all.latencyOfKind.flatMap((histogram, kind) =>
    histogram.count === 0 ? [] : [[KIND_NAMES[kind] as string, summarizeLatency(histogram)] as const],
  );
  return {
    plan,
    seconds,
    operations,
    operationsPerSecond: seconds === 0 ? 0 : operations / seconds,
    writesPerSecond: seconds === 0 ? 0 : all.get(counters.writes) / seconds,
    errors: all.get(counters.errors),
    firstError,
    misses: all.get(counters.misses),
    unanswered: all.get(counters.unanswered),
    unsent: all.get(counters.unsent),
    latency: summarizeLatency(all.latency),
    latencyByKind: Object.fromEntries(kinds),
    generator: {
      cpuUsPerOperation: operations === 0 ? 0 : (cpuMs * 1000) / operations,
      cpuSharePerThread: seconds === 0 ? 0 : cpuMs / 1000 / seconds / plan.threads,
      lag: plan.ratePerSecond === null ? null : summarizeLatency(all.lag),
    },
  };
}
