/** `skerry status`: how a node fares, and its cluster as it sees it. */
import type { Command } from 'commander';
import { printJson, printLine, printTable } from '../output.ts';
import { withServer, withStore } from '../with-server.ts';
import type { ClientFlags } from '../with-server.ts';
import { printNodes } from './node.ts';

export function registerStatus(program: Command): void {
  withServer(program.command('status'))
    .description('Show how a node and its cluster fare')
    .addHelpText('after', '\nExample:\n  skerry status --server 127.0.0.1:7370')
    .action(async (flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        const [status, cluster] = await Promise.all([store.status(), store.cluster()]);
        if (flags.json === true) {
          printJson({ ...status, cluster });
          return;
        }
        const { clusterId, replicationFactor } = cluster;
        const rows = Object.entries({ ...status, clusterId, replicationFactor });
        printTable(rows.map(([name, value]) => [name, String(value)]));
        printLine('');
        printNodes(cluster);
        for (const { rangeId, what, since } of cluster.damaged) {
          printLine(`DAMAGED  range ${rangeId}, since ${since}: ${what}`);
        }
      });
    });
}
