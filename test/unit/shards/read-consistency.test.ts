/** How a replica answers reads of each consistency, over a Raft member that does as it is told. */
import test from 'ava';
import type { Hlc, LogIndex, MemberId, RangeId, Term } from '../../../src/core/brands.ts';
import { confOf } from '../../../src/core/raft/configuration.ts';
import type { RaftGroup, Role } from '../../../src/core/raft/types.ts';
import { ROLE_FOLLOWER, ROLE_LEADER } from '../../../src/core/raft/types.ts';
import { CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE } from '../../../src/core/kv/spec.ts';
import type { CommandSpec } from '../../../src/core/kv/spec.ts';
import { createStateMachine } from '../../../src/core/kv/state-machine.ts';
import { requireCommand, withConsistency } from '../../../src/core/kv/table.ts';
import { MemoryArena } from '../../../src/engine/memory/arena.ts';
import { PartReplies } from '../../../src/gateway/router/gather.ts';
import type { ReplicaHost } from '../../../shards/replica-host.ts';
import { Replica } from '../../../shards/replica.ts';
import { argsOf, encodeBatch } from '../../support/kv-machine.ts';

const get = requireCommand('GET');

function setUp(role: Role, leaseHolds: boolean) {
  const log: string[] = [];
  const raft = {
    id: 1 as MemberId,
    role,
    term: 1 as Term,
    appliedIndex: 7 as LogIndex,
    leaseValid: () => leaseHolds,
    readIndex(context: number) {
      log.push(`read index ${context}`);
      return 0;
    },
  } as unknown as RaftGroup;
  const host = {
    nowMs: Date.now(),
    touched: () => undefined,
    settle: () => undefined,
    wake: () => undefined,
    awaitLeader: () => log.push('waits for a leader'),
    resubmit: () => log.push('sent again'),
  } as unknown as ReplicaHost;
  const store = new MemoryArena({ maxBytes: 2 ** 26 }).createStore();
  const machine = createStateMachine({ store, valueBytesMax: 1024 });
  const set = encodeBatch(Date.now() * 2 ** 10, [{ spec: requireCommand('SET'), args: argsOf(['a', 'value']) }]);
  machine.apply(set, { sink: () => new PartReplies(1, 0, () => undefined).begin(), applied: () => undefined });
  const replica = new Replica(host, {
    descriptor: {
      rangeId: 1 as RangeId,
      startKey: Buffer.alloc(0),
      endKey: null,
      epoch: { confVersion: 1, version: 1 },
      replicas: [1, 2, 3].map((id) => ({ memberId: id as MemberId, role: 'voter' })),
    },
    raft,
    store,
    machine,
    appliedTerm: 1 as Term,
    conf: confOf([1, 2, 3] as MemberId[]),
    catalog: null,
  });
  const read = (spec: CommandSpec, keys = ['a']): void => {
    const replies = new PartReplies(1, 0, ([value]) => log.push(String(value)));
    replica.submit(spec, argsOf(keys), replies, 0, null, 0);
  };
  return { log, replica, read, latestVersion: machine.latestVersion satisfies Hlc };
}

test('lease: a leader whose lease holds answers at once', (t) => {
  const { log, read } = setUp(ROLE_LEADER, true);
  read(get);
  t.deepEqual(log, ['value']);
});

test('lease: without one it asks the others first', (t) => {
  const { log, replica, read } = setUp(ROLE_LEADER, false);
  read(get);
  replica.flush();
  t.deepEqual(log, ['read index 1']);
});

test('linearizable: a leader asks the others although its lease holds, and answers when they have', (t) => {
  const { log, replica, read } = setUp(ROLE_LEADER, true);
  const linearizable = withConsistency(get, CONSISTENCY_LINEARIZABLE);
  read(linearizable);
  read(linearizable);
  t.deepEqual(log, []);
  replica.flush();
  t.deepEqual(log, ['read index 1'], 'one round for both');
  replica.readConfirmed(1, 8 as LogIndex);
  replica.runDueReads();
  t.deepEqual(log, ['read index 1'], 'what the round found committed is not applied yet');
  (replica.raft as { appliedIndex: LogIndex }).appliedIndex = 8 as LogIndex;
  replica.runDueReads();
  t.deepEqual(log, ['read index 1', 'value', 'value']);
});

test('stale: a follower answers from what it has; the others wait for a leader', (t) => {
  const { log, read } = setUp(ROLE_FOLLOWER, false);
  read(withConsistency(get, CONSISTENCY_STALE));
  t.deepEqual(log, ['value']);
  read(get);
  read(withConsistency(get, CONSISTENCY_LINEARIZABLE));
  t.deepEqual(log, ['value', 'waits for a leader', 'waits for a leader']);
});

test('a read of several keys that waited while the range was cut between them is sent again', (t) => {
  const { log, replica, read } = setUp(ROLE_LEADER, false);
  read(requireCommand('MGET'), ['a', 'z']);
  read(get);
  replica.flush();
  replica.descriptor = {
    ...replica.descriptor,
    endKey: Buffer.from('m'),
    epoch: { ...replica.descriptor.epoch, version: 2 },
  };
  replica.readConfirmed(1, 7 as LogIndex);
  replica.runDueReads();
  t.deepEqual(log, ['read index 1', 'sent again', 'value']);
});

test('a consistency goes with its command by code, and writes have none', (t) => {
  const set = requireCommand('SET');
  t.is(withConsistency(set, CONSISTENCY_STALE), set);
  t.is(withConsistency(get, 0), get);
  const linearizable = withConsistency(get, CONSISTENCY_LINEARIZABLE);
  t.not(linearizable.op, get.op);
  t.is(withConsistency(get, CONSISTENCY_LINEARIZABLE), linearizable);
});
