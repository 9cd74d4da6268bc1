/**
 * The connections between nodes, each led through a proxy of this process: what they do to one another's bytes is ours to say.
 *
 *     in namespaces:  node 1 ── dials node 2's peer port ──▶ (nftables: to this process) ──▶ TcpProxy ──▶ node 2
 *     on loopback:    node 1 ── dials node 2's gate ──▶ TcpProxy ──▶ node 2
 */
import type { Prng } from '../../src/core/prng.ts';
import type { Loopback } from './hosts.ts';
import type { Namespaces } from './namespaces.ts';
import type { DirectionFaults, TcpProxy } from './tcp-proxy.ts';
import { createTcpProxy, NO_FAULTS } from './tcp-proxy.ts';

interface Link {
  /** Where it leads. */
  readonly to: number;
  readonly proxy: TcpProxy;
}

export class TcpLinks {
  readonly #links: readonly Link[];
  /** What goes through these is left as it is. */
  readonly #relays: readonly TcpProxy[];

  private constructor(links: readonly Link[], relays: readonly TcpProxy[] = []) {
    this.#links = links;
    this.#relays = relays;
  }

  /** Before any node is started: connections that are there stay as they are. `port`: of every node. */
  static async divert(spaces: Namespaces, port: number, prng: Prng): Promise<TcpLinks> {
    const links: Link[] = [];
    for (let from = 1; from <= spaces.count; from++) {
      for (let to = 1; to <= spaces.count; to++) {
        if (from === to) continue;
        const proxy = await createTcpProxy({ host: spaces.address(to), port }, prng.fork(), spaces.hostAddress);
        spaces.divert(from, to, port, proxy.port);
        links.push({ to, proxy });
      }
    }
    return new TcpLinks(links);
  }

  /** Proxies at the gates of all nodes: on `port`, and on the `others` such that let everything pass. */
  static async atGates(hosts: Loopback, port: number, others: readonly number[], prng: Prng): Promise<TcpLinks> {
    const links: Link[] = [];
    const relays: TcpProxy[] = [];
    const open = (i: number, at: number): Promise<TcpProxy> =>
      createTcpProxy({ host: hosts.address(i), port: at }, prng.fork(), hosts.gate(i), at);
    for (let to = 1; to <= hosts.count; to++) {
      links.push({ to, proxy: await open(to, port) });
      for (const other of others) relays.push(await open(to, other));
    }
    return new TcpLinks(links, relays);
  }

  /** Connections taken so far. */
  get accepted(): number {
    return this.#links.reduce((sum, { proxy }) => sum + proxy.accepted, 0);
  }

  /** In all directions of all links. */
  spoil(faults: Partial<DirectionFaults>): void {
    for (const { proxy } of this.#links) {
      Object.assign(proxy.toTarget, faults);
      Object.assign(proxy.toClient, faults);
    }
  }

  /** Node `i` no longer hears what others say on connections that they have dialled. */
  deafen(i: number): void {
    for (const { to, proxy } of this.#links) if (to === i) proxy.toTarget.hole = true;
  }

  reset(): void {
    for (const { proxy } of this.#links) proxy.reset();
  }

  heal(): void {
    this.spoil(NO_FAULTS);
  }

  close(): void {
    for (const { proxy } of this.#links) proxy.close();
    for (const relay of this.#relays) relay.close();
  }
}
