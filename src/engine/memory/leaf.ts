/**
 * The body of a leaf's cell, behind the key's bytes. Fields marked ? stand only when their flag is set; nothing is aligned.
 *
 *     u56  version
 *     u56? expiry        EXPIRES    Unix ms
 *     u8?  tag           TAGGED     when not 0
 *     u32? chain         CHAINED    extent number of the newest older version
 *     then one of
 *       nothing          TOMBSTONE
 *       u32 length, u32 extent number             EXTENT
 *       u8 or u16 length (u16: big-endian with the top bit set), value
 */
import type { Hlc } from '../../core/brands.ts';
import type { ValueRef } from '../../core/kv/store.ts';
import { pageSlot, restBytes, slotFlags, slotOffset, slotSuffix, wholeWords } from './page.ts';
import type { PageMemory, Slab } from './slab.ts';

export const EXPIRES = 1;
export const TAGGED = 2;
export const EXTENT = 4;
export const CHAINED = 8;
export const TOMBSTONE = 16;

export const VERSION_BYTES = 7;
const TWO_32 = 2 ** 32;

/** A value about to be written, or just read from a leaf. One object per store, used again and again. */
export interface CellBody {
  flags: number;
  version: number;
  expiresAtMs: number;
  tag: number;
  /** Extent number of the chain; 0 = none. */
  chain: number;
  /** Length of the value, wherever it lies. */
  valueBytes: number;
  /** Extent number of the value, when EXTENT. */
  extent: number;
  /** The value's bytes, when inline: source[sourceStart, + valueBytes). */
  source: Buffer;
  sourceStart: number;
}

export function createCellBody(): CellBody {
  return {
    flags: 0,
    version: 0,
    expiresAtMs: 0,
    tag: 0,
    chain: 0,
    valueBytes: 0,
    extent: 0,
    source: Buffer.alloc(0),
    sourceStart: 0,
  };
}

/** Unsigned 56-bit integer, little-endian, as a double (exact to 2^53). */
export function readU56(view: DataView, at: number): number {
  return view.getUint32(at, true) + (view.getUint32(at + 3, true) >>> 8) * TWO_32;
}

export function writeU56(view: DataView, at: number, value: number): void {
  const low = value >>> 0;
  const high = Math.floor(value / TWO_32);
  view.setUint32(at + 3, (high << 8) | (low >>> 24), true);
  view.setUint32(at, low, true);
}

/** Bytes of the body's fields before the value. */
function fieldBytes(flags: number): number {
  return (
    VERSION_BYTES +
    ((flags & EXPIRES) !== 0 ? VERSION_BYTES : 0) +
    ((flags & TAGGED) !== 0 ? 1 : 0) +
    ((flags & CHAINED) !== 0 ? 4 : 0)
  );
}

/** Bytes that writeBody() needs. */
export function bodyBytes(body: CellBody): number {
  const { flags, valueBytes } = body;
  const fields = fieldBytes(flags);
  if ((flags & TOMBSTONE) !== 0) return fields;
  if ((flags & EXTENT) !== 0) return fields + 8;
  return fields + (valueBytes < 128 ? 1 : 2) + valueBytes;
}

/** Bytes of the body at slab offset `at`. */
export function storedBodyBytes(slab: Slab, at: number, flags: number): number {
  const fields = fieldBytes(flags);
  if ((flags & TOMBSTONE) !== 0) return fields;
  if ((flags & EXTENT) !== 0) return fields + 8;
  const first = slab.bytes[at + fields] as number;
  if (first < 128) return fields + 1 + first;
  return fields + 2 + (((first & 0x7f) << 8) | (slab.bytes[at + fields + 1] as number));
}

/** Bytes of a whole cell: the key's rest and the body, in whole words. */
export function cellBytesOf(slab: Slab, base: number, slot: number): number {
  const rest = restBytes(slotSuffix(slot));
  return wholeWords(rest + storedBodyBytes(slab, base + slotOffset(slot) + rest, slotFlags(slot)));
}

/** Slab offset of an entry's body. */
export function bodyOffset(base: number, slot: number): number {
  return base + slotOffset(slot) + restBytes(slotSuffix(slot));
}

export function writeBody(slab: Slab, at: number, body: CellBody): void {
  const { bytes, view } = slab;
  const { flags, valueBytes } = body;
  writeU56(view, at, body.version);
  at += VERSION_BYTES;
  if ((flags & EXPIRES) !== 0) {
    writeU56(view, at, body.expiresAtMs);
    at += VERSION_BYTES;
  }
  if ((flags & TAGGED) !== 0) bytes[at++] = body.tag;
  if ((flags & CHAINED) !== 0) {
    view.setUint32(at, body.chain, true);
    at += 4;
  }
  if ((flags & TOMBSTONE) !== 0) return;
  if ((flags & EXTENT) !== 0) {
    view.setUint32(at, valueBytes, true);
    view.setUint32(at + 4, body.extent, true);
    return;
  }
  if (valueBytes < 128) {
    bytes[at++] = valueBytes;
  } else {
    bytes[at] = 0x80 | (valueBytes >>> 8);
    bytes[at + 1] = valueBytes & 0xff;
    at += 2;
  }
  copyBytes(body.source, body.sourceStart, valueBytes, bytes, at);
}

/** Short runs are copied by a loop, which beats the call into Buffer.copy; regions may overlap only when long, or when `at` is lower. */
export function copyBytes(source: Buffer, from: number, length: number, target: Buffer, at: number): void {
  if (length < 32) for (let i = 0; i < length; i++) target[at + i] = source[from + i] as number;
  else source.copy(target, at, from, from + length);
}

/** Fills `out` with an entry of a leaf; inline values are referred to in place. */
export function readBody(slab: Slab, base: number, entry: number, out: CellBody): void {
  const slot = pageSlot(slab, base, entry);
  const { bytes, view } = slab;
  const flags = slotFlags(slot);
  let at = bodyOffset(base, slot);
  out.flags = flags;
  out.version = readU56(view, at);
  at += VERSION_BYTES;
  out.expiresAtMs = 0;
  if ((flags & EXPIRES) !== 0) {
    out.expiresAtMs = readU56(view, at);
    at += VERSION_BYTES;
  }
  out.tag = (flags & TAGGED) !== 0 ? (bytes[at++] as number) : 0;
  out.chain = 0;
  if ((flags & CHAINED) !== 0) {
    out.chain = view.getUint32(at, true);
    at += 4;
  }
  out.extent = 0;
  out.valueBytes = 0;
  if ((flags & TOMBSTONE) !== 0) return;
  if ((flags & EXTENT) !== 0) {
    out.valueBytes = view.getUint32(at, true);
    out.extent = view.getUint32(at + 4, true);
    return;
  }
  const first = bytes[at++] as number;
  out.valueBytes = first < 128 ? first : ((first & 0x7f) << 8) | (bytes[at++] as number);
  out.source = bytes;
  out.sourceStart = at;
}

/** The expiry of an entry whose flags say EXPIRES. */
export function readExpiry(slab: Slab, base: number, slot: number): number {
  return readU56(slab.view, bodyOffset(base, slot) + VERSION_BYTES);
}

/** Fills `out` with the newest version of a live entry. */
export function readValue(memory: PageMemory, slab: Slab, base: number, slot: number, out: ValueRef): void {
  const { bytes, view } = slab;
  const flags = slotFlags(slot);
  let at = bodyOffset(base, slot);
  out.version = readU56(view, at) as Hlc;
  at += VERSION_BYTES;
  if ((flags & EXPIRES) !== 0) {
    out.expiresAtMs = readU56(view, at);
    at += VERSION_BYTES;
  } else {
    out.expiresAtMs = 0;
  }
  out.tag = (flags & TAGGED) !== 0 ? (bytes[at++] as number) : 0;
  if ((flags & CHAINED) !== 0) at += 4;
  if ((flags & EXTENT) !== 0) {
    referExtent(memory, view.getUint32(at + 4, true), view.getUint32(at, true), out);
    return;
  }
  const first = bytes[at++] as number;
  const length = first < 128 ? first : ((first & 0x7f) << 8) | (bytes[at++] as number);
  out.buffer = bytes;
  out.start = at;
  out.end = at + length;
}

/** Points `out` at the bytes of an extent. */
export function referExtent(
  memory: PageMemory,
  extent: number,
  valueBytes: number,
  out: { buffer: Buffer; start: number; end: number },
): void {
  if (valueBytes > memory.slabValueBytesMax) {
    out.buffer = memory.huge.get(extent) as Buffer;
    out.start = 0;
    out.end = valueBytes;
    return;
  }
  out.buffer = memory.slabOfUnit(extent).bytes;
  out.start = memory.baseOfUnit(extent) + EXTENT_HEADER_BYTES;
  out.end = out.start + valueBytes;
}

/** Before an extent's bytes: its birth epoch (i32) and room for the allocator. */
export const EXTENT_HEADER_BYTES = 8;
