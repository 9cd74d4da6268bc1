/** The rings that connect the threads of a node with each other. */
import { MessageChannel } from 'node:worker_threads';
import type { LinkEnd } from '../gateway/gateway.ts';
import { createRing } from '../sharedarraybuffer-ring/index.ts';

/** Rings between each two endpoints, by endpoint. */
export function createLinks(endpoints: number, ringBytes: number): LinkEnd[][] {
  const links: LinkEnd[][] = Array.from({ length: endpoints }, () => []);
  for (let low = 0; low < endpoints; low++) {
    for (let high = low + 1; high < endpoints; high++) {
      const up = createRing({ capacityBytes: ringBytes });
      const down = createRing({ capacityBytes: ringBytes });
      const waiting = new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT);
      const { port1, port2 } = new MessageChannel();
      links[low]?.push({ outgoing: up, incoming: down, waiting, mine: 0, port: port1, peer: high });
      links[high]?.push({ outgoing: down, incoming: up, waiting, mine: 1, port: port2, peer: low });
    }
  }
  return links;
}
