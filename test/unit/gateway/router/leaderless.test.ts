import test from 'ava';
import type { MemberId, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { commandByOp, requireCommand } from '../../../../src/core/kv/table.ts';
import { memberId, nodeOf } from '../../../../src/core/member.ts';
import { RouteTable } from '../../../../src/gateway/router/route-table.ts';
import type { RemoteWorker } from '../../../../src/gateway/router/router.ts';
import { Router } from '../../../../src/gateway/router/router.ts';
import { argsOf } from '../../../support/kv-machine.ts';
import { SlotReplies } from '../../../support/slot-replies.ts';

const SELF = 1 as NodeId;
const RANGE = 1 as RangeId;
const LEADER_WAIT_MS = 5000;
const TICK_MS = 100;

const SET = requireCommand('SET');

const memberOn = (node: number): MemberId => memberId(node as NodeId, 0, 1);

/** A router of node 1, whose one range has members on nodes 1 to 3 and is said to be led by the one on node `leader`. */
function setUp(leader: number) {
  const target = new SlotReplies();
  /** Slots of the writes that wait in the replica here. */
  const held: number[] = [];
  const clock = { nowMs: 1000 };
  const table = new RouteTable();
  const replicas = [1, 2, 3].map((node) => ({ memberId: memberOn(node), role: 'voter' as const }));
  const range = {
    rangeId: RANGE,
    startKey: Buffer.alloc(0),
    endKey: null,
    epoch: { confVersion: 1, version: 1 },
    replicas,
  };
  table.reset([{ range, leader: memberOn(leader), term: 3 as Term }]);
  const router: Router = new Router({
    nodeId: SELF,
    table,
    // As a replica that does not lead.
    localRange: () => ({
      isLeader: false,
      standDown: () => {
        for (const slot of held.splice(0)) router.submitAgain(SET, argsOf(['k', '0']), target, slot, null, null);
      },
      submit: (spec, args, target, slot, requestId) =>
        router.awaitLeader(spec, args, target, slot, requestId, { rangeId: RANGE, version: 1 }),
    }),
    remotes: [null],
    walk: () => {},
    nowMs: () => clock.nowMs,
    monotonicMs: () => clock.nowMs,
    leaderWaitMs: LEADER_WAIT_MS,
    commandByOp,
    onForward: () => {},
  });
  const pass = (ms: number): void => {
    for (const endMs = clock.nowMs + ms; clock.nowMs < endMs; router.tickWaiting()) clock.nowMs += TICK_MS;
  };
  return { router, clock, pass, target, held };
}

test('a command for a range whose leader here has lost its followers is refused in time', (t) => {
  const { router, pass, target } = setUp(1);
  router.submit(SET, argsOf(['k', 'v']), target, 0);
  pass(LEADER_WAIT_MS - TICK_MS);
  t.is(target.replies.size, 0);
  pass(2 * TICK_MS);
  t.regex(String(target.replies.get(0)), /^-NOTLEADER range 1 has had no leader/);
});

test('a command of a range that has lost its majority says since when, and whom this node does not reach', (t) => {
  const { router, pass, target } = setUp(1);
  const lost = new Set([2]);
  router.peers = { isLost: (nodeId) => lost.has(nodeId), remote: () => t.fail('nobody is known to lead') as never };
  router.submit(SET, argsOf(['k', 'v']), target, 0);
  pass(LEADER_WAIT_MS + TICK_MS);
  const since = 'range 1 has had no leader that can be reached for 5.0 s';
  t.is(target.replies.get(0), `-NOTLEADER ${since}, of [1, 2, 3] unreachable: [2]; nothing was done, try again`);
  lost.add(3);
  router.submit(requireCommand('GET'), argsOf(['k']), target, 1);
  pass(LEADER_WAIT_MS + TICK_MS);
  t.is(
    target.replies.get(1),
    `-CLUSTERDOWN ${since}, majority of [1, 2, 3] unreachable: [2, 3]; nothing was done, try again`,
  );
});

test('FAILURES 30: a command that two nodes would send to each other for ever is refused in time', (t) => {
  const { router, clock, pass, target } = setUp(2);
  let asked = 0;
  router.peers = {
    isLost: () => false,
    // Each of the two believes that the other one leads.
    remote: (member): RemoteWorker => ({
      overloaded: false,
      request(spec, args, whom, slot, requestId, scope, sinceMs = 0) {
        asked++;
        clock.nowMs += TICK_MS;
        const leader = member === memberOn(2) ? memberOn(3) : memberOn(2);
        const nodeId = nodeOf(member);
        router.returned({ nodeId, spec, args, target: whom, slot, requestId, scope, sinceMs, leader, problem: null });
      },
    }),
  };
  router.submit(SET, argsOf(['k', 'v']), target, 0);
  pass(2 * TICK_MS);
  t.true(asked > 1);
  t.regex(String(target.replies.get(0)), /^-NOTLEADER range 1 has had no leader/);
});

/** Hands commands over as the way to another node does; `sent`: their slots. */
function remoteOf(sent: number[]): RemoteWorker {
  return { overloaded: false, request: (_spec, _args, _target, slot) => void sent.push(slot) };
}

test('a command does not overtake those that wait for the same range', (t) => {
  const { router, pass, target } = setUp(1);
  const sent: number[] = [];
  router.peers = { isLost: () => false, remote: () => remoteOf(sent) };
  router.submit(SET, argsOf(['k', '1']), target, 0);
  // Somebody's answer names the leader.
  router.table.suggestLeader(RANGE, memberOn(2));
  router.submit(SET, argsOf(['k', '2']), target, 1);
  pass(TICK_MS);
  t.deepEqual(sent, [0, 1]);
  router.submit(SET, argsOf(['k', '3']), target, 2);
  t.deepEqual(sent, [0, 1, 2], 'nobody waits any more');
});

test('a command that comes back with the name of the leader does not overtake those that wait for the same range', (t) => {
  const { router, target } = setUp(2);
  const sent: number[] = [];
  router.peers = { isLost: () => false, remote: () => remoteOf(sent) };
  const come = (slot: number, leader: MemberId | 0): void => {
    const args = argsOf(['k', String(slot)]);
    const asked = { nodeId: 2 as NodeId, leader, problem: null };
    router.returned({ spec: SET, args, target, slot, requestId: null, scope: null, sinceMs: 0, ...asked });
  };
  come(0, 0);
  come(1, memberOn(3));
  come(2, memberOn(3));
  come(3, 0);
  t.deepEqual(sent, [0, 1, 2, 3], 'nor do those wait that come back behind it');
});

test('a command does not overtake those that still wait in a replica that leads no more', (t) => {
  const { router, pass, target, held } = setUp(1);
  const sent: number[] = [];
  held.push(0);
  router.submit(SET, argsOf(['k', '1']), target, 1);
  router.peers = { isLost: () => false, remote: () => remoteOf(sent) };
  router.table.suggestLeader(RANGE, memberOn(2));
  pass(TICK_MS);
  t.deepEqual(sent, [0, 1]);
});
