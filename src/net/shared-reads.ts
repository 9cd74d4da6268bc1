/**
 * Sockets whose bytes arrive in one buffer that all sockets of a thread share.
 *
 *     kernel ─▶ [ one buffer of 64 KiB ] ─▶ 'data' of this socket ─▶ the session has parsed or copied it ─▶ next socket
 *
 * Node gives each chunk that it reads a buffer of its own: 64 KiB are allocated, the chunk is copied into a fitting one, and
 * the garbage collector learns of both. That costs about as much as parsing the command in it. A socket that is made with
 * `onread` reads into the caller's buffer, but an accepted one cannot be asked for it; so the connection is given on to
 * a socket that is made here. Node's names for that are not in its documentation: where they are missing, the accepted
 * socket stays as it is.
 */
import type { OnReadOpts, SocketConstructorOpts } from 'node:net';
import { Socket } from 'node:net';

const READ_BYTES = 64 * 1024;

/** What Node's sockets have and its types do not say. */
interface SocketInternals {
  /** The connection itself, as far as JavaScript sees it. */
  _handle?: object | null;
  /** Counts its open connections. */
  _server?: object | null;
}

/** What is read is mostly short and as long as something before: the first so many bytes of the buffer, made once. */
const VIEWS_MAX = 1024;

let shared: Buffer | null = null;
const views: Buffer[] = [];

/**
 * Takes a connection that was accepted with `pauseOnConnect`. The socket that it returns stands for it from now on; what
 * its 'data' listeners are given is valid until they return.
 */
export function withSharedReads(accepted: Socket): Socket {
  const given = accepted as SocketInternals;
  const { _handle: handle, _server: server } = given;
  if (handle === null || handle === undefined) return accepted.resume();
  const onread = sharedReads(() => socket);
  const socket = new Socket({ handle, onread } as unknown as SocketConstructorOpts);
  (socket as SocketInternals)._server = server ?? null;
  given._handle = null;
  given._server = null;
  return socket;
}

/** For a socket that is made here: what its 'data' listeners are given is valid until they return. */
export function sharedReads(socketOf: () => Socket): OnReadOpts {
  const buffer = (shared ??= Buffer.allocUnsafeSlow(READ_BYTES));
  return { buffer, callback: (bytes) => socketOf().emit('data', firstBytes(buffer, bytes)) };
}

function firstBytes(buffer: Buffer, bytes: number): Buffer {
  if (bytes >= VIEWS_MAX) return buffer.subarray(0, bytes);
  return (views[bytes] ??= buffer.subarray(0, bytes));
}
