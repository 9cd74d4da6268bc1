/**
 * What carries the client's frames to the store and back. Two implementations: TCP (tcp-transport.ts) and, for a store
 * embedded in this process, rings to its workers (src/server/embedded.ts).
 *
 *     dispatcher ── route(worker) ─▶ link ── reserve, write in place, commit ─▶ one write per turn of the loop
 *         ▲                                                                          │
 *         └────────────── events.frame, up, down, room ◀─────────────────────────────┘
 *
 * A link is one way to one worker. Any worker takes any request, so a link to another worker is slower, not wrong.
 */
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import type { SkerryError } from '../core/errors.ts';

export interface Link {
  /** The worker at the other end, among all of the cluster. */
  readonly worker: number;
  /** The largest frame that the other end takes. */
  readonly frameBytesMax: number;
  /**
   * Makes room for one frame of at most `bytes`, to be written at buffer[offset …) before anything else happens.
   * False when the link takes no more for now; events.room follows when it does again.
   */
  reserve(bytes: number): boolean;
  /** Hold after reserve() returned true, until commit(). */
  readonly buffer: Buffer;
  readonly offset: number;
  /** The frame is `bytes` long; it leaves at the end of this turn of the loop at the latest. */
  commit(bytes: number): void;
  /** Monotonic milliseconds (performance.now) when the last bytes came in. */
  readonly lastReceivedMs: number;
}

export interface TransportEvents {
  /** One whole response frame: source[start, end), the length field first, valid during the call. */
  frame(source: Buffer, start: number, end: number): void;
  /** The link takes requests. */
  up(link: Link, hello: HelloReply): void;
  /** The link is gone: what was sent on it and not answered stays unanswered. */
  down(link: Link, error: SkerryError): void;
  /** The link takes requests again. */
  room(link: Link): void;
  /** Nobody could be reached in one round of attempts; another round starts with the next call of connect(). */
  unreachable(error: SkerryError): void;
}

export interface Transport {
  /** Connects and resolves once the store can be asked; rejects with SkerryError after one round of attempts. */
  open(events: TransportEvents): Promise<HelloReply>;
  /** The best link to this worker that is up now, to another worker if need be; null when none is up. */
  route(worker: number): Link | null;
  /** Starts a round of attempts after `delayMs` unless one is under way. */
  connect(delayMs: number): void;
  /** New routing, as a notice brought it. */
  learn(topology: Topology): void;
  /** Gives the link up: it has been silent for too long. events.down follows. */
  fail(link: Link, error: SkerryError): void;
  /** Ends every link (embedded: the store as well). No events follow. */
  close(): Promise<void>;
}
