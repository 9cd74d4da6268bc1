/**
 * A target that speaks etcd's gRPC over bare sockets: puts and reads of one key. HTTP/2 is done here as far as that needs it,
 * since a generator that costs more than etcd itself measures nothing.
 *
 *     connection   one stream per request; answer: HEADERS, DATA, HEADERS with END_STREAM; without DATA it is an error
 */
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { writeKey } from '../../src/bench/keys.ts';
import { READ, SCAN } from '../../src/bench/operations.ts';
import type { LoadPlan } from '../../src/bench/plan.ts';
import type { Outcome, Target, TargetEvents } from '../../src/bench/target.ts';
import { DONE, FAILED, MISS } from '../../src/bench/target.ts';
import type { RequestTemplate } from './grpc-request.ts';
import {
  FLAG_END_STREAM,
  frame,
  FRAME_DATA,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  hasKeyValue,
  putTemplate,
  rangeTemplate,
} from './grpc-request.ts';

const FRAME_RST_STREAM = 3;
const FRAME_SETTINGS = 4;
const FRAME_PING = 6;
const FRAME_GOAWAY = 7;
const FRAME_WINDOW_UPDATE = 8;
const FLAG_ACK = 1;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const WINDOW_BYTES = 65_535;
/** What the server may send before it hears of us again. */
const RECEIVE_WINDOW_BYTES = 2 ** 30;
const READ_BYTES = 256 * 1024;

interface Stream {
  readonly slot: number;
  /** Until the answer's message has come. */
  outcome: Outcome;
  readonly isRead: boolean;
}

class Connection {
  readonly socket: Socket;
  readonly #events: TargetEvents;
  readonly #nowMs: () => number;
  readonly #streams = new Map<number, Stream>();
  #nextStream = 1;
  /** Bytes that the server still takes, over all streams. */
  #sendWindow = WINDOW_BYTES;
  #receivedBytes = 0;
  /** Requests that wait for the window. */
  #waiting: (() => void)[] = [];
  #out: Buffer[] = [];
  /** Start of a frame whose rest has not come. */
  #pending: Buffer = Buffer.alloc(0);

  constructor(host: string, port: number, events: TargetEvents, nowMs: () => number) {
    this.#events = events;
    this.#nowMs = nowMs;
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, chunk: Uint8Array): boolean => {
        this.#read((chunk as Buffer).subarray(0, length));
        return true;
      },
    };
    this.socket = connect({ host, port, noDelay: true, onread });
    const more = Buffer.alloc(4);
    more.writeUInt32BE(RECEIVE_WINDOW_BYTES);
    this.#out.push(
      Buffer.from(PREFACE),
      frame(FRAME_SETTINGS, 0, 0, Buffer.alloc(0)),
      frame(FRAME_WINDOW_UPDATE, 0, 0, more),
    );
  }

  send(slot: number, template: RequestTemplate, keyNumber: number, isRead: boolean): void {
    if (this.#sendWindow < template.flowBytes) {
      this.#waiting.push(() => this.send(slot, template, keyNumber, isRead));
      return;
    }
    this.#sendWindow -= template.flowBytes;
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#streams.set(stream, { slot, outcome: FAILED, isRead });
    const bytes = Buffer.from(template.bytes);
    for (const at of template.streamOffsets) bytes.writeUInt32BE(stream, at);
    writeKey(bytes, template.keyOffset, keyNumber);
    this.#out.push(bytes);
  }

  flush(): void {
    if (this.#out.length === 0) return;
    this.socket.write(this.#out.length === 1 ? (this.#out[0] as Buffer) : Buffer.concat(this.#out));
    this.#out = [];
  }

  #read(chunk: Buffer): void {
    const nowMs = this.#nowMs();
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.#frame(bytes, at, end, nowMs);
      at = end;
    }
    // The socket reads the next bytes over these.
    this.#pending = Buffer.from(bytes.subarray(at));
    this.#events.turned(nowMs);
    this.flush();
  }

  #frame(bytes: Buffer, start: number, end: number, nowMs: number): void {
    const type = bytes[start + 3] as number;
    const flags = bytes[start + 4] as number;
    const id = bytes.readUInt32BE(start + 5);
    const payload = start + FRAME_HEADER_BYTES;
    if (type === FRAME_DATA) {
      this.#count(end - payload);
      const stream = this.#streams.get(id);
      // A long answer goes on in further frames; what is asked stands in the first.
      if (stream?.outcome === FAILED) {
        stream.outcome = stream.isRead && !hasKeyValue(bytes, payload, end) ? MISS : DONE;
      }
    }
    if ((type === FRAME_HEADERS || type === FRAME_DATA) && (flags & FLAG_END_STREAM) !== 0) {
      this.#end(id, nowMs);
    } else if (type === FRAME_RST_STREAM) {
      const stream = this.#streams.get(id);
      if (stream !== undefined) stream.outcome = FAILED;
      this.#end(id, nowMs);
    } else if (type === FRAME_SETTINGS && (flags & FLAG_ACK) === 0) {
      this.#out.push(frame(FRAME_SETTINGS, FLAG_ACK, 0, Buffer.alloc(0)));
    } else if (type === FRAME_PING && (flags & FLAG_ACK) === 0) {
      this.#out.push(frame(FRAME_PING, FLAG_ACK, 0, Buffer.from(bytes.subarray(payload, end))));
    } else if (type === FRAME_WINDOW_UPDATE && id === 0) {
      this.#sendWindow += bytes.readUInt32BE(payload);
      for (const again of this.#waiting.splice(0)) again();
    } else if (type === FRAME_GOAWAY) {
      this.socket.destroy(new Error(`etcd ends the connection: ${bytes.toString('latin1', payload + 8, end)}`));
    }
  }

  #end(id: number, nowMs: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#streams.delete(id);
    if (stream.outcome === FAILED) this.#events.failed('etcd answered with an error');
    this.#events.done(stream.slot, stream.outcome, nowMs);
  }

  /** Gives the server room again before it runs out of it. */
  #count(bytes: number): void {
    this.#receivedBytes += bytes;
    if (this.#receivedBytes < RECEIVE_WINDOW_BYTES / 2) return;
    const more = Buffer.alloc(4);
    more.writeUInt32BE(this.#receivedBytes);
    this.#out.push(frame(FRAME_WINDOW_UPDATE, 0, 0, more));
    this.#receivedBytes = 0;
  }
}

/** `ports`: of one etcd, or of all members of a cluster; connections are dealt out to them. */
export function createEtcdTarget(
  host: string,
  ports: readonly number[],
  { clients, pipeline, valueBytes }: LoadPlan,
): Target {
  const put = putTemplate(`${host}:${ports[0]}`, valueBytes);
  const range = rangeTemplate(`${host}:${ports[0]}`);
  const connections: Connection[] = [];
  let closing = false;

  const open = (port: number, events: TargetEvents): Promise<void> =>
    new Promise((resolve, reject) => {
      const connection = new Connection(host, port, events, () => performance.now());
      const { socket } = connection;
      connections.push(connection);
      socket.once('connect', () => {
        connection.flush();
        resolve();
      });
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
      // oxlint-disable-next-line no-await-in-loop
      for (let i = 0; i < clients; i++) await open(ports[i % ports.length] as number, events);
    },
    begin(slot, { kind, keyNumber }) {
      if (kind === SCAN) throw new Error('scans of etcd are not measured');
      const isRead = kind === READ;
      connections[Math.floor(slot / pipeline)]?.send(slot, isRead ? range : put, keyNumber, isRead);
    },
    flush() {
      for (const connection of connections) connection.flush();
    },
    close() {
      closing = true;
      for (const { socket } of connections) socket.destroy();
      return Promise.resolve();
    },
  };
}
