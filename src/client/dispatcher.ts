/**
 * Gets calls to the store and their replies back: routing, retries, deadlines, the identity of writes.
 *
 *     call() ─▶ waiting ── a link is up and has room ─▶ pending (by request id) ── reply ─▶ settled
 *                  ▲                                        │
 *                  └─ delayed ◀─ link lost, retryable error ┘   until `retries` or the deadline is used up
 *
 * Everything is bounded: calls not settled by `pendingMax`, attempts of a call by `retries`, its time by its deadline.
 *
 * Invariant: a write keeps its sequence over all attempts, and the floor that is sent never passes a write that may still
 * be sent again. So the store applies it once. On a link that loses nothing a write has no sequence, and is sent again
 * only when it certainly was not applied.
 */
import {
  PATIENCE_MAX,
  PATIENCE_STEP_MS,
  requestBytes,
  requestBytesMax,
  STATUS_OK,
  STATUS_TOPOLOGY,
} from '../codec/native/frame.ts';
import type { Argument } from '../codec/native/frame.ts';
import type { ServerExplanation } from '../codec/native/explanation.ts';
import type { HelloReply, Topology } from '../codec/native/messages.ts';
import { unpackMessage } from '../codec/native/messages.ts';
import type { ErrorCode } from '../core/errors.ts';
import { SkerryError } from '../core/errors.ts';
import type { Request } from './call.ts';
import { Call, CALL_READ, CALL_WRITE } from './call.ts';
import { explained } from './explanation.ts';
import type { CallOptions, ClientSettings } from './options.ts';
import { RETRY_DELAY_MAX_MS } from './options.ts';
import { PendingTable } from './pending-table.ts';
import type { Decode } from './replies.ts';
import { decodeError } from './replies.ts';
import { RequestWindow } from './request-window.ts';
import { Routing } from './routing.ts';
import type { Link, Transport, TransportEvents } from './transport.ts';

/** A link that said nothing for so long, while calls on it ran out of time, is given up. */
const SILENCE_MS = 5000;
/** What a node answers that has no way to those who could decide: another node may have one. */
const STUCK_CODES: ReadonlySet<ErrorCode> = new Set(['KV_NOT_LEADER', 'KV_PARTITION', 'KV_UNKNOWN_RESULT']);
/** So much of the time that a call has left is spent on waiting in the store; the rest is for its word on why that was in vain. */
const PATIENCE_SHARE = 0.8;
/** Writes are held back while the oldest open one lies this far behind, which bounds what the store has to remember. */
const WINDOW_MAX = 65_536;

export class Dispatcher implements TransportEvents {
  readonly routing = new Routing();
  readonly #transport: Transport;
  readonly #settings: ClientSettings;
  readonly #random: () => number;
  readonly #pending = new PendingTable<Call>();
  /** For a link, or for room on it; in order. */
  readonly #waiting = new Set<Call>();
  /** For the time of their next attempt. */
  readonly #delayed = new Set<Call>();
  readonly #window = new RequestWindow();
  readonly #identity = { clientId: 0, sequence: 0, floor: 0 };
  #linksUp = 0;
  #connectFailures = 0;
  /** Why the last round of connecting failed; null while a link is up. */
  #unreachable: SkerryError | null = null;
  #wakeMs = Infinity;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Why no call will ever succeed again. */
  #ended: SkerryError | null = null;

  constructor(transport: Transport, settings: ClientSettings, clientId: number, random: () => number) {
    this.#transport = transport;
    this.#settings = settings;
    this.#identity.clientId = clientId;
    this.#random = random;
  }

  async open(): Promise<void> {
    await this.#transport.open(this);
  }

  /** Calls not yet settled. */
  get size(): number {
    return this.#pending.size + this.#waiting.size + this.#delayed.size;
  }

  /** Resolves with the decoded reply, or rejects with SkerryError. */
  call<Result>(request: Request, decode: Decode<Result>, options: CallOptions | undefined): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const refused = this.#refusal(request.args, options);
      if (refused !== null) {
        reject(refused);
        return;
      }
      const nowMs = performance.now();
      const deadlineMs = nowMs + (options?.timeoutMs ?? this.#settings.timeoutMs);
      const call = new Call(request, decode, nowMs, deadlineMs, resolve as (value: unknown) => void, reject);
      const signal = options?.signal;
      if (signal !== undefined) {
        const aborted = (): void => this.#abort(call, signal.reason);
        signal.addEventListener('abort', aborted, { once: true });
        call.release = () => signal.removeEventListener('abort', aborted);
      }
      this.#wakeAt(deadlineMs);
      // Those who wait go first.
      if (this.#waiting.size > 0 || !this.#send(call, nowMs)) this.#waiting.add(call);
      if (this.#ended !== null) this.#fail(call, this.#ended);
    });
  }

  /** Fails what is under way and ends the transport. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      clearTimeout(this.#timer);
      const error = new SkerryError('KV_STATE', 'the client was closed before this call had its reply');
      for (const call of this.#all()) this.#fail(call, error);
    }
    await this.#transport.close();
  }

  reply(
    requestId: number,
    status: number,
    source: Buffer,
    start: number,
    end: number,
    explanation: ServerExplanation | null = null,
  ): void {
    if (requestId === 0) {
      this.#notice(status, source, start, end);
      return;
    }
    const call = this.#pending.take(requestId);
    // Null: whoever asked has given up meanwhile.
    if (call !== null) this.#replied(call, status, source, start, end, explanation);
    // Whatever the answer was, there may be room now.
    if (this.#waiting.size > 0) this.#sendWaiting();
  }

  #replied(
    call: Call,
    status: number,
    source: Buffer,
    start: number,
    end: number,
    explanation: ServerExplanation | null,
  ): void {
    const { link } = call;
    call.link = null;
    if (status !== STATUS_OK) {
      const error = decodeError(status, source, start, end);
      if (link !== null && STUCK_CODES.has(error.code)) this.#transport.doubt(link);
      this.#failed(call, error);
      return;
    }
    let value: unknown;
    try {
      value = call.decode(source, start, end);
      if (call.request.isExplained) value = explained(value, call, explanation);
    } catch (error) {
      this.#fail(
        call,
        error instanceof SkerryError ? error : new SkerryError('KV_INVALID', String(error), { cause: error }),
      );
      return;
    }
    this.#settle(call);
    call.resolve(value);
  }

  up(_link: Link, hello: HelloReply): void {
    this.#connectFailures = 0;
    this.#unreachable = null;
    if (this.#linksUp++ === 0) this.routing.replace(hello.topology);
    else this.routing.learn(hello.topology);
    this.#sendWaiting();
  }

  down(link: Link, error: SkerryError): void {
    this.#linksUp--;
    for (const call of this.#pending.all()) {
      if (call.link !== link) continue;
      this.#pending.take(call.requestId);
      this.#unanswered(call);
      this.#failed(call, error);
    }
    if (this.#waiting.size > 0) this.#sendWaiting();
  }

  room(): void {
    this.#sendWaiting();
  }

  unreachable(error: SkerryError): void {
    this.#connectFailures++;
    this.#unreachable = error;
    if (!error.retryable) {
      this.#ended = error;
      for (const call of this.#all()) this.#fail(call, error);
      return;
    }
    for (const call of this.#waiting) this.#countFailure(call, error);
    if (this.#waiting.size > 0) this.#transport.connect(this.#delayMs(this.#connectFailures));
  }

  #refusal(args: readonly Argument[], options: CallOptions | undefined): SkerryError | null {
    if (this.#closed) return new SkerryError('KV_STATE', 'the client is closed');
    if (this.#ended !== null) return this.#ended;
    for (const arg of args) if (typeof arg !== 'string' && !(arg instanceof Uint8Array)) return invalidArgument(arg);
    const timeoutMs = options?.timeoutMs;
    if (timeoutMs !== undefined && !(timeoutMs > 0)) {
      return new SkerryError('KV_INVALID', `timeoutMs is ${timeoutMs}; it must be above 0`);
    }
    if (options?.signal?.aborted === true) return abortedError(options.signal.reason, false);
    const { pendingMax } = this.#settings;
    if (this.size < pendingMax) return null;
    return new SkerryError(
      'KV_OVERLOADED',
      `${pendingMax} calls wait for their replies already; await some of them before making more (option pendingMax)`,
      { retryable: true },
    );
  }

  /** False when the call has to wait. */
  #send(call: Call, nowMs: number): boolean {
    const { request } = call;
    const { key } = request;
    const route = key === null ? null : this.routing.find(key);
    const link = this.#transport.route(route === null ? 0 : route.worker);
    if (link === null) {
      this.#transport.connect(this.#connectFailures === 0 ? 0 : this.#delayMs(this.#connectFailures));
      return false;
    }
    const isIdentified = request.kind === CALL_WRITE && !link.isExact;
    if (isIdentified && call.sequence === 0 && this.#window.width >= WINDOW_MAX) return false;
    const bytesMax = requestBytesMax(request.args);
    if (bytesMax > link.frameBytesMax && requestBytes(request.args) > link.frameBytesMax) {
      this.#fail(call, tooLarge(bytesMax, link.frameBytesMax));
      return true;
    }
    if (!link.reserve(bytesMax)) return false;
    const identity = isIdentified ? this.#identity : null;
    if (identity !== null) {
      if (call.sequence === 0) call.sequence = this.#window.take();
      identity.sequence = call.sequence;
      identity.floor = this.#window.floor;
    }
    this.#pending.add(call);
    call.link = link;
    call.sentMs = nowMs;
    call.attempts++;
    const patience = patienceFor(call.deadlineMs - nowMs);
    if (route === null) link.send(call.requestId, 0, 0, request, identity, patience);
    else link.send(call.requestId, route.rangeId, route.epoch.version, request, identity, patience);
    return true;
  }

  #all(): Call[] {
    return [...this.#pending.all(), ...this.#waiting, ...this.#delayed];
  }

  #sendWaiting(): void {
    const nowMs = performance.now();
    for (const call of this.#waiting) {
      if (!this.#send(call, nowMs)) return;
      this.#waiting.delete(call);
    }
  }

  /** An attempt was sent and has no answer. */
  #unanswered(call: Call): void {
    call.link = null;
    if (call.request.kind !== CALL_READ) call.mayHaveHappened = true;
  }

  /** An attempt failed: again, if that may help and cannot harm. */
  #failed(call: Call, error: SkerryError): void {
    if (error.code === 'KV_UNKNOWN_RESULT') this.#unanswered(call);
    const { kind } = call.request;
    const isSafe = kind === CALL_READ || call.sequence !== 0 || !call.mayHaveHappened;
    // The same answer twice: the store no longer knows, and will not know a third time either.
    const isForgotten = error.code === 'KV_UNKNOWN_RESULT' && call.lastError?.message === error.message;
    if (!isSafe || !error.retryable || isForgotten || this.#closed) {
      this.#fail(call, error);
      return;
    }
    if (!this.#countFailure(call, error)) return;
    const delayMs = this.#delayMs(call.failures);
    call.notBeforeMs = performance.now() + delayMs;
    this.#delayed.add(call);
    this.#wakeAt(call.notBeforeMs);
  }

  /** False when that was the last one: then the call has failed. */
  #countFailure(call: Call, error: SkerryError): boolean {
    call.lastError = error;
    call.failures++;
    if (call.failures <= this.#settings.retries) return true;
    this.#fail(call, error);
    return false;
  }

  /** Exponential, with half of it random, so that clients that failed together do not come back together. */
  #delayMs(failures: number): number {
    const fullMs = Math.min(this.#settings.retryDelayMs * 2 ** Math.min(failures - 1, 20), RETRY_DELAY_MAX_MS);
    return fullMs * (0.5 + this.#random() / 2);
  }

  #settle(call: Call): void {
    call.settled = true;
    call.release?.();
    if (call.sequence !== 0) this.#window.settle(call.sequence);
  }

  #fail(call: Call, error: SkerryError): void {
    if (call.settled) return;
    if (call.link !== null) {
      this.#pending.take(call.requestId);
      this.#unanswered(call);
    }
    this.#waiting.delete(call);
    this.#delayed.delete(call);
    this.#settle(call);
    // An answer of the command itself is certain: the store remembers it. Any other error says only why nobody knows.
    const isUnknown = call.mayHaveHappened && error.code !== 'KV_REPLY' && error.code !== 'KV_ABORTED';
    call.reject(isUnknown ? unknownResult(error) : error);
  }

  #abort(call: Call, reason: unknown): void {
    const isSent = call.link !== null && call.request.kind !== CALL_READ;
    this.#fail(call, abortedError(reason, isSent || call.mayHaveHappened));
    if (this.#waiting.size > 0) this.#sendWaiting();
  }

  #notice(status: number, source: Buffer, start: number, end: number): void {
    if (status !== STATUS_TOPOLOGY) return;
    const topology = unpackMessage(source, start, end) as Topology;
    if (this.routing.learn(topology)) this.#transport.learn(topology);
  }

  #wakeAt(ms: number): void {
    if (ms >= this.#wakeMs || ms === Infinity) return;
    this.#wakeMs = ms;
    clearTimeout(this.#timer);
    // A timer may fire up to a millisecond early.
    this.#timer = setTimeout(() => this.#wake(), Math.min(Math.max(0, ms - performance.now()) + 1, 2 ** 31 - 1));
  }

  /** Fails the calls that are out of time, sends those whose delay is over, and finds out when to look again. */
  #wake(): void {
    const nowMs = performance.now();
    this.#wakeMs = Infinity;
    let nextMs = Infinity;
    const silent = new Map<Link, SkerryError>();
    for (const call of this.#all()) {
      if (call.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, call.deadlineMs);
        continue;
      }
      const { link } = call;
      const error = timeoutError(call, call.lastError ?? this.#unreachable);
      if (link !== null) {
        if (link.inVainSinceMs <= link.lastReceivedMs) link.inVainSinceMs = call.sentMs;
        if (nowMs - Math.max(link.lastReceivedMs, link.inVainSinceMs) >= SILENCE_MS) silent.set(link, error);
        else this.#transport.doubt(link);
      }
      this.#fail(call, error);
    }
    for (const [link, cause] of silent) {
      this.#transport.fail(
        link,
        new SkerryError('KV_NETWORK', `nothing came from the store for ${SILENCE_MS} ms`, { retryable: true, cause }),
      );
    }
    for (const call of this.#delayed) {
      if (call.notBeforeMs > nowMs) {
        nextMs = Math.min(nextMs, call.notBeforeMs);
      } else {
        this.#delayed.delete(call);
        this.#waiting.add(call);
      }
    }
    this.#wakeAt(nextMs);
    if (this.#waiting.size > 0) this.#sendWaiting();
  }
}

/**
 * What a request says of the time that its call has left: enough less than that for the store to say in time why it could
 * not be done; 0 = more than the store lets anything wait.
 */
function patienceFor(leftMs: number): number {
  const steps = Math.floor((leftMs * PATIENCE_SHARE) / PATIENCE_STEP_MS) - 1;
  return steps > PATIENCE_MAX ? 0 : Math.max(1, steps);
}

function timeoutError(call: Call, cause: SkerryError | null): SkerryError {
  const details = { retryable: true, ...(cause !== null && { cause }) };
  if (call.link !== null) {
    const before = cause === null ? '' : `; to the attempt before: ${cause.message}`;
    return new SkerryError('KV_TIMEOUT', `the store did not answer in time${before}`, details);
  }
  const because = cause === null ? 'no connection had room for it' : cause.message;
  return new SkerryError('KV_TIMEOUT', `the request could not be sent in time: ${because}`, details);
}

function invalidArgument(arg: unknown): SkerryError {
  const kind = arg === null ? 'null' : typeof arg;
  return new SkerryError('KV_INVALID', `keys and values are strings or Uint8Arrays; this one is ${kind}`);
}

function tooLarge(bytes: number, most: number): SkerryError {
  return new SkerryError('KV_TOO_LARGE', `the request would have ${bytes} bytes; the store takes at most ${most}`);
}

function unknownResult(cause: SkerryError): SkerryError {
  return new SkerryError(
    'KV_UNKNOWN_RESULT',
    `the write was sent and not confirmed (${cause.message}); it may or may not have happened: read to find out`,
    { cause },
  );
}

/** `mayHaveHappened`: a write was sent already. */
function abortedError(reason: unknown, mayHaveHappened: boolean): SkerryError {
  const note = mayHaveHappened ? '; the write was sent already and may or may not have happened' : '';
  return new SkerryError('KV_ABORTED', `the call was aborted by its signal${note}`, {
    cause: reason,
    hint: { mayHaveHappened },
  });
}
