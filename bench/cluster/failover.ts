/**
 * How long a range takes no writes when the process of its leader is killed: the longest time without an acknowledgement
 * among those that end after the kill.
 *
 *     acknowledgements   ││ │││ ││ │                 ││ │││ │
 *                                  ├────── gap ──────┤
 *                                    │ kill -9
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../src/client/connect.ts';
import type { Store } from '../../src/client/store.ts';
import { SkerryError } from '../../src/core/errors.ts';
import { nodeOfWorker } from '../../src/core/member.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { PRE_SPLIT_KEY, startCluster, startSkerry, untilRanges } from '../harness/servers.ts';
import { longestGapMs, spreadOf } from '../harness/statistics.ts';

const NODES = 3;
const WRITERS = 16;
const BEFORE_MS = 1000;
const WATCH_MS = 4000;
const SETTLE_MS = 4000;
const SPLIT_KEYS = [PRE_SPLIT_KEY];
const VALUE = Buffer.alloc(100, 'v');

/** Of the first range. */
function keyOf(writer: number): string {
  return `key:${String(writer).padStart(12, '0')}`;
}

/** Writers of one range, each with one request under way. */
class Writers {
  readonly acknowledgedAtMs: number[] = [];
  readonly #running: Promise<void>[];
  #isOver = false;
  /** Answers that say that nobody knows whether the write was done. */
  unknown = 0;

  constructor(store: Store) {
    this.#running = Array.from({ length: WRITERS }, (_, i) => this.#run(store, keyOf(i)));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
  }

  async #run(store: Store, key: string): Promise<void> {
    while (!this.#isOver) {
      try {
        // oxlint-disable-next-line no-await-in-loop
        await store.set(key, VALUE);
        this.acknowledgedAtMs.push(performance.now());
      } catch (error) {
        if (!(error instanceof SkerryError) || error.code !== 'KV_UNKNOWN_RESULT') throw error;
        this.unknown++;
      }
    }
  }
}

async function measure({ pairs, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const cluster = [...(await startCluster(NODES, SPLIT_KEYS, stack))];
  const addresses = cluster.map(({ host, port }) => `${host}:${port}`).join(',');
  const gapsMs: number[] = [];
  let unknown = 0;
  for (let i = 0; i < pairs; i++) {
    // oxlint-disable-next-line no-await-in-loop
    await using store = await connect(`skerry://${addresses}`);
    const writers = new Writers(store);
    // oxlint-disable-next-line no-await-in-loop
    await sleep(BEFORE_MS);
    // oxlint-disable-next-line no-await-in-loop
    const [range] = await store.ranges();
    const leader = nodeOfWorker(range?.worker ?? 0);
    const node = cluster[leader - 1];
    if (node === undefined) throw new Error('nobody is known to lead the range');
    const killedAtMs = performance.now();
    // oxlint-disable-next-line no-await-in-loop
    await node.stop({ signal: 'SIGKILL', keepDir: true });
    // oxlint-disable-next-line no-await-in-loop
    await sleep(WATCH_MS);
    // oxlint-disable-next-line no-await-in-loop
    await writers.stop();
    gapsMs.push(longestGapMs(writers.acknowledgedAtMs, killedAtMs, performance.now()));
    unknown += writers.unknown;
    say(`${i + 1}: node ${leader} killed, ${gapsMs.at(-1)?.toFixed(0)} ms without a write`);
    // oxlint-disable-next-line no-await-in-loop
    const again = await startSkerry(node.flags, node.dir);
    stack.defer(() => again.stop());
    cluster[leader - 1] = again;
    // oxlint-disable-next-line no-await-in-loop
    await untilRanges(again, SPLIT_KEYS.length + 1);
    // It catches up, and leaderships move back to where there are few.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(SETTLE_MS);
  }
  const gap = figure('without an acknowledged write', 'ms', spreadOf(gapsMs), 'lower', { must: 1500, aim: 700 });
  return { figures: [gap], details: { writers: WRITERS, gapsMs, unknown } };
}

export const failoverRow: Row = {
  id: 'failover',
  title: 'The leader’s process is killed, three nodes on this machine',
  lacks: () => null,
  run: measure,
};
