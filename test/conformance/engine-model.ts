/**
 * The model that engines are held against: a plain Map of full histories, and a machine that does the same random
 * operations to both and compares everything that can be seen.
 */
import assert from 'node:assert/strict';
import type { Hlc } from '../../src/core/brands.ts';
import { createValueRef } from '../../src/core/kv/store.ts';
import type { Prng } from '../../src/core/prng.ts';
import type { Engine, FrozenReader, FrozenStore } from '../../src/engine/engine.ts';

interface Version {
  readonly version: number;
  /** null = deleted. */
  readonly value: Buffer | null;
  readonly expiresAtMs: number;
  readonly tag: number;
}

/** Keys as latin1 text, which JavaScript orders as their bytes. */
type History = Map<string, Version[]>;

/** How an engine under test is made and checked. */
export interface EngineUnderTest {
  createEngine(): Engine;
  openFrozen(frozen: FrozenStore): FrozenReader;
  /** Checks the invariants of the engine; throws when one does not hold. */
  verify(engine: Engine): void;
}

interface Pair {
  readonly engine: Engine;
  readonly history: History;
  readonly pins: number[];
}

interface FrozenPair {
  readonly owner: Pair;
  readonly frozen: FrozenStore;
  readonly expected: [string, Version][];
}

export interface MachineOptions {
  /** Different keys. */
  readonly keys: number;
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  /** Whether keys share long beginnings. */
  readonly sharedPrefix: boolean;
}

const NOW_MS = 1_000_000;

export class Machine {
  readonly #under: EngineUnderTest;
  readonly #prng: Prng;
  readonly #keys: Buffer[];
  readonly #options: MachineOptions;
  #pairs: Pair[];
  #frozen: FrozenPair[] = [];
  #version = 1000;
  readonly #out = createValueRef();

  constructor(under: EngineUnderTest, prng: Prng, options: MachineOptions) {
    this.#under = under;
    this.#prng = prng;
    this.#options = options;
    this.#keys = Array.from({ length: options.keys }, () => this.#makeKey());
    this.#pairs = [{ engine: under.createEngine(), history: new Map(), pins: [] }];
  }

  /** One random operation, done to both and compared. */
  step(): void {
    const prng = this.#prng;
    const dice = prng.below(1000);
    const key = this.#keys[prng.below(this.#keys.length)] as Buffer;
    const pair = this.#pairOf(key);
    if (dice < 430) this.#put(pair, key);
    else if (dice < 600) this.#delete(pair, key);
    else if (dice < 660) this.#setExpiry(pair, key);
    else if (dice < 740) this.#get(pair, key);
    else if (dice < 800) this.#seek(pair, key);
    else if (dice < 830) this.#rank(pair);
    else if (dice < 850) this.#scanExpired(pair, key);
    else if (dice < 880) this.#getAt(pair, key);
    else if (dice < 900) this.#pin(pair);
    else if (dice < 920) this.#unpin(pair);
    else if (dice < 940) this.#freeze(pair);
    else if (dice < 960) this.#release();
    else if (dice < 975) pair.engine.sweepVersions(1 + prng.below(3));
    else if (dice < 990) this.#copyWithinStore(pair, key);
    else if (dice < 997) this.#split(pair, key);
    else if (dice < 998) this.#clear(pair);
    else this.#deleteMany(pair, key);
  }

  /** Compares all that can be seen, and the engine's own invariants. */
  check(): void {
    for (const { engine, history, pins } of this.#pairs) {
      const live = liveOf(history);
      compareCursor(engine, live);
      assert.equal(engine.keyCount, live.length);
      assert.equal(engine.expiringCount, live.filter(([, version]) => version.expiresAtMs > 0).length);
      this.#under.verify(engine);
      for (const at of pins) for (const key of history.keys()) this.#compareAt(engine, history, key, at);
    }
    for (const { frozen, expected } of this.#frozen) this.#compareFrozen(frozen, expected);
  }

  /** Gives up everything; what the engines hold must be free then. */
  finish(): void {
    this.check();
    while (this.#frozen.length > 0) this.#release();
    for (const { engine } of this.#pairs) engine.destroy();
    this.#pairs = [];
  }

  #makeKey(): Buffer {
    const prng = this.#prng;
    const { keyBytesMax, sharedPrefix } = this.#options;
    const length = prng.chance(0.02) ? prng.below(3) : 1 + prng.below(keyBytesMax);
    const key = Buffer.alloc(length);
    const alphabet = prng.chance(0.5) ? 2 : 256;
    for (let i = 0; i < length; i++) key[i] = prng.below(alphabet);
    if (sharedPrefix) key.fill(0x61, 0, Math.min(length, prng.below(keyBytesMax)));
    return key;
  }

  #makeValue(): Buffer {
    const prng = this.#prng;
    const max = this.#options.valueBytesMax;
    const dice = prng.below(10);
    const length =
      dice === 0
        ? 0
        : dice < 7
          ? prng.below(Math.min(max, 140))
          : dice < 9
            ? prng.below(Math.min(max, 1100))
            : prng.below(max);
    const value = Buffer.alloc(length);
    for (let i = 0; i < length; i += 7) value[i] = prng.below(256);
    return value;
  }

  /** Which store holds a key: the last one whose start is not above it. */
  #pairOf(key: Buffer): Pair {
    const text = key.toString('latin1');
    let found = this.#pairs[0] as Pair;
    for (const pair of this.#pairs) if ((this.#starts.get(pair) ?? '') <= text) found = pair;
    return found;
  }

  readonly #starts = new Map<Pair, string>();

  #next(): Hlc {
    return (this.#version += 1 + this.#prng.below(3)) as Hlc;
  }

  #put(pair: Pair, key: Buffer): void {
    const value = this.#makeValue();
    const expiresAtMs = this.#prng.chance(0.2) ? this.#someTime() : 0;
    this.#doPut(pair, key, value, 0, value.length, expiresAtMs);
  }

  #doPut(pair: Pair, key: Buffer, value: Buffer, start: number, end: number, expiresAtMs: number): void {
    const version = this.#next();
    const tag = this.#prng.chance(0.1) ? 1 + this.#prng.below(255) : 0;
    const copy = Buffer.from(value.subarray(start, end));
    pair.engine.put(key, 0, key.length, value, start, end, version, expiresAtMs, tag);
    record(pair.history, key, { version, value: copy, expiresAtMs, tag });
  }

  /** Puts a piece of a value that lies in the store itself. */
  #copyWithinStore(pair: Pair, key: Buffer): void {
    const other = this.#keys[this.#prng.below(this.#keys.length)] as Buffer;
    const source = this.#prng.chance(0.5) ? key : other;
    const out = createValueRef();
    if (!pair.engine.get(source, 0, source.length, out)) return;
    const start = out.start + this.#prng.below(out.end - out.start + 1);
    const end = start + this.#prng.below(out.end - start + 1);
    this.#doPut(pair, key, out.buffer, start, end, this.#prng.chance(0.3) ? this.#someTime() : 0);
  }

  #someTime(): number {
    return this.#prng.chance(0.1) ? 2 ** 52 + this.#prng.below(1000) : NOW_MS - 500 + this.#prng.below(1000);
  }

  #delete(pair: Pair, key: Buffer): void {
    const version = this.#next();
    const newest = newestOf(pair.history, key);
    assert.equal(pair.engine.delete(key, 0, key.length, version), newest !== null);
    if (newest !== null) record(pair.history, key, { version, value: null, expiresAtMs: 0, tag: 0 });
  }

  #deleteMany(pair: Pair, key: Buffer): void {
    const from = key.toString('latin1');
    const victims = liveOf(pair.history).filter(([other]) => other >= from);
    for (const [victim] of victims) this.#delete(pair, Buffer.from(victim, 'latin1'));
  }

  #setExpiry(pair: Pair, key: Buffer): void {
    const version = this.#next();
    const expiresAtMs = this.#prng.chance(0.3) ? 0 : this.#someTime();
    const newest = newestOf(pair.history, key);
    assert.equal(pair.engine.setExpiry(key, 0, key.length, version, expiresAtMs), newest !== null);
    if (newest !== null) record(pair.history, key, { ...newest, version, expiresAtMs });
  }

  #get(pair: Pair, key: Buffer): void {
    const newest = newestOf(pair.history, key);
    assert.equal(pair.engine.get(key, 0, key.length, this.#out), newest !== null);
    if (newest !== null) compareValue(this.#out, newest);
  }

  #seek(pair: Pair, key: Buffer): void {
    const live = liveOf(pair.history);
    const text = key.toString('latin1');
    const cursor = pair.engine.cursor();
    const after = this.#prng.chance(0.5);
    const at = live.findIndex(([other]) => (after ? other > text : other >= text));
    assert.equal(cursor.seek(key, 0, key.length, after), at >= 0);
    if (at >= 0) {
      assert.equal(keyText(cursor), live[at]?.[0]);
      compareValue(cursor.value, (live[at] as [string, Version])[1]);
      if (this.#prng.chance(0.5)) {
        assert.equal(cursor.previous(), at > 0);
        if (at > 0) assert.equal(keyText(cursor), live[at - 1]?.[0]);
      }
    }
    const before = live.findLastIndex(([other]) => other < text);
    assert.equal(cursor.seekBefore(key, 0, key.length), before >= 0);
    if (before >= 0) assert.equal(keyText(cursor), live[before]?.[0]);
  }

  #rank(pair: Pair): void {
    const live = liveOf(pair.history);
    const rank = this.#prng.below(live.length + 2);
    const cursor = pair.engine.cursor();
    assert.equal(pair.engine.seekRank(cursor, rank), rank < live.length);
    if (rank < live.length) assert.equal(keyText(cursor), live[rank]?.[0]);
  }

  #scanExpired(pair: Pair, key: Buffer): void {
    const nowMs = this.#someTime();
    const from = this.#prng.chance(0.5) ? Buffer.alloc(0) : key;
    const fromText = from.toString('latin1');
    const seen: string[] = [];
    let next: Buffer | null = from;
    for (let calls = 0; next !== null; calls++) {
      assert.ok(calls < 10_000, 'scanExpired comes to an end');
      next = pair.engine.scanExpired(next, nowMs, 1 + this.#prng.below(3), (buffer, start, end) => {
        seen.push(buffer.toString('latin1', start, end));
      });
    }
    const expected = liveOf(pair.history).filter(
      ([text, { expiresAtMs }]) => text >= fromText && expiresAtMs > 0 && expiresAtMs <= nowMs,
    );
    assert.deepEqual(
      seen,
      expected.map(([text]) => text),
    );
  }

  #pin(pair: Pair): void {
    if (pair.pins.length > 4) return;
    const at = this.#version;
    pair.engine.pin(at as Hlc);
    pair.pins.push(at);
  }

  #unpin(pair: Pair): void {
    const [at] = pair.pins.splice(this.#prng.below(Math.max(1, pair.pins.length)), 1);
    if (at !== undefined) pair.engine.unpin(at as Hlc);
  }

  #getAt(pair: Pair, key: Buffer): void {
    const at = pair.pins[this.#prng.below(Math.max(1, pair.pins.length))];
    if (at !== undefined) this.#compareAt(pair.engine, pair.history, key.toString('latin1'), at);
  }

  #compareAt(engine: Engine, history: History, key: string, at: number): void {
    const version = history.get(key)?.findLast((candidate) => candidate.version <= at);
    const bytes = Buffer.from(key, 'latin1');
    const there = version !== undefined && version.value !== null;
    assert.equal(engine.getAt(bytes, 0, bytes.length, at as Hlc, this.#out), there);
    if (there) compareValue(this.#out, version);
  }

  #freeze(pair: Pair): void {
    if (this.#frozen.length >= 4) return;
    this.#frozen.push({ owner: pair, frozen: pair.engine.freeze(), expected: liveOf(pair.history) });
  }

  #release(): void {
    const [gone] = this.#frozen.splice(this.#prng.below(Math.max(1, this.#frozen.length)), 1);
    if (gone === undefined) return;
    this.#compareFrozen(gone.frozen, gone.expected);
    gone.owner.engine.release(gone.frozen);
  }

  #compareFrozen(frozen: FrozenStore, expected: [string, Version][]): void {
    const reader = this.#under.openFrozen(frozen);
    assert.equal(reader.keyCount, expected.length);
    let i = 0;
    for (let more = reader.first(); more; more = reader.next()) {
      const [key, version] = expected[i++] as [string, Version];
      assert.equal(keyText(reader), key);
      compareValue(reader.value, version);
    }
    assert.equal(i, expected.length);
  }

  #split(pair: Pair, key: Buffer): void {
    if (this.#pairs.length >= 6) return;
    const text = key.toString('latin1');
    const engine = pair.engine.splitAt(key, 0, key.length);
    const history: History = new Map();
    for (const [other, versions] of pair.history) {
      if (other < text) continue;
      history.set(other, versions);
      pair.history.delete(other);
    }
    const right: Pair = { engine, history, pins: [...pair.pins] };
    this.#starts.set(right, text);
    this.#pairs.splice(this.#pairs.indexOf(pair) + 1, 0, right);
    this.#under.verify(pair.engine);
    this.#under.verify(engine);
  }

  #clear(pair: Pair): void {
    const version = this.#next();
    pair.engine.clear(version);
    for (const [key] of liveOf(pair.history)) {
      record(pair.history, Buffer.from(key, 'latin1'), { version, value: null, expiresAtMs: 0, tag: 0 });
    }
  }
}

function record(history: History, key: Buffer, version: Version): void {
  const text = key.toString('latin1');
  const versions = history.get(text);
  if (versions === undefined) history.set(text, [version]);
  else versions.push(version);
}

function newestOf(history: History, key: Buffer): Version | null {
  const newest = history.get(key.toString('latin1'))?.at(-1);
  return newest === undefined || newest.value === null ? null : newest;
}

function liveOf(history: History): [string, Version][] {
  const live: [string, Version][] = [];
  for (const [key, versions] of history) {
    const newest = versions.at(-1) as Version;
    if (newest.value !== null) live.push([key, newest]);
  }
  return live.sort(([left], [right]) => (left < right ? -1 : 1));
}

function keyText(cursor: { keyBuffer: Buffer; keyStart: number; keyEnd: number }): string {
  return cursor.keyBuffer.toString('latin1', cursor.keyStart, cursor.keyEnd);
}

function compareValue(
  out: { buffer: Buffer; start: number; end: number; version: number; expiresAtMs: number; tag: number },
  expected: Version,
): void {
  const value = expected.value as Buffer;
  assert.ok(value.equals(out.buffer.subarray(out.start, out.end)), 'value');
  assert.equal(out.version, expected.version);
  assert.equal(out.expiresAtMs, expected.expiresAtMs);
  assert.equal(out.tag, expected.tag);
}

function compareCursor(engine: Engine, live: [string, Version][]): void {
  const cursor = engine.cursor();
  let i = 0;
  for (let more = cursor.first(); more; more = cursor.next()) {
    const [key, version] = live[i++] as [string, Version];
    assert.equal(keyText(cursor), key);
    compareValue(cursor.value, version);
  }
  assert.equal(i, live.length);
  for (let more = cursor.last(); more; more = cursor.previous()) assert.equal(keyText(cursor), live[--i]?.[0]);
  assert.equal(i, 0);
}
