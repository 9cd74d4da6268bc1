/**
 * A target that speaks Redis's protocol over bare sockets: SET and GET of fixed shape, copied from a template. All requests
 * of a turn leave with one write per connection; replies are counted, in order.
 *
 *     connection   slots in the order of their requests │ 7 │ 3 │ 4 │ …     the next reply belongs to the first
 */
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { SkerryError } from '../core/errors.ts';
import { SocketWriter } from '../net/socket-writer.ts';
import { KEY_BYTES, writeKey } from './keys.ts';
import { READ, SCAN } from './operations.ts';
import { ReplyCounter } from './resp-replies.ts';
import type { Operation, Target, TargetEvents } from './target.ts';

const READ_BYTES = 256 * 1024;
const BLOCK_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);
const KEY_MARK = '0'.repeat(KEY_BYTES);

export interface RespTargetOptions {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Requests under way on a connection at most. */
  readonly pipeline: number;
  readonly valueBytes: number;
  readonly nowMs: () => number;
}

interface Template {
  readonly bytes: Buffer;
  readonly keyOffset: number;
}

function template(words: readonly string[]): Template {
  const text = `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
  return { bytes: Buffer.from(text), keyOffset: text.indexOf(KEY_MARK) };
}

/** One connection's requests on their way out: the block's beginning is with the kernel, its end waits for flush(). */
class Connection {
  readonly socket: Socket;
  readonly #writer: SocketWriter;
  /** Slots whose replies are owed, in the order of the requests. */
  readonly #owed: Int32Array;
  #owedHead = 0;
  #owedCount = 0;
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #used = 0;
  #flushed = 0;
  /** What was sent last, and from where in the block: one request is mostly as long as another. */
  #sent: Buffer = NOTHING;
  #sentFrom = 0;
  #isWriting = false;

  constructor(socket: Socket, pipeline: number) {
    this.socket = socket;
    this.#writer = new SocketWriter(socket, () => {
      this.#isWriting = false;
      this.flush();
    });
    this.#owed = new Int32Array(pipeline);
  }

  get hasOutput(): boolean {
    return this.#used > this.#flushed;
  }

  write(slot: number, { bytes, keyOffset }: Template, keyNumber: number): void {
    if (this.#used + bytes.length > this.#block.length) this.#newBlock(bytes.length);
    bytes.copy(this.#block, this.#used);
    writeKey(this.#block, this.#used + keyOffset, keyNumber);
    this.#used += bytes.length;
    this.#owed[(this.#owedHead + this.#owedCount++) % this.#owed.length] = slot;
  }

  /** The slot that the next reply answers; -1 when none is owed. */
  takeSlot(): number {
    if (this.#owedCount === 0) return -1;
    const slot = this.#owed[this.#owedHead] as number;
    this.#owedHead = (this.#owedHead + 1) % this.#owed.length;
    this.#owedCount--;
    return slot;
  }

  flush(): void {
    if (!this.hasOutput || this.#isWriting) return;
    if (this.#sentFrom !== this.#flushed || this.#sent.length !== this.#used - this.#flushed) {
      this.#sent = this.#block.subarray(this.#flushed, this.#used);
      this.#sentFrom = this.#flushed;
    }
    this.#flushed = this.#used;
    if (this.#writer.write(this.#sent)) this.#used = this.#flushed = 0;
    else this.#isWriting = true;
  }

  /** Takes another block, with room for `bytes` behind what waits: the kernel may still read the old one. */
  #newBlock(bytes: number): void {
    const waiting = this.#block.subarray(this.#flushed, this.#used);
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, 2 * (waiting.length + bytes)));
    waiting.copy(this.#block);
    this.#used = waiting.length;
    this.#flushed = 0;
    this.#sent = NOTHING;
  }
}

export function createRespTarget(options: RespTargetOptions): Target {
  const { host, port, pipeline, nowMs } = options;
  const set = template(['SET', KEY_MARK, 'x'.repeat(options.valueBytes)]);
  const get = template(['GET', KEY_MARK]);
  const connections: Connection[] = [];
  /** Connections that have something to send. */
  let written: Connection[] = [];
  let closing = false;

  const open = (events: TargetEvents): Promise<void> =>
    new Promise((resolve, reject) => {
      let turnMs = 0;
      const counter = new ReplyCounter(
        (outcome) => {
          const slot = connection.takeSlot();
          if (slot < 0) connection.socket.destroy(new Error('the server sent a reply that nobody asked for'));
          else events.done(slot, outcome, turnMs);
        },
        (text) => events.failed(text),
      );
      const socket = connect({
        host,
        port,
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafeSlow(READ_BYTES),
          callback: (length, chunk) => {
            turnMs = nowMs();
            counter.push(chunk as Buffer, length);
            events.turned(turnMs);
            return true;
          },
        },
      });
      const connection = new Connection(socket, pipeline);
      connections.push(connection);
      socket.once('connect', resolve);
      socket.once('error', (error) => {
        reject(error);
        if (!closing) events.lost(error);
      });
      socket.once('close', () => {
        if (!closing) events.lost(new Error(`${host}:${port} closed a connection`));
      });
    });

  return {
    async open(events) {
      for (let i = 0; i < options.connections; i++) await open(events);
    },
    begin(slot, operation: Operation) {
      if (operation.kind === SCAN) throw new SkerryError('KV_INVALID', 'scans by key need the native client');
      const connection = connections[Math.floor(slot / pipeline)] as Connection;
      if (!connection.hasOutput) written.push(connection);
      connection.write(slot, operation.kind === READ ? get : set, operation.keyNumber);
    },
    flush() {
      if (written.length === 0) return;
      for (const connection of written) connection.flush();
      written = [];
    },
    close() {
      closing = true;
      for (const { socket } of connections) socket.destroy();
      return Promise.resolve();
    },
  };
}
