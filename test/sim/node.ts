/**
 * What the simulator asks of a node, and what it gives it. There are two kinds of node: the bare Raft core with a small
 * state machine (core-node.ts), and whatever else can be driven through this port.
 */
import type { Prng } from '../../src/core/prng.ts';

export interface ClientRequest {
  readonly kind: 'read' | 'write';
  readonly key: string;
  /** write: what to put. */
  readonly value: string;
  /** read: by the leader's lease, or with a round of its own. */
  readonly consistency: 'lease' | 'linearizable';
}

export type ClientReply =
  | { readonly outcome: 'ok'; readonly value: string | null }
  /** It did nothing and never will. */
  | { readonly outcome: 'failed' }
  | { readonly outcome: 'unknown' };

export type Answer = (reply: ClientReply) => void;

/** What a node lives in. */
export interface NodeSurroundings<Packet> {
  /** 1, 2, 3, … */
  readonly nodeNumber: number;
  readonly prng: Prng;
  /** The node's own clock. */
  monotonicMs(): number;
  /** Runs, followed by turn(), as soon as the node is not paused; not at all if it crashes before. */
  run(action: () => void): void;
  /** The same after a while. */
  later(delayMs: number, action: () => void): void;
  send(toNode: number, packet: Packet): void;
}

/** Every call is followed by turn(); tick() comes before all else with the ticks that the node's clock owes. */
export interface SimulatedNode<Packet> {
  start(): void;
  /** The process dies: what is not on the disk is gone. */
  crash(): void;
  /** Whether this error, thrown by any of the others, ends the process and no more; it has ended then. */
  exits?(error: unknown): boolean;
  tick(count: number): void;
  receive(packet: Packet): void;
  submit(request: ClientRequest, answer: Answer): void;
  /** Does all the work there is. */
  turn(): void;
}
