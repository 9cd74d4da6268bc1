/**
 * Which requests were applied already, so that a retried write is applied once (Ongaro's thesis, §6.3).
 *
 *     client 7    floor 12 ─ replies of 12, 13, 15 are kept ─ the client still waits for some of them
 *
 * Part of the state machine: it changes only by entries, so it is the same on every replica, and it lies in checkpoints.
 * Bounded: replies below a client's floor are dropped, and so is the client that wrote longest ago when there are too many.
 * A retry that comes after its reply was dropped cannot be answered truthfully, and is refused as unknown.
 */
import { readU64, writeU64 } from './batch.ts';
import type { RequestId } from './batch.ts';

const CLIENTS_MAX = 4096;
/** Replies kept per client; a client keeps fewer requests than that in flight. */
const REPLIES_MAX = 4096;

interface Client {
  /** Sequences below are answered; the client will not ask for them again. */
  floor: number;
  readonly replies: Map<number, Buffer>;
}

/** What is known of a request: its reply, or that it is new, or that its reply is gone. */
export type SessionLookup = Buffer | 'new' | 'forgotten';

export class SessionTable {
  /** In the order of last use: the first one is dropped first. */
  readonly #clients = new Map<number, Client>();

  lookup({ clientId, sequence }: RequestId): SessionLookup {
    const client = this.#clients.get(clientId);
    if (client === undefined) return 'new';
    return client.replies.get(sequence) ?? (sequence < client.floor ? 'forgotten' : 'new');
  }

  /** Keeps the reply of a request that was just applied. */
  record({ clientId, sequence, floor }: RequestId, reply: Buffer): void {
    let client = this.#clients.get(clientId);
    if (client === undefined) client = { floor: 0, replies: new Map() };
    else this.#clients.delete(clientId);
    this.#clients.set(clientId, client);
    client.replies.set(sequence, reply);
    if (floor > client.floor) {
      client.floor = floor;
      for (const known of client.replies.keys()) if (known < floor) client.replies.delete(known);
    }
    if (client.replies.size > REPLIES_MAX) {
      const oldest = Math.min(...client.replies.keys());
      client.replies.delete(oldest);
      client.floor = Math.max(client.floor, oldest + 1);
    }
    if (this.#clients.size > CLIENTS_MAX) {
      const [longestAgo] = this.#clients.keys();
      this.#clients.delete(longestAgo as number);
    }
  }

  /** Little-endian: u32 clients; each u64 id, u64 floor, u32 replies; each u64 sequence, u32 length, bytes. */
  encode(): Buffer {
    const parts: Buffer[] = [];
    const count = Buffer.alloc(4);
    count.writeUInt32LE(this.#clients.size);
    parts.push(count);
    for (const [id, { floor, replies }] of this.#clients) {
      const head = Buffer.alloc(20);
      writeU64(head, id, 0);
      writeU64(head, floor, 8);
      head.writeUInt32LE(replies.size, 16);
      parts.push(head);
      for (const [sequence, reply] of replies) {
        const replyHead = Buffer.alloc(12);
        writeU64(replyHead, sequence, 0);
        replyHead.writeUInt32LE(reply.length, 8);
        parts.push(replyHead, reply);
      }
    }
    return Buffer.concat(parts);
  }

  static decode(bytes: Buffer): SessionTable {
    const table = new SessionTable();
    const clients = bytes.readUInt32LE(0);
    let at = 4;
    for (let i = 0; i < clients; i++) {
      const id = readU64(bytes, at);
      const client: Client = { floor: readU64(bytes, at + 8), replies: new Map() };
      const replies = bytes.readUInt32LE(at + 16);
      at += 20;
      for (let j = 0; j < replies; j++) {
        const length = bytes.readUInt32LE(at + 8);
        client.replies.set(readU64(bytes, at), Buffer.from(bytes.subarray(at + 12, at + 12 + length)));
        at += 12 + length;
      }
      table.#clients.set(id, client);
    }
    return table;
  }
}
