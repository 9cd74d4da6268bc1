/**
 * Cuts a stream of bytes into frames. A frame that lies whole in a chunk is handed on in place; one that spans chunks is
 * put together in a buffer that grows with the bytes that have come, never by what a length field announces.
 *
 *     chunk      ├─ rest of A ─┼─ frame B ─┼─ frame C ─┼─ start of D ─┤
 *     pending     A is completed  in place    in place    kept, copied
 *
 * Invariant: unless the reader is paused, the pending bytes are the start of one frame.
 */
import { LENGTH_BYTES, ProtocolError } from './frame.ts';

const PENDING_BYTES_MIN = 512;
/** A pending buffer above this is given back after its frame. */
const PENDING_BYTES_KEPT = 64 * 1024;

/** Gets one whole frame: source[start, end), the length field first. The bytes are valid until it returns. */
export type OnFrame = (source: Buffer, start: number, end: number) => void;

export class FrameReader {
  readonly #onFrame: OnFrame;
  readonly #frameBytesMin: number;
  #frameBytesMax: number;
  #pending: Buffer | null = null;
  #pendingBytes = 0;
  #stopped = false;
  #paused = false;

  /** `frameBytesMin` and `frameBytesMax` bound the value of the length field. */
  constructor(frameBytesMin: number, frameBytesMax: number, onFrame: OnFrame) {
    this.#frameBytesMin = frameBytesMin;
    this.#frameBytesMax = frameBytesMax;
    this.#onFrame = onFrame;
  }

  set frameBytesMax(bytes: number) {
    this.#frameBytesMax = bytes;
  }

  /** Bytes of an unfinished frame; > 0 means that the peer owes the rest of it. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Memory held for an unfinished frame. */
  get capacityBytes(): number {
    return this.#pending === null ? 0 : this.#pending.length;
  }

  /** No more frames are handed on, not even those of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#pending = null;
    this.#pendingBytes = 0;
  }

  /** No more frames are handed on until resume(); what comes meanwhile is kept. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on, at once, with what was kept. Throws as push() does. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const kept = this.#pending;
    const bytes = this.#pendingBytes;
    if (kept === null || bytes === 0) return;
    this.#pending = null;
    this.#pendingBytes = 0;
    this.push(kept, 0, bytes);
  }

  /** Takes chunk[start, end). Throws ProtocolError when a length field is out of bounds; then the reader is stopped. */
  push(chunk: Buffer, start = 0, end = chunk.length): void {
    let at = start;
    if (this.#pendingBytes > 0 && !this.#paused) {
      at = this.#complete(chunk, at, end);
      if (this.#pendingBytes > 0) return;
    }
    while (!this.#stopped && !this.#paused && end - at >= LENGTH_BYTES) {
      const next = at + LENGTH_BYTES + this.#checked(chunk.readUInt32LE(at));
      if (next > end) break;
      this.#onFrame(chunk, at, next);
      at = next;
    }
    if (!this.#stopped && at < end) this.#keep(chunk, at, end);
  }

  #checked(length: number): number {
    if (length < this.#frameBytesMin || length > this.#frameBytesMax) {
      this.stop();
      throw length < this.#frameBytesMin
        ? new ProtocolError('KV_INVALID', `a frame announces ${length} bytes; the shortest has ${this.#frameBytesMin}`)
        : new ProtocolError(
            'KV_TOO_LARGE',
            `a frame announces ${length} bytes and ${this.#frameBytesMax} are allowed: too large a value, or not a client of the native protocol`,
          );
    }
    return length;
  }

  /** Adds to the pending frame as much of the chunk as belongs to it. Returns the offset behind that. */
  #complete(chunk: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#pendingBytes < LENGTH_BYTES) {
      const take = Math.min(LENGTH_BYTES - this.#pendingBytes, end - at);
      this.#keep(chunk, at, at + take);
      at += take;
      if (this.#pendingBytes < LENGTH_BYTES) return at;
    }
    const frameBytes = LENGTH_BYTES + this.#checked((this.#pending as Buffer).readUInt32LE(0));
    const take = Math.min(frameBytes - this.#pendingBytes, end - at);
    this.#keep(chunk, at, at + take);
    at += take;
    if (this.#pendingBytes === frameBytes) {
      const frame = this.#pending as Buffer;
      this.#pendingBytes = 0;
      if (frame.length > PENDING_BYTES_KEPT) this.#pending = null;
      this.#onFrame(frame, 0, frameBytes);
    }
    return at;
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    const need = this.#pendingBytes + end - start;
    if (this.#pending === null || this.#pending.length < need) {
      const grown = Buffer.allocUnsafeSlow(Math.max(PENDING_BYTES_MIN, need * 2));
      if (this.#pending !== null) this.#pending.copy(grown, 0, 0, this.#pendingBytes);
      this.#pending = grown;
    }
    chunk.copy(this.#pending, this.#pendingBytes, start, end);
    this.#pendingBytes = need;
  }
}
