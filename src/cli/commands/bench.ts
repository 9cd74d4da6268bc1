/** `skerry bench`: a quick look at what a running node does. bench/ has the real measurements. */
import type { Command } from 'commander';
import type { Store } from '../../client/store.ts';
import { createProgress, printJson, printTable } from '../output.ts';
import { withServer, withStore } from './client.ts';

interface BenchFlags {
  readonly server: string;
  readonly json?: boolean;
  readonly timeout: string;
  readonly requests: string;
  readonly inFlight: string;
  readonly valueBytes: string;
  readonly keys: string;
}

interface Result {
  readonly name: string;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export function registerBench(program: Command): void {
  withServer(program.command('bench'))
    .option('--requests <n>', 'Requests of each kind.', '100000')
    .option('--in-flight <n>', 'Requests under way at a time.', '256')
    .option('--value-bytes <n>', 'Bytes of a value.', '100')
    .option('--keys <n>', 'Keys to choose from.', '1000000')
    .description('Measure sets and gets against a running node (it writes keys that begin with bench:)')
    .addHelpText('after', '\nExample:\n  skerry bench --requests 200000 --in-flight 64')
    .action(async (flags: BenchFlags) => {
      await withStore(flags, async (store) => {
        const value = Buffer.alloc(Number(flags.valueBytes), 'x');
        const key = (): string => `bench:${Math.floor(Math.random() * Number(flags.keys))}`;
        const results = [
          await measure('set', flags, () => store.set(key(), value)),
          await measure('get', flags, () => store.get(key())),
        ];
        if (flags.json === true) printJson(results);
        else {
          printTable([
            ['', 'requests/s', 'p50 ms', 'p99 ms', 'max ms'],
            ...results.map(({ name, requestsPerSecond, p50Ms, p99Ms, maxMs }) => [
              name,
              requestsPerSecond.toFixed(0),
              p50Ms.toFixed(2),
              p99Ms.toFixed(2),
              maxMs.toFixed(2),
            ]),
          ]);
        }
      });
    });
}

async function measure(
  name: string,
  flags: BenchFlags,
  request: () => ReturnType<Store['set' | 'get']>,
): Promise<Result> {
  const total = Number(flags.requests);
  const latencies = new Float64Array(total);
  const progress = createProgress(name);
  let started = 0;
  let done = 0;
  const one = async (): Promise<void> => {
    while (started < total) {
      const i = started++;
      const beginMs = performance.now();
      await request();
      latencies[i] = performance.now() - beginMs;
      if (++done % 5000 === 0) progress.show(done, total);
    }
  };
  const beginMs = performance.now();
  await Promise.all(Array.from({ length: Number(flags.inFlight) }, one));
  const seconds = (performance.now() - beginMs) / 1000;
  progress.end();
  latencies.sort();
  const at = (share: number): number => latencies[Math.min(total - 1, Math.floor(total * share))] ?? 0;
  return { name, requestsPerSecond: total / seconds, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
