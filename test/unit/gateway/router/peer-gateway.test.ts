/** Commands for ranges that another node leads: what reaches it, what comes back, and what is known when it does not. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import { PeerProtocolError } from '../../../../src/codec/peer/frame.ts';
import { createReplyWriter } from '../../../../src/codec/reply-writer.ts';
import type { MemberId, NodeId, RangeId } from '../../../../src/core/brands.ts';
import type { Args } from '../../../../src/core/kv/args.ts';
import { argText, createArgs } from '../../../../src/core/kv/args.ts';
import { writeArgs } from '../../../../src/core/kv/batch.ts';
import type { ReplyProtocol, ReplyTarget } from '../../../../src/core/kv/reply.ts';
import { replyError } from '../../../../src/core/kv/reply.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import { limits } from '../../../../src/core/limits.ts';
import { memberId } from '../../../../src/core/member.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import type { RequestFrame } from '../../../../src/gateway/router/forward-frame.ts';
import { checkRequestFrame, leaderHint, peerFrameEnd } from '../../../../src/gateway/router/peer-frame.ts';
import type { PeerAsker } from '../../../../src/gateway/router/peer-gateway.ts';
import { PeerGateway } from '../../../../src/gateway/router/peer-gateway.ts';
import type { PeerRemote, PeerRetry } from '../../../../src/gateway/router/peer-remote.ts';
import type { PeerAddress } from '../../../../src/net/peer/types.ts';
import { CLUSTER, storeOf, TICK_MS, until } from '../../../support/peer-harness.ts';
import type { TcpProxy } from '../../../support/tcp-proxy.ts';
import { createTcpProxy } from '../../../support/tcp-proxy.ts';

const GET = requireCommand('GET');
const SET = requireCommand('SET');
const LEADER = memberId(2 as NodeId, 0, 1);

interface Asked {
  readonly op: number;
  readonly args: readonly string[];
  readonly slot: number;
  readonly requestId: RequestFrame['requestId'];
  readonly scope: RequestFrame['scope'];
  readonly behindWrites: boolean;
  readonly target: PeerAsker;
}

interface Returned extends Omit<PeerRetry, 'args'> {
  readonly args: readonly string[];
}

interface Pair {
  readonly asker: PeerGateway;
  readonly leader: PeerGateway;
  readonly proxy: TcpProxy;
  /** Commands that reached the leader's node, unanswered. */
  readonly asked: Asked[];
  readonly returned: Returned[];
  /** What the asker does when the leader's node can be reached. */
  onReached: () => void;
}

function textsOf(args: Args): string[] {
  return Array.from({ length: args.count }, (_, i) => argText(args, i));
}

function argsOf(...texts: readonly (string | Buffer)[]): Args {
  const parts = texts.map((text) => Buffer.from(text));
  const args = createArgs();
  args.buffer = Buffer.concat(parts);
  let at = 0;
  for (const [i, part] of parts.entries()) {
    args.start[i] = at;
    at += part.length;
    args.end[i] = at;
  }
  args.count = parts.length;
  return args;
}

async function startPair(t: ExecutionContext): Promise<Pair> {
  const asked: Asked[] = [];
  const returned: Returned[] = [];
  let way: PeerAddress | null = null;
  const hooks = { onReached: (): void => undefined };
  const create = (nodeId: number): PeerGateway => {
    const gateway: PeerGateway = new PeerGateway({
      mesh: {
        self: { clusterId: CLUSTER, nodeId: nodeId as NodeId, workerIndex: 0, storeId: storeOf(nodeId) },
        directory: { workersOf: () => 1, addressOf: (node) => (node === 2 ? way : null) },
        refusePeer: () => null,
        onMessage: () => undefined,
        onBeat: () => undefined,
        onUnreachable: () => undefined,
        schedule: () => void setImmediate(() => gateway.flush()),
        random: Math.random,
        warn: () => undefined,
        timings: { tickMs: 2 * TICK_MS, backoffMinMs: 10, backoffMaxMs: 20 },
      },
      execute: ({ op, args, slot, requestId, scope, behindWrites }, target) => {
        asked.push({ op, args: textsOf(args), slot, requestId, scope, behindWrites, target });
      },
      retry: (request) => returned.push({ ...request, args: textsOf(request.args) }),
      reached: () => hooks.onReached(),
    });
    t.teardown(() => gateway.close());
    return gateway;
  };
  const leader = create(2);
  const port = await leader.mesh.listen('127.0.0.1', 0);
  const proxy = await createTcpProxy({ host: '127.0.0.1', port }, createPrng(5));
  t.teardown(() => proxy.close());
  way = { host: '127.0.0.1', port: proxy.port };
  return Object.assign(hooks, { asker: create(1), leader, proxy, asked, returned });
}

/** Stands for a client's connection: replies by slot, as the bytes of its protocol. */
class Client implements ReplyTarget {
  readonly protocol: ReplyProtocol;
  readonly replies = new Map<number, string>();
  readonly #out = createByteWriter();
  writesInFlight = 0;
  readonly open = true;

  constructor(protocol: ReplyProtocol = 2) {
    this.protocol = protocol;
  }

  begin() {
    this.#out.reset();
    return createReplyWriter(this.protocol, this.#out);
  }

  finish(slot: number): void {
    this.raw(slot, this.#out.buffer, 0, this.#out.length);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.replies.set(slot, source.toString('latin1', start, end));
  }
}

/** Resolves when the link is open, which it becomes when somebody wants to send. */
async function untilReachable({ link }: PeerRemote): Promise<void> {
  await until(() => {
    link.wake();
    return link.state === 'open';
  });
}

function answer({ target, slot }: Asked, text: string): void {
  target.begin(slot).simple(text);
  target.finish(slot);
}

test('a command arrives as it was given, and its reply where it was asked, in the protocol of whoever asked', async (t) => {
  const { asker, asked } = await startPair(t);
  const remote = asker.remote(LEADER);
  const two = new Client(2);
  const native = new Client(4);
  native.writesInFlight = 1;
  const requestId = { clientId: 2 ** 50, sequence: 7, floor: 3 };
  const scope = { rangeId: 9 as RangeId, version: 4 };
  remote.request(GET, argsOf('key'), two, 5, null, null);
  remote.request(SET, argsOf('key', 'value'), native, 5, requestId, scope);
  t.is(remote.inFlight, 2);
  await until(() => asked.length === 2);
  const [first, second] = asked as [Asked, Asked];
  t.like(first, { op: GET.op, args: ['key'], requestId: null, scope: null, behindWrites: false });
  t.like(second, { op: SET.op, args: ['key', 'value'], requestId, scope, behindWrites: true });
  // In any order.
  answer(second, 'OK');
  first.target.begin(first.slot).bulk(Buffer.from('value'), 0, 5);
  first.target.finish(first.slot);
  await until(() => two.replies.size + native.replies.size === 2);
  t.is(two.replies.get(5), '$5\r\nvalue\r\n');
  t.is(native.replies.get(5), '\xa2OK');
  t.is(asker.inFlight, 0);
});

test('a read that waits at the other node stays behind the writes that it came behind, whatever comes after it', async (t) => {
  const { asker, asked } = await startPair(t);
  const remote = asker.remote(LEADER);
  const writer = new Client();
  writer.writesInFlight = 1;
  remote.request(GET, argsOf('behind a write'), writer, 0, null, null);
  remote.request(GET, argsOf('of another connection'), new Client(), 0, null, null);
  await until(() => asked.length === 2);
  t.deepEqual(
    asked.map(({ target }) => target.writesInFlight),
    [1, 0],
  );
});

test('thousands of commands under way keep their replies apart, however late those come', async (t) => {
  const { asker, asked } = await startPair(t);
  const remote = asker.remote(LEADER);
  const prng = createPrng(8);
  const client = new Client();
  const count = 3000;
  for (let i = 0; i < count; i++) remote.request(GET, argsOf(`k${i}`), client, i, null, null);
  let answered = 0;
  await until(() => {
    while (asked.length > 0 && prng.chance(0.99)) {
      const [one] = asked.splice(prng.below(asked.length), 1) as [Asked];
      answer(one, `reply to ${one.args[0]}`);
      answered++;
    }
    return answered === count && client.replies.size === count;
  });
  for (let i = 0; i < count; i++) t.is(client.replies.get(i), `+reply to k${i}\r\n`);
});

test('who does not lead says whom it believes to, and the command comes back as it was', async (t) => {
  const { asker, asked, returned } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  const requestId = { clientId: 1, sequence: 2, floor: 1 };
  remote.request(SET, argsOf('a', '1'), client, 3, requestId, null, 1234);
  remote.request(GET, argsOf('b'), client, 4, null, { rangeId: 6 as RangeId, version: 2 });
  await until(() => asked.length === 2);
  const other = memberId(3 as NodeId, 1, 5);
  asked[0]?.target.notLeader(asked[0].slot, other);
  asked[1]?.target.notLeader(asked[1].slot, 0);
  await until(() => returned.length === 2);
  t.like(returned[0], { args: ['a', '1'], slot: 3, requestId, scope: null, sinceMs: 1234, leader: other });
  t.is(returned[0]?.spec, SET);
  t.is(returned[0]?.target, client);
  t.like(returned[1], {
    args: ['b'],
    slot: 4,
    scope: { rangeId: 6, version: 2 },
    leader: 0 as MemberId,
    problem: null,
  });
  t.is(client.replies.size, 0);
});

test('FAILURES 23: a write that was sent when the connection broke is unknown, and said so; reads and identified writes come back', async (t) => {
  const { asker, asked, returned, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  remote.request(SET, argsOf('plain', '1'), client, 1, null, null);
  remote.request(SET, argsOf('identified', '1'), client, 2, { clientId: 1, sequence: 2, floor: 1 }, null);
  remote.request(GET, argsOf('read'), client, 3, null, null);
  await until(() => asked.length === 3);
  proxy.reset();
  await until(() => client.replies.size + returned.length === 3);
  t.regex(client.replies.get(1) ?? '', /^-UNKNOWNRESULT .*may have happened/);
  t.deepEqual(
    returned.map(({ args, leader }) => [args[0], leader]),
    [
      ['identified', null],
      ['read', null],
    ],
  );
  t.is(asker.inFlight, 0);
  // What the old connection's commands still answer reaches nobody.
  for (const one of asked) answer(one, 'too late');
  await untilReachable(remote);
  remote.request(GET, argsOf('next'), client, 9, null, null);
  await until(() => asked.length === 4);
  answer(asked[3] as Asked, 'in time');
  await until(() => client.replies.has(9));
  t.is(client.replies.get(9), '+in time\r\n');
  t.is(client.replies.size, 2);
});

test('FAILURES 23: an identified write that was sent when the connection broke is not said to be undone when it cannot be sent again', async (t) => {
  const { asker, asked, returned, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client(4);
  for (const sequence of [1, 2, 3]) {
    remote.request(SET, argsOf('a', '1'), client, sequence, { clientId: 1, sequence, floor: 1 }, null);
  }
  await until(() => asked.length === 3);
  proxy.reset();
  await until(() => returned.length === 3);
  const [undone, wrong, done] = returned as [Returned, Returned, Returned];
  replyError(undone.target, undone.slot, 'NOTLEADER nobody leads; nothing was done');
  replyError(wrong.target, wrong.slot, 'WRONGTYPE of another kind');
  done.target.begin(done.slot).simple('OK');
  done.target.finish(done.slot);
  t.regex(client.replies.get(1) ?? '', /UNKNOWNRESULT .*may have happened.*nobody leads/);
  t.regex(client.replies.get(2) ?? '', /.{3}WRONGTYPE of another kind$/s);
  t.is(client.replies.get(3), '\xa2OK');
});

test('what comes back from a connection that broke comes in the order in which it was given', async (t) => {
  const { asker, asked, returned, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  for (const key of ['a', 'b', 'c']) remote.request(GET, argsOf(key), client, 0, null, null);
  await until(() => asked.length === 3);
  // Answered in this order, so that their numbers are free in another one.
  for (const one of asked) answer(one, 'OK');
  await until(() => remote.inFlight === 0);
  proxy.refuse = true;
  proxy.reset();
  const keys = ['d', 'e', 'f'];
  for (const key of keys) remote.request(GET, argsOf(key), client, 0, null, null);
  await until(() => returned.length === 3);
  t.deepEqual(
    returned.map(({ args }) => args[0]),
    keys,
  );
});

test('a write that was not sent is not unknown: it comes back', async (t) => {
  const { asker, returned, proxy } = await startPair(t);
  proxy.refuse = true;
  const client = new Client();
  asker.remote(LEADER).request(SET, argsOf('a', '1'), client, 1, null, null);
  await until(() => returned.length === 1);
  t.like(returned[0], { args: ['a', '1'], leader: null });
  t.truthy(returned[0]?.problem);
  t.is(client.replies.size, 0);
});

test('commands for a node that could not be reached come back at once, until it can be reached', async (t) => {
  const { asker, asked, returned, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  proxy.refuse = true;
  remote.request(GET, argsOf('first'), client, 0, null, null);
  await until(() => returned.length === 1);
  remote.request(SET, argsOf('second', '1'), client, 1, null, null);
  t.deepEqual(
    returned.map(({ args, leader }) => [args[0], leader]),
    [
      ['first', null],
      ['second', null],
    ],
  );
  t.truthy(returned[1]?.problem);
  proxy.refuse = false;
  await untilReachable(remote);
  remote.request(GET, argsOf('third'), client, 2, null, null);
  await until(() => asked.length === 1);
  t.is(returned.length, 2);
});

test('what came back because nobody was there can be sent before anything that is given when somebody is', async (t) => {
  const pair = await startPair(t);
  const { asker, asked, returned, proxy } = pair;
  const remote = asker.remote(LEADER);
  const client = new Client();
  proxy.refuse = true;
  remote.request(SET, argsOf('a', 'first'), client, 0, null, null);
  await until(() => returned.length === 1);
  pair.onReached = () => remote.request(SET, argsOf('a', 'first'), client, 0, null, null);
  proxy.refuse = false;
  await untilReachable(remote);
  remote.request(SET, argsOf('a', 'second'), client, 1, null, null);
  await until(() => asked.length === 2);
  t.deepEqual(
    asked.map(({ args }) => args[1]),
    ['first', 'second'],
  );
});

test('a node that answers nothing is noticed, and what was asked of it comes back', async (t) => {
  const { asker, asked, returned, proxy } = await startPair(t);
  const client = new Client();
  asker.remote(LEADER).request(GET, argsOf('a'), client, 1, null, null);
  await until(() => asked.length === 1);
  proxy.partition(true);
  await until(() => returned.length === 1);
  t.regex(returned[0]?.problem ?? '', /nothing was heard/);
});

test('a node that was removed: commands for it come back at once', async (t) => {
  const { asker, asked, returned } = await startPair(t);
  const client = new Client();
  asker.remote(LEADER).request(GET, argsOf('a'), client, 1, null, null);
  await until(() => asked.length === 1);
  asker.forget(2 as NodeId, 'node 2 was removed');
  t.is(returned.length, 1);
  asker.remote(LEADER).request(SET, argsOf('a', '1'), client, 2, null, null);
  t.is(returned.length, 2);
  t.is(returned[1]?.problem, 'node 2 was removed');
});

test('FAILURES 31: commands to a node that takes nothing are bounded: more are refused, and taken again when it goes on', async (t) => {
  const { asker, asked, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  remote.request(GET, argsOf('a'), client, 0, null, null);
  await until(() => asked.length === 1);
  proxy.toTarget.bytesPerSecond = 100_000;
  const value = Buffer.alloc(1024 * 1024, 'v');
  let sent = 0;
  while (!remote.overloaded) remote.request(SET, argsOf('a', value), client, ++sent, null, null);
  t.true(sent * value.length <= limits.peerInFlightBytesMax + 2 * value.length);
  proxy.toTarget.bytesPerSecond = 0;
  await until(() => asked.length === sent + 1);
  for (const one of asked) answer(one, 'OK');
  await until(() => client.replies.size === sent + 1);
  t.false(remote.overloaded);
});

test('the commands of a node that leaves its replies unread wait, and are run in their order when it has read some', async (t) => {
  const { asker, leader, asked, proxy } = await startPair(t);
  const remote = asker.remote(LEADER);
  const client = new Client();
  const reply = Buffer.alloc(8 * 1024 * 1024, 'r');
  const unread = Math.ceil(limits.peerRepliesBytesMax / reply.length) + 2;
  for (let i = 0; i < unread; i++) remote.request(GET, argsOf('a'), client, i, null, null);
  await until(() => asked.length === unread);
  proxy.toClient.bytesPerSecond = 100_000;
  for (const { target, slot } of asked) {
    target.begin(slot).bulk(reply, 0, reply.length);
    target.finish(slot);
  }
  const later = ['1', '2', '3'].map((value) => value.repeat(100_000));
  const bytesBefore = leader.mesh.counters.bytesIn;
  for (const [i, value] of later.entries()) remote.request(SET, argsOf('a', value), client, unread + i, null, null);
  await until(() => leader.mesh.counters.bytesIn > bytesBefore + 300_000);
  t.is(asked.length, unread, 'no write is run');
  proxy.toClient.bytesPerSecond = 0;
  await until(() => asked.length === unread + later.length);
  t.deepEqual(
    asked.slice(unread).map(({ args }) => args[1]),
    later,
  );
  for (const one of asked.slice(unread)) answer(one, 'OK');
  await until(() => client.replies.size === unread + later.length);
  t.is(client.replies.get(0)?.length, reply.length + 12);
});

test('whatever bytes come as commands or replies, they are read or refused, and nothing else is thrown', (t) => {
  const prng = createPrng(77);
  const request = Buffer.alloc(200);
  request.writeUInt32LE(1, 4);
  const end = writeArgs(request, 16, argsOf('key', 'value'));
  request[5] = 2;
  request.writeUInt32LE(end, 0);
  t.notThrows(() => checkRequestFrame(request, 0, peerFrameEnd(request, 0, end)));
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(request.subarray(0, end));
    for (let i = prng.below(4); i >= 0; i--) bytes[prng.below(end)] = prng.below(256);
    const cut = prng.chance(0.5) ? end : prng.below(end + 1);
    try {
      const next = peerFrameEnd(bytes, 0, cut);
      if (prng.chance(0.5)) checkRequestFrame(bytes, 0, next);
      else leaderHint(bytes, 0, next);
    } catch (error) {
      t.true(error instanceof PeerProtocolError, String(error));
      refused++;
    }
  }
  t.true(refused > 5000);
});
