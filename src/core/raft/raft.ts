/**
 * The Raft core: a function of its inputs. step(), tick() and propose() change the state; ready() hands out what the host
 * must do; persisted() and applied() say what it has done. See types.ts for the contract, state.ts for the rooms.
 */
import { assert } from '../assert.ts';
import type { LogIndex, MemberId, Term } from '../brands.ts';
import { advanceCommit } from './commit.ts';
import { campaign, handleVoteRequest, handleVoteResponse, mayDisturb } from './election.ts';
import { handleAppend, handleHeartbeat, handleSnapshot } from './follower.ts';
import { handleAnswer, tickLeader } from './leader.ts';
import { leaseValid } from './lease.ts';
import { becomeOnlyVoter, proposeConfChange } from './membership.ts';
import { PROGRESS_PROBE, PROGRESS_REPLICATE, PROGRESS_SNAPSHOT } from './progress.ts';
import { readIndex } from './read-index.ts';
import { hasReady, makeReady } from './ready.ts';
import { mayRest, rest, restedFor, restUnder, stirredBy, wake } from './rest.ts';
import { appendEntry, sendHeartbeats, sendReadBack, sendSnapshot } from './replication.ts';
import { becomeFollower } from './roles.ts';
import { NOBODY, RaftState } from './state.ts';
import { abortTransfer, transferLeadership } from './transfer.ts';
import type {
  ConfChange,
  Entry,
  Message,
  RaftGroup,
  RaftOptions,
  RaftStatus,
  Ready,
  RestOffer,
  Role,
  SnapshotMeta,
  Stirring,
} from './types.ts';
import {
  ENTRY_DATA,
  MSG_APPEND,
  MSG_APPEND_RESPONSE,
  MSG_HEARTBEAT,
  MSG_HEARTBEAT_RESPONSE,
  MSG_PRE_VOTE,
  MSG_PRE_VOTE_RESPONSE,
  MSG_SNAPSHOT,
  MSG_TIMEOUT_NOW,
  MSG_VOTE,
  MSG_VOTE_RESPONSE,
  REFUSED_NOT_LEADER,
  REFUSED_OVERLOADED,
  REFUSED_TRANSFERRING,
  ROLE_FOLLOWER,
} from './types.ts';

export class Raft implements RaftGroup {
  /** Shared with the rules in this folder; hosts keep to the methods. */
  protected readonly state: RaftState;

  constructor(options: RaftOptions) {
    this.state = new RaftState(options);
  }

  get id(): MemberId {
    return this.state.id;
  }
  get role(): Role {
    return this.state.role;
  }
  get term(): Term {
    return this.state.term;
  }
  get leader(): MemberId {
    return this.state.leader;
  }

  get campaigns(): number {
    return this.state.campaigns;
  }
  get commitIndex(): LogIndex {
    return this.state.log.committed;
  }
  get termStart(): LogIndex {
    return this.state.termStart;
  }
  get hasSteppedDown(): boolean {
    const { ledTerm, term, isLeader } = this.state;
    return ledTerm === term && !isLeader;
  }

  get appliedIndex(): LogIndex {
    return this.state.log.applied;
  }
  get lastIndex(): LogIndex {
    return this.state.log.lastIndex;
  }
  get lastTerm(): Term {
    return this.state.log.lastTerm;
  }

  get isAlone(): boolean {
    return this.state.peers.length === 0;
  }

  get isResting(): boolean {
    return this.state.isResting;
  }

  get idleTicks(): number {
    return this.state.idleTicks;
  }

  mayRest(isAbsent: (member: MemberId) => boolean): boolean {
    return !hasReady(this.state) && mayRest(this.state, isAbsent);
  }

  rest(): RestOffer {
    return rest(this.state);
  }

  restUnder(leader: MemberId, offer: RestOffer): boolean {
    return !hasReady(this.state) && restUnder(this.state, leader, offer);
  }

  restedFor(ticks: number, since: (member: MemberId) => number): void {
    restedFor(this.state, ticks, since);
  }

  stirredBy(message: Message): Stirring {
    return stirredBy(this.state, message);
  }

  wake(): void {
    wake(this.state);
  }

  tick(count = 1): void {
    const r = this.state;
    assert(!r.isResting, 'a group at rest is not ticked');
    let isHeartbeatDue = false;
    let isElectionDue = false;
    for (let i = 0; i < count; i++) {
      r.ticks++;
      r.ticksSinceLeader++;
      if (r.isLeader) {
        if (tickLeader(r)) isHeartbeatDue = true;
      } else if (++r.electionElapsedTicks >= r.electionTimeoutTicks) {
        r.electionElapsedTicks = 0;
        isElectionDue = true;
      }
    }
    // Time that passed in one go makes one round of messages: those before it would only be stale.
    if (isHeartbeatDue && r.isLeader) sendHeartbeats(r);
    if (isElectionDue) campaign(r, false);
  }

  step(message: Message): void {
    const r = this.state;
    const { type, from } = message;
    // It was sent to a former life of this member, under another id.
    if (message.to !== r.id) return;
    if (message.term < r.term) {
      this.#answerStale(message);
      return;
    }
    if ((type === MSG_PRE_VOTE || type === MSG_VOTE) && !mayDisturb(r, message)) return;
    if (message.term > r.term && !this.#enterTerm(message)) return;
    switch (type) {
      case MSG_PRE_VOTE:
      case MSG_VOTE:
        handleVoteRequest(r, message);
        break;
      case MSG_PRE_VOTE_RESPONSE:
      case MSG_VOTE_RESPONSE:
        handleVoteResponse(r, message);
        break;
      case MSG_APPEND:
      case MSG_HEARTBEAT:
      case MSG_SNAPSHOT:
        this.#heardFromLeader(from);
        if (type === MSG_APPEND) handleAppend(r, message);
        else if (type === MSG_HEARTBEAT) handleHeartbeat(r, message);
        else handleSnapshot(r, message);
        break;
      case MSG_APPEND_RESPONSE:
      case MSG_HEARTBEAT_RESPONSE:
        if (r.isLeader) handleAnswer(r, message);
        break;
      case MSG_TIMEOUT_NOW:
        if (r.role === ROLE_FOLLOWER) campaign(r, true);
        break;
      default:
        assert(false, 'a message of an unknown type');
    }
  }

  propose(data: Uint8Array): number {
    const r = this.#awake();
    if (!r.isLeader) return REFUSED_NOT_LEADER;
    if (r.transferee !== NOBODY) return REFUSED_TRANSFERRING;
    const isFull = r.uncommittedBytes > 0 && r.uncommittedBytes + data.length > r.limits.maxUncommittedBytes;
    return isFull ? REFUSED_OVERLOADED : appendEntry(r, ENTRY_DATA, data);
  }

  proposeConfChange(change: ConfChange): number {
    const r = this.#awake();
    if (!r.isLeader) return REFUSED_NOT_LEADER;
    if (r.transferee !== NOBODY) return REFUSED_TRANSFERRING;
    return proposeConfChange(r, change);
  }

  campaign(): boolean {
    const r = this.#awake();
    // Where nobody else voted, nobody has a lease that could be disturbed. That the log says so is not enough while it is not known
    // to be committed: the leader that it came from may count on this member until it knows.
    const isAlone = r.confs.since(r.log.committed).every(({ conf }) => r.isOnlyVoterOf(conf));
    if (!isAlone && r.inLeaseOfLeader()) return false;
    return campaign(r, false);
  }

  becomeOnlyVoter(): void {
    becomeOnlyVoter(this.state);
  }

  inherit(term: Term, vote: MemberId): void {
    const r = this.state;
    if (term > r.term || (term === r.term && r.vote === NOBODY)) r.setTerm(term, vote);
  }

  transferLeadership(to: MemberId): boolean {
    return transferLeadership(this.#awake(), to);
  }

  readIndex(context: number): number {
    return readIndex(this.#awake(), context);
  }

  leaseValid(): boolean {
    return leaseValid(this.state);
  }

  hasReady(): boolean {
    return hasReady(this.state);
  }

  ready(): Ready {
    return makeReady(this.state);
  }

  persisted(readyNumber: number): void {
    const r = this.state;
    assert(readyNumber <= r.readyNumber, 'only what was handed out can be durable');
    if (readyNumber <= r.persistedNumber) return;
    r.persistedNumber = readyNumber;
    r.log.writesPersisted(readyNumber);
    if (r.isLeader) advanceCommit(r);
  }

  applied(index: LogIndex): void {
    this.state.log.appliedTo(index);
  }

  compact(index: LogIndex): LogIndex {
    const r = this.state;
    const { log } = r;
    let upTo = Math.min(index, log.applied, log.persisted);
    if (log.bytes <= r.limits.maxRetainedBytes) {
      for (const peer of r.peers) if (peer.isLive) upTo = Math.min(upTo, peer.match);
    }
    log.compact(upTo as LogIndex);
    r.confs.compacted(log.baseIndex);
    return log.baseIndex;
  }

  sendSnapshot(to: MemberId, meta: SnapshotMeta): void {
    const progress = this.state.progress.get(to);
    if (progress?.state === PROGRESS_SNAPSHOT) sendSnapshot(this.state, progress, meta);
  }

  sendReadBack(to: MemberId, entries: readonly Entry[]): void {
    const r = this.#awake();
    const progress = r.progress.get(to);
    const isAwaited = progress?.state === PROGRESS_SNAPSHOT && progress.pendingSnapshot === 0;
    if (isAwaited) sendReadBack(r, progress, entries);
  }

  reportSnapshot(to: MemberId, delivered: boolean): void {
    const r = this.state;
    const progress = r.progress.get(to);
    if (progress?.state !== PROGRESS_SNAPSHOT) return;
    if (!delivered) progress.pendingSnapshot = 0 as LogIndex;
    progress.becomeProbe();
    // Its answer, or a heartbeat's, goes on from here.
    progress.probeSent = delivered;
    r.pumpWanted = true;
  }

  reportUnreachable(to: MemberId): void {
    const progress = this.state.progress.get(to);
    if (progress === undefined) return;
    progress.isReachable = false;
    if (progress.state === PROGRESS_REPLICATE) progress.becomeProbe();
    else progress.readBackUntil = 0;
    // Commands need not wait for an election timeout; should it have the order to take over, it may still obey.
    if (this.state.transferee === to) abortTransfer(this.state);
  }

  status(): RaftStatus {
    const r = this.state;
    const { log } = r;
    const states = {
      [PROGRESS_PROBE]: 'probe',
      [PROGRESS_REPLICATE]: 'replicate',
      [PROGRESS_SNAPSHOT]: 'snapshot',
    } as const;
    const own = {
      id: r.id,
      state: 'replicate' as const,
      match: log.persisted,
      next: (log.lastIndex + 1) as LogIndex,
      learner: !r.isVoter,
      recentActive: true,
    };
    const peers = r.peers.map(({ id, state, match, next, learner, recentActive }) => {
      return { id, state: states[state], match, next, learner, recentActive };
    });
    return {
      id: r.id,
      role: r.role,
      term: r.term,
      vote: r.vote,
      leader: r.leader,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      commit: log.committed,
      applied: log.applied,
      persisted: log.persisted,
      conf: r.conf,
      confIndex: r.confs.latest.index,
      transferee: r.transferee,
      uncommittedBytes: r.uncommittedBytes,
      progress: r.isLeader ? [own, ...peers] : [],
    };
  }

  /** For what begins something: a host that forgot to wake the group would have it forgotten, too. */
  #awake(): RaftState {
    assert(!this.state.isResting, 'a group at rest is woken before anything is asked of it');
    return this.state;
  }

  /** A message of a later term. False: it is to be ignored. */
  #enterTerm(message: Message): boolean {
    const r = this.state;
    const { type, term, from, reject } = message;
    // A pre-vote asks about a term that nobody is in yet.
    if (type === MSG_PRE_VOTE) {
      handleVoteRequest(r, message);
      return false;
    }
    if (type === MSG_PRE_VOTE_RESPONSE && !reject) {
      handleVoteResponse(r, message);
      return false;
    }
    const isFromLeader = type === MSG_APPEND || type === MSG_HEARTBEAT || type === MSG_SNAPSHOT;
    becomeFollower(r, term, isFromLeader ? from : NOBODY);
    return true;
  }

  /** A message of an earlier term: its sender learns of this one where it must. */
  #answerStale({ type, from }: Message): void {
    const r = this.state;
    const isFromLeader = type === MSG_APPEND || type === MSG_HEARTBEAT;
    // Without it, a member that came back with a later term could neither follow nor unseat the leader.
    if (isFromLeader && (r.limits.checkQuorum || r.limits.preVote)) r.send(MSG_APPEND_RESPONSE, from, {});
    else if (type === MSG_PRE_VOTE) r.send(MSG_PRE_VOTE_RESPONSE, from, { reject: true });
  }

  #heardFromLeader(leader: MemberId): void {
    const r = this.state;
    assert(!r.isLeader, 'two leaders in one term');
    if (r.role !== ROLE_FOLLOWER) becomeFollower(r, r.term, leader);
    r.leader = leader;
    r.electionElapsedTicks = 0;
    r.ticksSinceLeader = 0;
  }
}
