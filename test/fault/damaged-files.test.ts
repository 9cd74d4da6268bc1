/**
 * One of three nodes finds its files damaged or missing: it says so, falls silent where it must, and is made whole by the others;
 * everything that was acknowledged is there in the end.
 */
import { access, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { ClusterStatus, RangeRecovery } from '../../src/index.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

interface NodeStatus {
  readonly ranges: readonly {
    readonly rangeId: number;
    readonly replicas: readonly { readonly nodeId: number; readonly role: string }[];
  }[];
  readonly cluster: ClusterStatus;
}

async function statusOf({ httpPort }: NodeProcess): Promise<NodeStatus> {
  return (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as NodeStatus;
}

const isWhole = ({ ranges, cluster }: NodeStatus): boolean =>
  cluster.damaged.length === 0 &&
  ranges.length === 2 &&
  ranges.every(({ replicas }) => replicas.length === 3 && replicas.every(({ role }) => role === 'voter'));

class Trio {
  readonly #t: ExecutionContext;
  readonly #dirs: string[] = [];
  readonly nodes: NodeProcess[] = [];
  readonly written = new Map<string, string>();

  constructor(t: ExecutionContext) {
    this.#t = t;
  }

  static async start(t: ExecutionContext): Promise<Trio> {
    const trio = new Trio(t);
    for (let i = 0; i < 3; i++) {
      trio.#dirs.push(path.join(await temporaryDir(t), 'data'));
      await trio.startNode(i);
    }
    await trio.untilWhole();
    return trio;
  }

  dir(i: number): string {
    return this.#dirs[i] as string;
  }

  async startNode(i: number): Promise<void> {
    const isFirst = this.nodes.length === 0;
    const seeds = this.nodes.map(({ peerPort }) => `127.0.0.1:${peerPort}`).join(',');
    const forms = isFirst ? ['--bootstrap', '--pre-split', 'm'] : ['--join', seeds];
    const flags = ['--workers', '1', '--wal-segment', '16mb', '--replace-after-seconds', '3600', ...forms];
    const node = await startNode(this.dir(i), flags);
    this.nodes[i] = node;
    this.#t.teardown(async () => {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    });
  }

  async until(i: number, condition: (status: NodeStatus) => boolean): Promise<void> {
    await answerOf(`${condition}`, () => statusOf(this.nodes[i] as NodeProcess), condition);
  }

  /** Each range has its three voters, and no node misses anything. */
  async untilWhole(): Promise<void> {
    for (let i = 0; i < 3; i++) await this.until(i, isWhole);
  }

  async write(count: number, valueBytes: number): Promise<void> {
    await using store = await connect(`skerry://127.0.0.1:${this.nodes[0]?.port}`, { as: 'text' });
    for (let i = 0; i < count; i++) {
      const key = `${i % 2 === 0 ? 'a' : 'z'}${i}`;
      const value = `${this.written.size}-`.padEnd(valueBytes, 'x');
      await store.set(key, value);
      this.written.set(key, value);
    }
  }

  /** All that was acknowledged can be read by way of this node. */
  async readBack(i: number): Promise<void> {
    await using store = await connect(`skerry://127.0.0.1:${this.nodes[i]?.port}`, { as: 'text', timeoutMs: 30_000 });
    for (const [key, value] of this.written) this.#t.is(await store.get(key), value, key);
  }
}

const segmentsIn = async (dir: string): Promise<string[]> => {
  const names = await readdir(path.join(dir, 'wal'));
  return names.filter((name) => /^\d+\.wal$/.test(name)).map((name) => path.join(dir, 'wal', name));
};

async function flipBit(file: string, offset: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, offset);
    byte[0] = (byte[0] as number) ^ 1;
    await handle.write(byte, 0, 1, offset);
  } finally {
    await handle.close();
  }
}

/** Files under the node's data folder that were set aside. */
const asideIn = async (dir: string): Promise<string[]> => {
  const names = await readdir(dir, { recursive: true });
  return names.filter((name) => /damaged-\d+$/.test(name));
};

const checkpointOf = async (dir: string, rangeId: number): Promise<string> => {
  const folder = path.join(dir, 'checkpoints', `range-${rangeId}`);
  const name = (await readdir(folder)).findLast((found) => found.endsWith('.ckpt'));
  return path.join(folder, name as string);
};

test('a node’s damaged log: it starts, is made whole by the others, and nothing is lost (FAILURES 15)', async (t) => {
  t.timeout(240_000);
  const trio = await Trio.start(t);
  await trio.write(200, 200);
  await trio.nodes[2]?.end('SIGKILL');
  await trio.write(50, 200);
  // A bit in the middle, as a disk flips it.
  const [segment] = await segmentsIn(trio.dir(2));
  await flipBit(segment as string, 8192 + 3 * 4096 + 40);
  await trio.startNode(2);
  t.regex(trio.nodes[2]?.stderr() ?? '', /the write-ahead log is damaged/);
  await trio.untilWhole();
  await trio.readBack(2);
  t.is((await asideIn(trio.dir(2))).filter((name) => name.startsWith('wal')).length, 1, 'the log is kept aside');
  // The node carries its part again: with one of the others gone, it is needed for every write.
  await trio.nodes[1]?.end('SIGKILL');
  await trio.write(20, 100);
  await trio.readBack(2);

  // A segment that is gone, on a node that leads some of the ranges.
  await trio.startNode(1);
  await trio.untilWhole();
  await trio.nodes[0]?.end('SIGKILL');
  const [oldest] = await segmentsIn(trio.dir(0));
  await rm(oldest as string);
  await trio.startNode(0);
  t.regex(trio.nodes[0]?.stderr() ?? '', /the file is missing/);
  await trio.untilWhole();
  await trio.readBack(0);
});

test('a node whose log is gone, folder and all, is made whole by the others: it does not begin a new one as if it had never spoken (FAILURES 15, 17)', async (t) => {
  t.timeout(240_000);
  const trio = await Trio.start(t);
  await trio.write(60, 200);
  await trio.nodes[2]?.end('SIGKILL');
  await trio.write(10, 200);
  await rm(path.join(trio.dir(2), 'wal'), { recursive: true });
  await trio.startNode(2);
  t.regex(trio.nodes[2]?.stderr() ?? '', /the write-ahead log is damaged[^\n]*the log is missing/);
  await trio.untilWhole();
  await trio.readBack(2);
  await trio.nodes[1]?.end('SIGKILL');
  await trio.write(10, 100);
  // The log that it has begun is the one that is expected now.
  await trio.nodes[2]?.end('SIGKILL');
  await trio.startNode(2);
  t.notRegex(trio.nodes[2]?.stderr() ?? '', /damaged/);
  await trio.readBack(2);
});

test('a node’s damaged checkpoint: that range alone is made anew, and nothing is lost (FAILURES 15)', async (t) => {
  t.timeout(240_000);
  const trio = await Trio.start(t);
  await trio.write(50, 100);
  await trio.nodes[1]?.end('SIGTERM');
  await flipBit(await checkpointOf(trio.dir(1), 2), 70);
  await trio.startNode(1);
  t.regex(trio.nodes[1]?.stderr() ?? '', /a range of this node is damaged[^\n]*rangeId=2 /);
  await trio.untilWhole();
  await trio.readBack(1);
  const aside = await asideIn(trio.dir(1));
  t.is(aside.length, 1);
  t.regex(aside[0] as string, /^checkpoints\/range-2\//, 'nothing else is set aside');

  // A checkpoint that is gone altogether is missed.
  await trio.nodes[1]?.end('SIGKILL');
  await rm(await checkpointOf(trio.dir(1), 1));
  await trio.startNode(1);
  t.regex(trio.nodes[1]?.stderr() ?? '', /rangeId=1 [^\n]*the checkpoint is missing/);
  await trio.untilWhole();
  await trio.readBack(1);
});

test('a node that is alone with its ranges refuses to start on damaged files, and changes nothing', async (t) => {
  t.timeout(120_000);
  const dir = path.join(await temporaryDir(t), 'data');
  const node = await startNode(dir, ['--workers', '1']);
  {
    await using store = await connect(`skerry://127.0.0.1:${node.port}`);
    for (let i = 0; i < 50; i++) await store.set(`key${i}`, 'value');
  }
  await node.end('SIGKILL');
  const checkpoint = await checkpointOf(dir, 1);
  await flipBit(checkpoint, 70);
  await t.throwsAsync(() => startNode(dir, ['--workers', '1']), { message: /The checkpoint .* is damaged/ });
  await flipBit(checkpoint, 70);
  const [segment] = await segmentsIn(dir);
  await flipBit(segment as string, 8192 + 3 * 4096 + 40);
  await t.throwsAsync(() => startNode(dir, ['--workers', '1']), { message: /The write-ahead log is damaged/ });
  t.deepEqual(await asideIn(dir), []);
  await flipBit(segment as string, 8192 + 3 * 4096 + 40);
  for (const [name, message] of [
    ['wal', /manifest: the log is missing\. .*node\.json/],
    ['checkpoints', /checkpoints is missing/],
  ] as const) {
    await rename(path.join(dir, name), path.join(dir, 'elsewhere'));
    await t.throwsAsync(() => startNode(dir, ['--workers', '1']), { message });
    await t.throwsAsync(() => access(path.join(dir, name)), { code: 'ENOENT' });
    await rename(path.join(dir, 'elsewhere'), path.join(dir, name));
  }
  const again = await startNode(dir, ['--workers', '1']);
  t.is(await again.end('SIGTERM'), 0);
});

test('a range that has lost its majority for good is brought back by force, and by nothing else', async (t) => {
  t.timeout(240_000);
  const trio = await Trio.start(t);
  await trio.write(40, 100);
  const recover = async (i: number, isForced: boolean, rangeId: number): Promise<RangeRecovery> => {
    await using store = await connect(`skerry://127.0.0.1:${trio.nodes[i]?.port}`);
    return await store.recoverRange(rangeId, { force: isForced, timeoutMs: 10_000 });
  };
  await t.throwsAsync(() => recover(2, true, 1), { message: /is led by node|elects a leader by itself/ });
  await trio.nodes[0]?.end('SIGKILL');
  await t.throwsAsync(() => recover(2, true, 1), { message: /is led by node|elects a leader by itself/ });
  await trio.nodes[1]?.end('SIGKILL');
  const seen = await recover(2, false, 1);
  t.like(seen, { rangeId: 1, voters: [1, 2, 3], isRecovered: false });
  t.deepEqual(
    seen.survivors.map(({ nodeId }) => nodeId),
    [3],
  );
  for (const rangeId of [1, 2]) {
    // The lost leader counts until the survivor has noticed.
    const outcome = await answerOf(
      'the survivor to go on alone',
      () => recover(2, true, rangeId).catch(String),
      (answer) => typeof answer !== 'string',
    );
    t.like(outcome, { isRecovered: true });
  }
  await trio.readBack(2);
  await using store = await connect(`skerry://127.0.0.1:${trio.nodes[2]?.port}`, { as: 'text', timeoutMs: 30_000 });
  await store.set('a-new', 'value');
  t.is(await store.get('a-new'), 'value');
});

test('the scrubber finds damage while the node runs, and the node repairs it from its memory', async (t) => {
  t.timeout(240_000);
  const dir = path.join(await temporaryDir(t), 'data');
  const flags = ['--workers', '1', '--wal-segment', '16mb', '--scrub-rate', '1gb', '--scrub-interval-seconds', '1'];
  const node = await startNode(dir, flags);
  t.teardown(() => node.child.kill('SIGKILL'));
  const value = 'x'.repeat(100_000);
  {
    await using store = await connect(`skerry://127.0.0.1:${node.port}`, { as: 'text' });
    for (let i = 0; i < 200; i++) await store.set(`key${i}`, value);
  }
  await flipBit(await checkpointOf(dir, 1), 70);
  const [sealed] = await segmentsIn(dir);
  await flipBit(sealed as string, 8192 + 100_000);
  await answerOf(
    'both files to be set aside',
    () => asideIn(dir),
    (aside) => ['.ckpt.', '.wal.'].every((kind) => aside.some((name) => name.includes(kind))),
  );
  t.regex(node.stderr(), /a file is damaged/);
  await node.end('SIGKILL');
  const again = await startNode(dir, flags);
  t.teardown(() => again.child.kill('SIGKILL'));
  await using store = await connect(`skerry://127.0.0.1:${again.port}`, { as: 'text' });
  for (let i = 0; i < 200; i++) t.is((await store.get(`key${i}`))?.length, value.length);
});
