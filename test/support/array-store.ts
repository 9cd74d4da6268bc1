/**
 * The dumbest OrderedStore that can be right: a sorted array of keys, each with its versions, newest first. The oracle for
 * engines and the store under the tests of commands.
 */
import type { Hlc } from '../../src/core/brands.ts';
import { compareBytes } from '../../src/core/range.ts';
import type { OrderedStore, StoreCursor, ValueRef } from '../../src/core/kv/store.ts';
import { createValueRef } from '../../src/core/kv/store.ts';

interface Version {
  readonly version: Hlc;
  /** Null = deleted at this version. */
  readonly bytes: Buffer | null;
  readonly expiresAtMs: number;
  readonly tag: number;
}

interface Entry {
  readonly key: Buffer;
  /** Newest first, never empty; the newest is no deletion unless a pin keeps older ones. */
  versions: Version[];
}

const NONE = Buffer.alloc(0);

export class ArrayStore implements OrderedStore {
  entries: Entry[] = [];
  readonly #pins: Hlc[] = [];

  get keyCount(): number {
    return this.live().length;
  }

  get expiringCount(): number {
    return this.live().filter((entry) => (entry.versions[0] as Version).expiresAtMs !== 0).length;
  }

  get bytesUsed(): number {
    let bytes = 0;
    for (const { key, versions } of this.entries) {
      bytes += key.length;
      for (const version of versions) bytes += version.bytes?.length ?? 0;
    }
    return bytes;
  }

  get longestValueBytes(): number {
    return Math.max(0, ...this.entries.flatMap(({ versions }) => versions.map(({ bytes }) => bytes?.length ?? 0)));
  }

  get(key: Buffer, start: number, end: number, out: ValueRef): boolean {
    return this.getAt(key, start, end, Infinity as Hlc, out);
  }

  getAt(key: Buffer, start: number, end: number, at: Hlc, out: ValueRef): boolean {
    const i = this.#lowerBound(key, start, end);
    const entry = this.entries[i];
    if (entry === undefined || compareBytes(entry.key, 0, entry.key.length, key, start, end) !== 0) return false;
    const seen = entry.versions.find(({ version }) => version <= at);
    return seen !== undefined && fillRef(out, seen);
  }

  put(
    key: Buffer,
    keyStart: number,
    keyEnd: number,
    value: Buffer,
    valueStart: number,
    valueEnd: number,
    version: Hlc,
    expiresAtMs: number,
    tag: number,
  ): void {
    const bytes = Buffer.from(value.subarray(valueStart, valueEnd));
    this.#add(key, keyStart, keyEnd, { version, bytes, expiresAtMs, tag });
  }

  setExpiry(key: Buffer, start: number, end: number, version: Hlc, expiresAtMs: number): boolean {
    const out = createValueRef();
    if (!this.get(key, start, end, out)) return false;
    this.put(key, start, end, out.buffer, out.start, out.end, version, expiresAtMs, out.tag);
    return true;
  }

  delete(key: Buffer, start: number, end: number, version: Hlc): boolean {
    if (!this.get(key, start, end, createValueRef())) return false;
    if (this.#pins.length > 0) this.#add(key, start, end, { version, bytes: null, expiresAtMs: 0, tag: 0 });
    else this.entries.splice(this.#lowerBound(key, start, end), 1);
    return true;
  }

  clear(version: Hlc): void {
    const keys = this.live().map(({ key }) => key);
    for (const key of keys) this.delete(key, 0, key.length, version);
  }

  cursor(): StoreCursor {
    return new ArrayCursor(this);
  }

  seekRank(cursor: StoreCursor, rank: number): boolean {
    const entry = this.live()[rank];
    return entry !== undefined && cursor.seek(entry.key, 0, entry.key.length);
  }

  scanExpired(
    from: Buffer,
    nowMs: number,
    leafMax: number,
    visit: (key: Buffer, start: number, end: number) => void,
  ): Buffer | null {
    // Eight keys count as a leaf.
    const rest = this.live().filter(({ key }) => Buffer.compare(key, from) >= 0);
    for (const { key, versions } of rest.slice(0, leafMax * 8)) {
      const { expiresAtMs } = versions[0] as Version;
      if (expiresAtMs !== 0 && expiresAtMs <= nowMs) visit(key, 0, key.length);
    }
    return rest[leafMax * 8]?.key ?? null;
  }

  pin(at: Hlc): void {
    this.#pins.push(at);
  }

  unpin(at: Hlc): void {
    this.#pins.splice(this.#pins.indexOf(at), 1);
    if (this.#pins.length > 0) return;
    for (const entry of this.entries) entry.versions.length = 1;
    this.entries = this.live();
  }

  /** Entries whose newest version is no deletion. */
  live(): Entry[] {
    if (this.#pins.length === 0) return this.entries;
    return this.entries.filter(({ versions }) => (versions[0] as Version).bytes !== null);
  }

  #add(key: Buffer, start: number, end: number, version: Version): void {
    const i = this.#lowerBound(key, start, end);
    const entry = this.entries[i];
    if (entry !== undefined && compareBytes(entry.key, 0, entry.key.length, key, start, end) === 0) {
      if (this.#pins.length > 0) entry.versions.unshift(version);
      else entry.versions[0] = version;
    } else {
      this.entries.splice(i, 0, { key: Buffer.from(key.subarray(start, end)), versions: [version] });
    }
  }

  /** Index of the first key ≥ key[start, end). */
  #lowerBound(key: Buffer, start: number, end: number): number {
    return lowerBound(this.entries, key, start, end);
  }
}

function lowerBound(entries: readonly Entry[], key: Buffer, start: number, end: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = (entries[middle] as Entry).key;
    if (compareBytes(at, 0, at.length, key, start, end) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function fillRef(out: ValueRef, { bytes, version, expiresAtMs, tag }: Version): boolean {
  if (bytes === null) return false;
  out.buffer = bytes;
  out.start = 0;
  out.end = bytes.length;
  out.version = version;
  out.expiresAtMs = expiresAtMs;
  out.tag = tag;
  return true;
}

class ArrayCursor implements StoreCursor {
  keyBuffer: Buffer = NONE;
  keyStart = 0;
  keyEnd = 0;
  readonly value = createValueRef();
  readonly #store: ArrayStore;
  #at = 0;

  constructor(store: ArrayStore) {
    this.#store = store;
  }

  seek(key: Buffer, start: number, end: number, after = false): boolean {
    const entries = this.#store.live();
    let at = lowerBound(entries, key, start, end);
    const entry = entries[at];
    if (after && entry !== undefined && compareBytes(entry.key, 0, entry.key.length, key, start, end) === 0) at++;
    return this.#moveTo(at);
  }

  seekBefore(key: Buffer, start: number, end: number): boolean {
    return this.#moveTo(lowerBound(this.#store.live(), key, start, end) - 1);
  }

  first(): boolean {
    return this.#moveTo(0);
  }

  last(): boolean {
    return this.#moveTo(this.#store.live().length - 1);
  }

  next(): boolean {
    return this.#moveTo(this.#at + 1);
  }

  previous(): boolean {
    return this.#moveTo(this.#at - 1);
  }

  #moveTo(at: number): boolean {
    this.#at = at;
    const entry = this.#store.live()[at];
    if (entry === undefined) return false;
    this.keyBuffer = entry.key;
    this.keyEnd = entry.key.length;
    return fillRef(this.value, entry.versions[0] as Version);
  }
}
