import test from 'ava';
import { KvMachine } from '../../../../support/kv-machine.ts';

test('SET stores under the conditions asked for, and gives the old value back on demand', (t) => {
  const kv = new KvMachine();
  t.is(kv.run('SET', 'a', '1', 'XX'), null);
  t.is(kv.run('SET', 'a', '1', 'NX'), '+OK');
  t.is(kv.run('SET', 'a', '2', 'nx'), null);
  t.is(kv.run('SET', 'a', '2', 'GET'), '1');
  t.is(kv.run('SET', 'a', '3', 'NX', 'GET'), '2');
  t.is(kv.run('SET', 'a', '3', 'XX'), '+OK');
  t.is(kv.run('GET', 'a'), '3');
  t.is(kv.run('SET', 'b', '3', 'GET'), null);
  t.is(kv.run('SET', 'b', '3', 'NX', 'XX'), '-ERR syntax error');
});

test('SET drops the expiry unless KEEPTTL says otherwise', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1', 'EX', '100');
  kv.run('SET', 'a', '2', 'KEEPTTL');
  t.is(kv.run('TTL', 'a'), 100);
  kv.run('SET', 'a', '3');
  t.is(kv.run('TTL', 'a'), -1);
  t.is(kv.run('SET', 'a', '3', 'KEEPTTL', 'EX', '1'), '-ERR syntax error');
  t.is(kv.run('SET', 'a', '3', 'EX', '1', 'PX', '1'), '-ERR syntax error');
});

test('a wrong expiry changes nothing', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  for (const amount of ['0', '-1', '9223372036854775807']) {
    t.is(kv.run('SET', 'a', '2', 'EX', amount), "-ERR invalid expire time in 'set' command");
    t.is(kv.run('SETEX', 'a', amount, '2'), "-ERR invalid expire time in 'setex' command");
    t.is(kv.run('GETEX', 'a', 'EX', amount), "-ERR invalid expire time in 'getex' command");
  }
  t.is(kv.run('SET', 'a', '2', 'EX', 'soon'), '-ERR value is not an integer or out of range');
  t.is(kv.run('GET', 'a'), '1');
  t.is(kv.run('TTL', 'a'), -1);
});

test('a value set with an expiry in the past is gone', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  t.is(kv.run('SET', 'a', '2', 'PXAT', '1000'), '+OK');
  t.is(kv.run('GET', 'a'), null);
  t.is(kv.store.keyCount, 0);
});

test('keys and values are bytes, all of them', (t) => {
  const kv = new KvMachine();
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  kv.run('SET', all, all);
  kv.run('SET', '', '');
  t.is(kv.run('GET', all), all.toString('latin1'));
  t.is(kv.run('GET', ''), '');
  t.is(kv.run('STRLEN', all), 256);
  t.is(kv.run('EXISTS', '', all, all), 3);
});

test('a key longer than the limit is refused by writes and absent for reads', (t) => {
  const kv = new KvMachine();
  const long = 'k'.repeat(1025);
  t.is(kv.run('SET', long, 'v'), '-ERR the key has 1025 bytes; at most 1024 are allowed');
  t.is(kv.run('MSET', 'a', '1', long, 'v'), '-ERR the key has 1025 bytes; at most 1024 are allowed');
  t.is(kv.run('RENAME', 'a', long), '-ERR the key has 1025 bytes; at most 1024 are allowed');
  t.is(kv.run('GET', long), null);
  t.is(kv.run('EXISTS', 'a', long), 0);
  t.is(kv.run('SET', 'k'.repeat(1024), 'v'), '+OK');
});

test('no value grows beyond the limit, by any command', (t) => {
  const kv = new KvMachine({ valueBytesMax: 10 });
  const tooLong = '-ERR string exceeds maximum allowed size (proto-max-bulk-len)';
  kv.run('SET', 'a', '0123456789');
  t.is(kv.run('SET', 'b', '01234567890'), tooLong);
  t.is(kv.run('MSET', 'c', '1', 'b', '01234567890'), tooLong);
  t.is(kv.run('APPEND', 'a', 'x'), tooLong);
  t.is(kv.run('SETRANGE', 'a', '10', 'x'), tooLong);
  t.is(kv.run('SETRANGE', 'a', '9007199254740993', 'x'), tooLong);
  t.is(kv.run('SETBIT', 'a', '80', '1'), '-ERR bit offset is not an integer or out of range');
  t.is(kv.run('GET', 'a'), '0123456789');
  t.is(kv.run('EXISTS', 'b', 'c'), 0);
});

test('APPEND and SETRANGE keep the expiry and fill gaps with zeros', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', 'ab', 'EX', '100');
  t.is(kv.run('APPEND', 'a', 'c'), 3);
  t.is(kv.run('SETRANGE', 'a', '5', 'xy'), 7);
  t.is(kv.run('GET', 'a'), 'abc\0\0xy');
  t.is(kv.run('TTL', 'a'), 100);
  t.is(kv.run('SETRANGE', 'none', '5', ''), 0);
  t.is(kv.run('EXISTS', 'none'), 0);
});

test('a long value in the scratch buffer does not show up in a later shorter one', (t) => {
  const kv = new KvMachine({ valueBytesMax: 8 * 1024 * 1024 });
  kv.run('SET', 'a', 'x'.repeat(3_000_000));
  t.is(kv.run('APPEND', 'a', 'yy'), 3_000_002);
  t.is(kv.run('SETRANGE', 'b', '70000', 'z'), 70_001);
  t.is(kv.run('GETRANGE', 'b', '0', '69999'), '\0'.repeat(70_000));
  t.is(kv.run('SETBIT', 'c', '800000', '1'), 0);
  t.is(kv.run('BITCOUNT', 'c'), 1);
});

test('MSETNX sets all or nothing', (t) => {
  const kv = new KvMachine();
  t.is(kv.run('MSETNX', 'a', '1', 'b', '2'), 1);
  t.is(kv.run('MSETNX', 'c', '1', 'b', '3'), 0);
  t.deepEqual(kv.run('MGET', 'a', 'b', 'c'), ['1', '2', null]);
});

test('GETEX changes the expiry and nothing else, GETDEL takes the key away', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  t.is(kv.run('GETEX', 'a', 'PX', '5000'), '1');
  t.is(kv.run('PTTL', 'a'), 5000);
  t.is(kv.run('GETEX', 'a'), '1');
  t.is(kv.run('PTTL', 'a'), 5000);
  t.is(kv.run('GETEX', 'a', 'PERSIST'), '1');
  t.is(kv.run('PTTL', 'a'), -1);
  t.is(kv.run('GETEX', 'a', 'EXAT', '1'), '1');
  t.is(kv.run('EXISTS', 'a'), 0);
  kv.run('SET', 'a', '2');
  t.is(kv.run('GETDEL', 'a'), '2');
  t.is(kv.run('GETDEL', 'a'), null);
});

test('LCS finds the longest common subsequence, its length or its places', (t) => {
  const kv = new KvMachine();
  kv.run('MSET', 'a', 'ohmytext', 'b', 'mynewtext');
  t.is(kv.run('LCS', 'a', 'b'), 'mytext');
  t.is(kv.run('LCS', 'a', 'b', 'LEN'), 6);
  t.deepEqual(kv.run('LCS', 'a', 'b', 'IDX', 'MINMATCHLEN', '4', 'WITHMATCHLEN'), [
    'matches',
    [[[4, 7], [5, 8], 4]],
    'len',
    6,
  ]);
  t.is(kv.run('LCS', 'a', 'none'), '');
});
