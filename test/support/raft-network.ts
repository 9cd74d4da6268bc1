/**
 * A Raft group in memory, in the hands of a test: a network that can be cut, disks that can be held, members that can
 * crash, and nothing that happens by itself. For random faults see test/sim.
 *
 *     tick(id) propose() …  ──▶ member ──▶ Ready ──▶ disk (held or not) ──▶ messages ──▶ in flight ──▶ settle() delivers
 *
 * It checks state-machine safety all along: no two members apply different entries at one index.
 */
import { assert } from '../../src/core/assert.ts';
import { createPrng } from '../../src/core/prng.ts';
import { confOf, decodeConfEntry } from '../../src/core/raft/configuration.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type {
  ConfState,
  Entry,
  HardState,
  Message,
  RaftOptions,
  Ready,
  SnapshotMeta,
} from '../../src/core/raft/types.ts';
import {
  ENTRY_CONFIG,
  ENTRY_DATA,
  MSG_APPEND_RESPONSE,
  MSG_SNAPSHOT,
  MSG_TIMEOUT_NOW,
  ROLE_LEADER,
} from '../../src/core/raft/types.ts';
import { index, member, members, message, term } from './raft-member.ts';

type Tuning = Partial<Omit<RaftOptions, 'id' | 'log' | 'prng'>>;

interface Disk {
  hardState: HardState;
  entries: Entry[];
  snapshot: SnapshotMeta;
  /** What the snapshot contains. */
  state: readonly Entry[];
}

interface Node {
  readonly id: number;
  raft: Raft;
  up: boolean;
  readonly disk: Disk;
  diskHeld: boolean;
  /** Readys on their way to the disk. */
  writes: Ready[];
  /** The state machine: all entries applied, by index - 1. */
  applied: Entry[];
  /** Linearizable reads that were confirmed: context → index. */
  readonly reads: Map<number, number>;
}

const NO_CONF = confOf([]);

export class RaftNetwork {
  readonly nodes = new Map<number, Node>();
  /** Messages under way, oldest first. */
  inFlight: Message[] = [];
  /** Messages for which this is true are lost. */
  loses: (message: Message) => boolean = () => false;
  /** Told of everything that a member hands out. */
  onReady: (id: number, ready: Ready) => void = () => undefined;
  readonly #tuning: Tuning;
  readonly #canon: Entry[] = [];
  readonly #cut = new Set<string>();
  readonly #snapshots = new Map<number, readonly Entry[]>();
  #seed = 1;

  /** A group of these voters and learners, nobody leading. */
  constructor(voters: readonly number[], options: Tuning & { readonly learners?: readonly number[] } = {}) {
    const { learners = [], ...tuning } = options;
    this.#tuning = tuning;
    const conf = confOf(members(...voters), members(...learners));
    for (const id of [...voters, ...learners]) this.add(id, conf);
  }

  /** Another member; without a configuration it waits to be told. */
  add(id: number, conf: ConfState = NO_CONF): Raft {
    const disk: Disk = {
      hardState: { term: term(0), vote: member(0), commit: index(0) },
      entries: [],
      snapshot: { index: index(0), term: term(0), conf },
      state: [],
    };
    const node: Node = {
      id,
      raft: this.#boot(id, disk),
      up: true,
      disk,
      diskHeld: false,
      writes: [],
      applied: [],
      reads: new Map(),
    };
    this.nodes.set(id, node);
    return node.raft;
  }

  node(id: number): Node {
    const node = this.nodes.get(id);
    assert(node !== undefined, 'the test knows its members');
    return node;
  }

  raft(id: number): Raft {
    return this.node(id).raft;
  }

  /** The one member that leads in the latest term, or 0. */
  get leader(): number {
    const leading = [...this.nodes.values()].filter(({ up, raft }) => up && raft.role === ROLE_LEADER);
    return leading.toSorted((a, b) => b.raft.term - a.raft.term)[0]?.id ?? 0;
  }

  /** What a member's state machine got, as text. */
  values(id: number): string[] {
    const data = this.node(id).applied.filter(({ type }) => type === ENTRY_DATA);
    return data.map((entry) => Buffer.from(entry.data).toString());
  }

  /** Terms of a member's log as it is stored, the snapshot left out. */
  storedTerms(id: number): number[] {
    return this.node(id).disk.entries.map((entry) => entry.term);
  }

  propose(id: number, value: string): number {
    return this.raft(id).propose(Buffer.from(value));
  }

  /** Time passes for these members, and nothing else happens. */
  tick(count: number, ...ids: readonly number[]): void {
    for (const id of ids.length > 0 ? ids : this.nodes.keys()) if (this.node(id).up) this.raft(id).tick(count);
  }

  /** Time passes for all, tick by tick, and everything that can happen happens in between. */
  run(ticks: number): void {
    for (let i = 0; i < ticks; i++) {
      this.tick(1);
      this.settle();
    }
  }

  /** Makes a member leader of the next term by the votes of those who hear it. */
  elect(id: number): void {
    this.nominate(id);
    this.settle();
    assert(this.raft(id).role === ROLE_LEADER, 'it should have been elected');
  }

  /** A member asks for votes as if the leader of the latest term had named it: no promise to a leader is in the way. */
  nominate(id: number): void {
    const raft = this.raft(id);
    const latest = Math.max(...[...this.nodes.values()].map(({ disk }) => disk.hardState.term));
    if (latest > raft.term) raft.step(message(MSG_APPEND_RESPONSE, id, { to: id, term: latest }));
    this.drain(id);
    raft.step(message(MSG_TIMEOUT_NOW, id, { to: id, term: raft.term }));
  }

  /** Cuts these members off from all others (they hear each other). */
  isolate(...ids: readonly number[]): void {
    for (const id of ids) for (const other of this.nodes.keys()) if (!ids.includes(other)) this.cut(id, other);
  }

  cut(one: number, other: number): void {
    this.cutOneWay(one, other);
    this.cutOneWay(other, one);
  }

  cutOneWay(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
    this.loses = () => false;
  }

  /** What was not durable is gone, and so is the memory. */
  crash(id: number): void {
    const node = this.node(id);
    node.up = false;
    node.writes = [];
    node.applied = [];
    node.reads.clear();
  }

  restart(id: number): Raft {
    const node = this.node(id);
    node.up = true;
    node.applied = [...node.disk.state];
    node.raft = this.#boot(id, node.disk);
    return node.raft;
  }

  /** Takes a checkpoint of a member and drops the log that it covers, in memory and on disk. */
  checkpoint(id: number): void {
    const { disk, applied, raft } = this.node(id);
    const last = applied.at(-1);
    if (last === undefined) return;
    disk.snapshot = { index: last.index, term: last.term, conf: this.#confAt(id) };
    disk.state = [...applied];
    disk.entries = disk.entries.filter((entry) => entry.index > last.index);
    raft.compact(last.index);
  }

  /** Handles all Readys and delivers all messages, in the order in which they were sent, until nothing moves. */
  settle(): void {
    for (let steps = 0; ; steps++) {
      assert(steps < 100_000, 'the group talks without end');
      this.drainAll();
      const next = this.inFlight.shift();
      if (next === undefined) return;
      this.deliver(next);
    }
  }

  /** Whether it arrived. */
  deliver(message: Message): boolean {
    const node = this.nodes.get(message.to);
    const isCut = this.#cut.has(`${message.from}>${message.to}`) || this.loses(message);
    const arrives = node?.up === true && !isCut;
    if (arrives) node.raft.step(message);
    // The transport of snapshots says how it went.
    if (message.type === MSG_SNAPSHOT) this.nodes.get(message.from)?.raft.reportSnapshot(message.to, arrives);
    return arrives;
  }

  drainAll(): void {
    for (const node of this.nodes.values()) this.drain(node.id);
  }

  drain(id: number): void {
    const node = this.node(id);
    if (!node.diskHeld) this.flush(id);
    while (node.up && node.raft.hasReady()) {
      const ready = node.raft.ready();
      this.onReady(id, ready);
      this.inFlight.push(...ready.messages);
      for (const entry of ready.committed) this.#apply(node, entry);
      const last = ready.committed.at(-1);
      if (last !== undefined) node.raft.applied(last.index);
      for (const { context, index } of ready.readStates) node.reads.set(context, index);
      for (const to of ready.snapshotRequests) this.#sendSnapshot(node, to);
      node.writes.push(ready);
      if (!node.diskHeld) this.flush(id);
    }
  }

  /** All writes under way become durable. */
  flush(id: number): void {
    const node = this.node(id);
    for (let ready = node.writes.shift(); ready !== undefined && node.up; ready = node.writes.shift()) {
      this.#store(node, ready);
      this.inFlight.push(...ready.messagesAfterPersist);
      node.raft.persisted(ready.number);
      if (ready.snapshot !== null) node.raft.applied(ready.snapshot.index);
    }
  }

  #store({ disk, ...node }: Node, { hardState, snapshot, entries }: Ready): void {
    if (hardState !== null) disk.hardState = hardState;
    if (snapshot !== null) {
      disk.snapshot = snapshot;
      disk.state = this.#snapshots.get(snapshot.index) as readonly Entry[];
      disk.entries = [];
      node.applied.splice(0, node.applied.length, ...disk.state);
    }
    const [first] = entries;
    if (first !== undefined) disk.entries = disk.entries.filter((entry) => entry.index < first.index).concat(entries);
  }

  #apply(node: Node, entry: Entry): void {
    const known = this.#canon[entry.index - 1];
    assert(
      known === undefined || (known.term === entry.term && Buffer.compare(known.data, entry.data) === 0),
      'two entries were committed at one index',
    );
    this.#canon[entry.index - 1] = entry;
    assert(entry.index === node.applied.length + 1, 'entries are applied in order');
    node.applied.push(entry);
  }

  #sendSnapshot({ id, applied, raft }: Node, to: number): void {
    const last = applied.at(-1) as Entry;
    this.#snapshots.set(last.index, [...applied]);
    raft.sendSnapshot(member(to), { index: last.index, term: last.term, conf: this.#confAt(id) });
  }

  /** The configuration as of what a member has applied. */
  #confAt(id: number): ConfState {
    const { applied, disk } = this.node(id);
    const last = applied.findLast(({ type }) => type === ENTRY_CONFIG);
    return last === undefined ? disk.snapshot.conf : decodeConfEntry(last.data).conf;
  }

  #boot(id: number, { hardState, entries, snapshot }: Disk): Raft {
    return new Raft({
      ...this.#tuning,
      id: member(id),
      prng: createPrng(this.#seed++),
      log: {
        snapshotIndex: snapshot.index,
        snapshotTerm: snapshot.term,
        conf: snapshot.conf,
        entries: [...entries],
        hardState,
        applied: snapshot.index,
      },
    });
  }
}
