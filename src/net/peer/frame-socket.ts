/**
 * A socket that carries frames, either end of a peer connection.
 *
 *     begin(kind) … append … ─▶ out ── send() ─▶ SocketWriter ── all taken by the kernel at once ─▶ the buffer is used again
 *                                                             └─ not all ─▶ `writing`: nothing more is written until then,
 *                                                                           the owner's queues fill and are bounded
 *
 * So one connection holds what one write holds, and not more. Frames of the same kind that follow each other become one.
 */
import type { Socket } from 'node:net';
import { ByteWriter } from '../../codec/byte-writer.ts';
import type { OnPeerFrame } from '../../codec/peer/frame-reader.ts';
import { PeerFrameReader } from '../../codec/peer/frame-reader.ts';

import { beginPeerFrame, endPeerFrame, PEER_HEADER_BYTES, PeerProtocolError } from '../../codec/peer/frame.ts';
import { HANDSHAKE_BYTES_MAX } from '../../codec/peer/handshake.ts';
import { endGently } from '../end-gently.ts';
import { SocketWriter } from '../socket-writer.ts';
import type { PeerCounters } from './types.ts';

/** A buffer above this is not kept for the next frames. */
const BUFFER_BYTES_KEPT = 2 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export interface FrameSocketEvents {
  readonly onFrame: OnPeerFrame;
  /** What was being written has left: more can be. */
  readonly onWritable: () => void;
  /** The connection is over, for this reason. Called once. */
  readonly onClose: (reason: string, isProtocolError: boolean) => void;
}

export class FrameSocket {
  readonly socket: Socket;
  readonly out = new ByteWriter(EMPTY);
  readonly #writer: SocketWriter;
  readonly #events: FrameSocketEvents;
  readonly #counters: PeerCounters;
  readonly #reader: PeerFrameReader;
  /** The open frame; -1 = none. */
  #frameStart = -1;
  #frameKind = 0;
  #writingBytes = 0;
  #isClosed = false;
  /** Ticks of the mesh since the last byte from the other side. Ticks, not time: a process that was stopped has not listened. */
  silentTicks = 0;

  constructor(socket: Socket, counters: PeerCounters, events: FrameSocketEvents) {
    this.socket = socket;
    this.#writer = new SocketWriter(socket, () => this.#onTaken());
    this.#counters = counters;
    this.#events = events;
    this.#reader = new PeerFrameReader(HANDSHAKE_BYTES_MAX, this.#onFrame);
    socket.setNoDelay(true);
    socket.on('data', this.#onData);
    socket.on('error', (error: Error) => this.close(error.message));
    socket.on('end', () => this.close('the other side closed the connection'));
    socket.on('close', () => this.close('the connection was closed'));
  }

  get writing(): boolean {
    return this.#writingBytes > 0;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.out.length + this.#writingBytes;
  }

  /** After the handshake. */
  set payloadBytesMax(bytes: number) {
    this.#reader.payloadBytesMax = bytes;
  }

  /** The buffer to append payload of this kind to; it goes on with the frame at hand if that is of the same kind. */
  begin(kind: number): ByteWriter {
    if (this.#frameKind !== kind) this.end();
    if (this.#frameStart < 0) {
      this.#frameStart = beginPeerFrame(this.out);
      this.#frameKind = kind;
    }
    return this.out;
  }

  /** Payload bytes of the frame at hand. */
  get frameBytes(): number {
    return this.#frameStart < 0 ? 0 : this.out.length - this.#frameStart - PEER_HEADER_BYTES;
  }

  /** A whole frame without payload. */
  signal(kind: number): void {
    this.begin(kind);
    this.end();
  }

  /** Writes what there is, unless the last write has not left yet. */
  send(): void {
    const { out } = this;
    if (this.#isClosed || this.#writingBytes > 0) return;
    this.end();
    const { buffer, length } = out;
    if (length === 0) return;
    this.#counters.bytesOut += length;
    out.reset();
    if (!this.#writer.write(buffer.subarray(0, length))) {
      this.#writingBytes = length;
      out.buffer = EMPTY;
    } else if (buffer.length > BUFFER_BYTES_KEPT) {
      out.buffer = EMPTY;
    }
  }

  /** Ends the connection at once. What has been written to the kernel still leaves. */
  close(reason: string, isProtocolError = false): void {
    if (this.#isClosed) return;
    this.#release();
    this.socket.destroy();
    this.#events.onClose(reason, isProtocolError);
  }

  /** Sends what there is, and ends the connection behind it. */
  finish(reason: string): void {
    if (this.#isClosed) return;
    this.send();
    this.#release();
    endGently(this.socket);
    this.#events.onClose(reason, false);
  }

  #release(): void {
    this.#isClosed = true;
    this.#reader.stop();
    this.#writingBytes = 0;
    this.#frameStart = -1;
    this.out.reset();
    this.out.buffer = EMPTY;
  }

  /** Completes the frame at hand, if there is one. */
  end(): void {
    if (this.#frameStart < 0) return;
    endPeerFrame(this.out, this.#frameStart, this.#frameKind);
    this.#frameStart = -1;
    this.#counters.framesOut++;
  }

  readonly #onFrame: OnPeerFrame = (kind, source, start, end) => {
    this.#counters.framesIn++;
    this.#events.onFrame(kind, source, start, end);
  };

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isClosed) return;
    this.silentTicks = 0;
    this.#counters.bytesIn += chunk.length;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof PeerProtocolError)) throw error;
      this.close(error.message, true);
    }
  };

  /** Errors of the socket end in 'error' and 'close'. */
  #onTaken(): void {
    if (this.#isClosed) return;
    this.#writingBytes = 0;
    this.#events.onWritable();
  }
}
