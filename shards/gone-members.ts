/**
 * Members of this node that are gone for good, until the log has heard of their end:
 *
 *     out of the group ─▶ buried ─▶ a cut in the ring ─▶ durable: their names in the range's folder go
 *                            └ no room on the disk: later
 *
 * Invariant: no other member of the range is given a state here, on whichever worker, while one of them has its name. The cut
 * voids all that the log has of the range; workers have rings of their own, so it could come behind what a later member stores.
 */
import type { MemberId, RangeId } from '../src/core/brands.ts';
import { isBuried } from '../src/storage/checkpoint/index.ts';
import { isNoSpace } from '../src/storage/wal/segment.ts';
import type { ShardOptions } from './shard-options.ts';
import type { ShardPorts } from './shard-ports.ts';

interface Gone {
  readonly rangeId: RangeId;
  readonly member: MemberId;
  /** The range's folder says so. */
  isBuried: boolean;
}

const RETRY_MS = 1000;

interface GonePorts extends Pick<ShardPorts, 'log' | 'folder' | 'dropEarlier' | 'monotonicMs'> {
  /** A start will look for nothing of the range here any more. */
  readonly buried: (rangeId: RangeId) => void;
}

export class GoneMembers {
  readonly #ports: GonePorts;
  readonly #waiting: Gone[] = [];
  readonly #written: (Gone & { readonly end: number })[] = [];
  #buriesAtMs = 0;

  constructor({ tombstones, owns }: Pick<ShardOptions, 'tombstones' | 'owns'>, ports: GonePorts) {
    this.#ports = ports;
    for (const [rangeId, member] of tombstones) if (owns(member)) this.restore(rangeId, member);
  }

  /** Whether no other member of this node's has the range, nor had it so lately. One of earlier on is told that it is out. */
  mayBegin(rangeId: RangeId, member: MemberId, confVersion: number): boolean {
    const { folder, dropEarlier } = this.#ports;
    const others = folder.membersOf(rangeId).filter((other) => other !== member);
    for (const other of others) if (isBuried(other, member)) dropEarlier(rangeId, other, confVersion);
    return others.length === 0;
  }

  /** Whether it has its name, and no later one has. */
  isLast(rangeId: RangeId, member: MemberId): boolean {
    const named = this.#ports.folder.membersOf(rangeId);
    return named.includes(member) && named.every((other) => isBuried(other, member));
  }

  /** The member is out of its group; what it stored is of no more use to anybody. */
  add(rangeId: RangeId, member: MemberId): void {
    this.#waiting.push({ rangeId, member, isBuried: false });
    this.#bury();
  }

  /** It was buried in an earlier life of this process: its name says whether the log has heard of it. */
  restore(rangeId: RangeId, member: MemberId): void {
    const { folder } = this.#ports;
    const named = folder.membersOf(rangeId);
    const isFollowed = named.some((other) => !isBuried(other, member));
    if (isFollowed) folder.forget(rangeId, member);
    else if (named.length > 0) this.#waiting.push({ rangeId, member, isBuried: true });
  }

  /**
   * Once a turn. `awaitsLog`: what the members wrote may wait for room still, and comes first. A range whose log went on behind
   * its end would seem to have lost the beginning.
   */
  turn(awaitsLog: boolean): void {
    const { log, folder } = this.#ports;
    this.#bury();
    while (!awaitsLog && this.#waiting[0]?.isBuried === true && log.gone(this.#waiting[0].rangeId)) {
      this.#written.push({ ...(this.#waiting.shift() as Gone), end: log.position });
    }
    const durable = log.durable();
    while (this.#written[0] !== undefined && this.#written[0].end <= durable) {
      const { rangeId, member } = this.#written.shift() as Gone;
      folder.forget(rangeId, member);
    }
  }

  /** A node whose disk is full does not stop because one of its members leaves it. */
  #bury(): void {
    const { folder, monotonicMs } = this.#ports;
    if (monotonicMs() < this.#buriesAtMs) return;
    for (const gone of this.#waiting) {
      if (gone.isBuried) continue;
      try {
        folder.bury(gone.rangeId, gone.member);
        gone.isBuried = true;
        this.#ports.buried(gone.rangeId);
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        this.#buriesAtMs = monotonicMs() + RETRY_MS;
        return;
      }
    }
  }
}
