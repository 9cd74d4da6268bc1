/**
 * Three nodes that are killed, stopped, cut off and slowed while clients read and write: what the clients saw is
 * linearizable each time, and they get on when it is over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { createPrng } from '../../src/core/prng.ts';
import { ClusterLab } from '../support/cluster-lab.ts';
import { pauseLeader } from '../support/harms.ts';
import { longestGapMs } from '../support/history.ts';
import { namespacesMissing } from '../support/namespaces.ts';
import { answerOf } from '../support/until.ts';

const missing = namespacesMissing();
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 2 ** 31);
/** The next of the three nodes. */
const other = (i: number): number => (i % 3) + 1;
/** Who leads each of the ranges, as the node at this address believes. */
async function leadersOf(address: string): Promise<number[]> {
  const status = await (await fetch(`http://${address}:7371/status`)).json();
  return (status as { ranges: { leader: number }[] }).ranges.map(({ leader }) => leader);
}

const withNodes = missing === null ? test : test.skip;

withNodes('three nodes under load survive kills, pauses and partitions (FAILURES 1, 2, 12, 23)', async (t) => {
  t.timeout(600_000);
  t.log(`seed ${seed}`);
  const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(seed) });
  await t.notThrowsAsync(async () => {
    // The leader is killed, and comes back.
    await lab.endure('the leader is killed', async (workload) => {
      const leader = await lab.leaderOf('a', 2);
      const killedAt = performance.now();
      await lab.node(leader).end('SIGKILL');
      await workload.progress(200);
      t.log(
        `kill -9 of a leader: ${Math.round(longestGapMs(workload.history, killedAt, performance.now()))} ms without success`,
      );
      await lab.startNode(leader);
    });

    await pauseLeader(lab);

    // The leader is cut off from the others, not from its clients.
    await lab.endure('the leader is cut off', async (workload) => {
      const leader = await lab.leaderOf('a', 1);
      lab.spaces.isolate(leader);
      await workload.progress(200);
      await answerOf(
        'a status that does not name the node as a leader',
        () => leadersOf(lab.spaces.address(leader)),
        (leaders) => !leaders.includes(leader),
      );
    });

    // The leader hears nobody, and everybody hears it; then the other way round.
    for (const isDeaf of [true, false]) {
      await lab.endure(isDeaf ? 'the leader hears nobody' : 'nobody hears the leader', async (workload) => {
        const leader = await lab.leaderOf('a', 1);
        for (const peer of [other(leader), other(other(leader))]) {
          if (isDeaf) lab.spaces.deafen(leader, peer);
          else lab.spaces.deafen(peer, leader);
        }
        await workload.progress(200);
      });
    }

    // One link of three: the two ends of it hear of each other only through the third.
    await lab.endure('one link is cut', async (workload) => {
      const leader = await lab.leaderOf('a', 1);
      lab.spaces.deafen(leader, other(leader));
      lab.spaces.deafen(other(leader), leader);
      await workload.progress(300);
    });

    // A partition that comes and goes.
    await lab.endure('a partition comes and goes', async (workload) => {
      for (let i = 0; i < 6; i++) {
        lab.spaces.isolate((i % 3) + 1);
        await sleep(300);
        lab.spaces.heal();
        await sleep(200);
      }
      await workload.progress(100);
    });

    // Of everything that anybody sends, 5 % are lost.
    await lab.endure('of everything 5 % are lost', async (workload) => {
      for (let i = 1; i <= 3; i++) lab.spaces.lose(i, 5);
      await workload.progress(300);
    });

    // One after another is stopped in good order and started again.
    await lab.endure('one after another is stopped and started', async (workload) => {
      for (let i = 1; i <= 3; i++) {
        await lab.node(i).end('SIGTERM');
        await lab.startNode(i);
        await workload.progress(100);
      }
    });

    // All at once.
    await lab.endure('all are killed', async (workload) => {
      await Promise.all([1, 2, 3].map((i) => lab.node(i).end('SIGKILL')));
      await Promise.all([1, 2, 3].map((i) => lab.startNode(i)));
      await workload.progress(100);
    });
  });
});
