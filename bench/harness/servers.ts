/** The servers that are measured, with the settings they are measured with. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { probeOverHttp } from '../../src/bench/node-probe.ts';
import { LAUNCHER } from './package.ts';
import type { Subject } from './processes.ts';
import { freePort } from '../../test/support/free-port.ts';
import { makeBenchDir, startSubject } from './processes.ts';

/** Cuts the keys of redis-benchmark in half, so that half of what a plain client asks one worker for lives in the other. */
export const PRE_SPLIT_KEY = 'key:000000500000';

const CLUSTER_MS = 120_000;
const POLL_MS = 200;
const SETTLE_MS = 5000;

export interface SkerryNode extends Subject {
  readonly host: string;
  readonly port: number;
  readonly respPort: number;
  readonly httpPort: number;
  readonly peerPort: number;
  readonly dir: string;
  /** Of `skerry serve`, to start it again with. */
  readonly flags: readonly string[];
}

/** A node with its defaults and free ports. `flags`: of `skerry serve`; `dir`: of an earlier node, default a new one. */
export async function startSkerry(
  flags: readonly string[] = ['--pre-split', PRE_SPLIT_KEY],
  dir = makeBenchDir(),
): Promise<SkerryNode> {
  const ports = ['--port', '0', '--resp-port', '0', '--http-port', '0', '--peer-port', '0'];
  const command = [process.execPath, LAUNCHER, 'serve', '--json', '--data-dir', 'data', ...ports, ...flags] as const;
  const subject = await startSubject('Skerry', [...command], dir, (printed) => /^\{.*"respPort".*\}$/m.test(printed));
  const line = /^\{.*"respPort".*\}$/m.exec(subject.printed)?.[0] as string;
  const { host, port, respPort, httpPort, peerPort } = JSON.parse(line) as SkerryNode;
  return { ...subject, host, port, respPort, httpPort, peerPort, dir, flags };
}

/**
 * A cluster of `count` nodes on this machine, cut at the keys, named node1, node2 and so on; `stack` ends them. Resolves when
 * every node has a replica of each range, as far as there are to be (three).
 */
export async function startCluster(
  count: number,
  splitKeys: readonly string[],
  stack: AsyncDisposableStack,
): Promise<readonly SkerryNode[]> {
  const first = await startSkerry(['--pre-split', splitKeys.join(','), ...(await nodeFlags(1))]);
  stack.defer(() => first.stop());
  const nodes = [first];
  for (let i = 2; i <= count; i++) {
    // One after another, so that they are numbered as they are named.
    // oxlint-disable-next-line no-await-in-loop
    const node = await startSkerry([...(await nodeFlags(i)), '--join', `${first.host}:${first.peerPort}`]);
    stack.defer(() => node.stop());
    nodes.push(node);
  }
  for (const node of nodes) {
    // oxlint-disable-next-line no-await-in-loop
    await untilRanges(node, splitKeys.length + 1);
  }
  // Replicas begin as learners, and leaders move to where there are fewer.
  if (count > 1) await sleep(SETTLE_MS);
  return nodes;
}

/** Ports that are the same when the node is started again. */
export async function nodeFlags(number: number): Promise<readonly string[]> {
  const names = ['--port', '--resp-port', '--http-port', '--peer-port'];
  const ports = await Promise.all(names.map(async (name) => [name, String(await freePort())]));
  return ['--node-name', `node${number}`, ...ports.flat()];
}

/** Resolves when the node has replicas of so many ranges. */
export async function untilRanges(node: SkerryNode, ranges: number): Promise<void> {
  const probe = probeOverHttp(`${node.host}:${node.httpPort}`);
  const endMs = performance.now() + CLUSTER_MS;
  // oxlint-disable-next-line no-await-in-loop
  while ((await probe()).ranges < ranges) {
    if (performance.now() > endMs) throw new Error('the node does not get its replicas');
    // oxlint-disable-next-line no-await-in-loop
    await sleep(POLL_MS);
  }
}

interface RangePlaces {
  readonly ranges: readonly {
    readonly leader: number;
    readonly replicas: readonly { readonly nodeId: number; readonly role: string }[];
  }[];
}

/**
 * Resolves when `ranges` ranges have a voter on each of `replicas` nodes and nobody else, at least `least` of them on node
 * `nodeId`, by the word of `node`: nothing is on its way any more.
 */
export async function untilPlaced(
  node: SkerryNode,
  { ranges, replicas, nodeId, least }: Readonly<Record<'ranges' | 'replicas' | 'nodeId' | 'least', number>>,
): Promise<void> {
  const endMs = performance.now() + CLUSTER_MS;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop
    const response = await fetch(`http://${node.host}:${node.httpPort}/status`);
    // oxlint-disable-next-line no-await-in-loop
    const { ranges: places } = (await response.json()) as RangePlaces;
    const settled = places.filter(
      (range) => range.replicas.length === replicas && range.replicas.every(({ role }) => role === 'voter'),
    );
    const there = settled.filter((range) => range.replicas.some((replica) => replica.nodeId === nodeId));
    if (settled.length === ranges && there.length >= least) return;
    if (performance.now() > endMs) throw new Error('the node does not get its replicas');
    // oxlint-disable-next-line no-await-in-loop
    await sleep(POLL_MS);
  }
}

export interface RedisServer extends Subject {
  readonly respPort: number;
}

/** A Redis that promises what Skerry promises: each command is on the disk before its reply. */
export async function startRedis(): Promise<RedisServer> {
  const dir = makeBenchDir();
  const respPort = await freePort();
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
  const subject = await startSubject(
    'Redis',
    ['redis-server', '--port', `${respPort}`, '--bind', '127.0.0.1', '--dir', dir, ...durable],
    dir,
    (printed) => printed.includes('Ready to accept connections'),
  );
  return { ...subject, respPort };
}

export interface EtcdMember extends Subject {
  readonly port: number;
}

function url(port: number): string {
  return `http://127.0.0.1:${port}`;
}

function etcdServes(printed: string): boolean {
  return printed.includes('ready to serve client requests');
}

/** A cluster of `count` members on this machine, each with its defaults. Resolves when all of them serve. */
export async function startEtcd(count: number): Promise<readonly EtcdMember[]> {
  const members = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      return { name: `member${i}`, dir: makeBenchDir(), port: await freePort(), peerPort: await freePort() };
    }),
  );
  const cluster = members.map(({ name, peerPort }) => `${name}=${url(peerPort)}`).join(',');
  return await Promise.all(
    members.map(async ({ name, dir, port, peerPort }) => {
      const flags = {
        name,
        'data-dir': dir,
        'listen-client-urls': url(port),
        'advertise-client-urls': url(port),
        'listen-peer-urls': url(peerPort),
        'initial-advertise-peer-urls': url(peerPort),
        'initial-cluster': cluster,
      };
      const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
      return { ...(await startSubject('etcd', ['etcd', ...args], dir, etcdServes)), port };
    }),
  );
}

/** The versions of the programs on the PATH that are measured; null when one is not installed. */
export const versions = {
  redis: (): string | null => versionOf('redis-server', /v=([\d.]+)/),
  redisBenchmark: (): string | null => versionOf('redis-benchmark', /([\d.]+)/),
  etcd: (): string | null => versionOf('etcd', /etcd Version: ([\d.]+)/),
};

function versionOf(program: string, pattern: RegExp): string | null {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return status === 0 ? (pattern.exec(stdout)?.[1] ?? null) : null;
}
