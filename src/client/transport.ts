/**
 * What carries the client's frames to the store and back. Two implementations: TCP (tcp-transport.ts) and, for a store
 * embedded in this process, rings to its workers (src/server/embedded.ts).
 *
 *     dispatcher ── route(worker) ─▶ link ── reserve, send ─▶ encoded in place, leaves with all others of this turn
 *         ▲                                                       │
 *         └────────────── events.reply, up, down, room ◀──────────┘
 *
 * A link is one way to one worker. Any worker takes any request, so a link to another worker is slower, not wrong.
 */
import type { ServerExplanation } from '../codec/native/explanation.ts';
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import type { SkerryError } from '../core/errors.ts';
import type { RequestId } from '../core/kv/batch.ts';
import type { Request } from './call.ts';

export interface Link {
  /** The worker at the other end, among all of the cluster. */
  readonly worker: number;
  /** The largest frame that the other end takes. */
  readonly frameBytesMax: number;
  /** Nothing is lost on it without the store being lost: a write needs no identity, since it is never sent again in doubt. */
  readonly isExact: boolean;
  /**
   * Makes room for a request of at most `bytes`; send() follows before anything else happens. False when the link takes
   * no more for now; events.room follows when it does again.
   */
  reserve(bytes: number): boolean;
  /**
   * Sends a request, at the end of this turn of the loop at the latest. `rangeId`, `rangeEpoch`: 0 = not known. `patience`:
   * as in the frame.
   */
  send(
    requestId: number,
    rangeId: number,
    rangeEpoch: number,
    request: Request,
    identity: RequestId | null,
    patience: number,
  ): void;
  /** Monotonic milliseconds (performance.now) when the last bytes came in. */
  readonly lastReceivedMs: number;
  /** When the first of those calls was sent that ran out of time since; up to lastReceivedMs = there is none. The dispatcher's. */
  inVainSinceMs: number;
}

export interface TransportEvents {
  /** A response; request id 0: a notice. Its msgpack value is source[start, end), valid during the call. */
  reply(
    requestId: number,
    status: number,
    source: Buffer,
    start: number,
    end: number,
    explanation?: ServerExplanation | null,
  ): void;
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
  /**
   * A call got nowhere on the link, though it stands: the node at its other end may be cut off from the rest of the store.
   * For a while links to other nodes are preferred, and one is dialled when there is none.
   */
  doubt(link: Link): void;
  /** Gives the link up: it has been silent for too long. events.down follows. */
  fail(link: Link, error: SkerryError): void;
  /** Ends every link (embedded: the store as well). No events follow. */
  close(): Promise<void>;
}
