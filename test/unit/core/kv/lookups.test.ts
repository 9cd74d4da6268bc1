/** Hits and misses are counted where Redis counts them; where a redis-server is installed, it is asked. */
import test from 'ava';
import { KvMachine } from '../../../support/kv-machine.ts';
import { redisServerVersion, startRedisServer } from '../../../support/redis-server.ts';

/** Each with the hits and misses that it adds, in a store that has s (a string), n (a number) and nothing else. */
const commands: readonly (readonly [line: string, hits: number, misses: number])[] = [
  ['GET s', 1, 0],
  ['GET none', 0, 1],
  ['MGET s none n none', 2, 2],
  ['EXISTS s none s', 2, 1],
  ['TOUCH s none', 1, 1],
  ['STRLEN s', 1, 0],
  ['GETRANGE s 0 1', 1, 0],
  ['SUBSTR none 0 1', 0, 1],
  ['TYPE s', 1, 0],
  ['TTL none', 0, 1],
  ['PTTL s', 1, 0],
  ['EXPIRETIME s', 1, 0],
  ['OBJECT ENCODING s', 1, 0],
  ['GETBIT s 3', 1, 0],
  ['BITCOUNT none', 0, 1],
  ['BITPOS s 1', 1, 0],
  ['BITFIELD s GET u8 0', 1, 0],
  ['BITFIELD_RO none GET u8 0', 0, 1],
  ['BITFIELD s2 SET u8 0 1', 0, 0],
  ['BITOP OR to s none', 1, 1],
  ['LCS s none', 1, 1],
  ['GETEX s', 1, 0],
  ['GETSET s value', 1, 0],
  ['SET s value GET', 1, 0],
  ['SET s value NX', 0, 0],
  ['SET none2 value NX GET', 0, 1],
  ['SET s value KEEPTTL', 0, 0],
  ['GETDEL none', 0, 1],
  ['COPY s copied', 1, 0],
  ['COPY s copied', 1, 0],
  ['COPY none copied', 0, 1],
  ['SETNX s value', 0, 0],
  ['APPEND s more', 0, 0],
  ['INCR n', 0, 0],
  ['EXPIRE none 10', 0, 0],
  ['PERSIST s', 0, 0],
  ['RENAME copied other', 0, 0],
  ['DEL none s2', 0, 0],
];

const setup = ['SET s string', 'SET n 1'].map((line) => line.split(' '));

test('lookups of commands that read a key are hits or misses; those before a write are neither', (t) => {
  const kv = new KvMachine();
  for (const [name = '', ...args] of setup) kv.run(name, ...args);
  const { lookups } = kv.machine;
  for (const [line, hits, misses] of commands) {
    lookups.fill(0);
    const [name = '', ...args] = line.split(' ');
    kv.run(name, ...args);
    t.deepEqual([...lookups], [hits, misses], line);
  }
});

const testWithRedis = redisServerVersion()?.startsWith('7.0.') === true ? test : test.skip;

testWithRedis('Redis counts the same', async (t) => {
  const redis = await startRedisServer();
  t.teardown(() => redis.stop());
  await redis.run(setup);
  for (const [line, hits, misses] of commands) {
    await redis.run([['CONFIG', 'RESETSTAT'], line.split(' ')]);
    const [info = Buffer.alloc(0)] = await redis.run([['INFO', 'stats']]);
    const [, hit, miss] = /keyspace_hits:(\d+)\r\nkeyspace_misses:(\d+)/.exec(info.toString()) ?? [];
    t.deepEqual([Number(hit), Number(miss)], [hits, misses], line);
  }
});
