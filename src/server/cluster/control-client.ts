/**
 * A control connection to one address: dialled when first needed, dialled again after it broke. Requests go out as they come,
 * answers come back in any order. A request that was sent before the connection broke fails with KV_NETWORK: it may or
 * may not have been carried out, and all of them can be repeated.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { SkerryError } from '../../core/errors.ts';
import { encodeFrame, FrameReader, KIND_ANSWER, KIND_FAILURE, KIND_REQUEST } from './frames.ts';
import type { Frame } from './frames.ts';
import { checkAnswer, FRAME_BYTES_MAX, fromWireError } from './protocol.ts';
import type { AnswerBody, RequestBody, RequestType } from './protocol.ts';

/** What is on its way to one node; a node that takes no more is as good as unreachable. */
const UNSENT_BYTES_MAX = 128 * 1024 * 1024;

export interface ControlAddress {
  readonly host: string;
  readonly port: number;
}

interface Waiting {
  readonly type: RequestType;
  readonly resolve: (body: unknown) => void;
  readonly reject: (error: SkerryError) => void;
  readonly timer: NodeJS.Timeout;
}

export class ControlClient {
  readonly address: ControlAddress;
  readonly #hello: () => RequestBody<'hello'>;
  readonly #waiting = new Map<number, Waiting>();
  #socket: Socket | null = null;
  #nextId = 1;
  #isClosed = false;

  /** `hello`: who we are, and whom we expect there, when the connection is made. */
  constructor(address: ControlAddress, hello: () => RequestBody<'hello'>) {
    this.address = address;
    this.#hello = hello;
  }

  /**
   * Asks, and resolves with the answer. Rejects with the other side's SkerryError, KV_NETWORK when it cannot be reached or
   * the connection broke, KV_TIMEOUT when it was silent for `timeoutMs`.
   */
  request<T extends RequestType>(type: T, body: RequestBody<T>, timeoutMs: number): Promise<AnswerBody<T>> {
    if (this.#isClosed) return Promise.reject(new SkerryError('KV_NETWORK', 'the control connection is closed'));
    this.#socket ??= this.#dial();
    return this.#send(this.#socket, type, body, timeoutMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop(new SkerryError('KV_NETWORK', 'the control connection is closed'));
  }

  #send<T extends RequestType>(
    socket: Socket,
    type: T,
    body: RequestBody<T>,
    timeoutMs: number,
  ): Promise<AnswerBody<T>> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new SkerryError('KV_TIMEOUT', `${this.#name} did not answer ${type} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { type, resolve: resolve as (body: unknown) => void, reject, timer });
      socket.write(encodeFrame({ kind: KIND_REQUEST, id, type, body }));
      if (socket.writableLength > UNSENT_BYTES_MAX) {
        this.#drop(new SkerryError('KV_NETWORK', `${this.#name} reads nothing`));
      }
    });
  }

  #dial(): Socket {
    const { host, port } = this.address;
    const socket = connect({ host, port, noDelay: true });
    const reader = new FrameReader(FRAME_BYTES_MAX);
    const ended = (why: string): void => {
      if (socket === this.#socket) this.#drop(new SkerryError('KV_NETWORK', `${this.#name}: ${why}`));
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) this.#settle(frame);
      } catch (error) {
        ended((error as Error).message);
      }
    });
    socket.on('error', (error) => ended(error.message));
    socket.on('close', () => ended('the connection was closed'));
    // A refused hello explains itself to the requests behind it, which the other side leaves unanswered.
    this.#send(socket, 'hello', this.#hello(), 10_000).catch((error: SkerryError) => {
      if (socket === this.#socket) this.#drop(error);
    });
    return socket;
  }

  #settle(frame: Frame): void {
    const waiting = this.#waiting.get(frame.id);
    if (waiting === undefined || frame.kind === KIND_REQUEST) return;
    this.#waiting.delete(frame.id);
    clearTimeout(waiting.timer);
    if (frame.kind === KIND_FAILURE) waiting.reject(fromWireError(frame.error));
    else if (frame.kind === KIND_ANSWER) {
      try {
        waiting.resolve(checkAnswer(waiting.type, frame.body));
      } catch (error) {
        waiting.reject(error as SkerryError);
      }
    }
  }

  #drop(error: SkerryError): void {
    this.#socket?.destroy();
    this.#socket = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { timer, reject } of waiting) {
      clearTimeout(timer);
      reject(error);
    }
  }

  get #name(): string {
    return `${this.address.host}:${this.address.port}`;
  }
}
