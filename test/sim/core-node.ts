/**
 * A node that runs the bare Raft core: one member at a time, a disk, and a state machine of keys and values.
 *
 *     packets ─▶ step ─▶ Ready ─▶ messages ─────────────▶ packets
 *                          ├────▶ CoreDisk ─ synced ────▶ messagesAfterPersist, persisted()
 *                          └────▶ committed ────────────▶ values, replies
 *
 * A message for a member that is newer than any this node has had makes that member, without a configuration; one that
 * applies its own removal is destroyed and leaves a tombstone (docs/adr/0008-cluster.md).
 */
import { assert } from '../../src/core/assert.ts';
import type { LogIndex, MemberId } from '../../src/core/brands.ts';
import { incarnationOf, nodeOf } from '../../src/core/member.ts';
import { decodeConfEntry, isJoint, membersOf } from '../../src/core/raft/configuration.ts';
import type { ConfState, Entry, Message, RaftOptions, Ready } from '../../src/core/raft/types.ts';
import { ENTRY_CONFIG, ENTRY_DATA, MSG_APPEND, MSG_SNAPSHOT, ROLE_LEADER } from '../../src/core/raft/types.ts';
import type { Checkpoint, DiskWrite } from './core-disk.ts';
import type { CoreDisk } from './core-disk.ts';
import type { Invariants } from './invariants.ts';
import type { Answer, ClientRequest, NodeSurroundings, SimulatedNode } from './node.ts';
import { TracedRaft } from './state-trace.ts';
import type { StateTrace } from './state-trace.ts';
import { WatchedRaft } from './watched-raft.ts';

export type CorePacket =
  | { readonly kind: 'raft'; readonly message: Message; readonly contents: Checkpoint | null }
  | { readonly kind: 'delivered'; readonly to: MemberId; readonly by: MemberId; readonly index: LogIndex };

export interface CoreNodeOptions {
  readonly raft: Omit<RaftOptions, 'id' | 'log' | 'prng'>;
  /** A checkpoint is saved about every so many entries. */
  readonly checkpointEntries: number;
  /** Up to so many applied entries stay in memory. */
  readonly keptEntries: number;
  readonly snapshotTimeoutMs: number;
  readonly trace: StateTrace | null;
}

interface WaitingWrite {
  readonly index: LogIndex;
  readonly term: number;
  readonly answer: Answer;
}

interface WaitingRead {
  readonly context: number;
  readonly key: string;
  /** What was committed anywhere when it was asked. */
  readonly known: number;
  /** Infinity until its round is confirmed. */
  index: number;
  readonly answer: Answer;
}

export class CoreNode implements SimulatedNode<CorePacket> {
  raft: WatchedRaft | null = null;
  readonly disk: CoreDisk;
  readonly #surroundings: NodeSurroundings<CorePacket>;
  readonly #invariants: Invariants;
  readonly #options: CoreNodeOptions;
  /** On disk: the member that lives here, 0 for none, and the newest incarnation that is dead. */
  #member: MemberId;
  #tombstone = 0;
  #state: Checkpoint;
  /** Contents of snapshots that have arrived, by index. */
  #staged: Checkpoint[] = [];
  #writes: WaitingWrite[] = [];
  #reads: WaitingRead[] = [];
  #nextContext = 1;
  #isSaving = false;

  constructor(
    surroundings: NodeSurroundings<CorePacket>,
    invariants: Invariants,
    options: CoreNodeOptions,
    disk: CoreDisk,
    member: MemberId,
  ) {
    this.#surroundings = surroundings;
    this.#invariants = invariants;
    this.#options = options;
    this.disk = disk;
    this.#state = disk.checkpoint;
    this.#member = member;
  }

  /** The configuration that this member has applied. */
  get appliedConf(): ConfState {
    return this.#state.conf;
  }

  get confVersion(): number {
    return this.#state.confVersion;
  }

  get values(): ReadonlyMap<string, string> {
    return this.#state.values;
  }

  start(): void {
    if (this.#member === 0) return;
    const log = this.disk.recover();
    this.#state = this.disk.checkpoint;
    this.#staged = [];
    this.#isSaving = false;
    const { raft: options } = this.#options;
    const { trace } = this.#options;
    const seeded = { ...options, id: this.#member, prng: this.#surroundings.prng.fork(), log };
    const raft = trace === null ? new WatchedRaft(seeded) : new TracedRaft(seeded, trace);
    this.raft = raft;
    const recovered = log.entries.filter(({ index }) => index >= raft.firstIndex && index <= raft.lastIndex);
    this.#invariants.started(raft, recovered);
  }

  crash(): void {
    this.raft = null;
    this.disk.crash();
    // Whoever waits for an answer gets none.
    this.#writes = [];
    this.#reads = [];
  }

  tick(count: number): void {
    this.raft?.tick(count);
  }

  receive(packet: CorePacket): void {
    if (packet.kind === 'delivered') {
      if (this.raft?.id === packet.to) this.raft.reportSnapshot(packet.by, true);
      return;
    }
    const { message, contents } = packet;
    if (!this.#makeMember(message.to)) return;
    if (contents === null) this.raft?.step(message);
    else this.#stage(message, contents);
  }

  submit({ kind, key, value, consistency }: ClientRequest, answer: Answer): void {
    const { raft } = this;
    if (raft === null || raft.role !== ROLE_LEADER) {
      answer({ outcome: 'failed' });
    } else if (kind === 'write') {
      const index = raft.propose(Buffer.from(JSON.stringify([key, value]))) as LogIndex;
      if (index < 0) answer({ outcome: 'failed' });
      else this.#writes.push({ index, term: raft.term, answer });
    } else if (consistency === 'lease' && raft.leaseValid()) {
      this.#invariants.readByLease(raft);
      answer({ outcome: 'ok', value: this.#state.values.get(key) ?? null });
    } else {
      const context = this.#nextContext++;
      if (raft.readIndex(context) < 0) answer({ outcome: 'failed' });
      else this.#reads.push({ context, key, known: this.#invariants.committedIndex, index: Infinity, answer });
    }
  }

  turn(): void {
    while (this.raft?.hasReady() === true) {
      const { raft } = this;
      this.#handle(raft, raft.ready());
    }
    if (this.raft !== null) this.#invariants.stepped(this.raft);
  }

  /** The placement says that this member is none any more. */
  destroy(): void {
    assert(this.#member !== 0, 'simulator: a member to destroy');
    this.#tombstone = incarnationOf(this.#member);
    this.#member = 0 as MemberId;
    this.raft = null;
    this.#loseLeadership();
    this.disk.erase();
  }

  /** Whether the member `id` is here now. */
  #makeMember(id: MemberId): boolean {
    if (id === this.#member) return this.raft !== null;
    const { nodeNumber } = this.#surroundings;
    if (nodeOf(id) !== nodeNumber || incarnationOf(id) <= this.#tombstone) return false;
    if (this.#member !== 0) {
      if (incarnationOf(id) < incarnationOf(this.#member)) return false;
      // Only a node without a member is given one, so the one that is here was removed, and has not heard of it.
      this.destroy();
    }
    this.#member = id;
    this.start();
    return true;
  }

  #stage(message: Message, contents: Checkpoint): void {
    const { raft } = this;
    this.#surroundings.later(this.#surroundings.prng.next() * 20, () => {
      if (this.raft !== raft || raft === null) return;
      this.#staged.push(contents);
      raft.step(message);
      const packet = { kind: 'delivered', to: message.from, by: raft.id, index: contents.index } as const;
      this.#surroundings.send(nodeOf(message.from), packet);
    });
  }

  #handle(raft: WatchedRaft, ready: Ready): void {
    const { hardState, snapshot, entries, number } = ready;
    const termBefore = raft.termAt(((entries[0]?.index ?? 0) - 1) as LogIndex);
    this.#invariants.stepped(raft);
    if (raft.role === ROLE_LEADER) this.#invariants.elected(raft);
    this.#send(ready.messages);
    const writes: DiskWrite[] = [];
    if (hardState !== null) writes.push({ kind: 'hardState', hardState });
    let installed: Checkpoint | undefined;
    if (snapshot !== null) {
      installed = this.#staged.find(({ index, term }) => index === snapshot.index && term === snapshot.term);
      assert(installed !== undefined, 'a snapshot is accepted only when its contents are here');
      writes.push({ kind: 'install', checkpoint: installed }, { kind: 'installed' });
      this.#staged = [];
    }
    for (const entry of entries) writes.push({ kind: 'entry', entry });
    this.disk.write(writes, () => {
      this.#surroundings.run(() => {
        if (this.raft !== raft) return;
        this.#invariants.durable(raft.id, installed?.index ?? (0 as LogIndex), termBefore, entries);
        this.#send(ready.messagesAfterPersist);
        if (installed !== undefined) {
          this.#state = installed;
          this.#invariants.snapshots++;
        }
        raft.persisted(number);
        if (installed !== undefined) raft.applied(installed.index);
      });
    });
    for (const entry of ready.committed) {
      this.#apply(raft, entry);
      // It was its removal.
      if (this.raft !== raft) return;
    }
    for (const { context, index } of ready.readStates) this.#confirmed(raft, context, index);
    for (const to of ready.snapshotRequests) this.#sendSnapshot(raft, to);
    if (ready.softState !== null && ready.softState.role !== ROLE_LEADER) this.#loseLeadership();
  }

  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.type === MSG_APPEND) this.#invariants.logged(message.logTerm, message.entries);
      // What #sendSnapshot() gave to the core comes back as it was.
      const contents = message.type === MSG_SNAPSHOT ? (message.snapshot as Checkpoint) : null;
      this.#surroundings.send(nodeOf(message.to), { kind: 'raft', message, contents });
    }
  }

  #sendSnapshot(raft: WatchedRaft, to: MemberId): void {
    raft.sendSnapshot(to, this.#state);
    this.#surroundings.later(this.#options.snapshotTimeoutMs, () => {
      if (this.raft === raft) raft.reportSnapshot(to, false);
    });
  }

  #apply(raft: WatchedRaft, entry: Entry): void {
    const { index, term, type, data } = entry;
    const state = this.#state;
    assert(index === state.index + 1, 'entries are applied in order');
    let { conf, confVersion, values } = state;
    if (type === ENTRY_DATA) {
      const [key, value] = JSON.parse(Buffer.from(data).toString()) as [string, string];
      values = new Map(values).set(key, value);
    } else if (type === ENTRY_CONFIG) {
      ({ conf } = decodeConfEntry(data));
      confVersion++;
    }
    this.#state = { index, term, conf, confVersion, values };
    raft.applied(index);
    this.#answerWrites(entry);
    // Configurations of before it was added do not have it either.
    const isSince = confVersion >= incarnationOf(raft.id);
    if (type === ENTRY_CONFIG && isSince && !isJoint(conf) && !membersOf(conf).has(raft.id)) {
      this.destroy();
      return;
    }
    this.#saveCheckpoint(raft);
    raft.compact((index - this.#surroundings.prng.below(this.#options.keptEntries + 1)) as LogIndex);
    for (const read of this.#reads) if (read.index <= index) this.#answerRead(read);
    this.#reads = this.#reads.filter((read) => read.index > index);
  }

  #answerWrites({ index, term }: Entry): void {
    while (this.#writes[0] !== undefined && this.#writes[0].index <= index) {
      const write = this.#writes.shift() as WaitingWrite;
      assert(write.index === index, 'no entry is passed over');
      // Another leader's entry in its place: this one is gone for good.
      write.answer(write.term === term ? { outcome: 'ok', value: null } : { outcome: 'failed' });
    }
  }

  #confirmed(raft: WatchedRaft, context: number, index: LogIndex): void {
    const read = this.#reads.find((waiting) => waiting.context === context);
    if (read === undefined) return;
    assert(index >= read.known, 'read index: a read would miss what was committed before it was asked');
    read.index = index;
    if (index > raft.appliedIndex) return;
    this.#reads = this.#reads.filter((waiting) => waiting !== read);
    this.#answerRead(read);
  }

  #answerRead({ key, answer }: WaitingRead): void {
    answer({ outcome: 'ok', value: this.#state.values.get(key) ?? null });
  }

  #loseLeadership(): void {
    for (const { answer } of this.#writes.splice(0)) answer({ outcome: 'unknown' });
    for (const { answer } of this.#reads.splice(0)) answer({ outcome: 'failed' });
  }

  /** A checkpoint may become durable only up to what the log has on disk (types.ts, R5). */
  #saveCheckpoint(raft: WatchedRaft): void {
    const state = this.#state;
    const { checkpointEntries } = this.#options;
    if (this.#isSaving || state.index < this.disk.checkpoint.index + checkpointEntries) return;
    if (raft.status().persisted < state.index) return;
    this.#isSaving = true;
    this.#surroundings.later(this.#surroundings.prng.next() * 50, () => {
      if (this.raft !== raft) return;
      this.#isSaving = false;
      this.disk.saveCheckpoint(state);
    });
  }
}
