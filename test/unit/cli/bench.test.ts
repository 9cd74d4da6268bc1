/** `skerry bench` against a real node, over each way to it. What it measures is not judged here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { MeasuredRun } from '../../../src/bench/measured-run.ts';
import type { NodeProcess } from '../../support/node-process.ts';
import { startNode } from '../../support/node-process.ts';

const LAUNCHER = fileURLToPath(new URL('../../../src/cli/skerry.js', import.meta.url));
const SHORT = ['--requests', '300', '--keys', '1000', '--json'];

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function bench(...args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [LAUNCHER, 'bench', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

type NamedRun = MeasuredRun & { readonly workload: string };

function runsOf({ stdout }: Outcome): readonly NamedRun[] {
  return (JSON.parse(stdout) as { runs: NamedRun[] }).runs;
}

let dir = '';
let node: NodeProcess;
test.before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'skerry-bench-test-'));
  node = await startNode(join(dir, 'data'), ['--pre-split', 'key:000000000500']);
});
test.after.always(async () => {
  await node.end('SIGKILL');
  rmSync(dir, { recursive: true });
});

test('loads the keys, then every mix of YCSB over the native client, in as many clients as told', async (t) => {
  const mixes = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => `ycsb-${letter}`);
  const address = `127.0.0.1:${node.port}`;
  const http = `127.0.0.1:${node.httpPort}`;
  const outcome = await bench(...mixes, '--load', '--clients', '2,5', '--server', address, '--http', http, ...SHORT);
  t.is(outcome.code, 0, outcome.stderr);
  const runs = runsOf(outcome);
  t.deepEqual(
    runs.map(({ workload, plan }) => `${workload} ${plan.clients}`),
    mixes.flatMap((mix) => [`${mix} 2`, `${mix} 5`]),
  );
  for (const { workload, operations, errors, misses, node: use } of runs) {
    t.is(operations, 300, workload);
    t.is(errors, 0);
    t.is(misses, 0, `${workload} reads keys that are there`);
    t.true((use?.keys ?? 0) >= 1000);
    t.is(use?.longestStallMs.length, 2);
  }
});

test('puts a load on the Redis port, closed and open', async (t) => {
  const address = `127.0.0.1:${node.respPort}`;
  const closed = await bench('set', 'get', '--resp', address, '--pipeline', '16', ...SHORT);
  t.is(closed.code, 0, closed.stderr);
  t.deepEqual(
    runsOf(closed).map(({ workload, operations, node: use }) => ({ workload, operations, use })),
    [
      { workload: 'set', operations: 300, use: null },
      { workload: 'get', operations: 300, use: null },
    ],
  );
  const open = await bench('set', '--resp', address, '--rate', '500', '--warm-up', '0', '--duration', '0.3', '--json');
  t.is(open.code, 0, open.stderr);
  const [run] = runsOf(open);
  t.is(run?.latency.count, 150, 'what falls due in 0.3 s at 500 a second, whatever the node does');
});

test('measures a store in this process and leaves nothing behind', async (t) => {
  const outcome = await bench('set', '--embedded', '--clients', '8', ...SHORT);
  t.is(outcome.code, 0, outcome.stderr);
  const [run] = runsOf(outcome);
  t.is(run?.operations, 300);
  t.true((run?.node?.fsyncsPerSecond ?? 0) > 0);
});

test('without --json there is a table for people', async (t) => {
  const http = `127.0.0.1:${node.httpPort}`;
  const args = [
    'set',
    '--server',
    `127.0.0.1:${node.port}`,
    '--http',
    http,
    ...SHORT.filter((arg) => arg !== '--json'),
  ];
  const { code, stdout } = await bench(...args);
  t.is(code, 0);
  t.regex(stdout, /^workload +clients +requests\/s.*\nset +50 +\d+/);
  t.regex(stdout, /\nthe node +clients +fsyncs\/s/);
});

test('says what is wrong: no such mix, nobody there, numbers that are none', async (t) => {
  const mix = await bench('sets', ...SHORT);
  t.is(mix.code, 2);
  t.regex(mix.stderr, /"sets" is no mix/);
  const nobody = await bench('set', '--resp', '127.0.0.1:1', ...SHORT);
  t.is(nobody.code, 1);
  t.regex(nobody.stderr, /ECONNREFUSED/);
  const number = await bench('set', '--clients', '0', ...SHORT);
  t.is(number.code, 2);
  t.regex(number.stderr, /"0" is no whole number/);
});
