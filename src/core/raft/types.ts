/**
 * The vocabulary of the Raft core: entries, messages, configurations, and the Ready that goes out to the host.
 *
 *              step(message) tick(n) propose() readIndex() …        persisted(number)  applied(index)
 *                        │                                              ▲                 ▲
 *                        ▼                                              │                 │
 *                     ┌──────┐  ready()   hardState + entries ──▶ WAL ──┘─▶ messagesAfterPersist leave
 *                     │ Raft │ ─────────▶ messages ──▶ network, now
 *                     └──────┘            committed ──▶ state machine ────────────────────┘
 *
 * The shape is that of etcd/raft's RawNode with AsyncStorageWrites: the core is a function of its inputs, never waits,
 * never reads storage, and a Ready is a batch of orders to the host. See docs/raft.md for the ordering rules.
 */
import type { LogIndex, MemberId, Term } from '../brands.ts';
import type { Prng } from '../prng.ts';

/** What an entry carries. `config` data is read by the core itself (see configuration.ts), the others are the host's. */
export const ENTRY_DATA = 0;
export const ENTRY_CONFIG = 1;
export const ENTRY_NOOP = 2;
export type EntryType = typeof ENTRY_DATA | typeof ENTRY_CONFIG | typeof ENTRY_NOOP;

export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: EntryType;
  /** Never copied, never written to by the core. Empty for a noop. */
  readonly data: Uint8Array;
}

/** What must survive a crash besides the log. `commit` is a convenience: any committed index is safe, 0 included. */
export interface HardState {
  readonly term: Term;
  /** Whom this member voted for in `term`; 0 = nobody. */
  readonly vote: MemberId;
  readonly commit: LogIndex;
}

/**
 * Members of a group. While `votersOutgoing` is not empty the configuration is joint (C_old,new): every decision needs
 * a majority of `voters` and one of `votersOutgoing`. All lists are sorted and without repetition.
 */
export interface ConfState {
  readonly voters: readonly MemberId[];
  readonly votersOutgoing: readonly MemberId[];
  /** Receive entries, never vote, never count. Disjoint from both lists of voters. */
  readonly learners: readonly MemberId[];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly MemberId[];
  /** The leader leaves the joint configuration by itself, once it is committed. */
  readonly autoLeave: boolean;
}

export interface ConfChangeStep {
  /** `addVoter` promotes a learner that has caught up; `addLearner` also demotes a voter. */
  readonly type: 'addVoter' | 'addLearner' | 'remove';
  readonly id: MemberId;
}

export interface ConfChange {
  /** Empty: leave a joint configuration that was entered with `explicit`. */
  readonly changes: readonly ConfChangeStep[];
  /**
   * `auto` (default): one step that changes at most one voter takes effect as it is; more go through a joint
   * configuration that the leader leaves by itself. `joint`: always joint, left by itself. `explicit`: joint until a
   * change with no steps is proposed.
   */
  readonly transition?: 'auto' | 'joint' | 'explicit';
  /** Carried in the entry for the host, e.g. addresses. Read it back with decodeConfEntry(entry.data).context. */
  readonly context?: Uint8Array;
}

/** Describes a state-machine snapshot; its contents travel and are stored outside the core. */
export interface SnapshotMeta {
  /** Last entry that the snapshot covers, and its term. */
  readonly index: LogIndex;
  readonly term: Term;
  /** The configuration as of `index`. */
  readonly conf: ConfState;
}

export const MSG_PRE_VOTE = 1;
export const MSG_PRE_VOTE_RESPONSE = 2;
export const MSG_VOTE = 3;
export const MSG_VOTE_RESPONSE = 4;
export const MSG_APPEND = 5;
export const MSG_APPEND_RESPONSE = 6;
export const MSG_HEARTBEAT = 7;
export const MSG_HEARTBEAT_RESPONSE = 8;
export const MSG_SNAPSHOT = 9;
export const MSG_TIMEOUT_NOW = 10;
export type MessageType =
  | typeof MSG_PRE_VOTE
  | typeof MSG_PRE_VOTE_RESPONSE
  | typeof MSG_VOTE
  | typeof MSG_VOTE_RESPONSE
  | typeof MSG_APPEND
  | typeof MSG_APPEND_RESPONSE
  | typeof MSG_HEARTBEAT
  | typeof MSG_HEARTBEAT_RESPONSE
  | typeof MSG_SNAPSHOT
  | typeof MSG_TIMEOUT_NOW;

/**
 * One shape for all messages (a stable hidden class). What the fields mean depends on the type; the rest are 0:
 *
 *   type               index            logTerm         commit    context            hint
 *   PRE_VOTE, VOTE     last log index   last log term   -         1 = forced (*)     -
 *   …VOTE_RESPONSE     -                -               -         -                  -            reject
 *   APPEND             prev log index   prev log term   commit    stamp (**)         -            entries
 *   APPEND_RESPONSE    matched index,   term at hint    -         stamp, echoed      conflict     reject
 *                      or the rejected                                               hint: last
 *                      prev log index                                                index to try
 *   HEARTBEAT          -                -               commit    stamp (**)         -
 *   HEARTBEAT_RESPONSE -                -               -         stamp, echoed      -            reject: has no say
 *   SNAPSHOT           -                -               -         stamp (**)         -            snapshot
 *   TIMEOUT_NOW        -                -               -         -                  -
 *
 *   (*) a leadership transfer: voters answer although they hear from a leader.
 *   (**) when it was sent, by the leader's ticks and rounds (see lease.ts); an acknowledgement of a stamp renews the
 *   lease from, and confirms reads as of, the moment of sending.
 */
export interface Message {
  readonly type: MessageType;
  readonly from: MemberId;
  readonly to: MemberId;
  /** The sender's term; for PRE_VOTE and its grant the term that the candidate would enter. */
  readonly term: Term;
  readonly index: LogIndex;
  readonly logTerm: Term;
  readonly commit: LogIndex;
  readonly context: number;
  readonly hint: LogIndex;
  readonly reject: boolean;
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotMeta | null;
}

export const ROLE_FOLLOWER = 0;
export const ROLE_PRE_CANDIDATE = 1;
export const ROLE_CANDIDATE = 2;
export const ROLE_LEADER = 3;
export type Role = typeof ROLE_FOLLOWER | typeof ROLE_PRE_CANDIDATE | typeof ROLE_CANDIDATE | typeof ROLE_LEADER;

export interface SoftState {
  /** 0 = not known. */
  readonly leader: MemberId;
  readonly role: Role;
  readonly term: Term;
}

export interface ReadState {
  /** What the host passed to readIndex(). */
  readonly context: number;
  /** The read is linearizable once this index is applied. */
  readonly index: LogIndex;
}

/**
 * A batch of orders to the host. Rules (each has its counter-example in docs/raft.md):
 *
 * R1  hardState, snapshot and entries of Readys are stored in the order of their numbers, through one FIFO.
 * R2  messages may leave at once, before anything of this Ready is stored.
 * R3  messagesAfterPersist leave when this Ready and all before it are durable, also when this one has nothing to store.
 * R4  after that the host calls persisted(number); it is cumulative, and a Ready with a snapshot counts only when the
 *     snapshot is installed.
 * R5  committed is applied in order, and reported by applied(index). It may be applied before it is durable here (a
 *     quorum has it). A checkpoint may become durable only up to status().persisted.
 * R6  a change of softState away from leader voids all reads waiting in readIndex() and makes the result of proposals
 *     not yet applied unknown.
 */
export interface Ready {
  /** 1, 2, 3, … */
  readonly number: number;
  /** Non-null when the term or the vote changed. */
  readonly hardState: HardState | null;
  /** To append; overwrites the stored suffix from the first one's index on (`truncated` says whether it does). */
  readonly entries: readonly Entry[];
  /** entries[0].index is not after what earlier Readys appended: the stored log is cut there first. */
  readonly truncated: boolean;
  readonly messages: readonly Message[];
  readonly messagesAfterPersist: readonly Message[];
  readonly committed: readonly Entry[];
  /**
   * The commit index, as far as it is durable on this member: what the host may store with or before this Ready's entries,
   * lazily or not at all (it only shortens the start). `committed` may reach further.
   */
  readonly commit: LogIndex;
  readonly readStates: readonly ReadState[];
  /** A snapshot was accepted (its contents are staged): install it, drop the whole stored log before it. */
  readonly snapshot: SnapshotMeta | null;
  /** Followers that need a snapshot: the host makes or finds one and calls sendSnapshot(to, meta). */
  readonly snapshotRequests: readonly MemberId[];
  /** Non-null when leader, role or term changed. */
  readonly softState: SoftState | null;
  /** Something here must be durable before messagesAfterPersist may leave and persisted() be called. */
  readonly mustSync: boolean;
}

/** propose(), proposeConfChange() and readIndex() refuse with one of these negative numbers. */
export const REFUSED_NOT_LEADER = -1;
/** Leadership is being handed over. */
export const REFUSED_TRANSFERRING = -2;
/** Too many bytes are not committed yet: try again later. */
export const REFUSED_OVERLOADED = -3;
/** A configuration change is under way, or nothing of this term is committed yet: try again later. */
export const REFUSED_CONF_PENDING = -4;
/** The change makes no sense in the present configuration (says status().conf). */
export const REFUSED_CONF_INVALID = -5;
/** No entry of this term is committed yet, so the commit index may lag: try again later. */
export const REFUSED_TERM_NOT_COMMITTED = -6;
/**
 * A voter is added only when it has caught up as a learner, and a majority of the voters that are left must have too: add it
 * as a learner first, or try again later.
 */
export const REFUSED_LEARNER_BEHIND = -7;
export type Refused =
  | typeof REFUSED_NOT_LEADER
  | typeof REFUSED_TRANSFERRING
  | typeof REFUSED_OVERLOADED
  | typeof REFUSED_CONF_PENDING
  | typeof REFUSED_CONF_INVALID
  | typeof REFUSED_TERM_NOT_COMMITTED
  | typeof REFUSED_LEARNER_BEHIND;

/** What the host recovered from its disk. */
export interface RaftLogSeed {
  /** The checkpoint: 0, 0 and the first configuration for a new group. */
  readonly snapshotIndex: LogIndex;
  readonly snapshotTerm: Term;
  /** The configuration as of snapshotIndex; later ones are read from `entries`. All lists empty: a member that waits to be told. */
  readonly conf: ConfState;
  /**
   * Contiguous. May begin before snapshotIndex + 1: what the checkpoint covers is dropped, and so is everything if the
   * entry at snapshotIndex has another term than the checkpoint (the crash fell between the two).
   */
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
  /** The state machine's index, ≥ snapshotIndex; entries after it are handed out again as `committed`. */
  readonly applied: LogIndex;
}

export interface RaftOptions {
  readonly id: MemberId;
  readonly log: RaftLogSeed;
  readonly prng: Prng;
  /**
   * This member has never answered anybody: there is no former life whose promise to a leader it must keep. Default false,
   * for a member that was recovered from a disk.
   */
  readonly isNewborn?: boolean;
  /**
   * The hard state of this member has every vote that it ever gave under its id, in whatever life: the host would know if any
   * were lost. Then it votes although it waits to be told of a configuration. Default false.
   */
  readonly keepsVotes?: boolean;
  /** A follower waits electionTicks to 2 × electionTicks - 1 ticks of silence. Default 10. */
  readonly electionTicks?: number;
  /** Default 1. */
  readonly heartbeatTicks?: number;
  /** Default true. */
  readonly preVote?: boolean;
  /** Default true. Without it leaseValid() is never true (except in a group of one voter). */
  readonly checkQuorum?: boolean;
  /** How much faster one member's clock may run than another's, for the lease. Default 0.05 = 5 %. */
  readonly clockDriftMax?: number;
  /** Appends under way to one follower: messages and bytes. Default 256 and 8 MiB. */
  readonly maxInflightMessages?: number;
  readonly maxInflightBytes?: number;
  /** Bytes of entries in one append; at least one entry always goes. Default 1 MiB. */
  readonly maxBytesPerAppend?: number;
  /** Bytes proposed and not yet committed, above which propose() refuses. Default 64 MiB. */
  readonly maxUncommittedBytes?: number;
  /** Bytes of log that followers that lag may keep in memory against compact(). Default 64 MiB. */
  readonly maxRetainedBytes?: number;
}

export interface ProgressStatus {
  readonly id: MemberId;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly learner: boolean;
  readonly recentActive: boolean;
}

export interface RaftStatus {
  readonly id: MemberId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: MemberId;
  readonly leader: MemberId;
  /** In memory: firstIndex ≤ i ≤ lastIndex. */
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  /** The log up to here is durable on this member. */
  readonly persisted: LogIndex;
  readonly conf: ConfState;
  /** Index of the entry that made `conf`. */
  readonly confIndex: LogIndex;
  readonly transferee: MemberId;
  readonly uncommittedBytes: number;
  /** Of a leader, self included; else empty. */
  readonly progress: readonly ProgressStatus[];
}

/** What a leader that would rest asks of its followers. */
export interface RestOffer {
  readonly term: Term;
  /** The whole log, all of it committed. */
  readonly index: LogIndex;
  /** No message carried it before: it names this rest. */
  readonly stamp: number;
}

/** What a message does to a member at rest. */
export type Stirring =
  /** It goes on resting. */
  | 'none'
  /** It wakes, and the other end knows. */
  | 'wakes'
  /** It wakes, and the other end must hear that it has left. */
  | 'breaks';

/** The core, as its host sees it. `Raft` of raft.ts implements it. */
export interface RaftGroup {
  readonly id: MemberId;
  readonly role: Role;
  readonly term: Term;
  readonly leader: MemberId;
  /** How often it has stood for election. */
  readonly campaigns: number;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  /** Of a leader: index of the noop that began its leadership; what is before it came from earlier leaders. */
  readonly termStart: LogIndex;
  /** It led its present term, and does so no more: nobody will. */
  readonly hasSteppedDown: boolean;
  readonly lastIndex: LogIndex;
  /** Term of the entry at lastIndex. */
  readonly lastTerm: Term;
  /** The group has no other member, voter or learner. */
  readonly isAlone: boolean;
  /**
   * Time passes. The host reads its monotonic clock *after* it received input and pays the ticks owed *before* it calls
   * step() with that input or leaseValid(): a process that was stopped would otherwise trust a lease that ran out.
   * A group of one voter needs no ticks.
   */
  tick(count?: number): void;
  /** A message from a peer. A SNAPSHOT is stepped when its contents are staged. */
  step(message: Message): void;
  /** Appends to the leader's log: the entry's index (> 0), or a Refused. `data` must not change afterwards. */
  propose(data: Uint8Array): number;
  proposeConfChange(change: ConfChange): number;
  /**
   * Asks for an election now. In a group of one voter it is won at once: the next Ready has the hard state and the
   * noop. Ignored while a leader is heard from (its lease), by a leader and by a non-voter; says whether it began.
   */
  campaign(): boolean;
  /**
   * The other voters are lost for good, says the operator: this member, which does not lead, is the only voter from now on. What
   * it does not have is lost, and what it has is committed.
   */
  becomeOnlyVoter(): void;
  /** This member goes on from one without a state: it keeps that one's term and vote, and stores them as its own. */
  inherit(term: Term, vote: MemberId): void;
  /** Hands leadership to a voter; given up after electionTicks. False when not leader, or `to` is no other voter or not reachable. */
  transferLeadership(to: MemberId): boolean;
  /** Asks for a linearizable read: 0, and later a ReadState with `context`; or a Refused. One round serves all waiting. */
  readIndex(context: number): number;
  /** Whether the leader may answer a read from its applied state now. Pay ticks first. */
  leaseValid(): boolean;
  /** Neither ticked nor asked for anything until wake(). See rest.ts and docs/adr/0010-groups-at-rest.md. */
  readonly isResting: boolean;
  /** Of a leader: ticks since something was asked of it. */
  readonly idleTicks: number;
  /** Whether this leader has nothing to do; members that are not there, `isAbsent`, are done without. */
  mayRest(isAbsent: (member: MemberId) => boolean): boolean;
  /** The leader rests. The host passes the offer to all members that are there, and wakes it unless all take it. */
  rest(): RestOffer;
  /** The follower rests, if the offer is its leader's and it has what the leader has. */
  restUnder(leader: MemberId, offer: RestOffer): boolean;
  /** Lends a member at rest the ticks that have passed; `since`: since the last beat from, or acknowledged by, its host. */
  restedFor(ticks: number, since: (member: MemberId) => number): void;
  /** What to do with a member at rest before this message is stepped. */
  stirredBy(message: Message): Stirring;
  wake(): void;
  hasReady(): boolean;
  ready(): Ready;
  /** Everything of all Readys up to this number is durable. */
  persisted(readyNumber: number): void;
  /** The state machine contains everything up to here. */
  applied(index: LogIndex): void;
  /** Drops entries up to `index` from memory, less those that live followers still need; returns up to where it dropped. */
  compact(index: LogIndex): LogIndex;
  /** The host has a snapshot for a follower that asked for one (snapshotRequests): queues the SNAPSHOT message. */
  sendSnapshot(to: MemberId, meta: SnapshotMeta): void;
  /** The host has read back, instead, what the follower lacks: the entry before it, and entries of this log that follow. */
  sendReadBack(to: MemberId, entries: readonly Entry[]): void;
  /** The SNAPSHOT message, contents included, arrived (true) or was lost. */
  reportSnapshot(to: MemberId, delivered: boolean): void;
  /** The transport has lost a peer: probe instead of streaming, and hand nothing over to it until it is heard of again. */
  reportUnreachable(to: MemberId): void;
  status(): RaftStatus;
}
