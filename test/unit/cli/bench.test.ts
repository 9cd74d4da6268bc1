/** `skerry bench` against a real node, over each way to it. What it measures is not judged here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { Command, CommanderError } from 'commander';
import { SkerryError } from '../../../src/core/errors.ts';
import { registerBench } from '../../../src/cli/commands/bench.ts';
import type { NamedRun } from '../../../src/cli/bench-output.ts';
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
  return await benchIn({}, ...args);
}

async function benchIn(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [LAUNCHER, 'bench', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

function runsOf({ stdout }: Outcome): readonly NamedRun[] {
  return (JSON.parse(stdout) as { runs: NamedRun[] }).runs;
}

let dir = '';
let node: NodeProcess;
test.before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'skerry-bench-test-'));
  node = await startNode(join(dir, 'data'), ['--workers', '2', '--pre-split', 'key:000000000500']);
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
  const own = mkdtempSync(join(tmpdir(), 'skerry-bench-test-'));
  t.teardown(() => rmSync(own, { recursive: true }));
  const outcome = await benchIn({ TMPDIR: own }, 'set', '--embedded', '--clients', '8', ...SHORT);
  t.is(outcome.code, 0, outcome.stderr);
  const [run] = runsOf(outcome);
  t.is(run?.operations, 300);
  t.true((run?.node?.fsyncsPerSecond ?? 0) > 0);
  t.deepEqual(readdirSync(own), []);
});

const TABLES = SHORT.filter((arg) => arg !== '--json');

test('without --json there are tables for people, in 80 columns, and --out has the JSON', async (t) => {
  const http = `127.0.0.1:${node.httpPort}`;
  const out = join(dir, 'curve.json');
  const args = ['ycsb-a', '--server', `127.0.0.1:${node.port}`, '--http', http, '--clients', '1,50', '--out', out];
  const { code, stdout } = await bench(...args, '--load', '--pipeline', '16', ...TABLES);
  t.is(code, 0);
  t.regex(stdout, /^workload +clients +requests\/s.*\nycsb-a +1 × 16 +\d.*\nycsb-a +50 × 16 +\d/);
  t.regex(stdout, /\nits log +clients +fsyncs\/s/);
  t.regex(stdout, /\nits node +clients +CPU/);
  t.regex(stdout, /\nasked by +clients +failed/);
  t.deepEqual(tooWide(stdout), []);
  const { runs } = JSON.parse(readFileSync(out, 'utf8')) as { runs: NamedRun[] };
  t.deepEqual(
    runs.map(({ plan, operations }) => [plan.clients, operations]),
    [
      [1, 300],
      [50, 300],
    ],
  );
});

test('the help fits 80 columns', async (t) => {
  const { code, stdout } = await benchIn({ COLUMNS: '80' }, '--help');
  t.is(code, 0);
  t.deepEqual(tooWide(stdout), []);
});

function tooWide(text: string): string[] {
  return text.split('\n').filter((line) => line.length > 80);
}

test('says when reads found nothing, since that is another load than was meant', async (t) => {
  const { code, stderr } = await bench(
    'get',
    '--resp',
    `127.0.0.1:${node.respPort}`,
    '--keys',
    '5000',
    ...TABLES.slice(0, 2),
  );
  t.is(code, 0);
  t.regex(stderr, /get, clients 50: \d+ of 300 reads were of keys that are not there; --load writes them first/);
});

test('what was measured before a run failed is printed', async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    if (++connections > 2) socket.destroy();
    socket.on('data', (chunk) => socket.write('+OK\r\n'.repeat(chunk.toString().split('*3\r\n').length - 1)));
  });
  server.listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const outcome = await bench('set', '--resp', address, '--clients', '2,3', ...SHORT);
  t.is(outcome.code, 1);
  t.regex(outcome.stderr, /closed a connection|ECONNRESET|EPIPE/);
  t.deepEqual(
    runsOf(outcome).map(({ plan }) => plan.clients),
    [2],
  );
});

test('says that nobody is there', async (t) => {
  const nobody = await bench('set', '--resp', '127.0.0.1:1', ...SHORT);
  t.is(nobody.code, 1);
  t.regex(nobody.stderr, /ECONNREFUSED/);
});

/** What the command says to flags that it refuses before it does anything, and whether that is a wrong use. */
async function refusalOf(args: readonly string[]): Promise<string> {
  let said = '';
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => (said += text) });
  registerBench(program);
  try {
    await program.parseAsync(['bench', ...args], { from: 'user' });
  } catch (error) {
    const isWrongUse = error instanceof CommanderError || (error instanceof SkerryError && error.code === 'KV_INVALID');
    return isWrongUse ? said + (error as Error).message : `no wrong use: ${String(error)}`;
  }
  return 'nothing';
}

test('says what is wrong: no such mix, numbers that are none, flags that exclude each other', async (t) => {
  for (const [args, wrong] of [
    [['sets'], /"sets" is no mix/],
    [['set', '--clients', '0'], /--clients.*"0" is no whole number/],
    [['set', '--rate', '0'], /--rate.*"0" is no number above 0/],
    [['set', '--duration', '0'], /--duration.*"0" is no number above 0/],
    [['set', '--resp', 'a:b:c'], /"a:b:c" is not an address/],
    [['set', '--server', 'a:99999'], /"a:99999" is not an address/],
    [['set', '--embedded', '--resp', 'a:1'], /--resp.*cannot be used with.*--embedded/],
    [['set', '--embedded', '--threads', '2'], /--embedded.*cannot be used with.*--threads/],
    [['set', '--requests', '5', '--rate', '5'], /--requests.*cannot be used with.*--rate/],
    [['set', '--clients', '8,2', '--threads', '4'], /4 generator threads are more than 2 clients/],
    [['set', '--keys', '3000000000'], /at most 2000000000 keys/],
    [['set', 'scan', '--resp', 'a:1'], /scan scans by key/],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop
    t.regex(await refusalOf(args), wrong, args.join(' '));
  }
});
