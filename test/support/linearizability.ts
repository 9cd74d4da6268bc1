/**
 * Whether a recorded history of a key-value store is linearizable: whether every operation can be given one moment
 * between its call and its return, so that one after another they explain all that was answered.
 *
 *     client 1   ├── write a ──┤                        ok: a, read a, b
 *     client 2        ├─ read a ─┤   ├── read a ──┤     not ok: the last read returned what b had replaced
 *     client 3                 ├ write b ┤
 *
 * Wing & Gong, "Testing and verifying concurrent objects" (1993), as a depth-first search without recursion, with the
 * memory of configurations of Lowe, "Testing for linearizability" (2017). Keys are independent registers, so each key is
 * judged by itself (Herlihy & Wing, locality); one that is only read, and written with ever new values, takes a path of
 * polynomial time (linearizability-zones.ts). Two shortcuts of the search that lose nothing:
 *   - an operation that may come next and can change nothing is taken at once, without trying others in its place;
 *   - a write of unknown outcome whose value nobody has seen is left out: it fits behind everything else.
 */

import { checkZones, hasUniqueWrites } from './linearizability-zones.ts';

/** One operation of one client, as JSON can hold it. Times are of one clock, in any unit. */
export interface Operation {
  readonly client: string | number;
  readonly key: string;
  readonly kind: 'read' | 'write' | 'delete' | 'cas' | 'incr';
  /** write, cas: what is put; read: what was found, null for nothing; incr: what came out; delete: null. */
  readonly value: string | null;
  /** cas: what must be there; null for nothing. */
  readonly expected?: string | null;
  /** cas that answered: whether it was there. Default true. */
  readonly swapped?: boolean;
  /** incr: by how much. Default 1. */
  readonly delta?: number;
  readonly invokedAt: number;
  /** null when nobody answered. */
  readonly returnedAt: number | null;
  /** ok: as recorded; failed: it did nothing, for sure; unknown: it took or takes effect at some time after the call, or never. */
  readonly outcome: 'ok' | 'failed' | 'unknown';
}

export type Verdict =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly key: string;
      /** How far the best attempt came, and what it could not place. */
      readonly explanation: string;
      /** The operations that could not be placed there. */
      readonly operations: readonly Operation[];
    };

type Value = string | null;

/** What the register becomes, or IMPOSSIBLE when the answer contradicts its state. */
const IMPOSSIBLE = Symbol('impossible');

function apply(state: Value, operation: Operation): Value | typeof IMPOSSIBLE {
  const { kind, value, outcome } = operation;
  const isKnown = outcome === 'ok';
  switch (kind) {
    case 'read':
      return value === state ? state : IMPOSSIBLE;
    case 'write':
      return value;
    case 'delete':
      return null;
    case 'cas': {
      const isThere = state === (operation.expected ?? null);
      if (isKnown && isThere !== (operation.swapped ?? true)) return IMPOSSIBLE;
      return isThere ? value : state;
    }
    case 'incr': {
      const sum = Number(state ?? '0') + (operation.delta ?? 1);
      if (!Number.isSafeInteger(sum)) return isKnown ? IMPOSSIBLE : state;
      return isKnown && value !== String(sum) ? IMPOSSIBLE : String(sum);
    }
  }
}

/** Whether it never changes the register, wherever it is placed. */
function isPure({ kind, swapped, outcome }: Operation): boolean {
  return outcome === 'ok' && (kind === 'read' || (kind === 'cas' && swapped === false));
}

/** Judges the history of all keys, each of which is absent at first. Throws when a key's history is too wild to be decided. */
export function checkLinearizable(history: readonly Operation[]): Verdict {
  const byKey = new Map<string, Operation[]>();
  for (const operation of history) {
    const { outcome, kind, key } = operation;
    if (outcome === 'failed' || (outcome === 'unknown' && kind === 'read')) continue;
    const operations = byKey.get(key);
    if (operations === undefined) byKey.set(key, [operation]);
    else operations.push(operation);
  }
  for (const [key, operations] of byKey) {
    const asked = withoutUnseen(operations);
    const verdict = hasUniqueWrites(asked) ? judgeZones(key, asked) : new KeySearch(key, asked).run();
    if (!verdict.ok) return verdict;
  }
  return { ok: true };
}

function judgeZones(key: string, asked: readonly Operation[]): Verdict {
  const found = checkZones(asked);
  if (found === null) return { ok: true };
  const { reason, operations } = found;
  const explanation = `key ${key}: ${reason}: ${operations.map(describe).join('; ')}`;
  return { ok: false, key, explanation, operations };
}

/** Leaves out the writes of unknown outcome that nobody can have seen. */
function withoutUnseen(operations: readonly Operation[]): readonly Operation[] {
  const seen = new Set<Value>();
  for (const { kind, value, expected, outcome, swapped } of operations) {
    // These see any value that is there.
    if (kind === 'incr' || swapped === false) return operations;
    if (kind === 'read' && outcome === 'ok') seen.add(value);
    if (kind === 'cas') seen.add(expected ?? null);
  }
  return operations.filter(({ kind, value, outcome }) => outcome === 'ok' || kind !== 'write' || seen.has(value));
}

/** Beyond so many configurations of one key the search gives up. */
const CONFIGURATIONS_MAX = 3_000_000;

/** One configuration of the search: what is placed, and what the register holds then. */
interface Frame {
  readonly state: Value;
  /** What was placed on the way in, because it changes nothing. */
  readonly followers: readonly number[];
  /** What may come next and is still to be tried; the best last. */
  readonly candidates: number[];
  /** The candidate being tried; -1: none yet. */
  taken: number;
}

class KeySearch {
  readonly #key: string;
  /** With a known outcome: all of them must be placed. By time of call. */
  readonly #known: readonly Operation[];
  readonly #unknown: readonly Operation[];
  readonly #isPlaced: Uint8Array;
  /** All of #known before this index are placed. */
  #low = 0;
  #placedKnown = 0;
  #placedUnknown = '';
  readonly #seen = new Set<string>();
  #best = { placed: -1, state: null as Value, left: [] as readonly Operation[] };

  constructor(key: string, operations: readonly Operation[]) {
    const byCall = operations.toSorted((a, b) => a.invokedAt - b.invokedAt);
    this.#key = key;
    this.#known = byCall.filter(({ outcome }) => outcome === 'ok');
    this.#unknown = byCall.filter(({ outcome }) => outcome === 'unknown');
    this.#isPlaced = new Uint8Array(byCall.length);
  }

  run(): Verdict {
    const frames = [this.#enter(null)];
    for (;;) {
      if (this.#placedKnown === this.#known.length) return { ok: true };
      const frame = frames.at(-1);
      if (frame === undefined) return this.#refuse();
      if (frame.taken >= 0) this.#giveBack(frame.taken);
      frame.taken = frame.candidates.pop() ?? -1;
      if (frame.taken < 0) {
        for (const follower of frame.followers) this.#giveBack(follower);
        frames.pop();
      } else {
        this.#place(frame.taken);
        frames.push(this.#enter(apply(frame.state, this.#at(frame.taken)) as Value));
      }
    }
  }

  /** Places what may come next and can change nothing, then looks what else may come next. */
  #enter(state: Value): Frame {
    const followers: number[] = [];
    for (;;) {
      const next = this.#next();
      const idle = next.find((i) => isPure(this.#at(i)) && apply(state, this.#at(i)) !== IMPOSSIBLE);
      if (idle !== undefined) {
        this.#place(idle);
        followers.push(idle);
        continue;
      }
      this.#remember(state, next);
      const candidates = this.#isNew(state) ? next.filter((i) => apply(state, this.#at(i)) !== IMPOSSIBLE) : [];
      // Those that returned first are tried first, those of unknown outcome last.
      candidates.sort((a, b) => this.#urgency(b) - this.#urgency(a));
      return { state, followers, candidates, taken: -1 };
    }
  }

  /** What was called before anything that is not placed yet has returned. */
  #next(): number[] {
    let firstReturn = Infinity;
    const known: number[] = [];
    for (let i = this.#low; i < this.#known.length; i++) {
      const operation = this.#known[i] as Operation;
      if (operation.invokedAt > firstReturn) break;
      if (this.#isPlaced[i] === 1) continue;
      known.push(i);
      firstReturn = Math.min(firstReturn, operation.returnedAt ?? Infinity);
    }
    const next = known.filter((i) => this.#at(i).invokedAt <= firstReturn);
    for (let i = 0; i < this.#unknown.length && this.#at(this.#known.length + i).invokedAt <= firstReturn; i++) {
      if (this.#isPlaced[this.#known.length + i] === 0) next.push(this.#known.length + i);
    }
    return next;
  }

  #at(i: number): Operation {
    return (i < this.#known.length ? this.#known[i] : this.#unknown[i - this.#known.length]) as Operation;
  }

  #urgency(i: number): number {
    return i < this.#known.length ? (this.#at(i).returnedAt ?? Infinity) : Number.MAX_VALUE;
  }

  #place(i: number): void {
    this.#isPlaced[i] = 1;
    if (i >= this.#known.length) {
      this.#unknownChanged();
    } else {
      this.#placedKnown++;
      while (this.#isPlaced[this.#low] === 1 && this.#low < this.#known.length) this.#low++;
    }
  }

  #giveBack(i: number): void {
    this.#isPlaced[i] = 0;
    if (i >= this.#known.length) {
      this.#unknownChanged();
    } else {
      this.#placedKnown--;
      this.#low = Math.min(this.#low, i);
    }
  }

  #unknownChanged(): void {
    const placed: number[] = [];
    for (let i = 0; i < this.#unknown.length; i++) if (this.#isPlaced[this.#known.length + i] === 1) placed.push(i);
    this.#placedUnknown = placed.join();
  }

  /** Whether the search comes to this configuration (what is placed, and the state) for the first time. */
  #isNew(state: Value): boolean {
    let ahead = '';
    let left = this.#placedKnown - this.#low;
    for (let i = this.#low; left > 0; i++) {
      if (this.#isPlaced[i] === 0) continue;
      ahead += `${i - this.#low},`;
      left--;
    }
    const configuration = `${this.#low};${ahead};${this.#placedUnknown};${state === null ? '' : `=${state}`}`;
    if (this.#seen.has(configuration)) return false;
    if (this.#seen.size === CONFIGURATIONS_MAX) {
      throw new Error(`linearizability: the history of key ${this.#key} has too many possible orders to be decided`);
    }
    this.#seen.add(configuration);
    return true;
  }

  #remember(state: Value, next: readonly number[]): void {
    if (this.#placedKnown <= this.#best.placed) return;
    this.#best = { placed: this.#placedKnown, state, left: next.map((i) => this.#at(i)) };
  }

  #refuse(): Verdict {
    const { placed, state, left } = this.#best;
    const explanation =
      `key ${this.#key}: ${placed} of ${this.#known.length} operations can be put in an order that leaves ` +
      `${state === null ? 'nothing' : JSON.stringify(state)}, and then none of these fits: ` +
      left.map(describe).join('; ');
    return { ok: false, key: this.#key, explanation, operations: left };
  }
}

function describe({ client, kind, value, invokedAt, returnedAt, outcome }: Operation): string {
  const end = outcome === 'unknown' ? 'unknown' : returnedAt;
  return `client ${client} ${kind} ${JSON.stringify(value)} [${invokedAt}, ${end}]`;
}
