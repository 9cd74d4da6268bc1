/**
 * The state of one member: what the Raft paper's figure 2 lists, what the extensions add, and the mailbox. The rules
 * that change it are functions in files of their own:
 *
 *   roles      follower, pre-candidate, candidate        election      campaigns, votes, becoming leader
 *   follower   appends, heartbeats, snapshots received   replication   the leader's appends to others
 *   leader     answers of followers                      commit        what a quorum has, and what follows from it
 *   lease      stamps, rounds, the lease                 read-index    linearizable reads
 *   membership configuration changes                     transfer      handing leadership over
 *   rest       quiet groups                              ready         what goes out to the host
 */
import { assert } from '../assert.ts';
import type { LogIndex, MemberId, Term } from '../brands.ts';
import type { Prng } from '../prng.ts';
import { ConfHistory } from './conf-history.ts';
import { isVoter } from './configuration.ts';
import { NO_ENTRIES, RaftLog } from './log.ts';
import type { Progress } from './progress.ts';
import { jointVote } from './quorum/joint.ts';
import type { VoteResult } from './quorum/majority.ts';
import type {
  ConfState,
  Entry,
  Message,
  MessageType,
  RaftOptions,
  ReadState,
  Role,
  SnapshotMeta,
  SoftState,
} from './types.ts';
import { ROLE_FOLLOWER, ROLE_LEADER } from './types.ts';

export const NOBODY = 0 as MemberId;
const KiB = 1024;
const MiB = 1024 * KiB;

export interface RaftLimits {
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  readonly clockDriftMax: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  readonly maxBytesPerAppend: number;
  readonly maxUncommittedBytes: number;
  readonly maxRetainedBytes: number;
}

/** A read that waits for a round of heartbeats; `stamp` < 0: its round has not begun. */
export interface WaitingRead {
  readonly context: number;
  readonly index: LogIndex;
  stamp: number;
}

/** The fields of a message that are not 0 or empty. */
export interface MessageFields {
  readonly term?: Term;
  readonly index?: LogIndex;
  readonly logTerm?: Term;
  readonly commit?: LogIndex;
  readonly context?: number;
  readonly hint?: LogIndex;
  readonly reject?: boolean;
  readonly entries?: readonly Entry[];
  readonly snapshot?: SnapshotMeta;
}

export class RaftState {
  readonly id: MemberId;
  readonly limits: RaftLimits;
  readonly prng: Prng;
  readonly log: RaftLog;
  readonly keepsVotes: boolean;
  confs: ConfHistory;
  /** confs.latest.conf, kept at hand. */
  conf: ConfState;

  term: Term;
  vote: MemberId;
  role: Role = ROLE_FOLLOWER;
  leader: MemberId = NOBODY;
  /** Elections that it stood for, since it was made. */
  campaigns = 0;

  /** Since this object was made; stamps are made of it (lease.ts). */
  ticks = 0;
  electionElapsedTicks = 0;
  heartbeatElapsedTicks = 0;
  electionTimeoutTicks = 0;
  /** Since this member heard from a leader of its term: what it promised to leases. */
  ticksSinceLeader: number;
  /** Not ticked: its host's beats stand for its messages (rest.ts). */
  isResting = false;
  /** Names the rest. */
  restStamp = 0;
  /** Of a leader: since something was asked of it. */
  idleTicks = 0;

  // Of candidates and pre-candidates: the answers of the voters.
  readonly votes = new Map<MemberId, boolean>();

  // Of leaders.
  /** The other members; `peers` has the same objects, for loops. */
  readonly progress = new Map<MemberId, Progress>();
  peers: Progress[] = [];
  /** Index of the noop that began this leadership. */
  termStart = 0 as LogIndex;
  /** The newest term that this member has led since its start; 0 = none. */
  ledTerm = 0 as Term;
  stamp = 0;
  readonly reads: WaitingRead[] = [];
  transferee: MemberId = NOBODY;
  /** A successor was told to campaign without regard to leases, so there is no lease any more in this term. */
  leaseVoid = false;
  uncommittedBytes = 0;
  /** Look through `peers` for something to send when the next Ready is made. */
  pumpWanted = false;

  // What goes out with the next Ready.
  messages: Message[] = [];
  messagesAfterPersist: Message[] = [];
  readStates: ReadState[] = [];
  snapshotRequests: MemberId[] = [];
  snapshot: SnapshotMeta | null = null;
  readyNumber = 0;
  persistedNumber = 0;
  /** The Ready that carries the current term and vote; Infinity while it is still to be made. */
  hardStateReady = 0;
  /** The Ready that carries the latest snapshot: nothing is handed out to apply until it is installed. */
  snapshotReady = 0;
  sentSoftState: SoftState;

  constructor(options: RaftOptions) {
    const { log: seed } = options;
    assert(options.id > 0, 'a member has an id');
    this.id = options.id;
    this.prng = options.prng;
    this.keepsVotes = options.keepsVotes ?? false;
    this.limits = {
      electionTicks: options.electionTicks ?? 10,
      heartbeatTicks: options.heartbeatTicks ?? 1,
      preVote: options.preVote ?? true,
      checkQuorum: options.checkQuorum ?? true,
      clockDriftMax: options.clockDriftMax ?? 0.05,
      maxInflightMessages: options.maxInflightMessages ?? 256,
      maxInflightBytes: options.maxInflightBytes ?? 8 * MiB,
      maxBytesPerAppend: options.maxBytesPerAppend ?? MiB,
      maxUncommittedBytes: options.maxUncommittedBytes ?? 64 * MiB,
      maxRetainedBytes: options.maxRetainedBytes ?? 64 * MiB,
    };
    assert(this.limits.heartbeatTicks > 0, 'heartbeats take time');
    assert(this.limits.electionTicks > this.limits.heartbeatTicks, 'an election timeout outlasts a heartbeat');

    this.log = new RaftLog(seed.snapshotIndex, seed.snapshotTerm);
    this.log.adopt(seed.entries);
    this.confs = new ConfHistory(seed.snapshotIndex, seed.conf);
    for (let i = this.log.firstIndex; i <= this.log.lastIndex; i++) this.confs.appended(this.log.at(i));
    this.conf = this.confs.latest.conf;

    // A log can be ahead of a hard state that was stored without it (a checkpoint of a later leader).
    const behind = seed.hardState.term < this.log.lastTerm;
    this.term = behind ? this.log.lastTerm : seed.hardState.term;
    this.vote = behind ? NOBODY : seed.hardState.vote;
    const commit = Math.max(seed.hardState.commit, seed.applied) as LogIndex;
    this.log.commitTo(Math.min(commit, this.log.lastIndex) as LogIndex);
    assert(seed.applied >= seed.snapshotIndex, 'the state machine contains its checkpoint');
    assert(seed.applied <= this.log.lastIndex, 'the state machine is not ahead of the log');
    this.log.applying = this.log.applied = seed.applied;

    // It may have answered a leader right before it stopped, and the leader's lease rests on that.
    const isNewborn = options.isNewborn ?? this.term === 0;
    this.ticksSinceLeader = isNewborn ? this.limits.electionTicks : 0;
    this.sentSoftState = { leader: this.leader, role: this.role, term: this.term };
    this.drawElectionTimeout();
  }

  get commitIndex(): LogIndex {
    return this.log.committed;
  }

  get appliedIndex(): LogIndex {
    return this.log.applied;
  }

  get lastIndex(): LogIndex {
    return this.log.lastIndex;
  }

  get isLeader(): boolean {
    return this.role === ROLE_LEADER;
  }

  /** No other voter is needed for anything. */
  get isOnlyVoter(): boolean {
    return this.isOnlyVoterOf(this.conf);
  }

  isOnlyVoterOf({ voters, votersOutgoing }: ConfState): boolean {
    // A joint change may add nothing but learners: then both halves are this member.
    return voters.length === 1 && voters[0] === this.id && votersOutgoing.every((id) => id === this.id);
  }

  get isVoter(): boolean {
    return isVoter(this.conf, this.id);
  }

  /** Not while it waits to be told of a configuration: it may be a voter that lost its disk, and with it what it promised. */
  get hasSay(): boolean {
    return this.conf.voters.length > 0;
  }

  /**
   * A voter without a state knows nothing that a candidate could lack, so its vote needs no more than to be given once a term.
   */
  get mayVote(): boolean {
    return this.hasSay || this.keepsVotes;
  }

  /**
   * A member that its latest configuration leaves out may still be needed to commit it: nobody else may have it (Raft
   * thesis §4.2.2). Its own vote does not count then.
   */
  get mayCampaign(): boolean {
    return this.isVoter || this.confs.since(this.log.committed).some(({ conf }) => isVoter(conf, this.id));
  }

  /** Raft paper §5.2: timeouts are drawn anew for each election, so that split votes end. */
  drawElectionTimeout(): void {
    this.electionElapsedTicks = 0;
    this.electionTimeoutTicks = this.limits.electionTicks + this.prng.below(this.limits.electionTicks);
  }

  setTerm(term: Term, vote: MemberId): void {
    if (this.term === term && this.vote === vote) return;
    assert(term >= this.term, 'terms never fall');
    assert(term > this.term || this.vote === NOBODY, 'one vote per term');
    this.term = term;
    this.vote = vote;
    this.hardStateReady = Infinity;
  }

  /** The current term and vote survive a crash. */
  get hardStateDurable(): boolean {
    return this.hardStateReady <= this.persistedNumber;
  }

  /**
   * Whether this member has promised a leader not to help another one yet (Raft thesis §4.2.3, §6.4.1). No leader counts on
   * one that has no say, and nobody ticks it.
   */
  inLeaseOfLeader(): boolean {
    if (!this.limits.checkQuorum || !this.hasSay) return false;
    return this.isLeader || this.ticksSinceLeader < this.limits.electionTicks;
  }

  /**
   * Raft paper §5.4.2: a leader commits by counting only entries of its own term; earlier ones are committed with them.
   */
  mayCommit(index: LogIndex): boolean {
    return this.log.termAt(index) === this.term;
  }

  /** How the election stands, by the answers of the voters of the configuration and of nobody else. */
  tally(): VoteResult {
    return jointVote(this.conf, this.voteOf);
  }

  private readonly voteOf = (id: MemberId): boolean | undefined => this.votes.get(id);

  /**
   * Queues a message. It leaves at once, unless it speaks for something on its way to the disk: the caller says so for
   * votes and acknowledgements, and for every message the sender's own term counts as such.
   */
  send(type: MessageType, to: MemberId, fields: MessageFields, restsOnDisk = false): void {
    const message: Message = {
      type,
      from: this.id,
      to,
      term: fields.term ?? this.term,
      index: fields.index ?? (0 as LogIndex),
      logTerm: fields.logTerm ?? (0 as Term),
      commit: fields.commit ?? (0 as LogIndex),
      context: fields.context ?? 0,
      hint: fields.hint ?? (0 as LogIndex),
      reject: fields.reject ?? false,
      entries: fields.entries ?? NO_ENTRIES,
      snapshot: fields.snapshot ?? null,
    };
    if (restsOnDisk || !this.hardStateDurable) this.messagesAfterPersist.push(message);
    else this.messages.push(message);
  }
}
