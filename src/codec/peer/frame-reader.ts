/**
 * Cuts the stream from a peer into verified frames. A frame that lies whole in a chunk is handed on in place; one that
 * spans chunks is put together in a buffer that grows with the bytes that have come.
 */
import { checkPeerHeader, checkPeerPayload, PEER_HEADER_BYTES } from './frame.ts';

const PENDING_BYTES_MIN = 4 * 1024;
/** A pending buffer above this is given back after its frame. */
const PENDING_BYTES_KEPT = 1024 * 1024;

/** Gets the payload source[start, end) of a frame that holds. The bytes are valid until it returns. */
export type OnPeerFrame = (kind: number, source: Buffer, start: number, end: number) => void;

export class PeerFrameReader {
  readonly #onFrame: OnPeerFrame;
  payloadBytesMax: number;
  /** The start of an unfinished frame. */
  #pending: Buffer | null = null;
  #pendingBytes = 0;
  /** Of the unfinished frame, header included; 0 = its header is not whole yet. */
  #frameBytes = 0;
  #stopped = false;

  constructor(payloadBytesMax: number, onFrame: OnPeerFrame) {
    this.payloadBytesMax = payloadBytesMax;
    this.#onFrame = onFrame;
  }

  /** No more frames are handed on, not even those of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
    this.#pending = null;
    this.#pendingBytes = 0;
  }

  /** Takes a chunk. Throws PeerProtocolError at the first damage, after which nothing more may be pushed. */
  push(chunk: Buffer): void {
    const end = chunk.length;
    let at = this.#pendingBytes > 0 ? this.#complete(chunk) : 0;
    while (!this.#stopped && end - at >= PEER_HEADER_BYTES) {
      const next = at + checkPeerHeader(chunk, at, this.payloadBytesMax);
      if (next > end) break;
      this.#handOn(chunk, at, next);
      at = next;
    }
    if (!this.#stopped && at < end) this.#keep(chunk, at, end);
  }

  /** Adds what belongs to the pending frame; hands it on when it is whole. Returns the offset behind that. */
  #complete(chunk: Buffer): number {
    let at = 0;
    if (this.#frameBytes === 0) {
      at = Math.max(0, Math.min(PEER_HEADER_BYTES - this.#pendingBytes, chunk.length));
      if (at > 0) this.#keep(chunk, 0, at);
      if (this.#pendingBytes < PEER_HEADER_BYTES) return at;
      this.#frameBytes = checkPeerHeader(this.#pending as Buffer, 0, this.payloadBytesMax);
    }
    const next = at + Math.min(this.#frameBytes - this.#pendingBytes, chunk.length - at);
    if (next > at) this.#keep(chunk, at, next);
    if (this.#pendingBytes < this.#frameBytes) return next;
    const frame = this.#pending as Buffer;
    const frameBytes = this.#frameBytes;
    this.#pendingBytes = 0;
    this.#frameBytes = 0;
    if (frame.length > PENDING_BYTES_KEPT) this.#pending = null;
    this.#handOn(frame, 0, frameBytes);
    return next;
  }

  #handOn(source: Buffer, start: number, end: number): void {
    checkPeerPayload(source, start, end);
    this.#onFrame(source[start + 4] as number, source, start + PEER_HEADER_BYTES, end);
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    const need = this.#pendingBytes + end - start;
    if (this.#pending === null || this.#pending.length < need) {
      // Not more than the frame, once its length is known: a long one is doubled until it fits.
      const most = this.#frameBytes === 0 ? Infinity : this.#frameBytes;
      const size = Math.max(need, Math.min(most, Math.max(PENDING_BYTES_MIN, need * 2)));
      const grown = Buffer.allocUnsafeSlow(size);
      if (this.#pending !== null) this.#pending.copy(grown, 0, 0, this.#pendingBytes);
      this.#pending = grown;
    }
    chunk.copy(this.#pending, this.#pendingBytes, start, end);
    this.#pendingBytes = need;
  }
}
