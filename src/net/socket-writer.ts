/**
 * Writing to a socket without the stream around it.
 *
 *     write(bytes) ─▶ the connection itself ─┬─ the kernel has taken all, as nearly always: the buffer is free again
 *                                            └─ not all: onTaken() when it has
 *
 * A socket's write() makes an object for the request, one for its callback, and a tick of its own, for bytes that the kernel
 * has taken before it returns: for a short reply that costs more than making the reply did. What the stream does there in
 * the end, since Node 26, is to call the connection's writeBuffer(null, bytes), which returns 0, or a request when something
 * is left to be written. That is not in Node's documentation, so the first write of a thread goes through the stream, and how
 * it calls the connection is looked at: where it calls it in any other way, all writes go through the stream. So do those of
 * sockets with an idle timeout, which the stream keeps, and of sockets that are not connected yet.
 */
import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

/** What is left to be written: calls back when it is, with 0 or a negative error. */
interface WriteRequest {
  oncomplete: (status: number) => void;
  /** Keeps the bytes alive. */
  buffer: Buffer;
  /** Set when it was complete before `oncomplete` was there to be called. */
  writeStatus: number | null;
}

type WriteBuffer = (request: null, bytes: Buffer) => number | WriteRequest;

/** What Node's sockets have and its types do not say. */
interface SocketInternals {
  readonly _handle?: { writeBuffer?: WriteBuffer } | null;
}

/** Whether this Node's streams call writeBuffer() as above; null while it is not known. */
let isBare: boolean | null = null;

/** The writing side of one socket. Nobody else may write to it while the kernel has not taken all. */
export class SocketWriter {
  readonly #socket: Socket;
  readonly #onTaken: () => void;
  #isWriting = false;

  /** `onTaken`: the kernel has taken the rest of what write() could not hand over at once. */
  constructor(socket: Socket, onTaken: () => void) {
    this.#socket = socket;
    this.#onTaken = onTaken;
  }

  /**
   * Writes all of `bytes`. True: the kernel has them. False: they must stay as they are, and nothing more may be written,
   * until onTaken(). A socket that breaks says so by 'error' and 'close'; then onTaken() is not called.
   */
  write(bytes: Buffer): boolean {
    const socket = this.#socket;
    const handle = (socket as SocketInternals)._handle;
    if (isBare !== true || !handle?.writeBuffer || socket.connecting || (socket.timeout ?? 0) > 0) {
      return this.#writeToStream(bytes);
    }
    const result = handle.writeBuffer(null, bytes);
    if (result === 0) return true;
    // The stream meets the same error, and ends the socket with it as usual.
    if (typeof result === 'number') return this.#writeToStream(bytes);
    if (result.writeStatus === 0) return true;
    this.#isWriting = true;
    result.oncomplete = this.#onComplete;
    result.buffer = bytes;
    if (result.writeStatus !== null) this.#onComplete(result.writeStatus);
    return false;
  }

  #writeToStream(bytes: Buffer): boolean {
    const socket = this.#socket;
    if (isBare === null) observeWrite(socket);
    socket.write(bytes, this.#onWritten);
    this.#isWriting = socket.writableLength > 0;
    return !this.#isWriting;
  }

  readonly #onWritten = (): void => {
    if (this.#isWriting && this.#socket.writableLength === 0) this.#taken();
  };

  readonly #onComplete = (status: number): void => {
    if (this.#socket.destroyed) return;
    if (status < 0) this.#socket.destroy(new Error(`write ${getSystemErrorName(status)}`));
    else this.#taken();
  };

  #taken(): void {
    this.#isWriting = false;
    this.#onTaken();
  }
}

/** Looks at how the stream calls the connection in its next write. */
function observeWrite(socket: Socket): void {
  const handle = (socket as SocketInternals)._handle;
  if (!handle?.writeBuffer) return;
  const { writeBuffer } = handle;
  handle.writeBuffer = function observed(...given): ReturnType<WriteBuffer> {
    delete handle.writeBuffer;
    const result = writeBuffer.apply(handle, given);
    isBare = given.length === 2 && given[0] === null && (result === 0 || isRequest(result));
    return result;
  };
}

function isRequest(result: number | WriteRequest): boolean {
  return typeof result === 'object' && 'writeStatus' in result;
}
