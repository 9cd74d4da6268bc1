/** Real processes become a cluster: joining, listing, coming back, and being refused. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Redis } from 'ioredis';
import { connect } from '../../src/client/connect.ts';
import type { ClusterStatus } from '../../src/index.ts';
import { open } from '../../src/index.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

const run = promisify(execFile);
const LAUNCHER = fileURLToPath(new URL('../../src/cli/skerry.js', import.meta.url));

interface Started extends NodeProcess {
  readonly dir: string;
}

/** Nodes in folders that are gone when the test is over. */
function lab(t: ExecutionContext): (flags: readonly string[], dir?: string) => Promise<Started> {
  return async (flags, given) => {
    const dir = given ?? (await mkdtemp(path.join(tmpdir(), 'skerry-cluster-')));
    if (given === undefined) t.teardown(() => rm(dir, { recursive: true, force: true }));
    const node = await startNode(dir, ['--workers', '1', ...flags]);
    t.teardown(async () => {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    });
    return { ...node, dir };
  };
}

const skerry = async (...args: string[]): Promise<string> => (await run(process.execPath, [LAUNCHER, ...args])).stdout;

interface Replicated {
  readonly ranges: readonly { readonly replicas: readonly { readonly role: string }[] }[];
}

async function clusterOf({ port }: NodeProcess): Promise<ClusterStatus> {
  await using kv = await connect(`skerry://127.0.0.1:${port}`);
  return await kv.cluster();
}

async function until(node: NodeProcess, condition: (cluster: ClusterStatus) => boolean): Promise<ClusterStatus> {
  await using kv = await connect(`skerry://127.0.0.1:${node.port}`);
  return await answerOf(`${condition}`, () => kv.cluster(), condition);
}

/** Peer ports that nobody else is given meanwhile: below those that the system hands out. */
const portOf = (i: number): string[] => ['--peer-port', String(20_000 + (process.pid % 400) * 30 + i * 10)];

const states = ({ nodes }: ClusterStatus): string[] => nodes.map(({ name, state }) => `${name} ${state}`);

test.serial(
  'nodes join through any node, are seen from each of them, and come back after they were killed',
  async (t) => {
    const start = lab(t);
    const first = await start(['--node-name', 'n1']);
    t.deepEqual(states(await clusterOf(first)), ['n1 ACTIVE']);
    const second = await start([
      '--node-name',
      'n2',
      '--join',
      `127.0.0.1:1,127.0.0.1:${first.peerPort}`,
      '--locality',
      'dc=a,rack=2',
    ]);
    const third = await start(['--node-name', 'n3', '--join', `127.0.0.1:${second.peerPort}`]);
    const wanted = ['n1 ACTIVE', 'n2 ACTIVE', 'n3 ACTIVE'];
    for (const node of [first, second, third])
      t.deepEqual(
        states(await until(node, (c) => c.nodes.length === 3 && c.nodes.every(({ state }) => state === 'ACTIVE'))),
        wanted,
      );

    const listed = JSON.parse(
      await skerry('node', 'list', '--json', '--server', `127.0.0.1:${third.port}`),
    ) as ClusterStatus;
    t.deepEqual(states(listed), wanted);
    t.is(listed.nodes[1]?.locality, 'dc=a,rack=2');
    const table = await skerry('status', '--server', `127.0.0.1:${second.port}`);
    t.regex(table, /^NODE +NAME +STATE +HEALTH +WAY/m);
    t.regex(table, /^2 +n2 +ACTIVE/m);

    await third.end('SIGKILL');
    await until(first, ({ nodes }) => nodes[2]?.isSilent === true);
    const again = await start(['--node-name', 'n3'], third.dir);
    const found = await until(
      first,
      ({ nodes }) => nodes[2]?.isSilent === false && nodes[2].addresses.nativePort === again.port,
    );
    t.is(found.nodes.length, 3);
  },
);

test.serial('every node answers for all keys, wherever their ranges are led', async (t) => {
  const start = lab(t);
  const first = await start(['--pre-split', 'm']);
  const second = await start(['--join', `127.0.0.1:${first.peerPort}`]);
  await using one = await connect(`skerry://127.0.0.1:${first.port}`, { as: 'text' });
  await using other = await connect(`skerry://127.0.0.1:${second.port}`, { as: 'text' });
  await other.set('a', '1');
  await one.set('z', '2');
  t.is(await one.get('a'), '1');
  t.is(await other.get('z'), '2');
  await other.splitRange('s');
  t.is((await other.ranges()).length, 3);
  t.is(await other.get('z'), '2');
  for (const { respPort } of [first, second]) {
    const redis = new Redis(respPort, '127.0.0.1', { retryStrategy: () => null });
    t.deepEqual(await redis.mget('a', 'z'), ['1', '2']);
    t.is(await redis.set(`a:${respPort}`, 'x'), 'OK');
    t.is(await redis.set(`z:${respPort}`, 'x'), 'OK');
    const counted = await redis.multi().incr('n:1').incr('n:1').exec();
    t.is(Number(counted?.[1]?.[1]), respPort === first.respPort ? 2 : 4);
    await redis.quit();
  }
  t.is(await one.get(`a:${second.respPort}`), 'x');
  t.is(await other.get(`z:${first.respPort}`), 'x');
});

test.serial('one configuration file names all nodes of a cluster; the first one is told to begin it', async (t) => {
  const start = lab(t);
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-config-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const ports = [5, 6, 7].map((i) => Number(portOf(i)[1]));
  const file = path.join(dir, 'skerry.json');
  const seeds = ports.map((port) => `127.0.0.1:${port}`);
  await writeFile(file, JSON.stringify({ cluster: { join: seeds }, raft: { electionTimeoutMs: 700 } }));
  const flags = (i: number): string[] => [
    '--config',
    file,
    '--node-name',
    `n${i + 1}`,
    '--peer-port',
    String(ports[i]),
  ];
  // The others wait until there is a cluster to join.
  const [first] = await Promise.all([start([...flags(0), '--bootstrap']), start(flags(1)), start(flags(2))]);
  const { nodes } = await until(first, (c) => c.nodes.filter(({ state }) => state === 'ACTIVE').length === 3);
  t.deepEqual(nodes.map(({ name }) => name).toSorted(), ['n1', 'n2', 'n3']);
  await first.end('SIGTERM');
  // What begins a new folder means nothing to one of a node.
  const again = await start([...flags(0), '--bootstrap'], first.dir);
  t.is((await clusterOf(again)).nodes.length, 3);
});

test.serial(
  'a node that is expected has its number before it comes; one that has not come can be taken out again',
  async (t) => {
    const start = lab(t);
    const first = await start(['--node-name', 'n1']);
    const server = ['--server', `127.0.0.1:${first.port}`];
    t.regex(await skerry('node', 'add', 'n2', ...server), /^node 2, n2, is expected/);
    t.regex(await skerry('node', 'add', 'n3', ...server), /^node 3, n3, is expected/);
    t.deepEqual(states(await clusterOf(first)), ['n1 ACTIVE', 'n2 INIT', 'n3 INIT']);
    await start(['--node-name', 'n3', '--join', `127.0.0.1:${first.peerPort}`]);
    t.is(await skerry('node', 'remove', 'n2', ...server), 'node n2 is out of the cluster\n');
    t.deepEqual(states(await clusterOf(first)), ['n1 ACTIVE', 'n2 INACTIVE', 'n3 ACTIVE']);
    await t.throwsAsync(skerry('node', 'remove', 'n3', ...server), { message: /is alive: drain it/ });
    await t.throwsAsync(skerry('node', 'drain', '7', ...server), { message: /There is no node 7/ });
  },
);

test.serial('all nodes killed at once come back with everything that was written (FAILURES 12)', async (t) => {
  t.timeout(180_000);
  const start = lab(t);
  const first = await start(['--pre-split', 'm', ...portOf(0)]);
  const join = ['--join', `127.0.0.1:${first.peerPort}`];
  const others = [1, 2].map((i) => start([...join, ...portOf(i), '--node-name', `b${i}`, '--locality', `rack=${i}`]));
  const before = [first, ...(await Promise.all(others))];
  await answerOf(
    'three voters of each range',
    async () => (await (await fetch(`http://127.0.0.1:${first.httpPort}/status`)).json()) as Replicated,
    ({ ranges }) => ranges.every(({ replicas }) => replicas.filter(({ role }) => role === 'voter').length === 3),
  );
  {
    await using kv = await connect(`skerry://127.0.0.1:${first.port}`, { as: 'text', timeoutMs: 30_000 });
    for (let i = 0; i < 50; i++) await kv.set(`${i % 2 === 0 ? 'a' : 'z'}${i}`, String(i));
  }
  await Promise.all(before.map((node) => node.end('SIGKILL')));
  // Names and places are not said again, and stay.
  const after = await Promise.all(before.map(({ dir }, i) => start(portOf(i), dir)));
  for (const node of after) {
    await using kv = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text', timeoutMs: 30_000 });
    for (let i = 0; i < 50; i++) t.is(await kv.get(`${i % 2 === 0 ? 'a' : 'z'}${i}`), String(i));
    const { nodes } = await kv.cluster();
    t.deepEqual(
      nodes
        .slice(1)
        .map(({ name, locality }) => `${name} ${locality}`)
        .sort(),
      ['b1 rack=1', 'b2 rack=2'],
    );
  }
});

test.serial(
  'what is left of a cluster says whom it cannot reach, and calls nobody alive that it does not hear of',
  async (t) => {
    const start = lab(t);
    // Two ranges, so that a read of several keys asks both.
    const first = await start(['--node-name', 'n1', '--peer-port', '0', '--pre-split', 'b']);
    const join = ['--join', `127.0.0.1:${first.peerPort}`];
    const others = await Promise.all([start(join), start(join)]);
    await answerOf(
      'three voters',
      async () => (await (await fetch(`http://127.0.0.1:${first.httpPort}/status`)).json()) as Replicated,
      ({ ranges }) => ranges.every(({ replicas }) => replicas.filter(({ role }) => role === 'voter').length === 3),
    );
    await Promise.all(others.map((node) => node.end('SIGKILL')));
    await using kv = await connect(`skerry://127.0.0.1:${first.port}`, { as: 'text' });
    const error = await t.throwsAsync(kv.get('a', { consistency: 'linearizable' }), { code: 'KV_TIMEOUT' });
    t.regex(
      String(error?.message),
      /range 1 has had no leader .* for \d\.\d s, majority of \[1, 2, 3\] unreachable: \[2, 3\]/,
    );
    t.is(await kv.get('a', { consistency: 'stale' }), undefined);
    const hurry = { timeoutMs: 1500 };
    await t.throwsAsync(kv.get('a', hurry), { code: 'KV_TIMEOUT', message: /majority of/ });
    await t.throwsAsync(kv.getMany(['a', 'b'], hurry), { code: 'KV_TIMEOUT', message: /majority of/ });
    await t.throwsAsync(kv.set('a', '1', hurry), { message: /majority of/ });
    const server = ['--server', `127.0.0.1:${first.port}`];
    const table = await skerry('node', 'list', ...server);
    t.regex(table, /^1 +n1 +ACTIVE +alive +self/m);
    t.regex(table, /^2 .* ACTIVE +unknown +lost/m);
    await t.throwsAsync(skerry('node', 'remove', '2', ...server), {
      message: /cannot be reached from here, but .* says/,
    });
  },
);

test.serial('an embedded store neither joins a cluster nor opens the folder of one of its nodes', async (t) => {
  const start = lab(t);
  const first = await start([]);
  const second = await start(['--join', `127.0.0.1:${first.peerPort}`]);
  await until(first, ({ nodes }) => nodes.length === 2);
  await second.end('SIGKILL');
  await t.throwsAsync(open(second.dir), { message: /belongs to node 2 of a cluster: run it with skerry serve/ });
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-embedded-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const settings = { cluster: { join: [`127.0.0.1:${first.peerPort}`] } };
  await t.throwsAsync(open(dir, { settings }), { message: /joins no cluster/ });
});

test.serial('who does not belong to the cluster does not start, and says why (FAILURES 17)', async (t) => {
  const start = lab(t);
  const first = await start(['--node-name', 'n1']);
  const join = ['--join', `127.0.0.1:${first.peerPort}`];
  const second = await start(['--node-name', 'n2', ...join]);
  const refused = async (pattern: RegExp, flags: readonly string[], dir?: string): Promise<void> => {
    await t.throwsAsync(start(flags, dir), { message: pattern });
  };
  await refused(/node 1 has the name n1/, ['--node-name', 'n1', ...join]);
  await refused(/leave --node-id out/, ['--node-id', '7', ...join]);

  await second.end('SIGKILL');
  await refused(/belongs to node 2, and this node was started as 3/, ['--node-id', '3'], second.dir);
  const old = await mkdtemp(path.join(tmpdir(), 'skerry-copy-'));
  t.teardown(() => rm(old, { recursive: true, force: true }));
  await cp(second.dir, old, { recursive: true });
  const again = await start([...join], second.dir);
  await until(again, ({ nodes }) => nodes[1]?.addresses.nativePort === again.port);
  await again.end('SIGKILL');

  const copy = await start(join, old).catch((error: Error) => error);
  const said = copy instanceof Error ? copy.message : await endOf(copy);
  t.regex(said, /it is an old copy/);

  const file = path.join(old, 'node.json');
  const identity = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...identity, incarnation: 90, storeId: 'another-disk' }));
  const lost = await start(join, old).catch((error: Error) => error);
  t.regex(lost instanceof Error ? lost.message : await endOf(lost), /lost its disk/);
});

/** What a node said that ends by itself. */
async function endOf(node: NodeProcess): Promise<string> {
  await node.exited;
  return node.stderr();
}
