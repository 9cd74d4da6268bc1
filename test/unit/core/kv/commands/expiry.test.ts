import test from 'ava';
import { KvMachine } from '../../../../support/kv-machine.ts';

test('a key whose time has come is absent to every command', (t) => {
  const kv = new KvMachine();
  const due = (): void => {
    kv.run('FLUSHALL');
    kv.run('MSET', 'a', '5', 'other', 'x');
    kv.run('PEXPIRE', 'a', '1000');
    kv.nowMs += 1000;
  };
  const replies: readonly (readonly [string, readonly string[], unknown])[] = [
    ['GET', ['a'], null],
    ['MGET', ['a', 'other'], [null, 'x']],
    ['EXISTS', ['a'], 0],
    ['TTL', ['a'], -2],
    ['TYPE', ['a'], '+none'],
    ['STRLEN', ['a'], 0],
    ['KEYS', ['*'], ['other']],
    ['SCANRANGE', ['', '10', ''], [null, 'other']],
    ['LIST', ['', '', '10', 'K'], [null, 'other']],
    ['RANDOMKEY', [], 'other'],
    ['VERSIONS', ['a'], [0]],
    ['INCR', ['a'], 1],
    ['APPEND', ['a', 'x'], 1],
    ['SETNX', ['a', 'x'], 1],
    ['SET', ['a', 'x', 'XX'], null],
    ['SET', ['a', 'x', 'GET'], null],
    ['GETSET', ['a', 'x'], null],
    ['GETDEL', ['a'], null],
    ['GETEX', ['a', 'PERSIST'], null],
    ['DEL', ['a'], 0],
    ['EXPIRE', ['a', '10'], 0],
    ['PERSIST', ['a'], 0],
    ['RENAME', ['a', 'b'], '-ERR no such key'],
    ['RENAMENX', ['other', 'a'], 1],
    ['COPY', ['a', 'b'], 0],
    ['COPY', ['other', 'a'], 1],
    ['SETBIT', ['a', '0', '0'], 0],
    ['BITCOUNT', ['a'], 0],
    ['OBJECT', ['ENCODING', 'a'], null],
  ];
  for (const [name, args, expected] of replies) {
    due();
    t.deepEqual(kv.run(name, ...args), expected as never, name);
  }
});

test('a value that replaces an expired one does not inherit its expiry', (t) => {
  const kv = new KvMachine();
  for (const command of [
    ['INCR', 'a'],
    ['APPEND', 'a', '1'],
    ['SETRANGE', 'a', '0', '1'],
    ['SET', 'a', '1', 'KEEPTTL'],
    ['SETBIT', 'a', '1', '1'],
  ]) {
    kv.run('SET', 'a', '5', 'PX', '10');
    kv.nowMs += 10;
    const [name = '', ...args] = command;
    kv.run(name, ...args);
    t.is(kv.run('TTL', 'a'), -1, name);
    kv.run('DEL', 'a');
  }
});

test('EXPIRE and its conditions', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  t.is(kv.run('EXPIRE', 'a', '100', 'XX'), 0);
  t.is(kv.run('EXPIRE', 'a', '100', 'GT'), 0);
  t.is(kv.run('EXPIRE', 'a', '100', 'NX'), 1);
  t.is(kv.run('EXPIRE', 'a', '50', 'NX'), 0);
  t.is(kv.run('EXPIRE', 'a', '50', 'GT'), 0);
  t.is(kv.run('EXPIRE', 'a', '200', 'GT', 'XX'), 1);
  t.is(kv.run('EXPIRE', 'a', '50', 'LT'), 1);
  t.is(kv.run('TTL', 'a'), 50);
  t.is(kv.run('EXPIRE', 'a', '50', 'GT', 'LT'), '-ERR GT and LT options at the same time are not compatible');
  t.is(kv.run('EXPIRE', 'a', '50', 'NX', 'LT'), '-ERR NX and XX, GT or LT options at the same time are not compatible');
  t.is(kv.run('EXPIRE', 'a', '50', 'often'), '-ERR Unsupported option often');
  t.is(kv.run('PERSIST', 'a'), 1);
  t.is(kv.run('EXPIRE', 'a', '50', 'LT'), 1);
  t.is(kv.run('EXPIRE', 'none', '50'), 0);
  t.is(kv.run('EXPIRE', 'a', '9223372036854775807'), "-ERR invalid expire time in 'expire' command");
  t.is(kv.run('EXPIRE', 'a', '-1'), 1);
  t.is(kv.run('EXISTS', 'a'), 0);
});

test('the four clocks of an expiry agree', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  kv.run('PEXPIREAT', 'a', String(kv.nowMs + 12_500));
  t.is(kv.run('PTTL', 'a'), 12_500);
  t.is(kv.run('TTL', 'a'), 13);
  t.is(kv.run('PEXPIRETIME', 'a'), kv.nowMs + 12_500);
  t.is(kv.run('EXPIRETIME', 'a'), Math.floor((kv.nowMs + 13_000) / 1000));
  t.is(kv.run('EXPIRETIME', 'none'), -2);
  kv.run('EXPIREAT', 'a', String(kv.nowMs / 1000 + 5));
  t.is(kv.run('TTL', 'a'), 5);
  kv.run('PEXPIRE', 'a', '9223370000000000000');
  t.is(kv.run('PEXPIRETIME', 'a'), Number.MAX_SAFE_INTEGER);
});

test('EXPIRED deletes what has expired by the clock of its batch, and nothing that was set again', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'due', '1', 'PX', '100');
  kv.run('SET', 'later', '1', 'PX', '101');
  kv.run('SET', 'renewed', '1', 'PX', '100');
  kv.run('SET', 'never', '1');
  kv.nowMs += 100;
  kv.run('SET', 'renewed', '2');
  t.is(kv.run('EXPIRED', 'due', 'later', 'renewed', 'never', 'none'), 1);
  t.deepEqual(kv.run('KEYS', '*'), ['later', 'never', 'renewed']);
  t.is(kv.store.keyCount, 3);
});

test('deleting an expired key frees it, and does not count it', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1', 'PX', '10');
  kv.nowMs += 10;
  t.is(kv.run('DEL', 'a', 'a'), 0);
  t.is(kv.store.keyCount, 0);
});
