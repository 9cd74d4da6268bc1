import test from 'ava';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { memberId } from '../../../../src/core/member.ts';
import type { RangeReport } from '../../../../src/core/placement/report.ts';
import { viewOf } from '../../../../src/core/placement/report.ts';
import type { RemovalRisk } from '../../../../src/core/placement/removal.ts';
import { riskOfRemoval } from '../../../../src/core/placement/removal.ts';
import type { RangeDescriptor } from '../../../../src/core/range.ts';

const member = (nodeId: number): MemberId => memberId(nodeId as NodeId, 0, 1);

interface Case {
  readonly voters: readonly number[];
  readonly learners?: readonly number[];
  /** Nodes that report a replica. */
  readonly alive: readonly number[];
  /** The node that leads; 0: none does. */
  readonly leader?: number;
  /** Nodes that the leader does not hear. */
  readonly unheard?: readonly number[];
  readonly isChanging?: boolean;
}

/** What becomes of one range that holds all keys when node 1 is removed. */
function removing({ voters, learners = [], alive, leader = 0, unheard = [], isChanging = false }: Case): RemovalRisk {
  const descriptor: RangeDescriptor = {
    rangeId: 7 as RangeId,
    startKey: Buffer.alloc(0),
    endKey: null,
    epoch: { confVersion: 1, version: 1 },
    replicas: [
      ...voters.map((nodeId) => ({ memberId: member(nodeId), role: 'voter' as const })),
      ...learners.map((nodeId) => ({ memberId: member(nodeId), role: 'learner' as const })),
    ],
  };
  const reports = alive.map((nodeId): [NodeId, RangeReport[]] => {
    const members = descriptor.replicas.map((replica) => ({
      memberId: replica.memberId,
      matchIndex: 9 as LogIndex,
      isActive: !unheard.some((other) => member(other) === replica.memberId),
      isCaughtUp: true,
    }));
    const report: RangeReport = {
      descriptor,
      memberId: member(nodeId),
      leader: leader === 0 ? (0 as MemberId) : member(leader),
      term: 2 as Term,
      appliedIndex: 9 as LogIndex,
      lastIndex: 9 as LogIndex,
      lastTerm: 2 as Term,
      isChanging,
      members: nodeId === leader ? members : [],
      bytes: 0,
    };
    return [nodeId as NodeId, [report]];
  });
  return riskOfRemoval(1 as NodeId, [descriptor], viewOf(new Map(reports)));
}

const LOST = { lost: [7 as RangeId], changing: [], isEverythingKnown: true };
const SAFE = { lost: [], changing: [], isEverythingKnown: true };

test('a range keeps a majority of voters that live, or the node stays', (t) => {
  t.deepEqual(removing({ voters: [1, 2, 3], alive: [1, 2, 3], leader: 1 }), SAFE);
  t.deepEqual(removing({ voters: [1, 2, 3], alive: [2, 3], leader: 2 }), SAFE, 'it is dead, and the others are enough');
  t.deepEqual(removing({ voters: [1, 2, 3], alive: [1, 2], leader: 1 }), LOST);
  t.deepEqual(removing({ voters: [1, 2], alive: [1, 2], leader: 2 }), LOST, 'one of two is no majority');
  t.deepEqual(removing({ voters: [1], alive: [1], leader: 1 }), LOST);
  t.deepEqual(removing({ voters: [1], alive: [] }), LOST, 'nobody else ever had it');
  t.deepEqual(removing({ voters: [1, 2, 3, 4, 5], alive: [1, 2, 3, 4], leader: 4 }), SAFE);
  t.deepEqual(removing({ voters: [1, 2, 3, 4, 5], alive: [1, 2, 3], leader: 3 }), LOST);
});

test('learners do not count, and a node that has nothing but learners, or nothing, may go', (t) => {
  t.deepEqual(removing({ voters: [1, 2], learners: [3], alive: [1, 2, 3], leader: 2 }), LOST);
  t.deepEqual(removing({ voters: [2, 3], learners: [1], alive: [1, 2], leader: 0 }), SAFE);
  t.deepEqual(removing({ voters: [2, 3], alive: [] }), SAFE);
});

test('a voter that its leader does not hear does not live', (t) => {
  t.deepEqual(removing({ voters: [1, 2, 3], alive: [1, 2, 3], leader: 2, unheard: [3] }), LOST);
});

test('a range whose members are changing is not judged: both halves of it would have to be', (t) => {
  const risk = removing({ voters: [1, 2, 3, 4], alive: [1, 2, 3, 4], leader: 2, isChanging: true });
  t.deepEqual(risk, { ...SAFE, changing: [7 as RangeId] });
});

test('keys of which nobody has told are missed', (t) => {
  t.false(riskOfRemoval(1 as NodeId, [], []).isEverythingKnown);
});
