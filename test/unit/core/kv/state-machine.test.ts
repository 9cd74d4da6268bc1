import test from 'ava';
import * as fc from 'fast-check';
import { SkerryError } from '../../../../src/core/errors.ts';
import { HLC_LOGICAL_RANGE } from '../../../../src/core/hlc.ts';
import { createPrng } from '../../../../src/core/prng.ts';
import { discardReply } from '../../../../src/core/kv/reply.ts';
import { createStateMachine } from '../../../../src/core/kv/state-machine.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import { ArrayStore } from '../../../support/array-store.ts';
import type { BatchItem, Reply } from '../../../support/kv-machine.ts';
import { argsOf, encodeBatch, KvMachine, ValueSink } from '../../../support/kv-machine.ts';
import { randomCommand } from '../../../support/redis-commands.ts';

const NOW_MS = 1_700_000_000_000;
const FIRST = NOW_MS * HLC_LOGICAL_RANGE;

function item(name: string, ...values: string[]): BatchItem {
  return { spec: requireCommand(name), args: argsOf(values) };
}

/** Everything that a store holds. */
function contents(store: ArrayStore): unknown {
  return store.live().map(({ key, versions }) => [key.toString('latin1'), versions[0]]);
}

test('each command of a batch has a version of its own, in order', (t) => {
  const store = new ArrayStore();
  const machine = createStateMachine({ store, valueBytesMax: 1000 });
  const sink = new ValueSink();
  const order: string[] = [];
  const batch = encodeBatch(FIRST, [item('SET', 'a', '1'), item('INCR', 'a'), item('SET', 'b', '2')]);
  machine.apply(batch, {
    sink: (i) => {
      order.push(`sink ${i}`);
      return sink;
    },
    applied: (i) => order.push(`applied ${i}`),
  });
  t.deepEqual(order, ['sink 0', 'applied 0', 'sink 1', 'applied 1', 'sink 2', 'applied 2']);
  t.deepEqual(sink.take(), ['+OK', 2, '+OK']);
  t.is(machine.latestVersion, (FIRST + 2) as typeof machine.latestVersion);
  machine.read(requireCommand('VERSIONS'), argsOf(['a', 'b', 'none']), NOW_MS, sink);
  t.deepEqual(sink.take(), [[FIRST + 1, FIRST + 2, 0]]);
});

test('a read between two commands of a batch sees the first and not the second', (t) => {
  const store = new ArrayStore();
  const machine = createStateMachine({ store, valueBytesMax: 1000 });
  const seen: Reply[] = [];
  const batch = encodeBatch(FIRST, [item('SET', 'a', '1'), item('APPEND', 'a', '2'), item('DEL', 'a')]);
  machine.apply(batch, {
    sink: () => new ValueSink(),
    applied: () => {
      const sink = new ValueSink();
      machine.read(requireCommand('GET'), argsOf(['a']), NOW_MS, sink);
      seen.push(...sink.take());
    },
  });
  t.deepEqual(seen, ['1', '12', null]);
});

test('the clock of a write is that of its batch, and reads behind it do not go back before it', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1', 'PX', '1000');
  kv.nowMs += 1000;
  t.is(kv.run('SETNX', 'b', '1'), 1);
  // The wall clock of the reader is behind the log's.
  kv.nowMs -= 500;
  t.is(kv.run('GET', 'a'), null);
});

test('replicas that apply the same batches have the same state, expiry and remembered requests included', (t) => {
  const prng = createPrng(7);
  const stores = [new ArrayStore(), new ArrayStore()] as const;
  const machines = stores.map((store) => createStateMachine({ store, valueBytesMax: 100_000 }));
  let version = FIRST;
  for (let round = 0; round < 300; round++) {
    const items: BatchItem[] = [];
    while (items.length < 5) {
      const [name = '', ...values] = randomCommand(prng);
      const one = item(name, ...values);
      const requestId = { clientId: 1 + prng.below(3), sequence: 1 + prng.below(300), floor: prng.below(200) };
      if (one.spec.write) items.push(prng.chance(0.5) ? one : { ...one, requestId });
    }
    // The wall clocks of the replicas have no part in it.
    version += 1 + prng.below(1000 * HLC_LOGICAL_RANGE);
    const batch = encodeBatch(version, items);
    const replies = machines.map((machine) => {
      const sink = new ValueSink();
      machine.apply(Buffer.from(batch), { sink: () => sink, applied: () => undefined });
      return sink.take();
    });
    t.deepEqual(replies[0], replies[1]);
    version += items.length;
  }
  t.deepEqual(contents(stores[0]), contents(stores[1]));
  t.deepEqual(machines[0]?.encodeSessions(), machines[1]?.encodeSessions());
});

test('a write that answers with an error changes nothing', (t) => {
  const prng = createPrng(11);
  const store = new ArrayStore();
  const kv = new KvMachine({ store, valueBytesMax: 1000 });
  let refused = 0;
  for (let i = 0; i < 5000; i++) {
    const [name = '', ...values] = randomCommand(prng);
    const before = contents(store);
    const reply = kv.run(name, ...values);
    if (typeof reply !== 'string' || !reply.startsWith('-') || !requireCommand(name).write) continue;
    // A value of GETSET or ECHO may begin with a dash as well.
    if (!/^-[A-Z]+ /.test(reply)) continue;
    refused++;
    t.deepEqual(contents(store), before, `${name} ${values.join(' ')}`);
  }
  t.true(refused > 200);
});

test('batches go forward only, and hold writes only', (t) => {
  const machine = createStateMachine({ store: new ArrayStore(), valueBytesMax: 1000 });
  const listener = { sink: () => new ValueSink(), applied: () => undefined };
  const batch = encodeBatch(FIRST, [item('SET', 'a', '1')]);
  machine.apply(batch, listener);
  t.throws(() => machine.apply(batch, listener), { code: 'KV_ASSERTION' });
  t.throws(() => machine.apply(encodeBatch(FIRST + 1, [item('GET', 'a')]), listener), { code: 'KV_ASSERTION' });
});

test('a store that has no memory left while applying stops the node instead of answering', (t) => {
  class FullStore extends ArrayStore {
    override put(): void {
      throw new SkerryError('KV_OUT_OF_MEMORY', 'no memory');
    }
  }
  const kv = new KvMachine({ store: new FullStore() });
  t.throws(() => kv.run('SET', 'a', '1'), { code: 'KV_OUT_OF_MEMORY' });
});

test('growthBytes is never less than what a command adds to the store beside its own bytes', (t) => {
  const prng = createPrng(5);
  const store = new ArrayStore();
  const kv = new KvMachine({ store, valueBytesMax: 100_000 });
  for (let i = 0; i < 5000; i++) {
    const [name = '', ...values] = randomCommand(prng);
    const { spec, args } = item(name, ...values);
    const admitted = kv.machine.growthBytes(spec, args, kv.nowMs) + args.buffer.length;
    const before = store.bytesUsed;
    kv.run(name, ...values);
    // A number as text may be longer than what it was counted up from.
    t.true(
      store.bytesUsed - before <= admitted + 32 + (name === 'INCRBYFLOAT' ? 5000 : 0),
      `${name} ${values.join(' ')}`,
    );
  }
  const { spec, args } = item('SETBIT', 'a', '799999', '1');
  t.is(kv.machine.growthBytes(spec, args, kv.nowMs), 100_000);
});

test('a transaction runs all of its commands, or none when a watched key has changed', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', '1');
  const [version] = kv.run('VERSIONS', 'a') as readonly number[];
  const watched = [
    ['a', version as number],
    ['none', 0],
  ] as const;
  t.deepEqual(
    kv.exec(watched, [
      ['INCR', 'a'],
      ['SET', 'b', 'x'],
      ['INCR', 'b'],
      ['GET', 'a'],
    ]),
    [2, '+OK', '-ERR value is not an integer or out of range', '2'],
  );
  t.is(kv.exec(watched, [['SET', 'a', '9']]), '*null');
  t.deepEqual(kv.run('MGET', 'a', 'b'), ['2', 'x']);
  t.deepEqual(kv.exec([], []), []);
});

test('any change of a watched key is seen: value, expiry, deletion, and its end by time', (t) => {
  const changes: readonly (readonly string[])[] = [
    ['SET', 'a', '1'],
    ['EXPIRE', 'a', '100'],
    ['PERSIST', 'a'],
    ['DEL', 'a'],
    ['GETEX', 'a', 'EX', '7'],
    ['RENAME', 'b', 'a'],
    ['FLUSHALL'],
    ['SETBIT', 'a', '1', '1'],
  ];
  for (const [name = '', ...values] of changes) {
    const kv = new KvMachine();
    kv.run('MSET', 'a', '1', 'b', '2');
    kv.run('EXPIRE', 'a', '1000');
    const [version] = kv.run('VERSIONS', 'a') as readonly number[];
    kv.run(name, ...values);
    t.is(kv.exec([['a', version as number]], [['SET', 'c', '1']]), '*null', name);
  }
  const kv = new KvMachine();
  kv.run('SET', 'a', '1', 'PX', '10');
  const [version] = kv.run('VERSIONS', 'a') as readonly number[];
  kv.nowMs += 10;
  t.is(kv.exec([['a', version as number]], [['SET', 'c', '1']]), '*null');
});

test('a transaction that is retried is applied once (FAILURES 19)', (t) => {
  const kv = new KvMachine();
  const exec = ['0', String(requireCommand('INCR').op), '1', 'a', String(requireCommand('GET').op), '1', 'a'];
  const requestId = { clientId: 1, sequence: 1, floor: 1 };
  t.deepEqual(kv.runOnce(requestId, 'EXEC', ...exec), [1, '1']);
  t.deepEqual(kv.runOnce(requestId, 'EXEC', ...exec), [1, '1']);
  t.is(kv.run('GET', 'a'), '1');
});

test('what a retry is answered after a split is not the sum of what both halves remember of the whole (FAILURES 19)', (t) => {
  const whole = new KvMachine();
  whole.run('MSET', 'a', '1', 'x', '1', 'z', '1');
  const requestId = { clientId: 1, sequence: 1, floor: 1 };
  t.is(whole.runOnce(requestId, 'DEL', 'a', 'x'), 2);
  const right = new KvMachine({ sessions: whole.machine.encodeSessions() });
  t.is(whole.runOnce(requestId, 'DEL', 'a', 'x'), 2);
  t.regex(String(whole.runOnce(requestId, 'DEL', 'a')), /^-UNKNOWNRESULT /);
  t.regex(String(right.runOnce(requestId, 'DEL', 'x')), /^-UNKNOWNRESULT /);
});

test('what a transaction refuses for the length of its replies does not depend on what the store has held before', (t) => {
  const get = [String(requireCommand('GET').op), '1', 'long'];
  const queued = [...Array.from({ length: 9 }, () => get).flat(), String(requireCommand('GETDEL').op), '1', 'long'];
  for (const longest of [0, 2 ** 40]) {
    const store = new ArrayStore();
    Object.defineProperty(store, 'longestValueBytes', { value: longest });
    const kv = new KvMachine({ store, valueBytesMax: 2 ** 26 });
    kv.run('SETRANGE', 'long', String(2 ** 26 - 1), 'x');
    kv.runInto(discardReply, requireCommand('EXEC'), argsOf(['0', ...queued]));
    t.is(kv.run('STRLEN', 'long'), 2 ** 26, 'eight values of 64 MiB are all that it may reply with');
  }
});

test('a malformed transaction is refused whole, and neither stops nor changes anything', (t) => {
  const kv = new KvMachine();
  const good = [String(requireCommand('SET').op), '2', 'a', '1'];
  const malformed: readonly (readonly string[])[] = [
    ['x'],
    ['-1'],
    ['1', 'key'],
    ['0', ...good, 'x', '0'],
    ['0', ...good, '9999', '0'],
    ['0', ...good, '1'],
    ['0', ...good, '1', '5', 'a'],
    ['0', ...good, '1', '-1'],
    ['0', ...good, '1', '0'],
    ['0', ...good, String(requireCommand('EXEC').op), '1', '0'],
  ];
  for (const args of malformed) t.is(kv.run('EXEC', ...args), '-ERR EXEC has malformed arguments', args.join(' '));
  t.is(kv.run('DBSIZE'), 0);
  // The length of keys is looked at for each command by itself.
  t.deepEqual(kv.run('EXEC', '0', ...good, String(requireCommand('SET').op), '2', 'k'.repeat(2000), '1'), [
    '+OK',
    '-ERR the key has 2000 bytes; at most 1024 are allowed',
  ]);
  t.is(kv.run('DBSIZE'), 1);
});

test('BATCH makes all of its changes or none', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'old', '1');
  t.is(kv.run('BATCH', 'a', 'P', '1', 'old', 'D', '', 'b', 'P5000', '2'), '+OK');
  t.deepEqual(kv.run('KEYS', '*'), ['a', 'b']);
  t.is(kv.run('PTTL', 'b'), 5000);
  for (const args of [
    ['c', 'P', '1', 'd', 'X', ''],
    ['c', 'P', '1', 'd', 'P-1', ''],
    ['c', 'P', '1', 'd', 'P' + '9'.repeat(400), ''],
    ['c', 'P', '1', 'd', 'P'],
  ]) {
    t.regex(String(kv.run('BATCH', ...args)), /^-ERR /, args.join(' '));
  }
  t.deepEqual(kv.run('KEYS', '*'), ['a', 'b']);
});

test('batches applied to a copy of the state behind a checkpoint give the state that the original has', (t) => {
  fc.assert(
    fc.property(fc.nat(1000), fc.integer({ min: 1, max: 30 }), (seed, cut) => {
      const prng = createPrng(seed);
      const original = new KvMachine({ store: new ArrayStore() });
      let copy: KvMachine | null = null;
      for (let i = 0; i < 40; i++) {
        if (i === cut) {
          const store = new ArrayStore();
          for (const { key, versions } of (original.store as ArrayStore).live()) {
            store.entries.push({ key, versions: versions.slice(0, 1) });
          }
          copy = new KvMachine({ store, sessions: original.machine.encodeSessions() });
        }
        const [name = '', ...values] = randomCommand(prng);
        const { spec, args } = item(name, ...values);
        const requestId = { clientId: 1 + prng.below(2), sequence: 1 + prng.below(30), floor: prng.below(10) };
        const replies = [original, copy].map((kv) => {
          if (kv === null) return null;
          const sink = new ValueSink();
          kv.runInto(sink, spec, args, requestId);
          return sink.take();
        });
        if (copy !== null && spec.write) t.deepEqual(replies[1], replies[0]);
      }
      if (copy !== null) t.deepEqual(copy.machine.encodeSessions(), original.machine.encodeSessions());
    }),
    { numRuns: 30 },
  );
});
