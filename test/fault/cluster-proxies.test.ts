/**
 * The harms that need no root: three nodes on addresses of their own, every connection between them behind a proxy. What
 * clients saw is linearizable each time, and they get on when it is over. Where there are namespaces, cluster.test.ts and
 * cluster-links.test.ts do there what needs no proxy.
 */
import test from 'ava';
import { createPrng } from '../../src/core/prng.ts';
import { ClusterLab } from '../support/cluster-lab.ts';
import { pauseLeader } from '../support/harms.ts';
import { hasLoopbackHosts } from '../support/hosts.ts';
import { namespacesMissing } from '../support/namespaces.ts';

const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 2 ** 31);
const onLinux = hasLoopbackHosts ? test : test.skip;

onLinux(
  'without root, too: three nodes behind proxies survive kills, pauses and bad connections (FAILURES 1, 2, 12, 23)',
  async (t) => {
    t.timeout(300_000);
    t.log(`seed ${seed}`);
    const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(seed), isOnLoopback: true });
    const { links } = lab;
    t.true(links.accepted > 0, 'the nodes talk through the proxies');

    await lab.endure('byte by byte', async (workload) => {
      links.spoil({ pieceBytes: 1 });
      await workload.progress(60);
    });

    await lab.endure('bits flip', async (workload) => {
      const before = links.accepted;
      for (let round = 0; round < 3; round++) {
        links.spoil({ corruptNext: true });
        await workload.progress(60);
      }
      t.true(links.accepted > before, 'damaged connections are given up');
    });

    await lab.endure('connections break', async (workload) => {
      for (let round = 0; round < 5; round++) {
        links.reset();
        await workload.progress(40);
      }
    });

    if (namespacesMissing() !== null) {
      await lab.endure('the leader is killed', async (workload) => {
        const leader = await lab.leaderOf('a', 2);
        await lab.node(leader).end('SIGKILL');
        await workload.progress(100);
        await lab.startNode(leader);
      });

      await pauseLeader(lab);

      // It goes on talking: the others must get rid of a leader that hears no answer.
      await lab.endure('the leader hears nobody', async (workload) => {
        links.deafen(await lab.leaderOf('a', 1));
        await workload.progress(200);
      });

      await lab.endure('late by 200 ± 150 ms', async (workload) => {
        links.spoil({ delayMs: 200, jitterMs: 150 });
        await workload.progress(40);
      });

      await lab.endure('all are killed', async (workload) => {
        await Promise.all([1, 2, 3].map((i) => lab.node(i).end('SIGKILL')));
        await Promise.all([1, 2, 3].map((i) => lab.startNode(i)));
        await workload.progress(100);
      });
    }
  },
);
