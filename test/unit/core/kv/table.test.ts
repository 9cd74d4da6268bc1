import test from 'ava';
import { allCommands, commandByName, commandByOp, lookupCommand } from '../../../../src/core/kv/table.ts';
import { redisServerVersion, startRedisServer } from '../../../support/redis-server.ts';

function find(name: string): string | undefined {
  const bytes = Buffer.from(`..${name}..`, 'latin1');
  return lookupCommand(bytes, 2, bytes.length - 2)?.name;
}

test('a command is found by its name in any case, wherever it lies in a buffer', (t) => {
  for (const { name, flags } of allCommands) {
    const expected = flags.includes('internal') ? undefined : name;
    t.is(find(name), expected);
    t.is(find(name.toLowerCase()), expected);
    t.is(find(`${name.slice(0, 1)}${name.slice(1).toLowerCase()}`), expected);
  }
});

test('what is nearly a name finds nothing', (t) => {
  for (const { name } of allCommands) {
    t.is(find(`${name}X`), undefined);
    t.is(find(`${name}\x00`), undefined);
    // Bit 5 is all that tells these from letters.
    t.is(find([...name].map((letter) => String.fromCharCode(letter.charCodeAt(0) ^ 0x80)).join('')), undefined);
  }
  for (const name of ['', 'GE', 'HELLO', 'HSET', 'G\x05T', 'BITFIELD\x7fRO', 'x'.repeat(10_000)])
    t.is(find(name), undefined);
});

/** On disk and on the wire. Add to this list; change nothing in it. */
const GIVEN = `
  1 GET, 2 SET, 3 SETEX, 4 PSETEX, 5 SETNX, 6 GETSET, 7 GETDEL, 8 GETEX, 9 MGET, 10 MSET, 11 MSETNX, 12 APPEND
  13 STRLEN, 14 SETRANGE, 15 GETRANGE, 16 SUBSTR, 20 INCR, 21 DECR, 22 INCRBY, 23 DECRBY, 24 INCRBYFLOAT
  40 EXPIRE, 41 PEXPIRE, 42 EXPIREAT, 43 PEXPIREAT, 44 TTL, 45 PTTL, 46 EXPIRETIME, 47 PEXPIRETIME, 48 PERSIST
  49 EXPIRED, 60 DEL, 61 UNLINK, 62 EXISTS, 63 TOUCH, 64 TYPE, 65 RENAME, 66 RENAMENX, 67 COPY, 68 OBJECT
  69 DBSIZE, 70 FLUSHDB, 71 FLUSHALL, 72 KEYS, 73 RANDOMKEY, 74 SCAN, 75 SCANRANGE, 80 SETBIT, 81 GETBIT
  82 BITCOUNT, 83 BITPOS, 84 BITOP, 85 BITFIELD, 86 BITFIELD_RO, 100 LCS, 120 LIST, 121 BATCH, 122 VERSIONS
  140 PING, 141 ECHO, 142 TIME, 160 EXEC
`;

test('codes are never given to another command', (t) => {
  const now = allCommands.map(({ name, op }) => `${op} ${name}`);
  t.deepEqual(
    now.sort(),
    GIVEN.trim()
      .split(/\s*\n\s*|, /)
      .sort(),
  );
  for (const spec of allCommands) {
    t.is(commandByOp(spec.op), spec);
    t.is(commandByName(spec.name), spec);
  }
  t.is(commandByOp(65_535), undefined);
});

test('only commands that change nothing are reads, and internal ones are marked', (t) => {
  for (const { name, write, flags } of allCommands) {
    t.is(write, flags.includes('write'), name);
    t.false(write && flags.includes('readonly'), name);
  }
  for (const name of ['EXEC', 'EXPIRED', 'VERSIONS', 'SCANRANGE'])
    t.true(commandByName(name)?.flags.includes('internal'), name);
});

const hasRedis = redisServerVersion()?.startsWith('7.0.') === true;
(hasRedis ? test : test.skip)('the table says of each command what COMMAND INFO of redis-server says', async (t) => {
  const redis = await startRedisServer();
  try {
    // A container there, one command here.
    const own = allCommands.filter(
      ({ name, flags }) => name !== 'OBJECT' && !flags.includes('internal') && !flags.includes('native'),
    );
    const replies = await redis.run(own.map(({ name }) => ['COMMAND', 'INFO', name]));
    own.forEach((spec, i) => {
      const lines = (replies[i] as Buffer).toString('latin1').split('\r\n');
      // *1 *10 $n name :arity *flags +flag … :first :last :step *categories +@category …
      const numbers = lines
        .filter((line) => line.startsWith(':'))
        .slice(0, 4)
        .map((line) => Number(line.slice(1)));
      const firstNumber = lines.findIndex((line) => line.startsWith(':'));
      const keysAt = lines.findIndex((line, at) => at > firstNumber && line.startsWith(':'));
      const words = lines.filter((line) => line.startsWith('+'));
      const flags = lines
        .slice(0, keysAt)
        .filter((line) => line.startsWith('+'))
        .map((line) => line.slice(1));
      const categories = words.filter((word) => word.startsWith('+@')).map((word) => word.slice(2));
      const { name, arity, firstKey, lastKey, keyStep } = spec;
      t.deepEqual([arity, firstKey, lastKey, keyStep], numbers, name);
      t.deepEqual(spec.flags.filter((flag) => flag !== 'keyless').sort(), flags.sort(), name);
      t.deepEqual([...spec.categories].sort(), categories.sort(), name);
    });
  } finally {
    await redis.stop();
  }
});
