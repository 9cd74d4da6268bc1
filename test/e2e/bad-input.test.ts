/**
 * Whatever comes in on the client ports of a real node, the process goes on, other connections notice nothing, and memory stays
 * bounded.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import { OP_HELLO } from '../../src/codec/native/frame.ts';
import { createPrng } from '../../src/core/prng.ts';
import type { Prng } from '../../src/core/prng.ts';
import { allCommands } from '../../src/core/kv/table.ts';
import { RawNativeClient, request } from '../support/native-harness.ts';
import type { NodeProcess } from '../support/node-process.ts';
import { startNode, temporaryDir } from '../support/node-process.ts';
import { RawClient, resp } from '../support/resp-harness.ts';

const FLAGS = ['--workers', '2', '--pre-split', 'm'];
const MiB = 2 ** 20;
const CONNECTIONS = Number(process.env['FUZZ_CONNECTIONS'] ?? 300);

let dataDir: string;
let node: NodeProcess;

test.before(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'skerry-bad-input-'));
  node = await startNode(dataDir, FLAGS);
});

test.after.always(async () => {
  await node.end('SIGKILL');
  await rm(dataDir, { recursive: true, force: true });
});

function seeded(t: ExecutionContext): Prng {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
  t.log(`seed ${seed}`);
  return createPrng(seed);
}

const opOf = (wanted: string): number => allCommands.find(({ name }) => name === wanted)?.op ?? 0;

/** What is done to the node; `rounds` waits until its neighbours have been served so many times more. */
type Nuisance = (rounds: (count: number) => Promise<void>) => Promise<void>;

/**
 * Runs `nuisance` while one connection of each protocol writes and reads on both workers; each of its answers must be
 * right, from before the nuisance to after it.
 */
async function undisturbed(t: ExecutionContext, victim: NodeProcess, nuisance: Nuisance): Promise<void> {
  const redis = await RawClient.connect(victim.respPort);
  const native = await RawNativeClient.connect(victim.port);
  const [set, get] = [opOf('SET'), opOf('GET')];
  let isOver = false;
  let rounds = 0;
  const go = async (): Promise<void> => {
    for (let last = false; !last; rounds++) {
      last = isOver;
      const value = String(rounds);
      const pipeline = ['a:good', 'z:good'].flatMap((key) => [resp('SET', key, value), resp('GET', key)]);
      const expected = `+OK\r\n$${value.length}\r\n${value}\r\n`.repeat(2);
      if ((await redis.ask(Buffer.concat(pipeline), expected)) !== expected) throw new Error('a wrong answer');
      for (const [i, key] of ['a:native', 'z:native'].entries()) {
        const id = rounds * 4 + i * 2 + 1;
        native.socket.write(request(id, set, [key, value]));
        const stored = await native.response(id);
        if (stored.status !== 0) throw new Error(`SET was answered ${JSON.stringify(stored)}`);
        native.socket.write(request(id + 1, get, [key]));
        const { value: read } = await native.response(id + 1);
        if (!Buffer.from(value).equals(read as Buffer)) throw new Error(`${key} is ${String(read)}, not ${value}`);
        native.responses.length = 0;
      }
    }
  };
  const going = go();
  const more = async (count: number): Promise<void> => {
    for (const from = rounds; rounds < from + count;) await new Promise(setImmediate);
  };
  try {
    await Promise.race([nuisance(more), going]);
  } finally {
    isOver = true;
    await going;
    redis.close();
    native.socket.destroy();
  }
  t.true(rounds > 1);
  t.is(victim.child.exitCode, null);
  t.notRegex(victim.stderr(), /Error|failed|warn/i);
}

/** Sends the bytes, cut into pieces anywhere, then ends; resolves with all that was answered once the server has closed too. */
async function speak(port: number, bytes: Buffer, prng: Prng, says: 'end' | 'nothing more' = 'end'): Promise<string> {
  const client = await RawClient.connect(port);
  for (let at = 0; at < bytes.length;) {
    const end = prng.chance(0.5) ? bytes.length : at + 1 + prng.below(bytes.length - at);
    client.send(bytes.subarray(at, end));
    at = end;
    if (prng.chance(0.3)) await new Promise(setImmediate);
  }
  if (says === 'end') client.socket.end();
  return client.ended();
}

function noise(prng: Prng, bytesMax: number): Buffer {
  const bytes = Buffer.alloc(1 + prng.below(bytesMax));
  for (let i = 0; i < bytes.length; i++) bytes[i] = prng.below(256);
  return bytes;
}

/** The bytes with some of them changed, left out, repeated or put in. */
function mutated(bytes: Buffer, prng: Prng): Buffer {
  let result = bytes;
  for (let edits = 1 + prng.below(4); edits > 0; edits--) {
    const at = prng.below(result.length);
    const end = Math.min(result.length, at + 1 + prng.below(8));
    const middle = [noise(prng, 4), Buffer.alloc(0), Buffer.concat([result.subarray(at, end), noise(prng, 1)])];
    result = Buffer.concat([result.subarray(0, at), middle[prng.below(3)] as Buffer, result.subarray(end)]);
    if (result.length === 0) return noise(prng, 4);
  }
  return result;
}

/** Words that a command may take for one of its arguments, or that come near it. */
const WORDS = [
  '',
  'a',
  'z',
  'a:1',
  'z:1',
  '0',
  '-1',
  '1',
  '99999999999999999999',
  '1e400',
  'nan',
  'EX',
  'NX',
  'GET',
  '*',
];
const ODD_WORDS = ['MATCH', 'COUNT', 'WITHVALUES', 'u8', 'i64', '#1', 'OVERFLOW', 'LIMIT', 'AND', '9007199254740993'];

/** All but those that would rightly take our own keys away. */
const STORE_COMMANDS = allCommands.filter(({ name }) => !name.startsWith('FLUSH'));
const SESSION_COMMANDS = [
  'MULTI',
  'EXEC',
  'DISCARD',
  'WATCH',
  'UNWATCH',
  'HELLO',
  'RESET',
  'SELECT',
  'CLIENT',
  'COMMAND',
];
const REDIS_NAMES = [...STORE_COMMANDS.map(({ name }) => name), ...SESSION_COMMANDS, 'CONFIG', 'INFO', 'PING', 'QUIT'];

function someArguments(prng: Prng): (string | Buffer)[] {
  const words = [...WORDS, ...ODD_WORDS];
  return Array.from({ length: prng.below(7) }, () =>
    prng.chance(0.15) ? noise(prng, 40) : (words[prng.below(words.length)] as string),
  );
}

const hello = (): Buffer => request(1, OP_HELLO, ['SKERRY', '1', '4660', 'fuzz']);

function nativeCommands(prng: Prng): Buffer {
  const requests = Array.from({ length: 1 + prng.below(20) }, (_, i) => {
    const op = prng.chance(0.9)
      ? (STORE_COMMANDS[prng.below(STORE_COMMANDS.length)]?.op ?? 0)
      : 0xe000 + prng.below(0x2000);
    const identity = prng.chance(0.3) ? { clientId: prng.below(5), sequence: prng.below(9), floor: 0 } : null;
    return request(i + 2, op, someArguments(prng), identity);
  });
  return Buffer.concat([hello(), ...requests]);
}

function redisCommands(prng: Prng): Buffer {
  const commands = Array.from({ length: 1 + prng.below(20) }, () => {
    const name = REDIS_NAMES[prng.below(REDIS_NAMES.length)] as string;
    return resp(prng.chance(0.9) ? name : noise(prng, 9), ...someArguments(prng));
  });
  return Buffer.concat(commands);
}

const STREAMS: readonly (readonly [string, 'respPort' | 'port', (prng: Prng) => Buffer])[] = [
  ['noise on the Redis port', 'respPort', (prng) => noise(prng, 20_000)],
  ['noise on the native port', 'port', (prng) => noise(prng, 20_000)],
  ['noise behind a native hello', 'port', (prng) => Buffer.concat([hello(), noise(prng, 20_000)])],
  ['damaged Redis commands', 'respPort', (prng) => mutated(redisCommands(prng), prng)],
  ['damaged native requests', 'port', (prng) => mutated(nativeCommands(prng), prng)],
  ['every Redis command with any arguments', 'respPort', redisCommands],
  ['every native command with any arguments', 'port', nativeCommands],
];

for (const [what, port, make] of STREAMS) {
  test.serial(`${what}, from ${CONNECTIONS} connections: nobody else notices`, async (t) => {
    const prng = seeded(t);
    let answerBytes = 0;
    await undisturbed(t, node, async () => {
      for (let i = 0; i < CONNECTIONS; i += 20) {
        const answers = await Promise.all(Array.from({ length: 20 }, () => speak(node[port], make(prng), prng)));
        answerBytes += answers.join('').length;
      }
    });
    t.true(answerBytes > CONNECTIONS * 10, `all of them together got ${answerBytes} bytes`);
  });
}

/** Every entry that no clock takes away within the test. */
async function lasting({ port }: NodeProcess): Promise<string[]> {
  await using kv = await connect(`skerry://127.0.0.1:${port}`);
  const found: string[] = [];
  for await (const { key, value } of kv.list()) {
    const expiresAtMs = Number(await kv.command('PEXPIRETIME', [key]));
    const isLasting = expiresAtMs < 0 || expiresAtMs > Date.now() + 600_000;
    if (isLasting)
      found.push(`${key.toString('hex')} ${expiresAtMs} ${createHash('sha1').update(value).digest('hex')}`);
  }
  return found;
}

test.serial('what all these commands left behind is the same after kill -9', async (t) => {
  const before = await lasting(node);
  t.true(before.length > 5, before.join('\n'));
  await node.end('SIGKILL');
  node = await startNode(dataDir, FLAGS);
  t.deepEqual(await lasting(node), before);
});

test.serial(
  'two commands over several ranges with one identity: the second one is refused, the node goes on',
  async (t) => {
    await undisturbed(t, node, async () => {
      const client = await RawNativeClient.connect(node.port);
      const identity = { clientId: 77, sequence: 1, floor: 0 };
      const first = ['a:twice', 'z:twice'].map((key, i) => request(i + 2, opOf('SET'), [key, 'v'], identity));
      client.socket.write(Buffer.concat(first));
      await client.response(2);
      await client.response(3);
      client.socket.write(request(4, opOf('DEL'), ['a:twice', 'z:twice'], identity));
      const { value } = await client.response(4);
      t.like(value, { text: 'ERR the identity of this request is that of another command' });
      client.socket.destroy();
    });
  },
);

const OVERSIZED_REDIS: readonly (readonly [string, string])[] = [
  ['*1048577\r\n', '-ERR Protocol error: invalid multibulk length\r\n'],
  ['*99999999999999999999\r\n', '-ERR Protocol error: invalid multibulk length\r\n'],
  ['*2\r\n$3\r\nGET\r\n$536870913\r\n', '-ERR Protocol error: invalid bulk length\r\n'],
  ['*2\r\n$3\r\nGET\r\n$-7\r\n', '-ERR Protocol error: invalid bulk length\r\n'],
  ['*1\r\n:4\r\n', "-ERR Protocol error: expected '$', got ':'\r\n"],
  ['x'.repeat(70_000), '-ERR Protocol error: too big inline request\r\n'],
  ['SET a "unbalanced\r\n', '-ERR Protocol error: unbalanced quotes in request\r\n'],
];

test.serial('the Redis port says what is wrong, and closes', async (t) => {
  await undisturbed(t, node, async () => {
    for (const [bytes, answer] of OVERSIZED_REDIS) {
      t.is(await speak(node.respPort, Buffer.from(bytes), createPrng(1), 'nothing more'), answer);
    }
    // A browser that was lured here gets nothing done.
    const http = 'POST /SET/a/1 HTTP/1.1\r\nHost: node\r\n\r\nSET stolen 1\r\n';
    t.is(await speak(node.respPort, Buffer.from(http), createPrng(1)), '');
    const after = await RawClient.connect(node.respPort);
    t.is(await after.ask(resp('EXISTS', 'stolen'), ':0\r\n'), ':0\r\n');
    after.close();
  });
});

const framed = (length: number): Buffer => {
  const bytes = request(2, OP_HELLO, ['SKERRY', '1', '4660', 'test']);
  bytes.writeUInt32LE(length, 0);
  return bytes;
};

const WRONG_NATIVE: readonly (readonly [string, Buffer, RegExp])[] = [
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: node\r\n\r\n'), /KV_TOO_LARGE/],
  ['another magic', request(1, OP_HELLO, ['SKERRI', '1', '4660', 'x']), /KV_INVALID.*the client something else/],
  ['another version', request(1, OP_HELLO, ['SKERRY', '9', '4660', 'x']), /KV_INVALID.*the client version 9/],
  ['no hello', request(1, 1, ['a']), /KV_STATE.*first request of a connection must be HELLO/],
  ['the longest frame that can be announced', framed(0xffff_ffff), /KV_TOO_LARGE/],
  ['a frame without a header', framed(3), /KV_INVALID/],
  ['a frame above the limit behind a hello', Buffer.concat([hello(), framed(0x7fff_ffff)]), /KV_TOO_LARGE/],
];

for (const [what, bytes, answer] of WRONG_NATIVE) {
  test.serial(`the native port on ${what}: the reason, then the end`, async (t) => {
    await undisturbed(t, node, async () => {
      t.regex(await speak(node.port, bytes, createPrng(1), 'nothing more'), answer);
    });
  });
}

/** Memory of the process, MiB: now, and the most since the last call with `reset`. NaN where there is no /proc. */
function memory({ child }: NodeProcess, reset = false): { residentMiB: number; peakMiB: number } {
  if (!existsSync(`/proc/${child.pid}/status`)) return { residentMiB: Number.NaN, peakMiB: Number.NaN };
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  if (reset) writeFileSync(`/proc/${child.pid}/clear_refs`, '5');
  return { residentMiB: Math.round(read('VmRSS')), peakMiB: Math.round(read('VmHWM')) };
}

/** Fails when the node took more memory than that while `nuisance` ran. Where the system does not tell, that is said. */
async function withinMemory(
  t: ExecutionContext,
  victim: NodeProcess,
  mebibytes: number,
  nuisance: () => Promise<void>,
) {
  const before = memory(victim, true).residentMiB;
  await nuisance();
  const { peakMiB } = memory(victim);
  t.log(
    Number.isNaN(peakMiB) ? 'memory not measured: no /proc here' : `memory ${before} MiB before, at most ${peakMiB}`,
  );
  t.false(peakMiB - before > mebibytes, `${before} MiB became ${peakMiB}`);
}

function truncated(bytes: Buffer, prng: Prng): Buffer {
  return bytes.subarray(0, 1 + prng.below(bytes.length - 1));
}

test.serial('half commands and announced giants cost what was sent, run nothing and harm nobody', async (t) => {
  const prng = seeded(t);
  const whole = resp('SET', 'half', 'x'.repeat(300));
  const giant = Buffer.from(`*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$${64 * MiB}\r\n${'x'.repeat(300)}`);
  const frame = request(2, opOf('SET'), ['half', 'x'.repeat(300)]);
  const giantFrame = Buffer.from(frame);
  giantFrame.writeUInt32LE(64 * MiB, 0);
  await undisturbed(t, node, () =>
    withinMemory(t, node, 64, async () => {
      const clients = await Promise.all(
        Array.from({ length: 400 }, async (_, i) => {
          const isNative = i % 2 === 0;
          const client = await RawClient.connect(isNative ? node.port : node.respPort);
          if (isNative) client.send(Buffer.concat([hello(), i % 4 === 0 ? truncated(frame, prng) : giantFrame]));
          else client.send(i % 4 === 1 ? truncated(whole, prng) : giant);
          return client;
        }),
      );
      const after = await RawClient.connect(node.respPort);
      t.is(await after.ask(resp('EXISTS', 'half'), ':0\r\n'), ':0\r\n');
      for (const client of clients) client.socket.end();
      await Promise.all(clients.map((client) => client.ended()));
      t.is(await after.ask(resp('EXISTS', 'half'), ':0\r\n'), ':0\r\n');
      after.close();
    }),
  );
});

const GREEDY: readonly (readonly [string, 'respPort' | 'port', (count: number) => Buffer, number])[] = [
  ['Redis', 'respPort', (count) => Buffer.concat(Array(count).fill(resp('GET', 'z:big'))), '$1048576\r\n\r\n'.length],
  [
    'native',
    'port',
    (n) => Buffer.concat(Array.from({ length: n }, (_, i) => request(i + 2, opOf('GET'), ['z:big']))),
    16 + 5,
  ],
];

async function askWithoutReading(port: 'respPort' | 'port', bytes: Buffer): Promise<RawClient> {
  const client = await RawClient.connect(node[port]);
  if (port === 'port') {
    client.send(hello());
    await client.take(1);
  }
  client.socket.pause();
  client.send(bytes);
  return client;
}

for (const [protocol, port, requests, bytesBeside] of GREEDY) {
  test.serial(`a ${protocol} client that does not read costs bounded memory and nobody else time`, async (t) => {
    await using kv = await connect(`skerry://127.0.0.1:${node.port}`);
    await kv.set('z:big', Buffer.alloc(MiB, 'v'));
    await undisturbed(t, node, (rounds) =>
      withinMemory(t, node, 256, async () => {
        // 100 GiB of replies, if they were made.
        const never = await askWithoutReading(port, requests(100_000));
        const late = await askWithoutReading(port, requests(1000));
        await rounds(200);
        never.close();
        late.socket.resume();
        const wanted = 1000 * (MiB + bytesBeside);
        await late.until(() => late.receivedBytes >= wanted);
        t.is(late.receivedBytes, wanted);
        late.close();
      }),
    );
  });
}

const IDLE_CONNECTIONS = 10_000;
// Node raises the soft limit of each process to the hard one by itself.
const { stdout: filesMax } = spawnSync('sh', ['-c', 'ulimit -H -n'], { encoding: 'utf8' });
const hasRoom = filesMax.trim() === 'unlimited' || Number(filesMax) > IDLE_CONNECTIONS + 500;
const withManyFiles = hasRoom ? test.serial : test.skip;
const WHY = hasRoom ? '' : ` (SKIPPED: a process may open only ${filesMax.trim()} files here, see ulimit -n)`;

withManyFiles(`10,000 idle connections cost little each, and nobody else time${WHY}`, async (t) => {
  const crowded = await startNode(await temporaryDir(t), [...FLAGS, '--max-connections', String(IDLE_CONNECTIONS + 3)]);
  t.teardown(async () => void (await crowded.end('SIGKILL')));
  const idle: RawClient[] = [];
  await undisturbed(t, crowded, (rounds) =>
    withinMemory(t, crowded, 200, async () => {
      while (idle.length < IDLE_CONNECTIONS) {
        const batch = Array.from({ length: 100 }, async (_, i) => {
          const client = await RawClient.connect(i % 2 === 0 ? crowded.port : crowded.respPort);
          client.send(i % 2 === 0 ? hello() : 'PING\r\n');
          await client.until(() => client.receivedBytes > 0);
          return client;
        });
        idle.push(...(await Promise.all(batch)));
      }
      await rounds(50);
      t.false(idle.some(({ isEnded }) => isEnded));
      const one = await RawClient.connect(crowded.respPort);
      t.is(await one.ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
      const tooMany = await RawClient.connect(crowded.respPort);
      t.is(await tooMany.ended(), '-ERR max number of clients reached\r\n');
      one.close();
      for (const client of idle) client.close();
    }),
  );
});
