/**
 * Frames of the control connections between the main threads of nodes: a length, and one msgpack array.
 *
 *     0        4
 *     ├────────┼──────────────────────────────────────────┐
 *     │ length │ [0, id, type, body]     a request        │
 *     │ u32 le │ [1, id, body]           its answer       │
 *     │        │ [2, id, error]          its failure      │
 *     └────────┴──────────────────────────────────────────┘
 */
import { Packr } from 'msgpackr';
import { SkerryError } from '../../core/errors.ts';

const HEADER_BYTES = 4;
export const KIND_REQUEST = 0;
export const KIND_ANSWER = 1;
export const KIND_FAILURE = 2;

const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

export type Frame =
  | { readonly kind: typeof KIND_REQUEST; readonly id: number; readonly type: string; readonly body: unknown }
  | { readonly kind: typeof KIND_ANSWER; readonly id: number; readonly body: unknown }
  | { readonly kind: typeof KIND_FAILURE; readonly id: number; readonly error: unknown };

export function encodeFrame(frame: Frame): Buffer {
  const value =
    frame.kind === KIND_REQUEST
      ? [frame.kind, frame.id, frame.type, frame.body]
      : [frame.kind, frame.id, frame.kind === KIND_ANSWER ? frame.body : frame.error];
  const body = packr.pack(value);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(body.length);
  return Buffer.concat([header, body]);
}

/** Cuts a stream of bytes into frames, however they arrive. */
export class FrameReader {
  /** The longest frame that is taken. */
  bytesMax: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /**
   * The frames that are complete now. Throws SkerryError KV_TOO_LARGE or KV_INVALID; the stream cannot be read on then.
   */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const frames: Frame[] = [];
    while (this.#bytes >= HEADER_BYTES) {
      const length = this.#peekLength();
      if (length > this.bytesMax) {
        throw new SkerryError('KV_TOO_LARGE', `a control frame of ${length} bytes; ${this.bytesMax} are taken`);
      }
      if (this.#bytes < HEADER_BYTES + length) break;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      frames.push(decode(all.subarray(HEADER_BYTES, HEADER_BYTES + length)));
      this.#chunks = [all.subarray(HEADER_BYTES + length)];
      this.#bytes = all.length - HEADER_BYTES - length;
    }
    return frames;
  }

  #peekLength(): number {
    if ((this.#chunks[0] as Buffer).length < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)];
    return (this.#chunks[0] as Buffer).readUInt32LE();
  }
}

function decode(bytes: Buffer): Frame {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new SkerryError('KV_INVALID', 'a control frame that is no msgpack', { cause });
  }
  if (Array.isArray(value)) {
    const [kind, id, third, fourth] = value as unknown[];
    if (typeof id === 'number' && Number.isSafeInteger(id)) {
      if (kind === KIND_REQUEST && typeof third === 'string') return { kind, id, type: third, body: fourth };
      if (kind === KIND_ANSWER) return { kind, id, body: third };
      if (kind === KIND_FAILURE) return { kind, id, error: third };
    }
  }
  throw new SkerryError('KV_INVALID', 'a control frame that is neither a request nor an answer');
}
