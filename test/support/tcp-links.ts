/**
 * The connections between nodes in namespaces, each led through a proxy of this process: what they do to one another's
 * bytes is ours to say.
 *
 *     node 1 ── dials node 2's peer port ──▶ (nftables: to this process) ──▶ TcpProxy ──▶ node 2
 */
import type { Prng } from '../../src/core/prng.ts';
import type { Namespaces } from './namespaces.ts';
import type { DirectionFaults, TcpProxy } from './tcp-proxy.ts';
import { createTcpProxy, NO_FAULTS } from './tcp-proxy.ts';

export class TcpLinks {
  readonly proxies: readonly TcpProxy[];

  private constructor(proxies: readonly TcpProxy[]) {
    this.proxies = proxies;
  }

  /** Before any node is started: connections that are there stay as they are. `port`: of every node. */
  static async divert(spaces: Namespaces, port: number, prng: Prng): Promise<TcpLinks> {
    const proxies: TcpProxy[] = [];
    for (let from = 1; from <= spaces.count; from++) {
      for (let to = 1; to <= spaces.count; to++) {
        if (from === to) continue;
        const proxy = await createTcpProxy({ host: spaces.address(to), port }, prng.fork(), spaces.hostAddress);
        spaces.divert(from, to, port, proxy.port);
        proxies.push(proxy);
      }
    }
    return new TcpLinks(proxies);
  }

  /** Connections taken so far. */
  get accepted(): number {
    return this.proxies.reduce((sum, { accepted }) => sum + accepted, 0);
  }

  /** In all directions of all links. */
  spoil(faults: Partial<DirectionFaults>): void {
    for (const { toTarget, toClient } of this.proxies) {
      Object.assign(toTarget, faults);
      Object.assign(toClient, faults);
    }
  }

  reset(): void {
    for (const proxy of this.proxies) proxy.reset();
  }

  heal(): void {
    this.spoil(NO_FAULTS);
  }

  close(): void {
    for (const proxy of this.proxies) proxy.close();
  }
}
