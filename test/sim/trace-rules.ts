/**
 * The rules of etcdraft.tla, for a trace: a model of its own that knows nothing but the events, and says which of them
 * the specification has no step for. Of each action it has the preconditions, and the invariants that go with them.
 *
 *     Timeout                  BecomeCandidate      a new term, its own vote
 *     RequestVote, Handle…     …RequestVote…        one vote a term; granted only to a log that is as up-to-date
 *     BecomeLeader             BecomeLeader         a quorum of votes of this term was received; one leader a term
 *     AppendEntries, Handle…   …AppendEntries…      a leader of this term sends what is in its log
 *     AdvanceCommitIndex       Commit               a quorum has it, and it is of the leader's own term
 *     UpdateTerm               BecomeFollower       terms and commit indexes never go back
 *
 * Logs are known by the terms of their entries: a leader's own, and what a follower acknowledged is the same up to there.
 */
import type { TracedEvent } from './state-trace.ts';

interface Member {
  term: number;
  commit: number;
  role: string;
  /** By term: whom it granted its vote. */
  readonly granted: Map<number, string>;
  /** Of the present candidacy. */
  readonly votes: Set<string>;
  /** Of the present leadership: what each member acknowledged. */
  readonly matched: Map<string, number>;
  /** Where its own term begins in its log, when it leads. */
  termStart: number;
}

export class TraceRules {
  readonly #members = new Map<string, Member>();
  readonly #leaders = new Map<number, string>();
  readonly #sent = new Set<string>();
  /** What was committed at the end of each log, by the leader's term: later leaders have at least as much. */
  #committed = 0;

  /** Takes the next event. Returns what the specification has against it, or null. */
  take(event: TracedEvent): string | null {
    const { nid, name, state } = event;
    if (name === 'InitState') {
      this.#members.set(nid, newMember(state));
      return null;
    }
    const member = this.#members.get(nid);
    if (member === undefined) return 'a member does something before it is there';
    const against = this.#judge(member, event);
    member.term = state.term;
    member.commit = Math.max(member.commit, state.commit);
    member.role = event.role;
    return against === null ? null : `${nid} ${name} in term ${state.term}: ${against}`;
  }

  #judge(member: Member, event: TracedEvent): string | null {
    const { name, state, msg } = event;
    if (state.term < member.term) return 'its term goes back';
    if (state.commit < member.commit) return 'its commit index goes back';
    if (state.commit > event.log) return 'more is committed than is there';
    if (event.applied > state.commit) return 'more is applied than is committed';
    if (event.role === 'StateLeader' && this.#leaders.get(state.term) !== event.nid && name !== 'BecomeLeader') {
      return 'it leads and did not become the leader';
    }
    if (name === 'BecomeCandidate') return this.#candidate(member, event);
    if (name === 'BecomeLeader') return this.#leader(member, event);
    if (name === 'Commit') return this.#commit(member, event);
    if (msg === undefined) return null;
    return name.startsWith('Send') ? this.#send(member, event, msg) : this.#receive(member, event, msg);
  }

  #candidate(member: Member, { nid, state }: TracedEvent): string | null {
    if (member.role === 'StateLeader') return 'a leader does not campaign';
    if (state.term <= member.term) return 'a candidacy has a term of its own';
    if (state.vote !== nid) return 'a candidate votes for itself';
    member.votes.clear();
    return null;
  }

  #leader(member: Member, { nid, state, conf, log }: TracedEvent): string | null {
    if (member.role !== 'StateCandidate') return 'only candidates become leaders';
    const other = this.#leaders.get(state.term);
    if (other !== undefined && other !== nid) return `${other} leads in this term`;
    if (!isQuorum(conf, (id) => member.votes.has(id))) return 'a quorum has not voted for it';
    if (log < this.#committed) return 'its log lacks what is committed';
    this.#leaders.set(state.term, nid);
    member.matched.clear();
    member.termStart = log + 1;
    return null;
  }

  #commit(member: Member, { state, conf, role }: TracedEvent): string | null {
    if (role !== 'StateLeader') return 'only leaders decide what is committed';
    if (state.commit < member.termStart) return 'an entry of an earlier term is committed by counting';
    if (!isQuorum(conf, (id) => (member.matched.get(id) ?? 0) >= state.commit)) return 'a quorum does not have it';
    this.#committed = Math.max(this.#committed, state.commit);
    return null;
  }

  #send(member: Member, { nid, log, role }: TracedEvent, msg: NonNullable<TracedEvent['msg']>): string | null {
    this.#sent.add(JSON.stringify(msg));
    if (msg.type === 'MsgVoteResp' && !msg.reject) {
      const other = member.granted.get(msg.term);
      if (other !== undefined && other !== msg.to) return `it has voted for ${other} in this term`;
      member.granted.set(msg.term, msg.to);
    } else if (msg.type === 'MsgApp') {
      if (this.#leaders.get(msg.term) !== nid) return 'it does not lead in the term of its entries';
      if (role === 'StateLeader' && msg.index + msg.entries > log) return 'it sends what it does not have';
    } else if (msg.type === 'MsgAppResp' && !msg.reject && msg.index > log) {
      return 'it acknowledges what it does not have';
    }
    return null;
  }

  #receive(member: Member, { nid, state }: TracedEvent, msg: NonNullable<TracedEvent['msg']>): string | null {
    if (msg.to !== nid) return 'it is for somebody else';
    if (!this.#sent.has(JSON.stringify(msg))) return 'nobody has sent it';
    if (msg.term !== state.term) return null;
    if (msg.type === 'MsgVoteResp' && !msg.reject && member.role === 'StateCandidate') member.votes.add(msg.from);
    if (msg.type === 'MsgAppResp' && !msg.reject && member.role === 'StateLeader') {
      member.matched.set(msg.from, Math.max(member.matched.get(msg.from) ?? 0, msg.index));
    }
    return null;
  }
}

function newMember({ term, commit }: TracedEvent['state']): Member {
  const role = 'StateFollower';
  return { term, commit, role, granted: new Map(), votes: new Set(), matched: new Map(), termStart: Infinity };
}

function isQuorum([voters, outgoing]: TracedEvent['conf'], has: (id: string) => boolean): boolean {
  const isMajority = (ids: readonly string[]): boolean => ids.filter(has).length * 2 > ids.length;
  return isMajority(voters) && (outgoing.length === 0 || isMajority(outgoing));
}
