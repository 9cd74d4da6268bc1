/**
 * A TCP proxy that does to connections what networks do to them. Each direction has faults of its own, which may change
 * while connections are open:
 *
 *     client ──▶ [toTarget: delay · hole · pieces · corruption · bandwidth] ──▶ target
 *            ◀── [toClient: …                                            ] ◀──
 *
 * Bytes keep their order. What a hole holds back arrives when it heals, as with TCP's own retransmission; nor do ends and
 * resets get through it. A connection that is made while there is a hole is accepted here, and that is all.
 */
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import type { Prng } from '../../src/core/prng.ts';

export interface DirectionFaults {
  /** Every byte comes this much later, give or take the jitter. */
  delayMs: number;
  jitterMs: number;
  /** Nothing gets through. */
  hole: boolean;
  /** Written in pieces of at most so many bytes, one for each turn of the loop; 0 = as they come. */
  pieceBytes: number;
  /** 0 = as fast as it goes. */
  bytesPerSecond: number;
  /** One bit of the next bytes is flipped; then this is false again. */
  corruptNext: boolean;
}

export const NO_FAULTS: Readonly<DirectionFaults> = {
  delayMs: 0,
  jitterMs: 0,
  hole: false,
  pieceBytes: 0,
  bytesPerSecond: 0,
  corruptNext: false,
};

export interface TcpProxy {
  readonly port: number;
  readonly toTarget: DirectionFaults;
  readonly toClient: DirectionFaults;
  /** Open connections. */
  readonly connections: number;
  /** Connections taken since the start. */
  readonly accepted: number;
  /** Where new connections are led. */
  target: { readonly host: string; readonly port: number };
  /** New connections are reset at once. */
  refuse: boolean;
  /** Holes in both directions, or none. */
  partition(isCut: boolean): void;
  /** Resets every open connection, on both sides. */
  reset(): void;
  close(): void;
}

/** What a direction holds back before it stops reading, so that the sender's own buffers fill up. */
const HELD_BYTES_MAX = 256 * 1024;

interface Held {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/** One direction of one connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: DirectionFaults;
  readonly #prng: Prng;
  readonly #held: Held[] = [];
  #heldBytes = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | NodeJS.Immediate | null = null;
  #ended: 'end' | 'reset' | null = null;

  constructor(from: Socket, to: Socket, faults: DirectionFaults, prng: Prng) {
    this.#from = from;
    this.#to = to;
    this.#faults = faults;
    this.#prng = prng;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => this.#finish('end'));
    from.on('error', () => this.#finish('reset'));
    from.on('close', () => this.#finish('end'));
    to.on('drain', () => this.pump());
  }

  /** Hands on what is due. Called again when the faults have changed. */
  readonly pump = (): void => {
    if (this.#timer !== null) {
      clearTimeout(this.#timer as NodeJS.Timeout);
      clearImmediate(this.#timer as NodeJS.Immediate);
      this.#timer = null;
    }
    const { hole, pieceBytes, bytesPerSecond } = this.#faults;
    if (hole || this.#to.destroyed) return;
    while (this.#held.length > 0) {
      if (this.#to.writableNeedDrain) return;
      const { bytes, dueMs } = this.#held[0] as Held;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(this.pump, waitMs);
        return;
      }
      const most = bytesPerSecond > 0 ? Math.max(1, Math.floor(bytesPerSecond / 100)) : bytes.length;
      const piece = bytes.subarray(0, pieceBytes > 0 ? Math.min(pieceBytes, most) : most);
      if (piece.length === bytes.length) this.#held.shift();
      else this.#held[0] = { bytes: bytes.subarray(piece.length), dueMs };
      this.#heldBytes -= piece.length;
      this.#to.write(this.#maybeDamaged(piece));
      if (this.#heldBytes < HELD_BYTES_MAX && this.#from.isPaused()) this.#from.resume();
      if (bytesPerSecond > 0) {
        this.#timer = setTimeout(this.pump, (piece.length / bytesPerSecond) * 1000);
        return;
      }
      if (pieceBytes > 0) {
        this.#timer = setImmediate(this.pump);
        return;
      }
    }
    if (this.#ended === 'end') this.#to.end();
    else if (this.#ended === 'reset') this.#to.resetAndDestroy();
  };

  #take(bytes: Buffer): void {
    const { delayMs, jitterMs } = this.#faults;
    const dueMs = performance.now() + delayMs + (this.#prng.next() * 2 - 1) * jitterMs;
    this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
    this.#held.push({ bytes, dueMs: this.#lastDueMs });
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= HELD_BYTES_MAX) this.#from.pause();
    if (this.#timer === null) this.pump();
  }

  #finish(how: 'end' | 'reset'): void {
    if (this.#ended !== null) return;
    this.#ended = how;
    if (this.#timer === null) this.pump();
  }

  #maybeDamaged(bytes: Buffer): Buffer {
    if (!this.#faults.corruptNext) return bytes;
    this.#faults.corruptNext = false;
    const damaged = Buffer.from(bytes);
    const at = this.#prng.below(bytes.length);
    damaged[at] = (damaged[at] as number) ^ (1 << this.#prng.below(8));
    return damaged;
  }
}

function faultsOf(changed: () => void): DirectionFaults {
  return new Proxy(
    { ...NO_FAULTS },
    {
      set(target, name, value) {
        const done = Reflect.set(target, name, value);
        changed();
        return done;
      },
    },
  );
}

/** Listens on a port, by default a free one, of the interface with the address `host`, by default the loopback one. */
export async function createTcpProxy(
  target: TcpProxy['target'],
  prng: Prng,
  host = '127.0.0.1',
  port = 0,
): Promise<TcpProxy> {
  const open = new Set<{ readonly client: Socket; readonly server: Socket; readonly pipes: readonly Pipe[] }>();
  let accepted = 0;
  const pumpAll = (): void => {
    for (const { pipes } of open) for (const pipe of pipes) pipe.pump();
  };
  const toTarget = faultsOf(pumpAll);
  const toClient = faultsOf(pumpAll);
  const listener: Server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    accepted++;
    if (proxy.refuse) {
      client.resetAndDestroy();
      return;
    }
    const server = createConnection({ ...proxy.target, noDelay: true, allowHalfOpen: true });
    const pipes = [new Pipe(client, server, toTarget, prng), new Pipe(server, client, toClient, prng)];
    const connection = { client, server, pipes };
    open.add(connection);
    const closed = (): void => {
      if (client.destroyed && server.destroyed) open.delete(connection);
    };
    client.on('close', closed);
    server.on('close', closed);
  });
  listener.listen(port, host);
  await once(listener, 'listening');
  const resetAll = (): void => {
    for (const { client, server } of open) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  };
  const proxy: TcpProxy = {
    port: (listener.address() as AddressInfo).port,
    toTarget,
    toClient,
    target,
    refuse: false,
    get connections() {
      return open.size;
    },
    get accepted() {
      return accepted;
    },
    partition(isCut) {
      toTarget.hole = isCut;
      toClient.hole = isCut;
    },
    reset: resetAll,
    close() {
      listener.close();
      resetAll();
    },
  };
  return proxy;
}
