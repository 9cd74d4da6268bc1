/**
 * Nodes in a world: each with a clock, a place in the network, and a process that can be paused, killed and started again.
 *
 *                    ┌ paused: kept for later
 *     event for a node ┤
 *                    └ up: ticks owed by its clock ─▶ the event ─▶ turn()
 */
import type { Prng } from '../../src/core/prng.ts';
import { Network } from './network.ts';
import type { NodeSurroundings, SimulatedNode } from './node.ts';
import { DriftingClock, VirtualTime } from './virtual-time.ts';

export const TICK_MS = 10;

export class Host<Packet> {
  readonly number: number;
  readonly clock: DriftingClock;
  readonly node: SimulatedNode<Packet>;
  isUp = false;
  isPaused = false;
  /** Of the process; what an earlier one had under way is void. */
  #life = 0;
  #ticks = 0;
  #backlog: (() => void)[] = [];
  readonly #time: VirtualTime;
  /** The process has ended: killed, or by itself. */
  onDown: ((isExit: boolean) => void) | null = null;

  constructor(
    time: VirtualTime,
    number: number,
    prng: Prng,
    send: (to: number, packet: Packet) => void,
    create: (surroundings: NodeSurroundings<Packet>) => SimulatedNode<Packet>,
  ) {
    this.#time = time;
    this.number = number;
    this.clock = new DriftingClock(time);
    this.node = create({
      nodeNumber: number,
      prng,
      monotonicMs: () => this.clock.nowMs,
      send,
      run: (action) => this.run(action),
      later: (delayMs, action) => {
        const life = this.#life;
        time.after(delayMs, () => {
          if (life === this.#life) this.run(action);
        });
      },
    });
  }

  start(): void {
    if (this.isUp) return;
    this.isUp = true;
    this.#life++;
    this.#ticks = this.#ticksShown();
    this.#guard(() => {
      this.node.start();
      this.node.turn();
    });
    if (this.isUp) this.#awaitTick(this.#life);
  }

  crash(): void {
    if (!this.isUp) return;
    this.#end();
    this.node.crash();
    this.onDown?.(false);
  }

  #end(): void {
    this.isUp = false;
    this.isPaused = false;
    this.#life++;
    this.#backlog = [];
  }

  /** What an error of its own ends a process with is not an error of the simulation. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (this.node.exits?.(error) !== true) throw error;
      this.#end();
      this.onDown?.(true);
    }
  }

  /** The process is stopped; its clock is not. */
  pause(): void {
    this.isPaused = this.isUp;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    for (const action of this.#backlog.splice(0)) this.run(action);
    // It may have died of one of them.
    if (this.isUp) this.run(() => undefined);
  }

  run(action: () => void): void {
    if (!this.isUp) return;
    if (this.isPaused) {
      this.#backlog.push(action);
      return;
    }
    const owed = this.#ticksShown() - this.#ticks;
    this.#ticks += owed;
    this.#guard(() => {
      if (owed > 0) this.node.tick(owed);
      action();
      this.node.turn();
    });
  }

  #ticksShown(): number {
    return Math.floor(this.clock.nowMs / TICK_MS);
  }

  #awaitTick(life: number): void {
    const next = (this.#ticksShown() + 1) * TICK_MS;
    // A little after, so that rounding does not make it early.
    this.#time.after(this.clock.trueMsUntil(next) + 0.001, () => {
      if (life !== this.#life) return;
      if (!this.isPaused) this.run(() => undefined);
      this.#awaitTick(life);
    });
  }
}

export class World<Packet, Node extends SimulatedNode<Packet>> {
  readonly time = new VirtualTime();
  readonly network: Network<Packet>;
  readonly hosts: Host<Packet>[];
  readonly nodes: Node[] = [];

  constructor(prng: Prng, count: number, create: (surroundings: NodeSurroundings<Packet>, time: VirtualTime) => Node) {
    this.network = new Network(this.time, prng.fork(), (to, packet) => {
      const host = this.hosts[to - 1];
      host?.run(() => host.node.receive(packet));
    });
    this.hosts = Array.from({ length: count }, (_, i) => {
      const number = i + 1;
      const send = (to: number, packet: Packet): void => this.network.send(number, to, packet);
      return new Host<Packet>(this.time, number, prng.fork(), send, (surroundings) => {
        const node = create(surroundings, this.time);
        this.nodes.push(node);
        return node;
      });
    });
  }
}
