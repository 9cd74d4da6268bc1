import test from 'ava';
import type { ExecutionContext } from 'ava';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { LogIndex, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { confOf } from '../../../../src/core/raft/configuration.ts';
import type { Message } from '../../../../src/core/raft/types.ts';
import { MSG_SNAPSHOT } from '../../../../src/core/raft/types.ts';
import type { SnapshotPorts } from '../../../../src/net/peer/types.ts';
import type { PeerNode, Ways } from '../../../support/peer-harness.ts';
import { append, startNode, until } from '../../../support/peer-harness.ts';
import type { TcpProxy } from '../../../support/tcp-proxy.ts';
import { createTcpProxy } from '../../../support/tcp-proxy.ts';

const RANGE = 5 as RangeId;
const MiB = 1024 * 1024;

/**
 * Node 26 at times spins for ever in its own clean-up of handles (FreeEnvironment, CleanupHandles) once nothing is left to do in
 * this process: no handle and no request is active then, by process.getActiveResourcesInfo(). This leaves without it.
 */
process.once('beforeExit', () => (process as unknown as { reallyExit(code: number): never }).reallyExit(0));

interface Arrived {
  readonly rangeId: RangeId;
  readonly message: Message;
  readonly file: string;
  readonly done: (isTaken: boolean) => void;
}

interface Setup {
  readonly dir: string;
  readonly one: PeerNode;
  readonly two: PeerNode;
  readonly proxy: TcpProxy;
  readonly arrived: Arrived[];
}

async function setup(t: ExecutionContext, ports: Partial<SnapshotPorts> = {}, bytesPerSecond = 0): Promise<Setup> {
  const dir = mkdtempSync(path.join(tmpdir(), 'skerry-peer-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const arrived: Arrived[] = [];
  let files = 0;
  const snapshots: SnapshotPorts = {
    bytesPerSecond: () => bytesPerSecond,
    incomingFile: (rangeId, index) => path.join(dir, `${rangeId}-${index}.${files++}.part`),
    arrived: (rangeId, message, file, done) => arrived.push({ rangeId, message, file, done }),
    ...ports,
  };
  const ways: Ways = new Map();
  // A loaded machine may be silent for a while.
  const timings = { tickMs: 500, backoffMinMs: 10, backoffMaxMs: 40 };
  const two = await startNode(t, ways, 2, { mesh: { snapshots, timings } });
  const proxy = await createTcpProxy({ host: '127.0.0.1', port: two.port }, createPrng(3));
  t.teardown(() => proxy.close());
  const one = await startNode(t, ways, 1, {
    mesh: { snapshots, timings },
    ways: new Map([['2.0', { host: '127.0.0.1', port: proxy.port }]]),
  });
  return { dir, one, two, proxy, arrived };
}

function makeFile({ dir }: Setup, name: string, bytes: number, seed = 1): { file: string; content: Buffer } {
  const prng = createPrng(seed);
  const content = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) content.writeUInt32LE(prng.below(2 ** 32), at);
  const file = path.join(dir, name);
  writeFileSync(file, content);
  return { file, content };
}

function snapshotMessage({ one, two }: Setup, index: number): Message {
  const base = append(one, two, 0);
  const snapshot = { index: index as LogIndex, term: 3 as Term, conf: confOf([base.from], [base.to]) };
  return { ...base, type: MSG_SNAPSHOT, logTerm: 0 as Term, context: 77, snapshot };
}

/** Sends, and resolves with what becomes of it. */
function send(s: Setup, file: string, index = 40): Promise<{ isTaken: boolean; reason: string }> {
  return new Promise((resolve) => {
    s.one.mesh.sendSnapshot(RANGE, snapshotMessage(s, index), file, (isTaken, reason) => resolve({ isTaken, reason }));
  });
}

function parts({ dir }: Setup): string[] {
  return readdirSync(dir).filter((name) => name.endsWith('.part'));
}

test('a snapshot’s file arrives whole, with its message, and the sender hears what the member made of it', async (t) => {
  const s = await setup(t);
  const { file, content } = makeFile(s, 'a.ckpt', 3 * MiB + 12_345);
  const sent = send(s, file);
  await until(() => s.arrived.length === 1);
  const [arrived] = s.arrived as [Arrived];
  t.is(arrived.rangeId, RANGE);
  t.deepEqual(arrived.message, snapshotMessage(s, 40));
  t.true(readFileSync(arrived.file).equals(content));
  arrived.done(true);
  t.deepEqual(await sent, { isTaken: true, reason: '' });
  t.true(existsSync(arrived.file), 'the file is the owner’s');
  t.is(s.one.mesh.counters.snapshotsSent, 1);
  t.is(s.two.mesh.counters.snapshotsReceived, 1);

  const again = send(s, file, 41);
  await until(() => s.arrived.length === 2);
  s.arrived[1]?.done(false);
  t.like(await again, { isTaken: false });
});

test('a connection that breaks costs what was on its way: the file goes on from where it was written', async (t) => {
  const s = await setup(t, {}, 40 * MiB);
  const { file, content } = makeFile(s, 'a.ckpt', 16 * MiB);
  const sent = send(s, file);
  let resets = 0;
  // Each connection is cut once it has brought something.
  await until(() => {
    const bytes = s.two.mesh.counters.bytesIn;
    if (resets < 4 && bytes > (resets + 1) * 3 * MiB) {
      resets++;
      s.proxy.reset();
    }
    return s.arrived.length === 1;
  });
  t.is(resets, 4);
  t.true(readFileSync((s.arrived[0] as Arrived).file).equals(content));
  // Without going on where it was, four cuts would have cost 24 MiB.
  t.true(s.two.mesh.counters.bytesIn < 24 * MiB, `${s.two.mesh.counters.bytesIn} bytes`);
  s.arrived[0]?.done(true);
  t.like(await sent, { isTaken: true });
  t.deepEqual(parts(s).length, 1);
});

test('an outcome that was lost with its connection is told when the sender comes back', async (t) => {
  const s = await setup(t);
  const { file } = makeFile(s, 'a.ckpt', MiB);
  const sent = send(s, file);
  await until(() => s.arrived.length === 1);
  s.proxy.refuse = true;
  s.proxy.reset();
  await until(() => s.proxy.connections === 0);
  s.arrived[0]?.done(true);
  s.proxy.refuse = false;
  t.deepEqual(await sent, { isTaken: true, reason: '' });
  t.is(s.arrived.length, 1, 'it was not sent twice');
});

test('damaged bytes of a snapshot are sent again, and never reach the file', async (t) => {
  const s = await setup(t, {}, 20 * MiB);
  const { file, content } = makeFile(s, 'a.ckpt', 6 * MiB);
  const sent = send(s, file);
  let damages = 0;
  await until(() => {
    if (damages < 3 && s.two.mesh.counters.bytesIn > (damages + 1) * MiB) {
      damages++;
      s.proxy.toTarget.corruptNext = true;
    }
    return s.arrived.length === 1;
  });
  t.true(readFileSync((s.arrived[0] as Arrived).file).equals(content));
  s.arrived[0]?.done(true);
  t.like(await sent, { isTaken: true });
  t.true(s.two.warnings.length === 3 && s.two.warnings.every((text) => /checksum/.test(text)));
});

test('FAILURES 18: two snapshots of a range within a short time: the newer takes the place of the older, whose file goes', async (t) => {
  const s = await setup(t, {}, 8 * MiB);
  const older = makeFile(s, 'a.ckpt', 8 * MiB, 1);
  const newer = makeFile(s, 'b.ckpt', MiB, 2);
  const first = send(s, older.file, 40);
  await until(() => s.two.mesh.counters.bytesIn > MiB);
  const second = send(s, newer.file, 50);
  await until(() => s.arrived.length > 0);
  t.is(s.arrived[0]?.message.snapshot?.index, 50 as LogIndex);
  t.true(readFileSync((s.arrived[0] as Arrived).file).equals(newer.content));
  s.arrived[0]?.done(true);
  t.like(await second, { isTaken: true });
  t.regex((await first).reason, /another snapshot|newer snapshot/);
  t.regex((await send(s, older.file, 40)).reason, /newer snapshot/);
  await until(() => parts(s).length === 1);
});

test('a file that verification finds damaged is refused with what it found, and deleted', async (t) => {
  const s = await setup(t, { verify: () => Promise.resolve('the checksum of a block does not match') });
  const { file } = makeFile(s, 'a.ckpt', MiB);
  const outcome = await send(s, file);
  t.false(outcome.isTaken);
  t.regex(outcome.reason, /checksum of a block/);
  t.is(s.arrived.length, 0);
  await until(() => parts(s).length === 0);
});

test('a snapshot that cannot be sent or stored is reported with the reason', async (t) => {
  const s = await setup(t, { incomingFile: () => path.join(tmpdir(), 'skerry-no-such-folder', 'x.part') });
  t.regex((await send(s, path.join(s.dir, 'missing.ckpt'))).reason, /ENOENT/);
  const { file } = makeFile(s, 'a.ckpt', MiB);
  t.regex((await send(s, file)).reason, /ENOENT/);
  s.proxy.refuse = true;
  t.false((await send(s, file)).isTaken);
});

test('snapshots keep to their pace, and Raft messages pass them by', async (t) => {
  const s = await setup(t, {}, 4 * MiB);
  const { file } = makeFile(s, 'a.ckpt', 4 * MiB);
  const startedMs = performance.now();
  const sent = send(s, file);
  let n = 0;
  await until(() => {
    s.one.mesh.send(RANGE, append(s.one, s.two, ++n));
    return s.arrived.length === 1;
  });
  t.true(performance.now() - startedMs > 700, 'the pace is a lower bound of the time');
  t.true(s.two.received.length > 0, 'messages do not wait for the snapshot');
  s.arrived[0]?.done(true);
  t.like(await sent, { isTaken: true });
});

test('a node that takes no snapshots says so, and one that is forgotten is sent nothing more', async (t) => {
  const ways: Ways = new Map();
  const one = await startNode(t, ways, 1);
  const two = await startNode(t, ways, 2);
  const s = { one, two, dir: mkdtempSync(path.join(tmpdir(), 'skerry-peer-')), arrived: [] } as unknown as Setup;
  t.teardown(() => rmSync(s.dir, { recursive: true, force: true }));
  const { file } = makeFile(s, 'a.ckpt', MiB);
  t.regex((await send(s, file)).reason, /takes no snapshots/);
  const sent = send(s, file);
  one.mesh.forget(2 as NodeId, 'node 2 was removed');
  t.deepEqual(await sent, { isTaken: false, reason: 'node 2 was removed' });
});
