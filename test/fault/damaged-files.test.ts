/**
 * One of three nodes finds its files damaged or missing: it says so, falls silent where it must, and is made whole by the others;
 * everything that was acknowledged is there in the end.
 */
import { readdir, open } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';

interface NodeStatus {
  readonly ranges: readonly {
    readonly rangeId: number;
    readonly replicas: readonly { readonly nodeId: number; readonly role: string }[];
  }[];
  readonly damaged: readonly { readonly rangeId: number; readonly what: string }[];
}

async function statusOf({ httpPort }: NodeProcess): Promise<NodeStatus> {
  return (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as NodeStatus;
}

const isWhole = ({ ranges, damaged }: NodeStatus): boolean =>
  damaged.length === 0 &&
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
    await trio.until(0, isWhole);
    return trio;
  }

  dir(i: number): string {
    return this.#dirs[i] as string;
  }

  async startNode(i: number): Promise<void> {
    const forms = i === 0 ? ['--bootstrap', '--pre-split', 'm'] : ['--join', `127.0.0.1:${this.nodes[0]?.peerPort}`];
    const flags = ['--workers', '1', '--wal-segment', '16mb', '--replace-after-seconds', '3600', ...forms];
    const node = await startNode(this.dir(i), flags);
    this.nodes[i] = node;
    this.#t.teardown(async () => {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    });
  }

  async until(i: number, condition: (status: NodeStatus) => boolean): Promise<void> {
    while (!condition(await statusOf(this.nodes[i] as NodeProcess)));
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

test('a flipped bit in the middle of a node’s log: the node starts, is made whole by the others, and nothing is lost (FAILURES 15)', async (t) => {
  t.timeout(240_000);
  const trio = await Trio.start(t);
  await trio.write(200, 200);
  await trio.nodes[2]?.end('SIGKILL');
  await trio.write(50, 200);
  const [segment] = await segmentsIn(trio.dir(2));
  await flipBit(segment as string, 8192 + 3 * 4096 + 40);
  await trio.startNode(2);
  t.regex(trio.nodes[2]?.stderr() ?? '', /the write-ahead log is damaged/);
  await trio.until(2, isWhole);
  await trio.until(0, isWhole);
  await trio.readBack(2);
  const names = await readdir(path.join(trio.dir(2), 'wal'));
  t.true(
    names.some((name) => name.startsWith('damaged-')),
    'the damaged log is kept aside',
  );
  // The node that was made whole carries its part: with one of the others gone, it is needed for every write.
  await trio.nodes[1]?.end('SIGKILL');
  await trio.write(20, 100);
  await trio.readBack(2);
});
