/**
 * The network between nodes: packets are delayed, lost, repeated and reordered, and any direction between two nodes can be
 * cut. A packet under way when its direction is cut is lost.
 */
import { assert } from '../../src/core/assert.ts';
import type { Prng } from '../../src/core/prng.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface NetworkFaults {
  readonly lossChance: number;
  readonly duplicateChance: number;
  /** Delays are spread evenly over 0 to twice this, so packets overtake each other. */
  readonly meanDelayMs: number;
  /** Packets that turn up when nobody expects them any more. */
  readonly lateChance: number;
  readonly lateMs: number;
}

export const CALM_NETWORK: NetworkFaults = {
  lossChance: 0,
  duplicateChance: 0,
  meanDelayMs: 1,
  lateChance: 0,
  lateMs: 0,
};

/** A group of five has some dozens at a time. */
const UNDER_WAY_MAX = 20_000;

export class Network<Packet> {
  faults: NetworkFaults = CALM_NETWORK;
  packets = 0;
  lost = 0;
  repeated = 0;
  late = 0;
  #underWay = 0;
  readonly #time: VirtualTime;
  readonly #prng: Prng;
  readonly #deliver: (to: number, packet: Packet) => void;
  /** `from > to` */
  readonly #cuts = new Set<string>();

  constructor(time: VirtualTime, prng: Prng, deliver: (to: number, packet: Packet) => void) {
    this.#time = time;
    this.#prng = prng;
    this.#deliver = deliver;
  }

  send(from: number, to: number, packet: Packet): void {
    const { lossChance, duplicateChance } = this.faults;
    if (this.#isCut(from, to) || this.#prng.chance(lossChance)) {
      this.lost++;
      return;
    }
    this.#carry(from, to, packet);
    if (!this.#prng.chance(duplicateChance)) return;
    this.repeated++;
    this.#carry(from, to, packet);
  }

  #carry(from: number, to: number, packet: Packet): void {
    this.packets++;
    this.#underWay++;
    assert(this.#underWay <= UNDER_WAY_MAX, 'network: packets call forth more and more packets');
    const { meanDelayMs, lateChance, lateMs } = this.faults;
    const isLate = this.#prng.chance(lateChance);
    if (isLate) this.late++;
    this.#time.after(this.#prng.next() * (isLate ? lateMs : 2 * meanDelayMs), () => {
      this.#underWay--;
      if (!this.#isCut(from, to)) this.#deliver(to, packet);
    });
  }

  #isCut(from: number, to: number): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from} > ${to}`);
  }

  cut(from: number, to: number): void {
    this.#cuts.add(`${from} > ${to}`);
  }

  /** Nobody in `island` and nobody outside hear each other. */
  separate(island: ReadonlySet<number>, nodes: readonly number[]): void {
    for (const a of nodes) {
      for (const b of nodes) if (island.has(a) !== island.has(b)) this.cut(a, b);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }
}
