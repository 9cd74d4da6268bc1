/**
 * The disk of a simulated member: a log of records that is synced in order, and a checkpoint file that is replaced as one.
 * A crash keeps a prefix of what was not synced yet: nothing, some records, or all of them.
 *
 *     wal   hardState │ entry 1 │ entry 2 │ installed 7 │ entry 8 ┊ entry 9 │ hardState      ┊ = synced up to here
 *                                                 └ a snapshot took the place of everything before it
 */
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import type { Prng } from '../../src/core/prng.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import type { ConfState, Entry, HardState, RaftLogSeed } from '../../src/core/raft/types.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A state-machine snapshot, as a checkpoint file and on its way to another member. */
export interface Checkpoint {
  readonly index: LogIndex;
  readonly term: Term;
  readonly conf: ConfState;
  /** How many configuration entries it contains. */
  readonly confVersion: number;
  readonly values: ReadonlyMap<string, string>;
}

export type DiskWrite =
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'install'; readonly checkpoint: Checkpoint }
  /** Follows an install: whatever the log had before is not this member's any more. */
  | { readonly kind: 'installed' };

export interface DiskFaults {
  /** A sync takes this long on average. */
  readonly syncMs: number;
  readonly stallChance: number;
  readonly stallMs: number;
}

export const CALM_DISK: DiskFaults = { syncMs: 0.2, stallChance: 0, stallMs: 0 };

const NO_HARD_STATE: HardState = { term: 0 as Term, vote: 0 as MemberId, commit: 0 as LogIndex };

function firstState(voters: readonly MemberId[]): Checkpoint {
  return { index: 0 as LogIndex, term: 0 as Term, conf: confOf(voters), confVersion: 1, values: new Map() };
}

export class CoreDisk {
  faults: DiskFaults = CALM_DISK;
  checkpoint: Checkpoint;
  readonly #time: VirtualTime;
  readonly #prng: Prng;
  #wal: DiskWrite[] = [];
  #waiting: { readonly writes: readonly DiskWrite[]; readonly synced: () => void }[] = [];
  #syncing: DiskWrite[] = [];
  #isSyncing = false;
  /** What is under way belongs to a life of the process. */
  #life = 0;

  constructor(time: VirtualTime, prng: Prng, voters: readonly MemberId[]) {
    this.#time = time;
    this.#prng = prng;
    this.checkpoint = firstState(voters);
  }

  /** For the next member that comes to live here. */
  erase(): void {
    this.crash();
    this.#wal = [];
    this.checkpoint = firstState([]);
  }

  /** Appends; `synced` is called when these writes, and with them all earlier ones, survive a crash. */
  write(writes: readonly DiskWrite[], synced: () => void): void {
    this.#waiting.push({ writes, synced });
    if (!this.#isSyncing) this.#sync();
  }

  /** One sync for all that waits. */
  #sync(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#isSyncing = true;
    const { syncMs, stallChance, stallMs } = this.faults;
    const isStalled = this.#prng.chance(stallChance);
    const takesMs = this.#prng.next() * (isStalled ? stallMs : 2 * syncMs);
    const isIdle = batch.every(({ writes }) => writes.length === 0);
    const life = this.#life;
    this.#syncing = batch.flatMap(({ writes }) => writes);
    this.#time.after(isIdle ? 0 : takesMs, () => {
      if (life !== this.#life) return;
      for (const write of this.#syncing) this.#keep(write);
      this.#syncing = [];
      this.#isSyncing = false;
      for (const { synced } of batch) synced();
      if (!this.#isSyncing) this.#sync();
    });
  }

  crash(): void {
    this.#life++;
    const unsynced = [...this.#syncing, ...this.#waiting.flatMap(({ writes }) => writes)];
    for (const write of unsynced.slice(0, this.#prng.below(unsynced.length + 1))) this.#keep(write);
    this.#waiting = [];
    this.#syncing = [];
    this.#isSyncing = false;
  }

  /** A checkpoint of the member's own; the log needs nothing up to it any more. */
  saveCheckpoint(checkpoint: Checkpoint): void {
    if (checkpoint.index <= this.checkpoint.index) return;
    this.checkpoint = checkpoint;
    const firstNeeded = this.#wal.findIndex((write) => write.kind === 'entry' && write.entry.index > checkpoint.index);
    const cut = this.#prng.below((firstNeeded < 0 ? this.#wal.length : firstNeeded) + 1);
    const hardState = this.#wal.splice(0, cut).findLast(({ kind }) => kind === 'hardState');
    // Carried over, as the WAL does with the hard states of a segment that goes.
    if (hardState !== undefined && !this.#wal.some(({ kind }) => kind === 'hardState')) this.#wal.unshift(hardState);
  }

  #keep(write: DiskWrite): void {
    if (write.kind === 'install') this.checkpoint = write.checkpoint;
    else if (write.kind === 'hardState') this.#wal = this.#wal.filter(({ kind }) => kind !== 'hardState').concat(write);
    else this.#wal.push(write);
  }

  /** What a start finds. */
  recover(): RaftLogSeed {
    const { checkpoint } = this;
    let hardState = NO_HARD_STATE;
    let entries: Entry[] = [];
    for (const write of this.#wal) {
      if (write.kind === 'hardState') {
        hardState = write.hardState;
      } else if (write.kind === 'entry') {
        entries = entries.filter(({ index }) => index < write.entry.index);
        entries.push(write.entry);
      } else {
        entries = [];
      }
    }
    const { index, term, conf } = checkpoint;
    const overlap = entries.find((entry) => entry.index === index);
    if (overlap !== undefined && overlap.term !== term) {
      // The crash fell between install and installed. It is settled now, or what is appended next would look as void.
      entries = [];
      this.#wal = this.#wal.filter(({ kind }) => kind === 'hardState');
    }
    return { snapshotIndex: index, snapshotTerm: term, conf, entries, hardState, applied: index };
  }
}
