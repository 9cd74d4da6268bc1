/**
 * What a connection says about itself, its transactions and its mistakes: the same lines to a real redis-server and to a
 * session here must be answered with the same bytes.
 */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { Redis } from 'ioredis';
import { createPrng } from '../../../../src/core/prng.ts';
import { RawClient, resp, startRespHarness } from '../../../support/resp-harness.ts';
import { redisServerVersion, startRedisServer } from '../../../support/redis-server.ts';

const version = redisServerVersion();
const isComparable = version?.startsWith('7.0.') === true;
const testWithRedis = isComparable ? test : test.skip;
if (!isComparable) {
  process.stderr.write(`redis-server 7.0 is not on the PATH (${version ?? 'none'}): replies are not compared with it`);
}

/** What they are about, and their lines. */
const conversations = readFileSync(new URL('conversations.txt', import.meta.url), 'latin1')
  .split('\n# ')
  .slice(1)
  .map((text) => ({ about: text.slice(0, text.indexOf('\n')), lines: text.slice(text.indexOf('\n') + 1).trimEnd() }));

/** What differs from one connection to the next. */
function normalize(text: string): string {
  return text.replaceAll(/(\$2\r\nid\r\n):\d+/g, '$1:N');
}

async function converse(port: number, request: string | Buffer): Promise<string> {
  const client = await RawClient.connect(port);
  client.send(request);
  // Answered last of all, unless the server has closed the connection by then.
  const end = '$11\r\nThat is all\r\n';
  client.send(resp('ECHO', 'That is all'));
  let text = '';
  await client.until(() => {
    text = client.text;
    return text.endsWith(end);
  });
  text = client.text;
  client.close();
  return normalize(text);
}

testWithRedis('connections, transactions and mistakes are answered as Redis answers them', async (t) => {
  const redis = await startRedisServer();
  const harness = await startRespHarness();
  t.teardown(() => Promise.all([redis.stop(), harness.stop()]));
  t.true(conversations.length > 30);
  for (const { about, lines } of conversations) {
    const request = `${lines.replaceAll('\n', '\r\n')}\r\n`;
    await converse(redis.port, resp('FLUSHALL'));
    await converse(harness.port, resp('FLUSHALL'));
    t.is(await converse(harness.port, request), await converse(redis.port, request), about);
  }
});

testWithRedis('broken streams are refused with the very words of Redis', async (t) => {
  const redis = await startRedisServer(['--proto-max-bulk-len', '1048576']);
  const harness = await startRespHarness({ valueBytesMax: 1_048_576 });
  t.teardown(() => Promise.all([redis.stop(), harness.stop()]));
  const valid = Buffer.concat([resp('SET', 'a', 'b'), resp('MGET', 'a', 'b'), Buffer.from('PING "x"\r\n')]);
  const alphabet = Buffer.from('*$+-:0123456789\r\n\r\n"\'\\x ab', 'latin1');
  for (let seed = 1; seed <= 300; seed++) {
    const prng = createPrng(seed);
    const stream = Buffer.from(valid);
    for (let i = prng.below(4); i >= 0; i--) {
      stream[prng.below(stream.length)] = alphabet[prng.below(alphabet.length)] as number;
    }
    // Whatever is left unfinished becomes an end that both see.
    const request = Buffer.concat([stream, Buffer.from('\r\n*1\r\n$4\r\nQUIT\r\n\r\nQUIT\r\n')]);
    await converse(redis.port, resp('FLUSHALL'));
    await converse(harness.port, resp('FLUSHALL'));
    t.is(await quitting(harness.port, request), await quitting(redis.port, request), JSON.stringify(String(stream)));
  }
});

/** Sends, ends its side, and takes everything until the server closes. */
async function quitting(port: number, request: Buffer): Promise<string> {
  const client = await RawClient.connect(port);
  client.send(request);
  client.socket.end();
  return client.ended();
}

/** As COMMAND INFO tells it; what is a set, or in no order, is sorted. */
interface Described {
  readonly name: string;
  readonly arity: unknown;
  readonly flags: unknown;
  readonly keys: unknown;
  readonly categories: unknown;
  readonly tips: unknown;
  readonly keySpecifications: unknown;
}

type CommandInfo = readonly [
  string,
  number,
  string[],
  number,
  number,
  number,
  string[],
  string[],
  unknown,
  CommandInfo[],
];

function described(info: CommandInfo): Described {
  const [name, arity, flags, first, last, step, categories, tips, keySpecifications] = info;
  return {
    name,
    arity,
    flags: flags.toSorted(),
    keys: [first, last, step],
    categories: categories.toSorted(),
    tips,
    keySpecifications,
  };
}

/** Newer than 7.0: what clients of today send at the start. */
const NEWER = ['client|setinfo', 'client|no-touch'];

testWithRedis('COMMAND describes each command as Redis does, flag by flag, and with no words of our own', async (t) => {
  const server = await startRedisServer();
  const harness = await startRespHarness();
  const [redis, ours] = [new Redis(server.port), new Redis(harness.port)];
  t.teardown(async () => {
    redis.disconnect();
    ours.disconnect();
    await Promise.all([server.stop(), harness.stop()]);
  });
  const all = ((await ours.call('COMMAND')) as CommandInfo[]).flatMap((info) => [info, ...info[9]]);
  t.is(await ours.call('COMMAND', 'COUNT'), all.filter(([name]) => !name.includes('|')).length);
  t.true(all.length > 100);
  for (const info of all.filter(([name]) => !NEWER.includes(name))) {
    const [theirs] = (await redis.call('COMMAND', 'INFO', info[0])) as (CommandInfo | null)[];
    t.truthy(theirs, info[0]);
    if (theirs) t.deepEqual(described(info), described(theirs), info[0]);
  }
});
