/** Redis's own load generator: runs it, and reads what it prints. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

export interface BenchmarkRun {
  readonly test: 'set' | 'get';
  readonly port: number;
  readonly clients: number;
  readonly pipeline: number;
  readonly requests: number;
  /** Keys to choose from at random. */
  readonly keys: number;
  readonly valueBytes: number;
}

export interface BenchmarkResult {
  readonly perSecond: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** It spins for ever when nobody answers. */
const TIMEOUT_MS = 120_000;

export async function runBenchmark(run: BenchmarkRun): Promise<BenchmarkResult> {
  const { test, port, clients, pipeline, requests, keys, valueBytes } = run;
  const numbers = { p: port, c: clients, P: pipeline, n: requests, r: keys, d: valueBytes };
  const args = Object.entries(numbers).flatMap(([flag, number]) => [`-${flag}`, `${number}`]);
  const child = spawn('redis-benchmark', [...args, '-t', test, '--csv'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0) throw new Error(`redis-benchmark ended with ${code ?? signal}: ${printed}`);
  return parseBenchmark(printed);
}

/**
 * Reads the two lines of `--csv`:
 *
 *     "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
 *     "SET","161290.33","0.154","0.048","0.151","0.207","0.271","0.535"
 */
export function parseBenchmark(printed: string): BenchmarkResult {
  const [names = [], values = []] = printed
    .trim()
    .split('\n')
    .slice(-2)
    .map((line) => line.split(',').map((cell) => cell.replaceAll('"', '')));
  const number = (name: string): number => {
    const value = Number(values[names.indexOf(name)]);
    if (!(value > 0)) throw new Error(`redis-benchmark printed no ${name}: ${printed}`);
    return value;
  };
  return {
    perSecond: number('rps'),
    meanMs: number('avg_latency_ms'),
    p50Ms: number('p50_latency_ms'),
    p99Ms: number('p99_latency_ms'),
    maxMs: number('max_latency_ms'),
  };
}
