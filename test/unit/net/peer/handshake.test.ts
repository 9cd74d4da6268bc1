import test from 'ava';
import type { ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { PeerFrameReader } from '../../../../src/codec/peer/frame-reader.ts';
import {
  beginPeerFrame,
  endPeerFrame,
  PEER_HELLO,
  PEER_RAFT,
  PEER_REFUSED,
  PEER_WELCOME,
} from '../../../../src/codec/peer/frame.ts';
import type { Hello } from '../../../../src/codec/peer/handshake.ts';
import { PURPOSE_DATA, readRefusal, writeHello } from '../../../../src/codec/peer/handshake.ts';
import type { NodeId, RangeId } from '../../../../src/core/brands.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { PeerNode, StartOptions, Ways } from '../../../support/peer-harness.ts';
import { append, CLUSTER, startNode, storeOf, TICK_MS, until } from '../../../support/peer-harness.ts';

const RANGE = 5 as RangeId;

/** Node 1 dials node 2 and is refused, again and again: says how it was told. */
async function refused(t: ExecutionContext, dialler: StartOptions, listener: StartOptions): Promise<PeerNode> {
  const ways: Ways = new Map();
  const two = await startNode(t, ways, 2, listener);
  const one = await startNode(t, ways, 1, {
    ...dialler,
    mesh: { timings: { tickMs: TICK_MS, backoffMinMs: 1, backoffMaxMs: 1, refusedBackoffMs: 10 }, ...dialler.mesh },
  });
  await until(() => {
    one.mesh.send(RANGE, append(one, two, 1));
    return one.mesh.counters.breaks >= 4;
  });
  t.is(two.received.length, 0);
  t.deepEqual(one.unreachable, ['2.0']);
  t.is(one.warnings.length, 1, 'each reason is said once');
  return one;
}

test('a node of another cluster is refused, and both clusters are named', async (t) => {
  const one = await refused(t, { clusterId: 'other-cluster' }, {});
  t.regex(one.warnings[0] ?? '', /node 1 belongs to cluster other-cluster and node 2 to cluster 5f0c1a52/);
});

test('FAILURES 17: a node whose data was lost, and who comes back under its old id, is refused', async (t) => {
  const known = new Map([[1, storeOf(1)]]);
  const one = await refused(
    t,
    { storeId: 'a-new-disk' },
    {
      mesh: {
        refusePeer: (nodeId, storeId) =>
          known.get(nodeId) === storeId ? null : `node ${nodeId} has store ${known.get(nodeId)}, not ${storeId}`,
      },
    },
  );
  t.regex(one.warnings[0] ?? '', /node 1 has store store-of-node-1, not a-new-disk/);
});

test('a node that was removed is refused by those who know it', async (t) => {
  const one = await refused(t, {}, { mesh: { refusePeer: (nodeId) => `node ${nodeId} was removed from the cluster` } });
  t.regex(one.warnings[0] ?? '', /node 1 was removed from the cluster/);
});

test('the dialler does not talk to a removed node either', async (t) => {
  const one = await refused(t, { mesh: { refusePeer: (nodeId) => `node ${nodeId} was removed` } }, {});
  t.regex(one.warnings[0] ?? '', /node 2 was removed/);
});

test('another worker, or another node, at an old address is noticed', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const two = await startNode(t, ways, 2, { workerIndex: 1 });
  ways.set('2.0', { host: '127.0.0.1', port: two.port });
  ways.set('3.0', { host: '127.0.0.1', port: two.port });
  one.mesh.send(RANGE, append(one, '2.0', 1));
  one.mesh.send(RANGE, append(one, '3.0', 1));
  await until(() => one.warnings.length === 2);
  const said = one.warnings.join('\n');
  t.regex(said, /worker 0 of node 2 was wanted and this is worker 1 of node 2/);
  t.regex(said, /worker 0 of node 3 was wanted and this is worker 1 of node 2/);
  t.is(two.received.length, 0);
});

test('two nodes with one id, or a node that is led to itself, are told apart', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const twin = await startNode(t, new Map(), 1, { storeId: 'twin' });
  ways.set('2.0', { host: '127.0.0.1', port: one.port });
  ways.set('3.0', { host: '127.0.0.1', port: twin.port });
  one.mesh.send(RANGE, append(one, '2.0', 1));
  one.mesh.send(RANGE, append(one, '3.0', 1));
  await until(() => one.warnings.length === 2);
  const said = one.warnings.join('\n');
  t.regex(said, /node 1 was led to itself/);
  t.regex(said, /says that it is node 1 too, with store store-of-node-1 instead of twin/);
});

/** A connection to a node's peer port that the test speaks over by hand. */
async function connect(t: ExecutionContext, node: PeerNode): Promise<Socket> {
  const socket = createConnection({ port: node.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

function frameOf(kind: number, write: (out: ReturnType<typeof createByteWriter>) => void): Buffer {
  const out = createByteWriter();
  const start = beginPeerFrame(out);
  write(out);
  endPeerFrame(out, start, kind);
  return out.buffer.subarray(0, out.length);
}

function helloOf(node: PeerNode, change: Partial<Hello> = {}): Buffer {
  return frameOf(PEER_HELLO, (out) =>
    writeHello(out, {
      versionMin: 1,
      versionMax: 1,
      purpose: PURPOSE_DATA,
      dialler: { clusterId: CLUSTER, nodeId: 7 as NodeId, workerIndex: 0, storeId: storeOf(7) },
      targetNodeId: node.nodeId,
      targetWorker: node.workerIndex,
      ...change,
    }),
  );
}

/** The kind and payload of the next frame. */
function answerOf(socket: Socket): Promise<{ kind: number; payload: Buffer }> {
  return new Promise((resolve) => {
    const reader = new PeerFrameReader(4096, (kind, source, start, end) =>
      resolve({ kind, payload: Buffer.from(source.subarray(start, end)) }),
    );
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
  });
}

test('a node that speaks no common version is refused with both versions', async (t) => {
  const two = await startNode(t, new Map(), 2);
  const socket = await connect(t, two);
  socket.write(helloOf(two, { versionMin: 2, versionMax: 4 }));
  const { kind, payload } = await answerOf(socket);
  t.is(kind, PEER_REFUSED);
  t.regex(readRefusal(payload, 0, payload.length).reason, /speaks version 1 .* asked for 2 to 4/);
  const newer = await connect(t, two);
  newer.write(helloOf(two, { versionMin: 1, versionMax: 4 }));
  t.is((await answerOf(newer)).kind, PEER_WELCOME);
});

test('a dialler whose greeting trickles in is welcomed, and told nothing before that', async (t) => {
  const two = await startNode(t, new Map(), 2);
  const socket = await connect(t, two);
  const answer = answerOf(socket);
  const hello = helloOf(two);
  for (let at = 0; at < hello.length; at += 30) {
    socket.write(hello.subarray(at, at + 30));
    await sleep(TICK_MS);
  }
  t.is((await answer).kind, PEER_WELCOME);
});

test('a connection of a worker that has dialled again is ended: only the newest one counts', async (t) => {
  const two = await startNode(t, new Map(), 2);
  const first = await connect(t, two);
  first.write(helloOf(two));
  await answerOf(first);
  const ended = once(first, 'close');
  const second = await connect(t, two);
  second.write(helloOf(two));
  await answerOf(second);
  await ended;
  t.false(second.destroyed);
});

test('who says nothing, or not enough, does not keep a connection', async (t) => {
  const two = await startNode(t, new Map(), 2);
  const silent = await connect(t, two);
  const half = await connect(t, two);
  half.write(helloOf(two).subarray(0, 20));
  silent.resume();
  half.resume();
  await Promise.all([once(silent, 'close'), once(half, 'close')]);
  t.pass();
});

test('strangers and madmen at the peer port end their own connection, and nothing else', async (t) => {
  const ways: Ways = new Map();
  const two = await startNode(t, ways, 2);
  const one = await startNode(t, ways, 1);
  const prng = createPrng(11);
  const hello = helloOf(two);
  const noise = (bytes: number): Buffer => Buffer.from(Array.from({ length: bytes }, () => prng.below(256)));
  const openings: (() => Buffer)[] = [
    () => Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    () => Buffer.from('*1\r\n$4\r\nPING\r\n'),
    () => noise(1 + prng.below(300)),
    // Whole frames with nonsense in them, before and after the handshake.
    () => frameOf(1 + prng.below(12), (out) => out.append(noise(200), 0, prng.below(200))),
    () => Buffer.concat([hello, frameOf(1 + prng.below(12), (out) => out.append(noise(200), 0, 1 + prng.below(199)))]),
    () => Buffer.concat([hello, frameOf(PEER_RAFT, (out) => out.append(noise(40), 0, 40))]),
    () => Buffer.concat([hello, hello]),
  ];
  let n = 0;
  for (let round = 0; round < 60; round++) {
    const stranger = await connect(t, two);
    const closed = once(stranger, 'close');
    stranger.resume();
    stranger.write((openings[round % openings.length] as () => Buffer)());
    n++;
    one.mesh.send(RANGE, append(one, two, n));
    // Some nonsense makes sense: then silence ends the connection.
    await closed;
  }
  await until(() => two.received.filter(({ message }) => message.from === append(one, two, 1).from).length === n);
  t.is(one.mesh.counters.breaks, 0);
  t.is(one.mesh.counters.connects, 1);
});
