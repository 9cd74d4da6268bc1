/**
 * Which requests were applied already, so that a retried write is applied once (Ongaro's thesis, §6.3).
 *
 *     client 7    floor 12 ─ replies of 12, 13, 15 are kept ─ the client still waits for some of them
 *
 * Part of the state machine: it changes only by entries, so it is the same on every replica, and it lies in checkpoints.
 * Everything is bounded, and a bound never makes a retry run again except the last one:
 *
 * - replies below a client's floor are dropped: it has them;
 * - a client's oldest replies beyond REPLIES_MAX, and the replies of the clients silent for longest beyond BYTES_MAX, are
 *   dropped and the client's floor is raised above them: a retry of those is refused as unknown;
 * - the client that has been silent for longest is forgotten when there are more than CLIENTS_MAX. A retry that comes
 *   after so many others have written to this range in between would be applied again.
 */
import { readU64, writeU64 } from './batch.ts';
import type { RequestId } from './batch.ts';
import type { RecordedReply } from './recorded-reply.ts';

export interface SessionLimits {
  readonly clientsMax: number;
  /** Per client; a client keeps no more requests than that in flight. */
  readonly repliesMax: number;
  /** Of all clients together. */
  readonly bytesMax: number;
}

export const SESSION_LIMITS: SessionLimits = {
  clientsMax: 16_384,
  repliesMax: 65_536,
  bytesMax: 32 * 1024 * 1024,
};

/** What a reply costs beside its bytes. */
const REPLY_OVERHEAD_BYTES = 64;

interface Client {
  readonly id: number;
  /** A request below is answered or forgotten; above, it is new unless its reply is here. */
  floor: number;
  /** In the order of their application. */
  readonly replies: Map<number, RecordedReply>;
}

export const LOOKUP_NEW = 0;
export const LOOKUP_REMEMBERED = 1;
export const LOOKUP_FORGOTTEN = 2;
export type SessionLookup = typeof LOOKUP_NEW | typeof LOOKUP_REMEMBERED | typeof LOOKUP_FORGOTTEN;

export class SessionTable {
  /** The reply that the last lookup() found. */
  found: RecordedReply = '';
  readonly #limits: SessionLimits;
  /** In the order of last use: the first one has been silent for longest. */
  readonly #clients = new Map<number, Client>();
  /** The one at the end of #clients. */
  #latest: Client | null = null;
  #bytes = 0;

  constructor(limits: SessionLimits = SESSION_LIMITS) {
    this.#limits = limits;
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** What the kept replies cost. */
  get byteLength(): number {
    return this.#bytes;
  }

  /** Whether a request was applied before; then `found` is its reply. */
  lookup({ clientId, sequence }: RequestId): SessionLookup {
    const client = this.#latest?.id === clientId ? this.#latest : this.#clients.get(clientId);
    if (client === undefined) return LOOKUP_NEW;
    const reply = client.replies.get(sequence);
    if (reply !== undefined) {
      this.found = reply;
      return LOOKUP_REMEMBERED;
    }
    return sequence < client.floor ? LOOKUP_FORGOTTEN : LOOKUP_NEW;
  }

  /** Keeps the reply of a new request that was just applied. */
  record({ clientId, sequence, floor }: RequestId, reply: RecordedReply): void {
    const client = this.#use(clientId);
    client.replies.set(sequence, reply);
    this.#bytes += reply.length + REPLY_OVERHEAD_BYTES;
    if (floor > client.floor) client.floor = floor;
    // They lie nearly in the order of sequences: what a late one hides is dropped with it.
    for (const [known, kept] of client.replies) {
      if (known >= client.floor) break;
      client.replies.delete(known);
      this.#bytes -= kept.length + REPLY_OVERHEAD_BYTES;
    }
    if (client.replies.size > this.#limits.repliesMax) this.#dropOldest(client);
    if (this.#bytes > this.#limits.bytesMax) this.#shrink();
  }

  /** The client, moved to the end of the order; made if need be. */
  #use(clientId: number): Client {
    if (this.#latest?.id === clientId) return this.#latest;
    const known = this.#clients.get(clientId);
    if (known === undefined && this.#clients.size >= this.#limits.clientsMax) this.#forgetFirst();
    const client = known ?? { id: clientId, floor: 0, replies: new Map<number, RecordedReply>() };
    if (known !== undefined) this.#clients.delete(clientId);
    this.#clients.set(clientId, client);
    this.#latest = client;
    return client;
  }

  #forgetFirst(): void {
    for (const client of this.#clients.values()) {
      while (client.replies.size > 0) this.#dropOldest(client);
      this.#clients.delete(client.id);
      return;
    }
  }

  #dropOldest(client: Client): void {
    for (const [sequence, reply] of client.replies) {
      client.replies.delete(sequence);
      this.#bytes -= reply.length + REPLY_OVERHEAD_BYTES;
      client.floor = Math.max(client.floor, sequence + 1);
      return;
    }
  }

  #shrink(): void {
    for (const client of this.#clients.values()) {
      while (client.replies.size > 0) {
        if (this.#bytes <= this.#limits.bytesMax) return;
        this.#dropOldest(client);
      }
    }
  }

  /** Little-endian: u32 clients; each u64 id, u64 floor, u32 replies; each u64 sequence, u32 length, bytes. */
  encode(): Buffer {
    let bytes = 4;
    for (const { replies } of this.#clients.values()) {
      bytes += 20;
      for (const reply of replies.values()) bytes += 12 + reply.length;
    }
    const out = Buffer.allocUnsafe(bytes);
    let at = out.writeUInt32LE(this.#clients.size, 0);
    for (const { id, floor, replies } of this.#clients.values()) {
      writeU64(out, id, at);
      writeU64(out, floor, at + 8);
      at = out.writeUInt32LE(replies.size, at + 16);
      for (const [sequence, reply] of replies) {
        writeU64(out, sequence, at);
        at = out.writeUInt32LE(reply.length, at + 8);
        at += out.write(reply, at, 'latin1');
      }
    }
    return out;
  }

  /** A table with what encode() wrote. */
  static decode(bytes: Buffer, limits: SessionLimits = SESSION_LIMITS): SessionTable {
    const table = new SessionTable(limits);
    const clients = bytes.readUInt32LE(0);
    let at = 4;
    for (let i = 0; i < clients; i++) {
      const client = table.#use(readU64(bytes, at));
      client.floor = readU64(bytes, at + 8);
      const replies = bytes.readUInt32LE(at + 16);
      at += 20;
      for (let j = 0; j < replies; j++) {
        const end = at + 12 + bytes.readUInt32LE(at + 8);
        client.replies.set(readU64(bytes, at), bytes.toString('latin1', at + 12, end));
        table.#bytes += end - at - 12 + REPLY_OVERHEAD_BYTES;
        at = end;
      }
    }
    return table;
  }
}
