import test from 'ava';
import type { Hlc } from '../../../src/core/brands.ts';
import { HLC_LOGICAL_RANGE } from '../../../src/core/hlc.ts';
import type { RequestId } from '../../../src/core/kv/batch.ts';
import { discardReply } from '../../../src/core/kv/reply.ts';
import { createStateMachine } from '../../../src/core/kv/state-machine.ts';
import { commandByName, requireCommand } from '../../../src/core/kv/table.ts';
import type { Prng } from '../../../src/core/prng.ts';
import { createPrng } from '../../../src/core/prng.ts';
import type { SupersededBits } from '../../../shards/superseded.ts';
import { ALL_KEYS, isSuperseded, joinBits, SupersededPuts } from '../../../shards/superseded.ts';
import { ArrayStore } from '../../support/array-store.ts';
import type { BatchItem, Bytes } from '../../support/kv-machine.ts';
import { argsOf, encodeBatch } from '../../support/kv-machine.ts';
import { randomCommand } from '../../support/redis-commands.ts';

const FIRST = 1_700_000_000_000 * HLC_LOGICAL_RANGE;
const VALUE_BYTES_MAX = 100;
const listener = { sink: () => discardReply, applied: () => undefined };

function item(name: string, ...values: Bytes[]): BatchItem {
  return { spec: requireCommand(name), args: argsOf(values) };
}

/** Which commands of a log, one batch a line, are left out. */
function leftOut(...batches: readonly (readonly BatchItem[])[]): number[] {
  const puts = new SupersededPuts(VALUE_BYTES_MAX);
  for (const items of batches) puts.note(encodeBatch(FIRST, items));
  const bits = puts.finish();
  return batches.flat().flatMap((_, i) => (isSuperseded(bits, i) ? [i] : []));
}

test('a put is left out when its key is put again, in the same batch or a later one', (t) => {
  const [a1, a2, b] = [item('SET', 'a', '1'), item('SET', 'a', '2'), item('SET', 'b', '1')];
  t.deepEqual(leftOut([a1, b, a2]), [0]);
  t.deepEqual(leftOut([a1], [b, a2], [a1]), [0, 2]);
  t.deepEqual(leftOut([a1, b]), []);
  t.deepEqual(leftOut([item('SET', '', '1'), item('SET', '', '2')]), [0]);
});

test('a put is kept when a command that may look at its key stands before the next put', (t) => {
  const [a, again] = [item('SET', 'a', '1'), item('SET', 'a', '2')];
  t.deepEqual(leftOut([a, item('INCR', 'a'), again]), []);
  t.deepEqual(leftOut([a, item('COPY', 'a', 'b'), again]), []);
  t.deepEqual(leftOut([a, item('SET', 'a', '3', 'NX'), again]), []);
  t.deepEqual(leftOut([a, item('FLUSHALL'), again]), []);
  t.deepEqual(leftOut([a, item('EXEC', '0'), again]), []);
  t.deepEqual(leftOut([a, item('INCR', 'b'), again]), [0]);
});

test('what may not be run supersedes nothing: a retry, and a value or a key that is refused', (t) => {
  const a = item('SET', 'a', '1');
  const requestId: RequestId = { clientId: 7, sequence: 1, floor: 1 };
  t.deepEqual(leftOut([a, { ...a, requestId }]), []);
  t.deepEqual(leftOut([a, item('SET', 'a', Buffer.alloc(VALUE_BYTES_MAX + 1))]), []);
  const long = Buffer.alloc(VALUE_BYTES_MAX + 1, 'k');
  t.deepEqual(leftOut([item('SET', long, '1'), item('SET', long, '2')]), []);
});

const hot = (prng: Prng): string => `k${prng.below(20)}`;

function randomItem(prng: Prng, sequence: number): BatchItem {
  const kind = prng.next();
  if (kind < 0.7) return item('SET', hot(prng), `${sequence}`);
  if (kind < 0.75) {
    const requestId = { clientId: 1 + prng.below(3), sequence: 1 + prng.below(30), floor: 1 };
    return { ...item('SET', hot(prng), `once ${sequence}`), requestId };
  }
  if (kind < 0.8) return item('APPEND', hot(prng), 'x'.repeat(prng.below(VALUE_BYTES_MAX)));
  if (kind < 0.85) return item('SET', hot(prng), 'x'.repeat(prng.below(2 * VALUE_BYTES_MAX)));
  if (kind < 0.9) return item('MSET', hot(prng), 'm', hot(prng), 'n');
  if (kind < 0.905) return item('EXEC', '0', `${requireCommand('APPEND').op}`, '2', hot(prng), '+');
  const [name = '', ...rest] = randomCommand(prng);
  const spec = commandByName(name.toUpperCase());
  return spec?.write === true ? { spec, args: argsOf(rest) } : item('DEL', hot(prng));
}

test('a replay that leaves out what is superseded ends in the very state of one that does not', (t) => {
  let superseded = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const prng = createPrng(seed);
    let version = FIRST;
    const batches = Array.from({ length: 40 }, (_, b) => {
      const items = Array.from({ length: 1 + prng.below(120) }, (__, i) => randomItem(prng, b * 200 + i));
      const batch = encodeBatch(version, items);
      version += items.length + prng.below(1000) * HLC_LOGICAL_RANGE;
      return batch;
    });
    const [bits, first, second] = [ALL_KEYS, { index: 0, of: 2 }, { index: 1, of: 2 }].map((share) => {
      const puts = new SupersededPuts(VALUE_BYTES_MAX, share);
      for (const batch of batches) puts.note(batch);
      return puts.finish();
    }) as [SupersededBits, SupersededBits, SupersededBits];
    t.deepEqual(joinBits(first, second), bits, `two shares, seed ${seed}`);
    t.true(first.bits.some((word, i) => word !== bits.bits[i]) && second.bits.some((word, i) => word !== bits.bits[i]));
    const outcomes = [undefined, bits, second].map((leaveOut) => {
      const store = new ArrayStore();
      const machine = createStateMachine({ store, valueBytesMax: VALUE_BYTES_MAX });
      let first = 0;
      for (const batch of batches) {
        const count = batch.readUInt32LE(4);
        const before = first;
        machine.apply(batch, listener, leaveOut === undefined ? undefined : (i) => isSuperseded(leaveOut, before + i));
        for (let i = 0; i < count; i++) if (leaveOut !== undefined && isSuperseded(leaveOut, before + i)) superseded++;
        first += count;
      }
      const live = store.live().map(({ key, versions }) => [key.toString('latin1'), versions[0]]);
      return { live, sessions: machine.encodeSessions(), latest: machine.latestVersion };
    });
    t.deepEqual(outcomes[1], outcomes[0], `seed ${seed}`);
    t.deepEqual(outcomes[2], outcomes[0], `one share is missing, seed ${seed}`);
  }
  t.true(superseded > 10_000, 'most of the puts were left out');
});

test('more keys than the first table holds, and keys of all lengths, are told apart', (t) => {
  const prng = createPrng(5);
  const keys = Array.from({ length: 3000 }, (_, i) => `${'x'.repeat(prng.below(60))}${i}`);
  const items = Array.from({ length: 20_000 }, () => item('SET', keys[prng.below(keys.length)] as string, 'v'));
  const puts = new SupersededPuts(VALUE_BYTES_MAX);
  for (let at = 0; at < items.length; at += 1000) puts.note(encodeBatch(FIRST + at, items.slice(at, at + 1000)));
  const bits = puts.finish();
  const last = new Map(items.map(({ args }, i) => [args.buffer.toString('latin1', args.start[0], args.end[0]), i]));
  const needed = new Set(last.values());
  const wrong = items.flatMap((_, i) => (isSuperseded(bits, i) && needed.has(i) ? [i] : []));
  t.deepEqual(wrong, []);
  const kept = items.flatMap((_, i) => (isSuperseded(bits, i) ? [] : [i]));
  t.true(kept.length < needed.size * 1.01, 'and nearly everything else is left out');
  t.is(isSuperseded(bits, items.length), false);
});

test('versions go on from a command that was left out', (t) => {
  const machine = createStateMachine({ store: new ArrayStore(), valueBytesMax: VALUE_BYTES_MAX });
  machine.apply(encodeBatch(FIRST, [item('SET', 'a', '1'), item('SET', 'b', '1')]), listener, () => true);
  t.is(machine.latestVersion, (FIRST + 1) as Hlc);
});
