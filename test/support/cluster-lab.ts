/** Three real nodes for tests that do them harm: in network namespaces, or on loopback behind proxies. */
import { once } from 'node:events';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { connect } from '../../src/client/connect.ts';
import type { Prng } from '../../src/core/prng.ts';
import { Workload } from './history.ts';
import type { Hosts } from './hosts.ts';
import { Loopback } from './hosts.ts';
import { checkLinearizable } from './linearizability.ts';
import { Namespaces } from './namespaces.ts';
import type { NodeProcess } from './node-process.ts';
import { startNode, temporaryDir } from './node-process.ts';
import { TcpLinks } from './tcp-links.ts';
import { answerOf } from './until.ts';

/** Where the one worker of each node hears the others. */
const WORKER_PEER_PORT = 7381;
const CONTROL_PORT = 7380;
const PORTS = ['--port', '7370', '--peer-port', '7380', '--resp-port', '7379', '--http-port', '7371'];
const FLAGS = ['--workers', '1', '--wal-segment', '16mb', '--log-level', 'warn', '--replace-after-seconds', '3600'];
const KEYS = ['a', 'b', 'c', 'd', 'x', 'y', 'z'];
const CLIENTS = 6;
/** Far longer than any of the harms takes on the slowest machine: what takes longer hangs. */
const HARM_MS_MAX = 120_000;
/** A node that does not say how it is within this time hangs itself. */
const STATUS_MS_MAX = 2000;

export interface LabOptions {
  readonly nodes: number;
  readonly prng: Prng;
  /** Folder for a node's data; default: a temporary one. */
  readonly dataDir?: (i: number) => string | undefined;
  readonly env?: (i: number) => Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  /** The nodes' connections with each other go through proxies. */
  readonly hasLinks?: boolean;
  /** On loopback and not in namespaces; always with links. */
  readonly isOnLoopback?: boolean;
  /** Nodes that are not started with the others. */
  readonly spares?: number;
}

export class ClusterLab {
  readonly hosts: Hosts;
  readonly #t: ExecutionContext;
  readonly #options: LabOptions;
  readonly #dirs: string[] = [];
  /** By number, from 1. */
  readonly #nodes = new Map<number, NodeProcess>();
  #workload: Workload | null = null;
  #links: TcpLinks | null = null;

  private constructor(t: ExecutionContext, options: LabOptions) {
    this.#t = t;
    this.#options = options;
    const count = options.nodes + (options.spares ?? 0);
    this.hosts = options.isOnLoopback === true ? new Loopback(count) : new Namespaces(count);
  }

  /** Starts the nodes, and resolves when each range has a replica that votes on each of them. */
  static async start(t: ExecutionContext, options: LabOptions): Promise<ClusterLab> {
    const lab = new ClusterLab(t, options);
    for (let i = 1; i <= lab.hosts.count; i++) {
      lab.#dirs[i] = options.dataDir?.(i) ?? path.join(await temporaryDir(t), 'data');
    }
    // After the folders': the last teardown runs first, and nodes write to their folders until they end.
    t.teardown(() => lab.#remove());
    const { hosts } = lab;
    if (hosts instanceof Loopback)
      lab.#links = await TcpLinks.atGates(hosts, WORKER_PEER_PORT, [CONTROL_PORT], options.prng.fork());
    else if (options.hasLinks === true)
      lab.#links = await TcpLinks.divert(lab.spaces, WORKER_PEER_PORT, options.prng.fork());
    for (let i = 1; i <= options.nodes; i++) await lab.startNode(i);
    await lab.untilReplicated();
    return lab;
  }

  /** With `hasLinks`. */
  get links(): TcpLinks {
    if (this.#links === null) throw new Error('this lab has no links');
    return this.#links;
  }

  /** Unless it is on loopback. */
  get spaces(): Namespaces {
    if (this.hosts instanceof Namespaces) return this.hosts;
    throw new Error('this lab has no namespaces');
  }

  node(i: number): NodeProcess {
    return this.#nodes.get(i) as NodeProcess;
  }

  url(i: number): string {
    return `${this.hosts.address(i)}:7370`;
  }

  get urls(): string[] {
    return [...this.#nodes.keys()].map((i) => this.url(i));
  }

  async startNode(i: number): Promise<void> {
    const seeds = Array.from({ length: this.#options.nodes }, (_, j) => `${this.hosts.address(j + 1)}:7380`);
    const forms = i === 1 ? ['--bootstrap', '--pre-split', 'm'] : ['--join', seeds.join(',')];
    const gate = this.hosts instanceof Loopback ? ['--advertise', this.hosts.gate(i)] : [];
    const where = ['--host', this.hosts.address(i), ...gate];
    const flags = [...FLAGS, ...PORTS, ...where, ...forms, ...(this.#options.flags ?? [])];
    const env = this.#options.env?.(i) ?? {};
    const node = await startNode(this.#dirs[i] as string, flags, { wrapper: this.hosts.wrapper(i), env });
    this.#nodes.set(i, node);
  }

  /** Number of the node where the range that holds the key is led; 0 = nobody is known to. */
  async leaderOf(key: string, asked: number): Promise<number> {
    await using store = await connect(`skerry://${this.url(asked)}`);
    const ranges = await store.ranges();
    const range = ranges.findLast(({ startKey }) => Buffer.compare(startKey, Buffer.from(key)) <= 0);
    return Math.floor((range?.worker ?? 0) / 256);
  }

  /** Until each range has a voter on each of these nodes, by default on all that were started first, and on no other. */
  async untilReplicated(on = Array.from({ length: this.#options.nodes }, (_, i) => i + 1)): Promise<void> {
    interface Status {
      readonly ranges: readonly {
        readonly replicas: readonly { readonly nodeId: number; readonly role: string }[];
      }[];
    }
    await answerOf(
      `two ranges with voters on nodes ${on.join()}`,
      async () => (await (await fetch(`http://${this.hosts.address(1)}:7371/status`)).json()) as Status,
      ({ ranges }) =>
        ranges.length === 2 &&
        ranges.every(({ replicas }) => {
          const voters = replicas.filter(({ role }) => role === 'voter').map(({ nodeId }) => nodeId);
          return replicas.length === on.length && on.every((i) => voters.includes(i));
        }),
    );
  }

  /**
   * Runs a load from outside of all namespaces, does harm to the nodes, heals them, and judges what the clients saw since
   * the lab began: it is linearizable, and they get on afterwards. The name says what harm it is, where it hangs.
   */
  async endure(name: string, harm: (workload: Workload) => Promise<void>): Promise<void> {
    this.#workload ??= new Workload({
      urls: this.urls,
      clients: CLIENTS,
      keys: KEYS,
      prng: this.#options.prng,
      timeoutMs: 4000,
    });
    const workload = this.#workload;
    await this.#inTime(name, workload, async (phase) => {
      phase('the load begins');
      workload.start();
      await workload.progress(200);
      phase('the harm is done');
      await harm(workload);
      phase('the load goes on after it');
      this.hosts.heal();
      this.#links?.heal();
      await workload.progress(300);
      phase('the load ends');
      await workload.stop();
    });
    const verdict = checkLinearizable(workload.history);
    this.#t.true(
      verdict.ok,
      verdict.ok ? '' : `${verdict.key}: ${verdict.explanation}\n${JSON.stringify(verdict.operations, null, 1)}`,
    );
  }

  /** Rejects with what the nodes and the clients have to say when the work hangs. */
  async #inTime(
    name: string,
    workload: Workload,
    work: (phase: (name: string) => void) => Promise<void>,
  ): Promise<void> {
    let current = '';
    const isLate = new AbortController();
    const timer = setTimeout(() => isLate.abort(), HARM_MS_MAX);
    const late = once(isLate.signal, 'abort').then(async () => {
      const nodes = await Promise.all([...this.#nodes.keys()].map((i) => this.#describe(i)));
      const errors = JSON.stringify(Object.fromEntries(workload.errors));
      throw new Error(`${name}: hangs where ${current}; clients’ errors: ${errors}\n${nodes.join('\n')}`);
    });
    try {
      await Promise.race([work((phase) => (current = phase)), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What a node says of itself, for whoever must find out why nothing goes on. */
  async #describe(i: number): Promise<string> {
    const { child, stderr } = this.node(i);
    const url = `http://${this.hosts.address(i)}:7371/status`;
    const status = await fetch(url, { signal: AbortSignal.timeout(STATUS_MS_MAX) })
      .then((response) => response.text())
      .catch((error: unknown) => `no status: ${String(error)}`);
    const end = child.exitCode ?? child.signalCode;
    return `node ${i} (pid ${child.pid}, ${end === null ? 'running' : `ended with ${end}`}):\n${status}\n${stderr()}`;
  }

  async #remove(): Promise<void> {
    await this.#workload?.abandon();
    for (const node of this.#nodes.values()) {
      if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
    }
    this.#links?.close();
    this.hosts.remove();
  }
}
