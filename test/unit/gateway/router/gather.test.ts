/** What becomes of one command in several ranges when some of them fail. */
import test from 'ava';
import type { NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import type { RequestId } from '../../../../src/core/kv/batch.ts';
import { replyError } from '../../../../src/core/kv/reply.ts';
import { commandByOp, requireCommand } from '../../../../src/core/kv/table.ts';
import { memberId } from '../../../../src/core/member.ts';
import { RouteTable } from '../../../../src/gateway/router/route-table.ts';
import { Router } from '../../../../src/gateway/router/router.ts';
import { argsOf } from '../../../support/kv-machine.ts';
import type { Reply } from '../../../support/kv-machine.ts';
import { SlotReplies } from '../../../support/slot-replies.ts';

const SELF = memberId(1 as NodeId, 0, 1);
const NOT_LEADER = 'NOTLEADER nothing was done';
const UNKNOWN = 'UNKNOWNRESULT it may have happened';

/** The reply to a command with a key in each of as many ranges: 1, or the error that is given. */
function replyOf(name: string, answers: readonly (string | 1)[], requestId: RequestId | null = null): Reply {
  const keys = answers.map((_answer, i) => `k${i}`);
  const table = new RouteTable();
  table.reset(
    keys.map((key, i) => ({
      range: {
        rangeId: (i + 1) as RangeId,
        startKey: i === 0 ? Buffer.alloc(0) : Buffer.from(key),
        endKey: i + 1 < keys.length ? Buffer.from(`k${i + 1}`) : null,
        epoch: { confVersion: 1, version: 1 },
        replicas: [{ memberId: SELF, role: 'voter' as const }],
      },
      leader: SELF,
      term: 1 as Term,
    })),
  );
  const router = new Router({
    nodeId: 1 as NodeId,
    table,
    localRange: (rangeId) => ({
      isLeader: true,
      standDown: () => undefined,
      submit: (_spec, _args, target, slot) => {
        const answer = answers[rangeId - 1] as string | 1;
        if (typeof answer === 'string') {
          replyError(target, slot, answer);
        } else {
          target.begin(slot).integer(answer);
          target.finish(slot);
        }
      },
    }),
    remotes: [null],
    walk: () => undefined,
    nowMs: Date.now,
    monotonicMs: () => 0,
    leaderWaitMs: 1000,
    commandByOp,
    onForward: () => undefined,
  });
  const target = new SlotReplies();
  router.submit(requireCommand(name), argsOf(keys), target, 0, requestId);
  return target.replies.get(0) as Reply;
}

test('FAILURES 23: a write that some ranges did and others did not is not said to be undone', (t) => {
  t.is(replyOf('DEL', [1, 1]), 2);
  t.is(replyOf('DEL', [NOT_LEADER, NOT_LEADER]), `-${NOT_LEADER}`);
  t.regex(String(replyOf('DEL', [1, NOT_LEADER])), /^-UNKNOWNRESULT .*done in some ranges.*nothing was done/);
  t.is(replyOf('EXISTS', [1, NOT_LEADER]), `-${NOT_LEADER}`);
});

test('what is not known of one part is not known of the whole, whatever the other parts say', (t) => {
  t.is(replyOf('DEL', [NOT_LEADER, UNKNOWN]), `-${UNKNOWN}`);
  t.is(replyOf('DEL', [1, UNKNOWN]), `-${UNKNOWN}`);
});

test('a write with an identity may be sent again: it is told why a part of it was not done', (t) => {
  t.is(replyOf('DEL', [1, NOT_LEADER], { clientId: 1, sequence: 1, floor: 1 }), `-${NOT_LEADER}`);
});
