/**
 * Three nodes whose connections with each other are slow, broken and damaged, and one that is replaced, while clients read and
 * write: what the clients saw is linearizable each time, and they get on when it is over.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { createPrng } from '../../src/core/prng.ts';
import { ClusterLab } from '../support/cluster-lab.ts';
import { namespacesMissing } from '../support/namespaces.ts';
import { LAUNCHER } from '../support/node-process.ts';
import { answerOf } from '../support/until.ts';

const run = promisify(execFile);
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 2 ** 31);
/** Asks until the cluster has noticed that the node is dead. */
async function removeDead(nodeId: number, server: string): Promise<void> {
  const remove = (): Promise<unknown> =>
    run(process.execPath, [LAUNCHER, 'node', 'remove', String(nodeId), '--server', server]).then(
      () => null,
      (error: unknown) => {
        if (!/is alive|has not said that it is dead|nobody says that/.test(String(error))) throw error;
        return String(error);
      },
    );
  await answerOf(`node ${nodeId} to be silent`, remove, (refusal) => refusal === null);
}

const withNodes = namespacesMissing() === null ? test.serial : test.serial.skip;

withNodes(
  'connections that are late, cut into bytes, damaged and reset break no promise (FAILURES 23, 31)',
  async (t) => {
    t.timeout(300_000);
    t.log(`seed ${seed}`);
    const lab = await ClusterLab.start(t, { nodes: 3, prng: createPrng(seed), hasLinks: true });
    const { links } = lab;
    t.true(links.accepted > 0, 'the nodes talk through the proxies');

    // 200 ms for every byte, there and back; then any time around that.
    for (const jitterMs of [0, 150]) {
      await lab.endure(`late by 200 ± ${jitterMs} ms`, async (workload) => {
        links.spoil({ delayMs: 200, jitterMs });
        await workload.progress(60);
      });
    }

    // Byte by byte.
    await lab.endure('byte by byte', async (workload) => {
      links.spoil({ pieceBytes: 1 });
      await workload.progress(60);
    });

    // A bit of what is on its way flips, again and again: the frames' checksums notice, and the connection is made anew.
    await lab.endure('bits flip', async (workload) => {
      const before = links.accepted;
      for (let round = 0; round < 4; round++) {
        links.spoil({ corruptNext: true });
        await workload.progress(60);
      }
      t.true(links.accepted > before, 'damaged connections are given up');
    });

    // Connections break in the middle of whatever they carry.
    await lab.endure('connections break', async (workload) => {
      for (let round = 0; round < 6; round++) {
        links.reset();
        await workload.progress(40);
      }
    });
  },
);

withNodes('a node that is dead is removed and another one takes its place while clients go on', async (t) => {
  t.timeout(300_000);
  t.log(`seed ${seed}`);
  const lab = await ClusterLab.start(t, { nodes: 3, spares: 1, prng: createPrng(seed) });
  await lab.endure('a dead node is replaced', async (workload) => {
    await lab.node(3).end('SIGKILL');
    await workload.progress(100);
    await lab.startNode(4);
    await removeDead(3, lab.url(1));
    await lab.untilReplicated([1, 2, 4]);
    await workload.progress(100);
  });
});
