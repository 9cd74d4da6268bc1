/** Quorums against brute force: what a configuration has reached, and how an election in it stands. */
import test from 'ava';
import { array, assert, boolean, constantFrom, integer, option, property, record, uniqueArray } from 'fast-check';
import {
  changedConf,
  confOf,
  decodeConfEntry,
  encodeConfEntry,
  isJoint,
  membersOf,
} from '../../src/core/raft/configuration.ts';
import { jointReached, jointVote } from '../../src/core/raft/quorum/joint.ts';
import {
  majorityReached,
  majorityVote,
  VOTE_LOST,
  VOTE_PENDING,
  VOTE_WON,
} from '../../src/core/raft/quorum/majority.ts';
import type { ConfState } from '../../src/core/raft/types.ts';
import type { MemberId } from '../../src/core/brands.ts';
import { members } from '../support/raft-member.ts';

const RUNS = { numRuns: 2000 };

const someIds = (minLength: number) => uniqueArray(integer({ min: 1, max: 9 }), { minLength, maxLength: 9 });
const joint = record({ voters: someIds(1), outgoing: someIds(0) }).map(({ voters, outgoing }): ConfState => {
  return { ...confOf(members(...voters)), votersOutgoing: members(...outgoing) };
});
const reachedByAll = array(integer({ min: 0, max: 6 }), { minLength: 10, maxLength: 10 });
const answersOfAll = array(option(boolean(), { nil: undefined }), { minLength: 10, maxLength: 10 });

function halves(conf: ConfState): (readonly MemberId[])[] {
  return [conf.voters, conf.votersOutgoing];
}

/** More than half; nobody is a majority of nobody. */
function isMajority(voters: readonly MemberId[], holds: (id: MemberId) => boolean): boolean {
  return voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
}

test('what a configuration has reached is the largest value that a majority of each half has reached', (t) => {
  assert(
    property(joint, reachedByAll, (conf, values) => {
      const reached = jointReached(conf, (id) => values[id] as number);
      const holds = (value: number): boolean =>
        halves(conf).every((half) => isMajority(half, (id) => (values[id] as number) >= value));
      return holds(reached) && !holds(reached + 1);
    }),
    RUNS,
  );
  t.pass();
});

test('an election is won by a majority of each half, lost when one half can no longer give one, and open otherwise', (t) => {
  assert(
    property(joint, answersOfAll, (conf, votes) => {
      const isWon = halves(conf).every((half) => isMajority(half, (id) => votes[id] === true));
      const canBeWon = halves(conf).every((half) => isMajority(half, (id) => votes[id] !== false));
      const expected = isWon ? VOTE_WON : canBeWon ? VOTE_PENDING : VOTE_LOST;
      return jointVote(conf, (id) => votes[id]) === expected;
    }),
    RUNS,
  );
  t.pass();
});

test('two majorities of one configuration have a member in common, so two elections cannot both be won', (t) => {
  assert(
    property(joint, array(boolean(), { minLength: 10, maxLength: 10 }), (conf, isFirst) => {
      const first = jointVote(conf, (id) => isFirst[id]);
      const second = jointVote(conf, (id) => isFirst[id] === false);
      return first !== VOTE_WON || second !== VOTE_WON;
    }),
    RUNS,
  );
  t.pass();
});

test('a change takes effect over configurations whose majorities overlap, one after the other', (t) => {
  const steps = array(
    record({ type: constantFrom('addVoter', 'addLearner', 'remove'), id: integer({ min: 1, max: 6 }) }),
    { minLength: 1, maxLength: 4 },
  );
  const transition = constantFrom('auto', 'joint', 'explicit');
  assert(
    property(
      someIds(1),
      steps,
      transition,
      array(boolean(), { minLength: 10, maxLength: 10 }),
      (ids, changes, how, side) => {
        let conf = confOf(members(...ids.filter((id) => id <= 6), 1));
        const next = changedConf(conf, { changes, transition: how } as never);
        const chain = [conf];
        if (next !== null) chain.push(next);
        const last = next !== null && isJoint(next) ? changedConf(next, { changes: [] }) : null;
        if (last !== null) chain.push(last);
        for (const after of chain.slice(1)) {
          // A decision on one side of the cut by one configuration, and on the other side by the next: never both.
          const left = halves(conf).every((half) => isMajority(half, (id) => side[id] === true));
          const right = halves(after).every((half) => isMajority(half, (id) => side[id] === false));
          if (left && right) return false;
          // The lists are disjoint as promised, and nobody is there twice.
          const { voters, votersOutgoing, learners, learnersNext } = after;
          if (learners.some((id) => voters.includes(id) || votersOutgoing.includes(id))) return false;
          if (!learnersNext.every((id) => votersOutgoing.includes(id) && !voters.includes(id))) return false;
          if (membersOf(after).size < voters.length + learners.length || voters.length === 0) return false;
          conf = after;
        }
        return true;
      },
    ),
    RUNS,
  );
  t.pass();
});

test('a joint configuration takes no other change than to be left', (t) => {
  const joint = { ...confOf(members(1, 2)), votersOutgoing: members(1, 3) };
  t.is(changedConf(joint, { changes: [{ type: 'addLearner', id: members(9)[0] as MemberId }] }), null);
  t.deepEqual(changedConf(joint, { changes: [] }), confOf(members(1, 2)));
});

test('a change leads to the members that it names', (t) => {
  const steps = array(
    record({ type: constantFrom('addVoter', 'addLearner', 'remove'), id: integer({ min: 1, max: 6 }) }),
    { minLength: 1, maxLength: 4 },
  );
  assert(
    property(someIds(1), steps, constantFrom('auto', 'joint'), (ids, changes, how) => {
      const roles = new Map<number, string>(ids.map((id) => [id, 'voter']));
      for (const { type, id } of changes) {
        if (type === 'remove') roles.delete(id);
        else roles.set(id, type === 'addVoter' ? 'voter' : 'learner');
      }
      const having = (role: string) => [...roles].filter(([, of]) => of === role).map(([id]) => id);
      const next = changedConf(confOf(members(...ids)), { changes, transition: how } as never);
      const expected = confOf(members(...having('voter')), members(...having('learner')));
      const isSame = JSON.stringify(expected) === JSON.stringify(confOf(members(...ids)));
      if (next === null) return expected.voters.length === 0 || isSame;
      const end = isJoint(next) ? changedConf(next, { changes: [] }) : next;
      return JSON.stringify(end) === JSON.stringify(expected);
    }),
    RUNS,
  );
  t.pass();
});

test('a configuration reads back from its entry as it was written', (t) => {
  const anyId = integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  const ids = uniqueArray(anyId, { maxLength: 7 });
  assert(
    property(ids, ids, ids, ids, boolean(), array(integer({ min: 0, max: 255 })), (a, b, c, d, autoLeave, bytes) => {
      const conf: ConfState = {
        voters: members(...a),
        votersOutgoing: members(...b),
        learners: members(...c),
        learnersNext: members(...d),
        autoLeave,
      };
      const read = decodeConfEntry(encodeConfEntry(conf, Uint8Array.from(bytes)));
      return JSON.stringify(read.conf) === JSON.stringify(conf) && Buffer.from(bytes).equals(read.context);
    }),
  );
  t.pass();
});

test('an empty half holds nobody back', (t) => {
  t.is(
    majorityReached([], () => 0),
    Infinity,
  );
  t.is(
    majorityVote([], () => undefined),
    VOTE_WON,
  );
});
