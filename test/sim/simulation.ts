/**
 * Raft members over a faulty network and disk, from one seed, in one thread. After every step it checks the rules of the
 * Raft paper's figure 3: election safety, log matching, leader completeness, state-machine safety.
 *
 *     step = one of: deliver a message (late, twice, or never) · finish a disk write · tick a member · propose · crash · restart
 *            · cut the network, or heal it
 */
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import type { Prng } from '../../src/core/prng.ts';
import { createPrng } from '../../src/core/prng.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { Entry, HardState, Message, Ready } from '../../src/core/raft/types.ts';
import { ROLE_LEADER } from '../../src/core/raft/types.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly members: number;
  readonly steps: number;
  /** Changes what a member would do, to see that the checks notice. */
  readonly plant?: 'voteNotPersisted' | 'acknowledgedBeforeDurable';
}

export interface SimulationResult {
  readonly leadersElected: number;
  readonly committed: number;
  readonly crashes: number;
  /** Linearizable reads confirmed. */
  readonly reads: number;
}

interface Disk {
  hardState: HardState;
  log: Entry[];
}

interface Member {
  readonly id: MemberId;
  raft: Raft | null;
  disk: Disk;
  /** Readys on their way to the disk, oldest first. */
  writes: Ready[];
  applied: Entry[];
}

const BEGINNING: HardState = { term: 0 as Term, vote: 0 as MemberId, commit: 0 as LogIndex };

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #prng: Prng;
  readonly #members: Member[];
  #network: Message[] = [];
  /** Members that hear only each other; empty = all hear all. */
  #island = new Set<MemberId>();
  #isHealed = false;
  readonly #leaderOf = new Map<number, MemberId>();
  /** What was committed, by index. */
  readonly #committed = new Map<number, Entry>();
  /** Reads under way: by member and context, the commit index known to the whole cluster when they were asked. */
  readonly #reads = new Map<string, number>();
  #nextValue = 1;
  #crashes = 0;
  #readsDone = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#prng = createPrng(options.seed);
    this.#members = Array.from({ length: options.members }, (_, i): Member => {
      return {
        id: (i + 1) as MemberId,
        raft: null,
        disk: { hardState: BEGINNING, log: [] },
        writes: [],
        applied: [],
      };
    });
    for (const member of this.#members) this.#start(member);
  }

  /** Runs the faulty phase, then heals everything and runs on until all members agree. Throws when a rule is broken. */
  run(): SimulationResult {
    for (let i = 0; i < this.#options.steps; i++) this.#step();
    this.#heal();
    return {
      leadersElected: this.#leaderOf.size,
      committed: this.#committed.size,
      crashes: this.#crashes,
      reads: this.#readsDone,
    };
  }

  #step(): void {
    const prng = this.#prng;
    const dice = prng.below(1000);
    if (dice < 450) this.#deliver();
    else if (dice < 700) this.#finishWrite(this.#pick());
    else if (dice < 880) this.#pick().raft?.tick(1);
    else if (dice < 960) this.#propose();
    else if (dice < 975) this.#read();
    else if (dice < 983) this.#crash(this.#pick());
    else if (dice < 993) this.#restartOne();
    else this.#cut();
    this.#drainAll();
    this.#checkLogs();
  }

  #pick(): Member {
    return this.#members[this.#prng.below(this.#members.length)] as Member;
  }

  #start(member: Member): void {
    const { hardState, log } = member.disk;
    member.writes = [];
    member.applied = [];
    member.raft = new Raft({
      id: member.id,
      prng: this.#prng.fork(),
      log: {
        snapshotIndex: 0 as LogIndex,
        snapshotTerm: 0 as Term,
        conf: confOf(this.#members.map(({ id }) => id)),
        entries: [...log],
        hardState: { ...hardState, commit: 0 as LogIndex },
        applied: 0 as LogIndex,
      },
    });
  }

  /** What was not durable is gone. */
  #crash(member: Member): void {
    if (member.raft === null) return;
    member.raft = null;
    member.writes = [];
    this.#crashes++;
    for (const key of this.#reads.keys()) if (key.startsWith(`${member.id}:`)) this.#reads.delete(key);
  }

  #restartOne(): void {
    const down = this.#members.find(({ raft }) => raft === null);
    if (down !== undefined) this.#start(down);
  }

  #cut(): void {
    this.#island = new Set(this.#members.filter(() => this.#prng.chance(0.4)).map(({ id }) => id));
  }

  #deliver(): void {
    if (this.#network.length === 0) return;
    const at = this.#isHealed ? 0 : this.#prng.below(this.#network.length);
    const message = this.#network[at] as Message;
    if (this.#isHealed || !this.#prng.chance(0.05)) this.#network.splice(at, 1);
    const isCut = this.#island.has(message.from) !== this.#island.has(message.to);
    if (!this.#isHealed && (isCut || this.#prng.chance(0.05))) {
      this.#network = this.#network.filter((other) => other !== message);
      return;
    }
    this.#members[message.to - 1]?.raft?.step(message);
  }

  #propose(): void {
    const leader = this.#members.find(({ raft }) => raft?.role === ROLE_LEADER && this.#prng.chance(0.7));
    leader?.raft?.propose(Buffer.from(String(this.#nextValue++)));
  }

  #read(): void {
    const member = this.#pick();
    const context = this.#nextValue++;
    if (member.raft === null || member.raft.readIndex(context) < 0) return;
    this.#reads.set(`${member.id}:${context}`, this.#committed.size);
  }

  /** The oldest write of the member becomes durable, or not yet. */
  #finishWrite(member: Member): void {
    const ready = member.writes.shift();
    if (ready === undefined || member.raft === null) return;
    this.#persist(member, ready);
    this.#network.push(...ready.messagesAfterPersist);
    member.raft.persisted(ready.number);
  }

  #persist({ disk }: Member, { hardState, entries }: Ready): void {
    if (hardState !== null) {
      const isForgotten = this.#options.plant === 'voteNotPersisted';
      disk.hardState = isForgotten ? { ...hardState, vote: 0 as MemberId } : hardState;
    }
    const [first] = entries;
    if (first === undefined) return;
    disk.log = [...disk.log.filter(({ index }) => index < first.index), ...entries];
  }

  #drainAll(): void {
    for (const member of this.#members) {
      while (member.raft?.hasReady() === true) this.#handle(member, member.raft.ready());
    }
  }

  #handle(member: Member, ready: Ready): void {
    const raft = member.raft as Raft;
    this.#network.push(...ready.messages);
    if (this.#options.plant === 'acknowledgedBeforeDurable') {
      this.#network.push(...ready.messagesAfterPersist);
      member.writes.push({ ...ready, messagesAfterPersist: [] });
    } else {
      member.writes.push(ready);
    }
    if (ready.softState?.role === ROLE_LEADER) this.#checkElected(member.id, raft.term);
    for (const entry of ready.committed) this.#apply(member, entry);
    const last = ready.committed.at(-1);
    if (last !== undefined) raft.applied(last.index);
    for (const { context, index } of ready.readStates) {
      const known = this.#reads.get(`${member.id}:${context}`);
      this.#reads.delete(`${member.id}:${context}`);
      if (known === undefined) continue;
      assert(index >= known, 'a linearizable read would miss what was committed before it was asked');
      this.#readsDone++;
    }
  }

  /** Election safety: at most one leader in a term. Leader completeness: it has everything that is committed. */
  #checkElected(id: MemberId, term: Term): void {
    const other = this.#leaderOf.get(term);
    assert(other === undefined || other === id, 'two leaders in one term');
    this.#leaderOf.set(term, id);
    const { raft } = this.#members[id - 1] as Member;
    for (const [index, entry] of this.#committed) {
      assert(index <= (raft?.lastIndex ?? 0), `a leader of term ${term} lacks the committed entry ${entry.index}`);
    }
  }

  /** State-machine safety: nobody applies another entry at the same index. */
  #apply(member: Member, entry: Entry): void {
    const known = this.#committed.get(entry.index);
    assert(
      known === undefined || (known.term === entry.term && Buffer.compare(known.data, entry.data) === 0),
      'two entries were committed at one index',
    );
    this.#committed.set(entry.index, known ?? entry);
    assert(entry.index === member.applied.length + 1, 'entries are applied in order');
    member.applied.push(entry);
  }

  /** Log matching, on what is durable: same index and term, same log up to there. */
  #checkLogs(): void {
    const [left, right] = [this.#pick(), this.#pick()];
    let isSame = false;
    for (let i = Math.min(left.disk.log.length, right.disk.log.length) - 1; i >= 0; i--) {
      const [a, b] = [left.disk.log[i] as Entry, right.disk.log[i] as Entry];
      if (a.term === b.term) isSame = true;
      assert(!isSame || (a.term === b.term && Buffer.compare(a.data, b.data) === 0), 'two logs differ before a match');
    }
  }

  /** The healed phase: everybody is up, nothing is lost, and all must come to agree on one more entry. */
  #heal(): void {
    this.#isHealed = true;
    this.#island = new Set();
    for (const member of this.#members) if (member.raft === null) this.#start(member);
    let marker = 0;
    for (let round = 0; round < 4000; round++) {
      for (const member of this.#members) {
        if (round % 4 === 0) member.raft?.tick(1);
        this.#drainAll();
        while (member.writes.length > 0) this.#finishWrite(member);
      }
      while (this.#network.length > 0) {
        this.#deliver();
        this.#drainAll();
      }
      const leader = this.#members.find(({ raft }) => raft?.role === ROLE_LEADER)?.raft;
      if (marker === 0 && leader !== undefined) marker = Math.max(0, leader?.propose(Buffer.from('healed')) ?? 0);
      if (marker > 0 && this.#members.every(({ applied }) => applied.length >= marker)) return;
    }
    assert(false, 'the healed cluster does not come to an agreement');
  }
}
