import test from 'ava';
import type { RangeId } from '../../../../src/core/brands.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import { limits } from '../../../../src/core/limits.ts';
import { WaitingRoom } from '../../../../src/gateway/router/waiting-room.ts';
import { argsOf } from '../../../support/kv-machine.ts';
import type { Bytes } from '../../../support/kv-machine.ts';
import { SlotReplies } from '../../../support/slot-replies.ts';

const RANGE = 7 as RangeId;

function setUp() {
  const target = new SlotReplies();
  const clock = { nowMs: 1000 };
  const sent: { slot: number; key: string; sinceMs: number }[] = [];
  const room = new WaitingRoom({
    waitMs: 5000,
    monotonicMs: () => clock.nowMs,
    submit: (_spec, args, _target, slot, _requestId, _scope, sinceMs) => {
      sent.push({ slot, key: args.buffer.toString('latin1', args.start[0], args.end[0]), sinceMs });
    },
  });
  const add = (slot: number, key: Bytes, sinceMs = 0): void => {
    room.add(RANGE, requireCommand('GET'), argsOf([key]), target, slot, null, null, sinceMs);
  };
  return { target, clock, sent, room, add };
}

test('commands are sent on their way again in the order of their arrival, with their own bytes', (t) => {
  const { sent, room, clock } = setUp();
  const args = argsOf(['first']);
  room.add(RANGE, requireCommand('GET'), args, new SlotReplies(), 1, null, null, 0);
  args.buffer.fill('x');
  clock.nowMs += 10;
  room.add(RANGE, requireCommand('GET'), argsOf(['second']), new SlotReplies(), 2, null, null, 0);
  room.retry();
  t.deepEqual(sent, [
    { slot: 1, key: 'first', sinceMs: 1000 },
    { slot: 2, key: 'second', sinceMs: 1010 },
  ]);
  t.is(room.count, 0);
});

test('one that has waited too long is refused with what is known; its time runs on while it comes and goes', (t) => {
  const { target, sent, room, clock, add } = setUp();
  add(1, 'a');
  clock.nowMs += 3000;
  room.retry();
  add(1, 'a', sent[0]?.sinceMs);
  add(2, 'b');
  clock.nowMs += 2000;
  room.expire((rangeId, waitedMs) => `NOTLEADER range ${rangeId} has had no leader for ${waitedMs} ms`);
  t.deepEqual(
    [...target.replies],
    [[1, '-NOTLEADER range 7 has had no leader for 5000 ms; nothing was done, try again']],
  );
  t.is(room.count, 1);
});

test('one whose caller has less patience is refused sooner', (t) => {
  const { target, room, clock, add } = setUp();
  target.patience.set(1, 700);
  add(1, 'a');
  add(2, 'b');
  clock.nowMs += 699;
  room.expire(() => 'NOTLEADER');
  t.is(room.count, 2);
  clock.nowMs += 1;
  room.expire(() => 'NOTLEADER');
  t.deepEqual([...target.replies], [[1, '-NOTLEADER; nothing was done, try again']]);
});

test('what waits is bounded in bytes: one too many is refused at once', (t) => {
  const { target, room, add } = setUp();
  const key = Buffer.alloc(limits.waitingBytesMax / 4);
  for (let slot = 0; slot < 4; slot++) add(slot, key);
  t.regex(String(target.replies.get(3)), /^-OVERLOADED /);
  t.is(room.count, 3);
});
