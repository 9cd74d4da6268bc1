/** The log in memory against an array: random appends, cuts, Readys, completions, snapshots and compaction. */
import test from 'ava';
import type { Arbitrary } from 'fast-check';
import { array, assert, constant, integer, oneof, property, record } from 'fast-check';
import type { LogIndex, Term } from '../../src/core/brands.ts';
import { RaftLog, TERM_UNKNOWN } from '../../src/core/raft/log.ts';
import type { Entry } from '../../src/core/raft/types.ts';
import { ENTRY_DATA } from '../../src/core/raft/types.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import { index, term } from '../support/raft-member.ts';

type Step = { readonly kind: keyof typeof steps; readonly n: number };

/** What the log should be, written plainly: every entry from 1 on, and the writes under way. */
class Model {
  entries: Entry[] = [];
  /** What was dropped from memory, by index - 1. What a snapshot jumped over is unknown. */
  dropped: (Entry | undefined)[] = [];
  base = 0;
  baseTerm = 0;
  committed = 0;
  applied = 0;
  applying = 0;
  submitted = 0;
  term = 1;
  ready = 0;
  installed = 0;
  /** What the disk holds after each Ready: the same entries by identity, or a snapshot's index. */
  disk: Entry[] = [];
  diskBase = 0;
  writes: { number: number; entries: readonly Entry[]; snapshot: number }[] = [];

  get last(): number {
    return this.base + this.entries.length;
  }

  at(at: number): Entry | undefined {
    return this.entries[at - this.base - 1];
  }

  /** The last index up to which the disk holds what memory holds. */
  get persisted(): number {
    let durable = this.diskBase;
    for (; durable < this.last; durable++) {
      const onDisk = this.disk[durable - this.diskBase];
      const inMemory = durable < this.base ? this.dropped[durable] : this.at(durable + 1);
      if (onDisk === undefined || onDisk !== inMemory) break;
    }
    return durable;
  }
}

const entry = (at: number, ofTerm: number, bytes: number): Entry => {
  return { index: index(at), term: term(ofTerm), type: ENTRY_DATA, data: new Uint8Array(bytes) };
};

/** Each does something to both, if it can be done. */
const steps = {
  append(log: RaftLog, model: Model, n: number): void {
    for (let i = 0; i <= n % 4; i++) {
      const made = entry(model.last + 1, model.term, n % 7);
      model.entries.push(made);
      log.push(made);
    }
  },
  cut(log: RaftLog, model: Model, n: number): void {
    const open = model.last - model.committed;
    if (open === 0) return;
    const from = model.committed + 1 + (n % open);
    model.entries.length = from - model.base - 1;
    model.submitted = Math.min(model.submitted, from - 1);
    model.term++;
    log.truncateFrom(index(from));
  },
  submit(log: RaftLog, model: Model): void {
    const entries = model.entries.slice(model.submitted - model.base);
    model.ready++;
    model.writes.push({ number: model.ready, entries, snapshot: 0 });
    model.submitted = model.last;
    const taken = log.takeUnsubmitted(model.ready);
    same(taken, entries, 'unsubmitted');
  },
  persist(log: RaftLog, model: Model, n: number): void {
    if (model.writes.length === 0) return;
    const upTo = (model.writes[n % model.writes.length] as Model['writes'][number]).number;
    while ((model.writes[0]?.number ?? Infinity) <= upTo) {
      const write = model.writes.shift() as Model['writes'][number];
      if (write.snapshot > 0) {
        model.disk = [];
        model.diskBase = model.installed = write.snapshot;
      }
      const first = write.entries[0];
      if (first !== undefined) {
        model.disk.length = first.index - model.diskBase - 1;
        model.disk.push(...write.entries);
      }
    }
    log.writesPersisted(upTo);
  },
  commit(log: RaftLog, model: Model, n: number): void {
    const open = model.last - model.committed;
    if (open === 0) return;
    model.committed += 1 + (n % open);
    log.commitTo(index(model.committed));
  },
  apply(log: RaftLog, model: Model): void {
    // As the core does it: what is not submitted is not handed out, nor anything behind a snapshot to be installed.
    if (model.submitted < model.committed || model.installed < model.base) return;
    const entries = model.entries.slice(model.applying - model.base, model.committed - model.base);
    model.applying = model.applied = model.committed;
    same(log.takeCommitted(), entries, 'committed');
    log.appliedTo(index(model.applied));
  },
  compact(log: RaftLog, model: Model, n: number): void {
    const upTo = Math.min(model.applied, model.persisted, model.base + (n % 400));
    if (upTo <= model.base) return;
    model.baseTerm = model.at(upTo)?.term ?? 0;
    for (const one of model.entries.splice(0, upTo - model.base)) model.dropped[one.index - 1] = one;
    model.base = model.installed = upTo;
    log.compact(index(upTo));
  },
  restore(log: RaftLog, model: Model, n: number): void {
    if (n % 5 !== 0) return;
    const at = model.committed + 1 + (n % 9);
    model.term++;
    model.ready++;
    for (const one of model.entries.splice(0, model.committed - model.base)) model.dropped[one.index - 1] = one;
    model.entries = [];
    model.base = model.committed = model.applying = model.submitted = at;
    model.baseTerm = model.term;
    model.writes.push({ number: model.ready, entries: [], snapshot: at });
    log.restore({ index: index(at), term: term(model.term), conf: confOf([]) }, model.ready);
  },
};

function same(actual: readonly Entry[], expected: readonly Entry[], what: string): void {
  const isSame = actual.length === expected.length && actual.every((one, i) => one === expected[i]);
  if (!isSame) throw new Error(`${what}: ${actual.length} entries, not the ${expected.length} expected`);
}

function compare(log: RaftLog, model: Model): void {
  const cursors = {
    baseIndex: model.base,
    baseTerm: model.baseTerm,
    lastIndex: model.last,
    committed: model.committed,
    applied: model.applied,
    applying: model.applying,
    submitted: model.submitted,
  };
  for (const [name, value] of Object.entries(cursors)) {
    const actual = log[name as keyof typeof cursors];
    if (actual !== value) throw new Error(`${name} is ${actual}, not ${value}`);
  }
  // The log may know of less than the disk holds, never of more.
  if (log.persisted > model.persisted)
    throw new Error(`persisted is ${log.persisted}, the disk has ${model.persisted}`);
  if (model.writes.length === 0 && model.submitted === model.last && log.persisted !== model.last) {
    throw new Error(`all is durable, and persisted is ${log.persisted}, not ${model.last}`);
  }
  if (log.bytes !== model.entries.reduce((sum, { data }) => sum + data.length, 0)) throw new Error('bytes');
  same(log.range(log.firstIndex, log.lastIndex), model.entries, 'entries');
  for (let at = model.base - 1; at <= model.last + 1; at++) {
    const expected = at === model.base ? model.baseTerm : (model.at(at)?.term ?? TERM_UNKNOWN);
    if (log.termAt(index(at)) !== expected) throw new Error(`termAt(${at})`);
  }
}

const anyStep: Arbitrary<Step> = oneof(
  ...(Object.keys(steps) as (keyof typeof steps)[]).map((kind) =>
    record({ kind: constant(kind), n: integer({ min: 0, max: 1000 }) }),
  ),
);

test('the log is an array with cursors, whatever is appended, cut, written, restored and dropped', (t) => {
  assert(
    property(array(anyStep, { maxLength: 120, size: 'max' }), (script) => {
      const log = new RaftLog(index(0), term(0));
      const model = new Model();
      for (const { kind, n } of script) {
        steps[kind](log, model, n);
        compare(log, model);
      }
    }),
    { numRuns: 1500 },
  );
  t.pass();
});

test('slices are bounded in bytes, and never empty while there is an entry', (t) => {
  assert(
    property(
      array(integer({ min: 0, max: 50 }), { minLength: 1 }),
      integer({ min: 0, max: 120 }),
      (sizes, bytesMax) => {
        const log = new RaftLog(index(0), term(0));
        for (const bytes of sizes) log.push(entry(log.lastIndex + 1, 1, bytes));
        for (let from = 1; from <= log.lastIndex; from++) {
          const slice = log.slice(index(from), bytesMax);
          const bytes = slice.reduce((sum, { data }) => sum + data.length, 0);
          if (slice[0]?.index !== from || (bytes > bytesMax && slice.length > 1)) return false;
          const next = sizes[from - 1 + slice.length];
          if (next !== undefined && bytes + next <= bytesMax) return false;
        }
        return log.slice(index(log.lastIndex + 1), bytesMax).length === 0;
      },
    ),
  );
  t.pass();
});

test('where two logs may agree: the last index, up to a hint, whose term is not later', (t) => {
  const terms = array(integer({ min: 1, max: 5 }), { maxLength: 12 }).map((list) => list.toSorted((a, b) => a - b));
  assert(
    property(terms, integer({ min: 0, max: 15 }), integer({ min: 0, max: 6 }), (list, hint, ofTerm) => {
      const log = new RaftLog(index(0), term(0));
      for (const one of list) log.push(entry(log.lastIndex + 1, one, 0));
      const allowed = list.filter((one, i) => i + 1 <= hint && one <= ofTerm).length;
      return log.lastIndexWithTermAtMost(hint as LogIndex, ofTerm as Term) === allowed;
    }),
  );
  t.pass();
});
