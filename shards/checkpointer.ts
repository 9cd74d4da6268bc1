/**
 * When a worker's ranges are checkpointed: so often that a restart stays within its promise, and one at a time.
 *
 *     replay cost of a range ≈ bytes behind its checkpoint / REPLAY_BYTES_PER_SECOND
 *                            + commands behind it / REPLAY_COMMANDS_PER_SECOND
 *
 * When the sum over the worker's ranges passes its share of `maxRecoverySeconds`, the range with the largest cost is
 * written down. A range that alone holds back old log segments comes first (laggards), then one whose checkpoint is of a
 * time when it had no other voters.
 *
 * Invariant: a range is not checkpointed past a split before the other half has a checkpoint of its own; until then the
 * log is all that the other half has (recovery.ts). And none becomes durable before the log is durable up to its index:
 * a group may commit, and this member apply, what its own disk does not have yet.
 */
import type { LogIndex, MemberId, RangeId, Term } from '../src/core/brands.ts';
import type { SnapshotMeta } from '../src/core/raft/types.ts';
import type { FrozenStore } from '../src/engine/engine.ts';
import type { CheckpointInfo } from '../src/storage/checkpoint/index.ts';
import { encodeRangeMeta } from './entry.ts';
import { hasOtherVoters } from './membership.ts';
import type { Replica } from './replica.ts';

/**
 * What a worker replays with a core for itself (bench/README.md, "Recovery"): long values count by bytes, short ones by
 * commands.
 */
const REPLAY_BYTES_PER_SECOND = 300e6;
const REPLAY_COMMANDS_PER_SECOND = 400_000;
/**
 * The rest of the promise is for loading checkpoints, for one more checkpoint's time, and for a
 * machine that is busy: there a worker was measured to replay 230,000 commands a second.
 */
const REPLAY_SHARE = 0.4;

/** A range that somebody waits for is tried again so long after a failure, and twice as long after each further one. */
const RETRY_MS = 250;
const RETRY_MS_MAX = 10_000;

export interface CheckpointerOptions {
  readonly maxRecoverySeconds: number;
  readonly replicas: ReadonlyMap<RangeId, Replica>;
  /** Writes a checkpoint on another thread; resolves when it is durable under its final name. */
  readonly write: (frozen: FrozenStore, info: CheckpointInfo) => Promise<void>;
  /** The member has a durable checkpoint now. */
  readonly written: (rangeId: RangeId, member: MemberId) => void;
  /** Says in the log that the range has a durable checkpoint; false when the log has no room now. */
  readonly logCheckpoint: (rangeId: RangeId, index: LogIndex, term: Term) => boolean;
  /** Asks for a turn of the loop, after a checkpoint has ended. */
  readonly schedule: () => void;
  readonly onError: (rangeId: RangeId, error: unknown) => void;
  /** Monotonic clock, milliseconds. */
  readonly monotonicMs: () => number;
}

/** A checkpoint, and the bounds that the range had: epoch.version. */
export interface MadeCheckpoint {
  readonly meta: SnapshotMeta;
  readonly rangeVersion: number;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  /** Halves without a checkpoint, by the range that they were cut from. */
  readonly #owed = new Map<RangeId, Set<RangeId>>();
  readonly #laggards = new Set<RangeId>();
  /** The newest durable checkpoint of each range that this process made. */
  readonly #newest = new Map<RangeId, MadeCheckpoint>();
  /** A state is frozen, and waits for the log to be durable up to it. */
  #awaitsLog: { readonly replica: Replica; readonly index: LogIndex; readonly resolve: () => void } | null = null;
  #isRunning = false;
  /** After a failure the next one that nobody waits for comes only when this much more has come. */
  #costAtFailure = 0;
  #retryMs = RETRY_MS;
  #retryAtMs = 0;
  /** How long a restart may take. */
  maxRecoverySeconds: number;
  #toLog: { readonly rangeId: RangeId; readonly index: LogIndex; readonly term: Term }[] = [];

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.maxRecoverySeconds = options.maxRecoverySeconds;
  }

  /** `right` came out of a split of `left`. */
  split(left: RangeId, right: RangeId): void {
    const owed = this.#owed.get(left) ?? new Set();
    owed.add(right);
    this.#owed.set(left, owed);
    this.#laggards.add(right);
  }

  /** Whether other halves of the range live by its log alone. */
  owes(rangeId: RangeId): boolean {
    return (this.#owed.get(rangeId)?.size ?? 0) > 0;
  }

  /** The newest durable checkpoint that was made of the range; null when there is none. */
  newest(rangeId: RangeId): MadeCheckpoint | null {
    return this.#newest.get(rangeId) ?? null;
  }

  /** The range has another state now that came from elsewhere. settled() follows when a start would find it. */
  replaced(rangeId: RangeId): void {
    this.#toLog = this.#toLog.filter((made) => made.rangeId !== rangeId);
    this.#laggards.delete(rangeId);
    this.#newest.delete(rangeId);
    this.#owed.delete(rangeId);
  }

  /** The range does not live by the log of the one that it was cut from any more. */
  settled(rangeId: RangeId): void {
    for (const owed of this.#owed.values()) owed.delete(rangeId);
  }

  /** The range is gone. */
  forget(rangeId: RangeId): void {
    this.replaced(rangeId);
    this.settled(rangeId);
  }

  /** These ranges hold back log segments that could be used again, or somebody needs a new checkpoint of them. */
  holdBack(rangeIds: Iterable<RangeId>): void {
    for (const rangeId of rangeIds) if (this.#options.replicas.has(rangeId)) this.#laggards.add(rangeId);
  }

  /** Starts a checkpoint when one is due. */
  turn(): void {
    while (this.#toLog[0] !== undefined) {
      const { rangeId, index, term } = this.#toLog[0];
      if (!this.#options.logCheckpoint(rangeId, index, term)) break;
      this.#toLog.shift();
    }
    this.#lookAtLog();
    if (this.#isRunning) return;
    const due = this.#due();
    const first = due === null ? null : this.#firstOwed(due.descriptor.rangeId);
    if (first !== null) void this.#run(first);
  }

  /** Resolves when this member's own log is durable up to `index`, or the replica is gone. */
  #logDurable(replica: Replica, index: LogIndex): Promise<void> {
    return new Promise((resolve) => {
      this.#awaitsLog = { replica, index, resolve };
      this.#lookAtLog();
    });
  }

  #lookAtLog(): void {
    if (this.#awaitsLog === null) return;
    const { replica, index, resolve } = this.#awaitsLog;
    const isHere = this.#options.replicas.get(replica.descriptor.rangeId) === replica;
    if (isHere && replica.raft.status().persisted < index) return;
    this.#awaitsLog = null;
    resolve();
  }

  #due(): Replica | null {
    const { replicas } = this.#options;
    if (this.#laggards.size > 0 && this.#options.monotonicMs() >= this.#retryAtMs) {
      for (const rangeId of this.#laggards) {
        const replica = replicas.get(rangeId);
        if (replica !== undefined) return replica;
      }
    }
    let sum = 0;
    let largest: Replica | null = null;
    for (const replica of replicas.values()) {
      const isNewlyShared = replica.isCheckpointAlone && hasOtherVoters(replica.conf, replica.raft.id);
      if (isNewlyShared && this.#costAtFailure === 0) return replica;
      sum += replayCost(replica);
      if (largest === null || replayCost(replica) > replayCost(largest)) largest = replica;
    }
    return sum > this.maxRecoverySeconds * REPLAY_SHARE + this.#costAtFailure ? largest : null;
  }

  /**
   * The range, or one that lives by its log: also through another one that is out of its group and has no replica any more.
   * Null: one that lives by it is out of its group, and not buried yet.
   */
  #firstOwed(rangeId: RangeId): Replica | null {
    const owed = this.#owed.get(rangeId) ?? [];
    for (const half of owed) {
      const first = this.#firstOwed(half);
      if (first !== null) return first;
    }
    return this.owes(rangeId) ? null : (this.#options.replicas.get(rangeId) ?? null);
  }

  async #run(replica: Replica): Promise<void> {
    const { write, schedule, onError } = this.#options;
    const { descriptor, store, machine, raft, appliedTerm, conf } = replica;
    const { rangeId } = descriptor;
    const { appliedIndex } = raft;
    const { latestVersion } = machine;
    this.#isRunning = true;
    const { bytesSinceCheckpoint, commandsSinceCheckpoint } = replica;
    const frozen = store.freeze();
    const sessions = machine.encodeSessions();
    const catalog = replica.catalog?.encode();
    try {
      await this.#logDurable(replica, appliedIndex);
      if (this.#options.replicas.get(rangeId) !== replica) return;
      await write(frozen, {
        rangeId,
        appliedIndex,
        appliedTerm,
        latestVersion,
        meta: encodeRangeMeta({ descriptor, conf, sessions, ...(catalog !== undefined && { catalog }) }),
      });
      if (this.#options.replicas.get(rangeId) !== replica) return;
      this.#options.written(rangeId, raft.id);
      replica.isCheckpointAlone = !hasOtherVoters(conf, raft.id);
      replica.bytesSinceCheckpoint -= bytesSinceCheckpoint;
      replica.commandsSinceCheckpoint -= commandsSinceCheckpoint;
      const made = { index: appliedIndex, term: appliedTerm, conf };
      this.#newest.set(rangeId, { meta: made, rangeVersion: descriptor.epoch.version });
      this.#laggards.delete(rangeId);
      this.settled(rangeId);
      this.#toLog.push({ rangeId, index: appliedIndex, term: appliedTerm });
      this.#costAtFailure = 0;
      this.#retryMs = RETRY_MS;
    } catch (error) {
      // The old checkpoint and the log behind it are still there: nothing is lost but time.
      this.#costAtFailure = Math.max(0.5, this.#costAtFailure * 2);
      this.#retryAtMs = this.#options.monotonicMs() + this.#retryMs;
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
      onError(rangeId, error);
    } finally {
      store.release(frozen);
      this.#isRunning = false;
      schedule();
    }
  }
}

function replayCost({ bytesSinceCheckpoint, commandsSinceCheckpoint }: Replica): number {
  return bytesSinceCheckpoint / REPLAY_BYTES_PER_SECOND + commandsSinceCheckpoint / REPLAY_COMMANDS_PER_SECOND;
}
