/** What the workers of this node know of the way to other nodes, put together for whoever looks at the cluster. */
import type { PeerReach } from '../../../shards/messages.ts';
import type { PeerView } from '../../codec/native/messages.ts';

const SELF: PeerView = { state: 'self', roundTripMs: null, problem: null };
const IDLE: PeerView = { state: 'idle', roundTripMs: null, problem: null };

export class PeerBook {
  readonly #byWorker = new Map<number, readonly PeerReach[]>();

  /** Takes all that one worker knows. */
  set(workerIndex: number, peers: readonly PeerReach[]): void {
    this.#byWorker.set(workerIndex, peers);
  }

  /** The way to a node: lost when any worker has lost one of it; the longest of the last round trips. */
  viewOf(nodeId: number, self: number): PeerView {
    if (nodeId === self) return SELF;
    const ways = [...this.#byWorker.values()].flat().filter((way) => way.nodeId === nodeId);
    const lost = ways.find(({ problem }) => problem !== null);
    if (lost !== undefined) return { state: 'lost', roundTripMs: null, problem: lost.problem };
    const open = ways.filter(({ isOpen }) => isOpen);
    if (open.length === 0) return IDLE;
    const roundTripMs = Math.max(...open.map((way) => way.roundTripMs));
    return { state: 'connected', roundTripMs: roundTripMs === 0 ? null : roundTripMs, problem: null };
  }
}
