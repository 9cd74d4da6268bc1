import test from 'ava';
import * as fc from 'fast-check';
import type { Reply } from '../../../../support/kv-machine.ts';
import { KvMachine } from '../../../../support/kv-machine.ts';

test('keys are deleted, counted, renamed and copied with their expiry', (t) => {
  const kv = new KvMachine();
  kv.run('MSET', 'a', '1', 'b', '2', 'c', '3');
  t.is(kv.run('DEL', 'a', 'a', 'none'), 1);
  t.is(kv.run('UNLINK', 'b'), 1);
  t.is(kv.run('EXISTS', 'a', 'c', 'c'), 2);
  t.is(kv.run('TOUCH', 'c', 'none'), 1);
  t.is(kv.run('TYPE', 'c'), '+string');
  kv.run('EXPIRE', 'c', '100');
  t.is(kv.run('RENAME', 'c', 'd'), '+OK');
  t.is(kv.run('RENAME', 'd', 'd'), '+OK');
  t.is(kv.run('RENAMENX', 'd', 'd'), 0);
  t.is(kv.run('COPY', 'd', 'e'), 1);
  t.is(kv.run('COPY', 'd', 'e'), 0);
  t.is(kv.run('COPY', 'd', 'e', 'REPLACE', 'DB', '0'), 1);
  t.is(kv.run('COPY', 'd', 'e', 'DB', '1'), '-ERR DB index is out of range');
  t.is(kv.run('COPY', 'd', 'd'), '-ERR source and destination objects are the same');
  t.deepEqual([kv.run('TTL', 'd'), kv.run('TTL', 'e'), kv.run('EXISTS', 'c')], [100, 100, 0]);
  t.is(kv.run('DBSIZE'), 2);
  t.is(kv.run('FLUSHDB', 'ASYNC'), '+OK');
  t.is(kv.run('FLUSHALL', 'NOW'), '-ERR syntax error');
  t.is(kv.run('DBSIZE'), 0);
  t.is(kv.run('RANDOMKEY'), null);
});

test('OBJECT says what Redis would say of a value just set', (t) => {
  const kv = new KvMachine();
  const encoding = (value: string): Reply => {
    kv.run('SET', 'a', value);
    return kv.run('OBJECT', 'ENCODING', 'a');
  };
  t.deepEqual(
    ['1', '-9223372036854775808', '9223372036854775808', '01', 'x'.repeat(44), 'x'.repeat(45)].map(encoding),
    ['int', 'int', 'embstr', 'embstr', 'embstr', 'raw'],
  );
  t.is(kv.run('OBJECT', 'refcount', 'a'), 1);
  kv.run('SET', 'a', '9999');
  t.is(kv.run('OBJECT', 'refcount', 'a'), 2_147_483_647);
  kv.nowMs += 12_345;
  t.is(kv.run('OBJECT', 'idletime', 'a'), 12);
  t.is(kv.run('OBJECT', 'freq', 'none'), null);
  t.regex(String(kv.run('OBJECT', 'freq', 'a')), /^-ERR An LFU maxmemory policy is not selected/);
  t.is(kv.run('OBJECT', 'ENCODING'), "-ERR wrong number of arguments for 'object|encoding' command");
  t.is(kv.run('OBJECT', 'Foo', 'a'), "-ERR unknown subcommand 'Foo'. Try OBJECT HELP.");
  t.is((kv.run('OBJECT', 'HELP') as readonly Reply[]).length, 15);
});

test('KEYS with a prefix finds the keys that it finds without', (t) => {
  const kv = new KvMachine();
  const keys = ['', 'a', 'ab', 'abc', 'ab\xff', 'ac', 'b', 'a*', 'a*b'];
  for (const key of keys) kv.run('SET', key, '1');
  t.deepEqual(kv.run('KEYS', 'ab*'), ['ab', 'abc', 'ab\xff']);
  t.deepEqual(kv.run('KEYS', '[a]b*'), ['ab', 'abc', 'ab\xff']);
  t.deepEqual(kv.run('KEYS', 'ab'), ['ab']);
  t.deepEqual(kv.run('KEYS', 'a\\**'), ['a*', 'a*b']);
  t.deepEqual(kv.run('KEYS', ''), ['']);
  t.deepEqual(kv.run('KEYS', '*'), [...keys].sort());
});

test('RANDOMKEY comes to every key, expired ones left out', (t) => {
  const kv = new KvMachine();
  for (let i = 0; i < 8; i++) kv.run('SET', `live${i}`, '1');
  for (let i = 0; i < 30; i++) kv.run('SET', `due${i}`, '1', 'PX', '1');
  kv.nowMs++;
  const seen = new Set<Reply>();
  for (let i = 0; i < 500; i++) seen.add(kv.run('RANDOMKEY'));
  t.deepEqual(
    [...seen].sort(),
    Array.from({ length: 8 }, (_, i) => `live${i}`),
  );
});

/** A page: where to go on, and what it holds. */
type Page = readonly [string | null, ...string[]];

const key = fc.array(fc.constantFrom('a', 'b', '\0', '\xff'), { maxLength: 5 }).map((letters) => letters.join(''));

interface Change {
  readonly key: string;
  readonly deletes: boolean;
}
const changes = fc.array(fc.record({ key, deletes: fc.boolean() }), { maxLength: 12 });

/** Two ranges that meet at `edge`, as a gateway walks them. */
class TwoRanges {
  readonly edge: string;
  readonly left = new KvMachine();
  readonly right = new KvMachine();

  constructor(edge: string) {
    this.edge = edge;
  }

  of(one: string): KvMachine {
    return one < this.edge ? this.left : this.right;
  }

  change({ key: one, deletes }: Change, kept: ReadonlySet<string>): void {
    if (kept.has(one)) return;
    if (deletes) this.of(one).run('DEL', one);
    else this.of(one).run('SET', one, '1');
  }
}

test('a scan returns every key that is there throughout, once, whatever comes and goes meanwhile (FAILURES 25)', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      key,
      fc.integer({ min: 1, max: 5 }),
      changes,
      (keys, edge, count, later) => {
        const ranges = new TwoRanges(edge);
        const kept = new Set(keys);
        for (const one of keys) ranges.of(one).run('SET', one, '1');
        const seen: string[] = [];
        let from = '';
        for (let page = 0; ; page++) {
          const here = ranges.of(from);
          const [next, ...found] = here.run('SCANRANGE', from, String(count), '') as unknown as Page;
          t.true(found.length <= count);
          seen.push(...found.filter((one) => kept.has(one)));
          for (const change of later.slice(page * 3, page * 3 + 3)) ranges.change(change, kept);
          if (next === null && here === ranges.right) break;
          from = next ?? edge;
        }
        t.deepEqual(seen, [...keys].sort());
      },
    ),
  );
});

test('a scan with a pattern returns the keys that match', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      fc.constantFrom('a*', 'ab*', '*b', 'b', '[ab]*', 'a?*'),
      (keys, pattern) => {
        const kv = new KvMachine();
        for (const one of keys) kv.run('SET', one, '1');
        const seen: string[] = [];
        let from: string | null = '';
        while (from !== null) {
          const [next, ...found] = kv.run('SCANRANGE', from, '3', pattern) as unknown as Page;
          seen.push(...found);
          from = next;
        }
        t.deepEqual(seen, kv.run('KEYS', pattern) as string[]);
      },
    ),
  );
});

test('pages of LIST put together are the keys between the bounds, in either direction (FAILURES 25)', (t) => {
  const bound = fc.oneof(key, fc.constant(''));
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 30 }),
      bound,
      bound,
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      (keys, start, end, limit, isReverse) => {
        const kv = new KvMachine();
        for (const one of keys) kv.run('SET', one, `value of ${one}`);
        const seen: string[] = [];
        let [from, to, flags] = [start, end, isReverse ? 'R' : ''];
        for (;;) {
          const [next, ...items] = kv.run('LIST', from, to, String(limit), flags) as unknown as Page;
          t.true(items.length <= limit * 2);
          for (let i = 0; i < items.length; i += 2) {
            seen.push(items[i] as string);
            t.is(items[i + 1], `value of ${items[i]}`);
          }
          if (next === null) break;
          if (isReverse) to = next;
          else [from, flags] = [next, 'A'];
        }
        const expected = keys.filter((one) => one >= start && (end === '' || one < end)).sort();
        t.deepEqual(seen, isReverse ? expected.reverse() : expected);
      },
    ),
  );
});

test('a page of LIST ends after a megabyte, and holds at least one value however long', (t) => {
  const kv = new KvMachine({ valueBytesMax: 4 * 1024 * 1024 });
  for (const name of ['a', 'b', 'c', 'd']) kv.run('SET', name, 'x'.repeat(600_000));
  kv.run('SET', 'e', 'x'.repeat(2_000_000));
  const first = kv.run('LIST', '', '', '100', '') as unknown as Page;
  t.is(first.length, 1 + 4);
  t.is(first[0], 'b');
  t.is((kv.run('LIST', 'd', '', '100', 'A') as unknown as Page).length, 3);
  t.is(kv.run('LIST', '', '', '0', ''), '-ERR the limit of LIST is not a positive integer');
});
