/** Promises of a RESP connection beyond single replies: order, limits, pauses, and other connections' peace. */
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { createPrng } from '../../../../src/core/prng.ts';
import type { HarnessOptions, RespHarness } from '../../../support/resp-harness.ts';
import { RawClient, resp, startRespHarness } from '../../../support/resp-harness.ts';
import { turnsUntil } from '../../../support/until.ts';

const MiB = 1024 * 1024;

async function start(t: ExecutionContext, options: HarnessOptions = {}): Promise<RespHarness> {
  const harness = await startRespHarness(options);
  t.teardown(() => harness.stop());
  return harness;
}

async function connect(t: ExecutionContext, harness: RespHarness): Promise<RawClient> {
  const client = await RawClient.connect(harness.port);
  t.teardown(() => client.close());
  return client;
}

function bulk(value: string): string {
  return `$${value.length}\r\n${value}\r\n`;
}

test.serial('a pipeline of any depth is answered in order, with keys on this worker and on another', async (t) => {
  const harness = await start(t, { splitAt: ['k3', 'k6'] });
  const client = await connect(t, harness);
  const prng = createPrng(7);
  const model = new Map<string, string>();
  const requests: Buffer[] = [];
  let expected = '';
  for (let i = 0; i < 30_000; i++) {
    const key = `k${prng.below(9)}${prng.below(50)}`;
    if (prng.chance(0.4)) {
      requests.push(resp('SET', key, `v${i}`));
      model.set(key, `v${i}`);
      expected += '+OK\r\n';
    } else if (prng.chance(0.1)) {
      requests.push(resp('CLIENT', 'GETNAME'));
      expected += '$-1\r\n';
    } else {
      requests.push(resp('GET', key));
      const value = model.get(key);
      expected += value === undefined ? '$-1\r\n' : bulk(value);
    }
  }
  t.is(await client.ask(Buffer.concat(requests), expected), expected);
});

test.serial(
  'a range that comes to another worker while a pipeline is under way: no command overtakes those before it',
  async (t) => {
    const harness = await start(t, {
      splitAt: ['m'],
      onForward: (table) => {
        const [here, there] = table.routes;
        if (here !== undefined && there !== undefined) table.suggestLeader(there.range.rangeId, here.leader);
      },
    });
    const client = await connect(t, harness);
    const request = [resp('SET', 'z', '1'), resp('SET', 'z', '2'), resp('GET', 'z')];
    const expected = `+OK\r\n+OK\r\n${bulk('2')}`;
    t.is(await client.ask(Buffer.concat(request), expected), expected);
    t.is(await client.ask(resp('GET', 'z'), bulk('2')), bulk('2'));
  },
);

test.serial('what a connection wrote it reads back in the same pipeline', async (t) => {
  const client = await connect(t, await start(t, { splitAt: ['m'] }));
  const request = [
    resp('SET', 'a', '1'),
    resp('GET', 'a'),
    resp('SET', 'z', '2'),
    resp('GET', 'z'),
    resp('MGET', 'a', 'z'),
  ];
  const expected = '+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n';
  t.is(await client.ask(Buffer.concat(request), expected), expected);
});

test.serial('a watched key on another worker is watched before the next command runs', async (t) => {
  const client = await connect(t, await start(t, { splitAt: ['m'] }));
  const lines =
    'WATCH zebra\r\nSET zebra 1\r\nMULTI\r\nGET zebra\r\nEXEC\r\nWATCH zebra\r\nMULTI\r\nGET zebra\r\nEXEC\r\n';
  const expected = '+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n1\r\n';
  t.is(await client.ask(lines, expected), expected);
});

test.serial('a key that another connection changed aborts the transaction', async (t) => {
  const harness = await start(t);
  const [one, two] = [await connect(t, harness), await connect(t, harness)];
  await one.ask('SET k 1\r\nWATCH k\r\nMULTI\r\nINCR k\r\n', '+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n');
  await two.ask('SET k 5\r\n', '+OK\r\n');
  t.is(await one.ask('EXEC\r\nGET k\r\n', '*-1\r\n$1\r\n5\r\n'), '*-1\r\n$1\r\n5\r\n');
});

test.serial('a transaction whose keys lie in two ranges is refused, not pretended', async (t) => {
  const client = await connect(t, await start(t, { splitAt: ['m'] }));
  client.send('MULTI\r\nSET a 1\r\nSET z 1\r\nEXEC\r\nEXISTS a z\r\nMULTI\r\nDBSIZE\r\nEXEC\r\nQUIT\r\n');
  const text = await client.ended();
  t.regex(
    text,
    /^\+OK\r\n\+QUEUED\r\n\+QUEUED\r\n-CROSSRANGE .*\r\n:0\r\n\+OK\r\n\+QUEUED\r\n-CROSSRANGE .*\r\n\+OK\r\n$/,
  );
});

test.serial('watched keys in two ranges can only be part of a refused transaction', async (t) => {
  const client = await connect(t, await start(t, { splitAt: ['m'] }));
  client.send('WATCH a z\r\nMULTI\r\nSET a 1\r\nEXEC\r\nQUIT\r\n');
  t.regex(await client.ended(), /^\+OK\r\n\+OK\r\n\+QUEUED\r\n-CROSSRANGE .*\r\n\+OK\r\n$/);
});

test.serial('a key that is too long is refused when it is queued', async (t) => {
  const client = await connect(t, await start(t));
  client.send(Buffer.concat([resp('MULTI'), resp('SET', 'k'.repeat(2000), 'v'), resp('EXEC'), resp('QUIT')]));
  t.is(
    await client.ended(),
    '+OK\r\n-ERR the key has 2000 bytes; at most 1024 are allowed\r\n' +
      '-EXECABORT Transaction discarded because of previous errors.\r\n+OK\r\n',
  );
});

test.serial('what MULTI queues is bounded', async (t) => {
  const client = await connect(t, await start(t, { valueBytesMax: 64 * 1024 }));
  const value = Buffer.alloc(60_000, 'v');
  const requests = [resp('MULTI')];
  for (let i = 0; i < 40; i++) requests.push(resp('SET', 'k', value));
  requests.push(resp('EXEC'), resp('GET', 'k'), resp('QUIT'));
  client.send(Buffer.concat(requests));
  const text = await client.ended();
  t.true(text.includes('-ERR the commands of a transaction may take 1114112 bytes together'));
  t.true(text.endsWith('-EXECABORT Transaction discarded because of previous errors.\r\n$-1\r\n+OK\r\n'));
});

test.serial(
  'a value above the limit is refused by its announced length, with the earlier commands answered',
  async (t) => {
    const harness = await start(t, { valueBytesMax: 1000 });
    const client = await connect(t, harness);
    client.send('SET a 1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1001\r\n');
    t.is(await client.ended(), '+OK\r\n-ERR Protocol error: invalid bulk length\r\n');
    await turnsUntil(() => harness.closed.length === 1);
    t.deepEqual(harness.closed, ['protocol']);
  },
);

test.serial('a client that has closed its sending side still gets all answers', async (t) => {
  const harness = await start(t, { splitAt: ['m'] });
  const client = await connect(t, harness);
  client.send('SET z 1\r\nWATCH z\r\nMULTI\r\nINCR z\r\nEXEC\r\nGET z\r\n');
  client.socket.end();
  t.is(await client.ended(), '+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n$1\r\n2\r\n');
});

test.serial('one connection too many is told so and closed; the others stay', async (t) => {
  const harness = await start(t, { connectionsMax: 3 });
  const clients = [await connect(t, harness), await connect(t, harness), await connect(t, harness)];
  for (const client of clients) t.is(await client.ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
  const extra = await connect(t, harness);
  extra.send(resp('HELLO', '3'));
  t.is(await extra.ended(), '-ERR max number of clients reached\r\n');
  t.deepEqual(harness.closed, ['limit']);
  for (const client of clients) t.is(await client.ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
  (clients[0] as RawClient).close();
  await turnsUntil(() => harness.server.connectionCount === 2);
  t.is(await (await connect(t, harness)).ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
});

test.serial('an idle connection is closed after the timeout, a busy one is not', async (t) => {
  const harness = await start(t, { idleTimeoutMs: 300 });
  const idle = await connect(t, harness);
  const busy = await connect(t, harness);
  let isOver = false;
  const ending = idle.ended().then(() => (isOver = true));
  while (!isOver) t.is(await busy.ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
  await ending;
  t.deepEqual(harness.closed, ['idle']);
});

test.serial(
  'a client that sends reads of large values and never reads is held at bounded memory; others are served',
  async (t) => {
    const harness = await start(t, { outputBytesMax: 8 * MiB, splitAt: ['m'] });
    const greedy = await connect(t, harness);
    const other = await connect(t, harness);
    const value = 'v'.repeat(256 * 1024);
    await greedy.ask(Buffer.concat([resp('SET', 'a', value), resp('SET', 'z', value)]), '+OK\r\n+OK\r\n');
    greedy.socket.pause();
    const before = process.memoryUsage().arrayBuffers;
    const request = Buffer.concat(Array.from({ length: 30 }, (_, i) => resp('GET', i % 2 === 0 ? 'a' : 'z')));
    for (let i = 0; i < 20; i++) {
      greedy.send(request);
      t.is(await other.ask('PING\r\n', '+PONG\r\n'), '+PONG\r\n');
    }
    t.true(harness.submitted() < 150);
    t.true(process.memoryUsage().arrayBuffers - before < 40 * MiB);
    t.deepEqual(harness.closed, []);
    // Once it reads, it gets everything.
    greedy.socket.resume();
    const all = 20 * 30 * (value.length + 11);
    let got = 0;
    while (got < all && !greedy.isEnded) got += (await greedy.take(1)).length;
    t.is(got, all);
  },
);

test.serial('a pipeline of many large values from another worker reaches a client that reads', async (t) => {
  const harness = await start(t, { splitAt: ['m'] });
  const client = await connect(t, harness);
  const value = 'v'.repeat(512 * 1024);
  await client.ask(resp('SET', 'z', value), '+OK\r\n');
  client.send(Buffer.concat(Array.from({ length: 400 }, () => resp('GET', 'z'))));
  const all = 400 * (value.length + 11);
  let got = 0;
  while (got < all && !client.isEnded) got += (await client.take(1)).length;
  t.is(got, all);
  t.deepEqual(harness.closed, []);
});

test.serial('CLIENT KILL ends another connection at once and its own after the answer', async (t) => {
  const harness = await start(t);
  const [one, two] = [await connect(t, harness), await connect(t, harness)];
  const id = /^:(\d+)\r\n$/.exec(await two.ask('CLIENT ID\r\n', ':1\r\n'))?.[1] as string;
  t.is(await one.ask(`CLIENT KILL ID ${id}\r\n`, ':1\r\n'), ':1\r\n');
  t.is(await two.ended(), '');
  one.send('CLIENT KILL TYPE normal SKIPME no\r\nPING\r\n');
  t.is(await one.ended(), ':1\r\n');
});

test.serial('CLIENT LIST and INFO tell every connection with what it did', async (t) => {
  const harness = await start(t);
  const [one, two] = [await connect(t, harness), await connect(t, harness)];
  await two.ask('HELLO 3 SETNAME worker-2\r\n', '%7\r\n');
  await two.ask('CLIENT SETINFO lib-name x\r\nMULTI\r\nSET a 1\r\n', '+OK\r\n+OK\r\n+QUEUED\r\n');
  one.send('CLIENT LIST\r\n');
  await one.until(() => one.text.includes('name=worker-2'));
  const line = one.text.split('\n').find((text) => text.includes('name=worker-2')) as string;
  t.regex(
    line,
    /^id=\d+ addr=127\.0\.0\.1:\d+ .* flags=x db=0 .* multi=1 .* cmd=set user=default .* resp=3 lib-name=x /,
  );
  t.regex(line, /tot-net-in=\d+ tot-net-out=[1-9]\d* tot-cmds=4/);
});

test.serial('a closed server ends its connections after the replies that are owed', async (t) => {
  const harness = await start(t);
  const client = await connect(t, harness);
  client.send('SET a 1\r\n');
  await turnsUntil(() => harness.submitted() === 1);
  harness.server.close();
  t.is(await client.ended(), '+OK\r\n');
  await turnsUntil(() => harness.closed.length === 1);
  t.deepEqual(harness.closed, ['shutdown']);
});

test.serial('noise from many connections breaks none of the others', async (t) => {
  const harness = await start(t, { splitAt: ['m'], valueBytesMax: 10_000 });
  const steady = await connect(t, harness);
  await steady.ask('SET steady 1\r\n', '+OK\r\n');
  const alphabet = Buffer.from('*$+-:0123456789\r\n\r\n"\'\\x ab', 'latin1');
  const words = [
    'SET',
    'GET',
    'MULTI',
    'EXEC',
    'WATCH',
    'HELLO',
    '3',
    'CLIENT',
    'REPLY',
    'OFF',
    'MGET',
    'a',
    'z',
    'RESET',
    'UNWATCH',
  ];
  for (let seed = 1; seed <= 150; seed++) {
    const prng = createPrng(seed);
    const client = await connect(t, harness);
    const parts: Buffer[] = [];
    for (let i = prng.below(40); i >= 0; i--) {
      parts.push(resp(...Array.from({ length: 1 + prng.below(4) }, () => words[prng.below(words.length)] as string)));
    }
    const stream = Buffer.concat(parts);
    for (let i = prng.below(4); i > 0; i--) {
      stream[prng.below(stream.length)] = alphabet[prng.below(alphabet.length)] as number;
    }
    const half = prng.below(stream.length);
    client.send(stream.subarray(0, half));
    if (prng.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
    client.send(stream.subarray(half));
    if (prng.chance(0.3)) client.close();
    else client.socket.end();
    t.is(await steady.ask('GET steady\r\nINCR n\r\n', `$1\r\n1\r\n:${seed}\r\n`), `$1\r\n1\r\n:${seed}\r\n`);
  }
  await turnsUntil(() => harness.server.connectionCount === 1);
  t.pass();
});

test.serial('commands, replies, bytes and latencies are measured', async (t) => {
  const harness = await start(t, { splitAt: ['m'] });
  const client = await connect(t, harness);
  const request = Buffer.concat(Array.from({ length: 100 }, (_, i) => resp('SET', i % 2 === 0 ? 'a' : 'z', 'v')));
  const expected = '+OK\r\n'.repeat(100);
  t.is(await client.ask(request, expected), expected);
  t.is(await client.ask('CLIENT GETNAME\r\nGET a\r\n', '$-1\r\n$1\r\nv\r\n'), '$-1\r\n$1\r\nv\r\n');
  t.is(harness.counted(), 102);
  t.is(
    harness.sent.reduce((sum, { replies }) => sum + replies, 0),
    102,
  );
  t.is(
    harness.sent.reduce((sum, { bytes }) => sum + bytes, 0),
    500 + 12,
  );
  t.true(harness.latencies.length > 0 && harness.latencies.length <= 13);
  t.true(harness.latencies.every((microseconds) => microseconds > 0 && microseconds < 1e7));
});
