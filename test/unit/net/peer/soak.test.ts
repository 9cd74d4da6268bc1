/** Three nodes with a proxy on each way between two of them: faults of all kinds from a seed, then a time to heal. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { RangeId } from '../../../../src/core/brands.ts';
import type { Prng } from '../../../../src/core/prng.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { PeerNode, Ways } from '../../../support/peer-harness.ts';
import { append, startNode, until } from '../../../support/peer-harness.ts';
import type { TcpProxy } from '../../../support/tcp-proxy.ts';
import { createTcpProxy } from '../../../support/tcp-proxy.ts';

const NODES = [1, 2, 3];
const QUEUE_BYTES_MAX = 256 * 1024;

interface Way {
  readonly from: PeerNode;
  readonly to: PeerNode;
  readonly proxy: TcpProxy;
  sent: number;
}

async function startCluster(t: ExecutionContext, prng: Prng): Promise<Way[]> {
  const direct: Ways = new Map();
  const waysOf = new Map(NODES.map((node) => [node, new Map() as Ways]));
  const nodes: PeerNode[] = [];
  for (const node of NODES) {
    const ways = waysOf.get(node) as Ways;
    nodes.push(await startNode(t, direct, node, { ways, mesh: { queueBytesMax: QUEUE_BYTES_MAX } }));
  }
  const ways: Way[] = [];
  for (const from of nodes) {
    for (const to of nodes) {
      if (from === to) continue;
      const proxy = await createTcpProxy({ host: '127.0.0.1', port: to.port }, prng.fork());
      t.teardown(() => proxy.close());
      waysOf.get(from.nodeId)?.set(`${to.nodeId}.0`, { host: '127.0.0.1', port: proxy.port });
      ways.push({ from, to, proxy, sent: 0 });
    }
  }
  return ways;
}

/** What a message carries says who sent it and its number, so that a wrong one is known. */
function dataOf(from: PeerNode, n: number): Buffer[] {
  return [Buffer.from(`${from.nodeId}:${n}`), Buffer.alloc((n * 7919) % 3000, n)];
}

function sendOne(way: Way): void {
  const n = ++way.sent;
  way.from.mesh.send(way.to.nodeId as unknown as RangeId, append(way.from, way.to, n, dataOf(way.from, n)));
}

function disturb(prng: Prng, { proxy }: Way): void {
  const direction = prng.chance(0.5) ? proxy.toTarget : proxy.toClient;
  const kind = prng.below(9);
  if (kind === 0) proxy.reset();
  else if (kind === 1) direction.hole = true;
  else if (kind === 2) direction.corruptNext = true;
  else if (kind === 3) direction.delayMs = prng.below(20);
  else if (kind === 4) direction.jitterMs = prng.below(20);
  else if (kind === 5) direction.pieceBytes = 1 + prng.below(50);
  else if (kind === 6) direction.bytesPerSecond = 50_000;
  else if (kind === 7) proxy.refuse = true;
  else heal(proxy);
}

function heal(proxy: TcpProxy): void {
  for (const direction of [proxy.toTarget, proxy.toClient]) {
    direction.delayMs = 0;
    direction.jitterMs = 0;
    direction.pieceBytes = 0;
    direction.bytesPerSecond = 0;
    direction.corruptNext = false;
    direction.hole = false;
  }
  proxy.refuse = false;
}

type Received = PeerNode['received'][number];

function receivedOf({ from, to }: Way): Received[] {
  const { from: sender } = append(from, to, 0);
  return to.received.filter(({ message }) => message.from === sender);
}

function numbersOf(way: Way): number[] {
  return receivedOf(way).map(({ message }) => message.index);
}

function isWhole({ from, to }: Way, { rangeId, message }: Received): boolean {
  const expected = dataOf(from, message.index);
  const isSame = message.entries.every(({ data }, i) => expected[i]?.equals(data) === true);
  return (rangeId as number) === (to.nodeId as number) && isSame && message.entries.length === expected.length;
}

for (const seed of [1, 2, 3]) {
  test(`whatever happens between nodes, messages come unchanged, once and in order; healed, all come (seed ${seed})`, async (t) => {
    const prng = createPrng(seed);
    const ways = await startCluster(t, prng);
    for (let step = 0; step < 300; step++) {
      for (const way of ways) for (let i = prng.below(10); i > 0; i--) sendOne(way);
      if (prng.chance(0.2)) disturb(prng, ways[prng.below(ways.length)] as Way);
      if (prng.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, prng.below(10)));
      for (const { from } of ways) t.true(from.mesh.counters.queuedBytes <= 2 * (QUEUE_BYTES_MAX + 3200));
    }
    for (const { proxy } of ways) heal(proxy);
    await until(() => {
      for (const way of ways) sendOne(way);
      return ways.every(({ from }) => from.mesh.status().every(({ state }) => state === 'open'));
    });
    for (const way of ways) sendOne(way);
    await until(() => ways.every((way) => numbersOf(way).at(-1) === way.sent));
    for (const way of ways) {
      const numbers = numbersOf(way);
      t.true(
        numbers.every((n, i) => i === 0 || n > (numbers[i - 1] as number)),
        'in order, and none twice',
      );
    }
    for (const way of ways) {
      t.deepEqual(
        receivedOf(way).filter((received) => !isWhole(way, received)),
        [],
      );
      await until(() => way.from.mesh.counters.queuedBytes === 0);
    }
  });
}
