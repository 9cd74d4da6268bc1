import test from 'ava';
import { assert as check, integer, property, tuple } from 'fast-check';
import type { NodeId } from '../../../src/core/brands.ts';
import { incarnationOf, memberId, NODE_ID_MAX, nodeOf, workerOf, WORKERS_MAX } from '../../../src/core/member.ts';

const parts = tuple(
  integer({ min: 1, max: NODE_ID_MAX }),
  integer({ min: 0, max: WORKERS_MAX - 1 }),
  integer({ min: 1, max: 2 ** 24 - 1 }),
);

test('a member id gives back the node, the worker and the incarnation that it was made of', (t) => {
  check(
    property(parts, ([node, worker, incarnation]) => {
      const member = memberId(node as NodeId, worker, incarnation);
      t.true(Number.isSafeInteger(member) && member > 0);
      t.deepEqual([nodeOf(member), workerOf(member), incarnationOf(member)], [node as NodeId, worker, incarnation]);
    }),
  );
});

test('what does not fit is refused instead of becoming another member', (t) => {
  t.throws(() => memberId(0 as NodeId, 0, 1));
  t.throws(() => memberId((NODE_ID_MAX + 1) as NodeId, 0, 1));
  t.throws(() => memberId(1 as NodeId, WORKERS_MAX, 1));
  t.throws(() => memberId(1 as NodeId, 0, 0));
  t.throws(() => memberId(1 as NodeId, 0, 2 ** 24));
});
