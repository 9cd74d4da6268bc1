/** `skerry node list|add|drain|remove`: the nodes of a cluster, seen and changed from any of them. */
import type { Command } from 'commander';
import type { Store } from '../../client/store.ts';
import type { ClusterNode, ClusterStatus } from '../../codec/native/messages.ts';
import { SkerryError } from '../../core/errors.ts';
import { printJson, printLine, printTable } from '../output.ts';
import { withServer, withStore } from '../with-server.ts';
import type { ClientFlags } from '../with-server.ts';

const POLL_MS = 500;

export function registerNode(program: Command): void {
  const node = program.command('node').description('Look at and change the nodes of a cluster');
  withServer(node.command('list'))
    .description('List the nodes of the cluster')
    .addHelpText('after', '\nExample:\n  skerry node list --json')
    .action(async (flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        const cluster = await store.cluster();
        if (flags.json === true) printJson(cluster);
        else printNodes(cluster);
      });
    });
  withServer(node.command('add'))
    .argument('<name>', 'The --node-name that it will be started with.')
    .description('Expect a node: it has its number from now on, and is INIT until it comes')
    .addHelpText(
      'after',
      '\nExample:\n  skerry node add rack4-1\n  skerry serve --node-name rack4-1 --join 10.0.0.1:7380',
    )
    .action(async (name: string, flags: ClientFlags) => {
      await withStore(flags, async (store) => {
        const { nodeId } = await store.changeNode('add', name);
        if (flags.json === true) printJson({ nodeId, name, state: 'INIT' });
        else printLine(`node ${String(nodeId)}, ${name}, is expected: start it with --join and --node-name ${name}`);
      });
    });
  registerDrain(node);
  withServer(node.command('remove'))
    .argument('<node>', 'Its number or name.')
    .option(
      '--force',
      'Although it is alive: its ranges are short of a replica until others have taken its place. Never where they would lose their majority.',
    )
    .description('Take a dead node out for good; its replicas are made anew on others')
    .addHelpText('after', '\nExample:\n  skerry node remove 3')
    .action(async (name: string, flags: ClientFlags & { force?: boolean }) => {
      await withStore(flags, async (store) => {
        const changed = await store.changeNode('remove', name, { force: flags.force === true });
        if (flags.json === true) printJson(changed);
        else printLine(`node ${name} is out of the cluster`);
      });
    });
}

interface DrainFlags extends ClientFlags {
  readonly cancel?: boolean;
  readonly wait?: boolean;
}

function registerDrain(node: Command): void {
  withServer(node.command('drain'))
    .argument('<node>', 'Its number or name.')
    .option('--cancel', 'It stays after all.')
    .option('--wait', 'Return when nothing is left on it.')
    .description('Move everything away from a node; it is LEAVING meanwhile, and INACTIVE at the end')
    .addHelpText('after', '\nExample:\n  skerry node drain 3 --wait')
    .action(async (name: string, flags: DrainFlags) => {
      await withStore(flags, async (store) => {
        const changed = await store.changeNode(flags.cancel === true ? 'keep' : 'drain', name);
        const isWaited = flags.wait === true && flags.cancel !== true;
        const end = isWaited ? await drained(store, changed['nodeId'] as number) : changed;
        if (flags.json === true) printJson(end);
        else printLine(`node ${name} is ${String(end['state'])}`);
      });
    });
}

/** Waits until the node has no more to give away. */
async function drained(store: Store, nodeId: number): Promise<Readonly<Record<string, unknown>>> {
  for (;;) {
    const { nodes } = await store.cluster();
    const node = nodes.find((candidate) => candidate.nodeId === nodeId);
    if (node === undefined || node.state === 'ACTIVE') {
      throw new SkerryError('KV_STATE', `Node ${nodeId} drains no longer: somebody has called it back.`);
    }
    if (node.state === 'INACTIVE') return { nodeId, name: node.name, state: node.state };
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
}

/** The nodes as a table. */
export function printNodes({ nodes, coordinator }: ClusterStatus): void {
  const teller = nodes.find(({ nodeId }) => nodeId === coordinator);
  const isTold = teller !== undefined && teller.peer.state !== 'lost';
  const rows = nodes.map((node) => [
    String(node.nodeId),
    node.name,
    node.state,
    healthOf(node, isTold ? coordinator : 0),
    wayOf(node),
    addressOf(node.addresses.host, node.addresses.nativePort),
    addressOf(node.addresses.host, node.addresses.controlPort),
    String(node.workers),
    node.locality === '' ? '-' : node.locality,
  ]);
  printTable([['NODE', 'NAME', 'STATE', 'HEALTH', 'WAY', 'NATIVE', 'PEERS', 'WORKERS', 'LOCALITY'], ...rows]);
}

/** `coordinator`: 0 = nobody tells the node that is asked who lives; it knows of itself only. */
function healthOf({ nodeId, state, isSilent, peer }: ClusterNode, coordinator: number): string {
  if (state === 'INIT' || state === 'INACTIVE') return '-';
  if (coordinator === 0) return peer.state === 'self' ? 'alive' : 'unknown';
  if (isSilent) return 'silent';
  return nodeId === coordinator ? 'coordinates' : 'alive';
}

/** How the node that was asked reaches it. */
function wayOf({ state, peer }: ClusterNode): string {
  if (state === 'INIT' || state === 'INACTIVE') return '-';
  return peer.roundTripMs === null ? peer.state : `${peer.roundTripMs.toFixed(1)} ms`;
}

const addressOf = (host: string, port: number): string => (port === 0 ? '-' : `${host}:${port}`);
