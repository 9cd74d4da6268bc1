/** Closing a socket without taking its last bytes back. */
import type { Socket } from 'node:net';

/** After the last byte has left, how long the other side may take to close its end. */
const LINGER_MS = 2000;

/**
 * Ends the socket after what has been written to it. A socket that is closed while it still has unread bytes resets the
 * connection, and the last reply is lost with it: so what the other side still sends is read and thrown away, for a while.
 */
export function endGently(socket: Socket): void {
  socket.resume();
  socket.end(() => {
    if (!socket.destroyed) setTimeout(() => socket.destroy(), LINGER_MS).unref();
  });
}
