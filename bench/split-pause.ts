/**
 * How long a split makes clients wait: `node bench/split-pause.ts [rounds]`.
 *
 * Both halves of a range are under load by clients that each wait for one reply before they send the next request. The range is
 * split in their middle; printed is the longest time in which a half got no reply at all, from just before the split to
 * well after it, beside the same of an equally long time without a split: what disk, scheduler and garbage collection do by
 * themselves. Medians and extremes of several rounds, each with keys of its own.
 *
 *     replies of a half   ││ │││ ││ │          ││ │││ │
 *                                    ├─ gap ──┤
 *                               │ split asked … done │ + 100 ms
 */
import { connect } from '../src/client/connect.ts';
import { startNode } from '../test/support/node-process.ts';
import { endWithSignals, makeBenchDir } from './harness/processes.ts';
import { longestGapMs } from './harness/statistics.ts';

const ROUNDS = Number(process.argv[2] ?? 9);
const CLIENTS_PER_HALF = 16;
const KEYS_PER_ROUND = 50_000;
const VALUE = Buffer.alloc(100, 'v');
const WRITES_SHARE = 0.5;
const AFTER_MS = 100;
const WARM_UP_MS = 500;

type Store = Awaited<ReturnType<typeof connect>>;

endWithSignals();
const node = await startNode(makeBenchDir(), ['--workers', '2']);
const store = await connect(`skerry://127.0.0.1:${node.port}`);
const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Times at which a half was answered, in the order of the replies. */
class Half {
  readonly answeredAtMs: number[] = [];
  readonly #clients: Store[] = [];
  readonly #running: Promise<void>[] = [];
  #isOver = false;

  async start(makeKey: (i: number) => string): Promise<void> {
    for (let i = 0; i < CLIENTS_PER_HALF; i++) this.#clients.push(await connect(`skerry://127.0.0.1:${node.port}`));
    for (const client of this.#clients) this.#running.push(this.#run(client, makeKey));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #run(client: Store, makeKey: (i: number) => string): Promise<void> {
    for (let i = Math.floor(Math.random() * KEYS_PER_ROUND); !this.#isOver; i += 7919) {
      if (Math.random() < WRITES_SHARE) await client.set(makeKey(i), VALUE);
      else await client.get(makeKey(i));
      this.answeredAtMs.push(performance.now());
    }
  }
}

interface Round {
  readonly splitMs: number;
  /** Left half, right half. */
  readonly gapsMs: readonly [number, number];
  readonly gapsWithoutMs: readonly [number, number];
}

async function runRound(round: number): Promise<Round> {
  const prefix = `round${String(round).padStart(4, '0')}:`;
  const key = (side: 'a' | 'z', i: number): string => `${prefix}${side}${i % (KEYS_PER_ROUND / 2)}`;
  for (let i = 0; i < KEYS_PER_ROUND; i += 1000) {
    await Promise.all(Array.from({ length: 1000 }, (_, j) => store.set(key(j % 2 === 0 ? 'a' : 'z', i + j), VALUE)));
  }
  const halves = [new Half(), new Half()] as const;
  await halves[0].start((i) => key('a', i));
  await halves[1].start((i) => key('z', i));
  await wait(WARM_UP_MS);
  const askedAtMs = performance.now();
  await store.splitRange(`${prefix}m`);
  const splitMs = performance.now() - askedAtMs;
  await wait(AFTER_MS);
  const endMs = performance.now();
  await wait(WARM_UP_MS);
  await Promise.all(halves.map((half) => half.stop()));
  const gaps = (fromMs: number, toMs: number) =>
    [longestGapMs(halves[0].answeredAtMs, fromMs, toMs), longestGapMs(halves[1].answeredAtMs, fromMs, toMs)] as const;
  const lengthMs = endMs - askedAtMs;
  return {
    splitMs,
    gapsMs: gaps(askedAtMs, endMs),
    gapsWithoutMs: gaps(askedAtMs - lengthMs - 50, askedAtMs - 50),
  };
}

function summary(name: string, values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, median, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)] as number[];
  const text = [median, least, most].map((value) => (value as number).toFixed(1).padStart(8)).join('');
  return `${name.padEnd(34)}${text}`;
}

const rounds: Round[] = [];
for (let round = 0; round < ROUNDS; round++) {
  rounds.push(await runRound(round));
  console.error(`round ${round + 1} of ${ROUNDS}`);
}
console.log(`${''.padEnd(34)}  median   least    most   (ms, ${ROUNDS} splits)`);
const summaries: readonly [string, (round: Round) => number][] = [
  ['split, asked to done', ({ splitMs }) => splitMs],
  ['longest gap, left half', ({ gapsMs }) => gapsMs[0]],
  ['longest gap, right half', ({ gapsMs }) => gapsMs[1]],
  ['without a split, left half', ({ gapsWithoutMs }) => gapsWithoutMs[0]],
  ['without a split, right half', ({ gapsWithoutMs }) => gapsWithoutMs[1]],
];
for (const [what, of] of summaries) console.log(summary(what, rounds.map(of)));
await store.close();
await node.end('SIGTERM');
