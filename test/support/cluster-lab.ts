/** Three real nodes for tests that do them harm: in network namespaces where there can be any, else on loopback. */
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { Prng } from '../../src/core/prng.ts';
import { Workload } from './history.ts';
import { checkLinearizable } from './linearizability.ts';
import { Namespaces } from './namespaces.ts';
import type { NodeProcess } from './node-process.ts';
import { startNode, temporaryDir } from './node-process.ts';

const PORTS = ['--port', '7370', '--peer-port', '7380', '--resp-port', '7379', '--http-port', '7371'];
const FLAGS = ['--workers', '1', '--wal-segment', '16mb', '--log-level', 'warn', '--replace-after-seconds', '3600'];
const KEYS = ['a', 'b', 'c', 'd', 'x', 'y', 'z'];
const CLIENTS = 6;

export interface LabOptions {
  readonly nodes: number;
  readonly prng: Prng;
  /** Folder for a node's data; default: a temporary one. */
  readonly dataDir?: (i: number) => string | undefined;
  readonly env?: (i: number) => Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

export class ClusterLab {
  readonly spaces: Namespaces;
  readonly #t: ExecutionContext;
  readonly #options: LabOptions;
  readonly #dirs: string[] = [];
  /** By number, from 1. */
  readonly #nodes = new Map<number, NodeProcess>();
  #workload: Workload | null = null;

  private constructor(t: ExecutionContext, options: LabOptions) {
    this.#t = t;
    this.#options = options;
    this.spaces = new Namespaces(options.nodes);
  }

  /** Starts the nodes, and resolves when each range has a replica that votes on each of them. */
  static async start(t: ExecutionContext, options: LabOptions): Promise<ClusterLab> {
    const lab = new ClusterLab(t, options);
    t.teardown(() => lab.#remove());
    for (let i = 1; i <= options.nodes; i++) {
      lab.#dirs[i] = options.dataDir?.(i) ?? path.join(await temporaryDir(t), 'data');
      await lab.startNode(i);
    }
    await lab.untilReplicated();
    return lab;
  }

  node(i: number): NodeProcess {
    return this.#nodes.get(i) as NodeProcess;
  }

  url(i: number): string {
    return `${this.spaces.address(i)}:7370`;
  }

  get urls(): string[] {
    return [...this.#nodes.keys()].map((i) => this.url(i));
  }

  async startNode(i: number): Promise<void> {
    const seeds = Array.from({ length: this.#options.nodes }, (_, j) => `${this.spaces.address(j + 1)}:7380`);
    const forms = i === 1 ? ['--bootstrap', '--pre-split', 'm'] : ['--join', seeds.join(',')];
    const flags = [...FLAGS, ...PORTS, '--host', this.spaces.address(i), ...forms, ...(this.#options.flags ?? [])];
    const env = this.#options.env?.(i) ?? {};
    const node = await startNode(this.#dirs[i] as string, flags, { wrapper: this.spaces.wrapper(i), env });
    this.#nodes.set(i, node);
  }

  /** Number of the node where the range that holds the key is led; 0 = nobody is known to. */
  async leaderOf(key: string, asked: number): Promise<number> {
    await using store = await connect(`skerry://${this.url(asked)}`);
    const ranges = await store.ranges();
    const range = ranges.findLast(({ startKey }) => Buffer.compare(startKey, Buffer.from(key)) <= 0);
    return Math.floor((range?.worker ?? 0) / 256);
  }

  async untilReplicated(): Promise<void> {
    for (;;) {
      const status = (await (await fetch(`http://${this.spaces.address(1)}:7371/status`)).json()) as {
        readonly ranges: readonly { readonly replicas: readonly { readonly role: string }[] }[];
      };
      const isDone = status.ranges.every(
        ({ replicas }) => replicas.filter(({ role }) => role === 'voter').length === this.#options.nodes,
      );
      if (isDone && status.ranges.length === 2) return;
    }
  }

  /**
   * Runs a load from outside of all namespaces, does harm to the nodes, heals them, and judges what the clients saw since
   * the lab began: it is linearizable, and they get on afterwards.
   */
  async endure(harm: (workload: Workload) => Promise<void>): Promise<void> {
    this.#workload ??= new Workload({
      urls: this.urls,
      clients: CLIENTS,
      keys: KEYS,
      prng: this.#options.prng,
      timeoutMs: 4000,
    });
    const workload = this.#workload;
    workload.start();
    await workload.progress(200);
    await harm(workload);
    this.spaces.heal();
    await workload.progress(300);
    await workload.stop();
    const verdict = checkLinearizable(workload.history);
    this.#t.true(
      verdict.ok,
      verdict.ok ? '' : `${verdict.key}: ${verdict.explanation}\n${JSON.stringify(verdict.operations, null, 1)}`,
    );
  }

  async #remove(): Promise<void> {
    for (const node of this.#nodes.values()) {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    }
    this.spaces.remove();
  }
}
