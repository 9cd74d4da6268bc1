/**
 * Sends one checkpoint file to the worker of another node, over connections of its own: paced, a few chunks ahead of what
 * the receiver has written, and from there on again when a connection breaks.
 *
 *     open ─▶ dial ─▶ OFFER ─▶ FROM ─▶ CHUNK … ─▶ OUTCOME ─▶ done
 *              ▲                          │
 *              └─ back-off ◀── it breaks ─┘      given up after some attempts that brought nothing
 *
 * The file is opened once, so that it may be deleted meanwhile. Files are read by Node's asynchronous fs, a chunk at a time:
 * this is not the path of the WAL.
 */
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { crc32 } from '../../codec/crc.ts';
import {
  PEER_PING,
  PEER_PONG,
  PEER_SNAPSHOT_CHUNK,
  PEER_SNAPSHOT_FROM,
  PEER_SNAPSHOT_OFFER,
  PEER_SNAPSHOT_OUTCOME,
  PeerProtocolError,
} from '../../codec/peer/frame.ts';
import { PURPOSE_SNAPSHOT } from '../../codec/peer/handshake.ts';
import type { SnapshotOffer, SnapshotOutcome } from '../../codec/peer/snapshot.ts';
import {
  readSnapshotFrom,
  readSnapshotOutcome,
  writeSnapshotChunk,
  writeSnapshotOffer,
} from '../../codec/peer/snapshot.ts';
import type { NodeId } from '../../core/brands.ts';
import { limits } from '../../core/limits.ts';
import { dial } from './dial.ts';
import type { FrameSocket } from './frame-socket.ts';
import type { LinkOwner } from './link.ts';
import type { Pacer } from './pacer.ts';

/** Attempts in a row that brought the file no further, after which it is given up. */
const FRUITLESS_ATTEMPTS_MAX = 5;
/** The header and the footer of a checkpoint, which has checksums of everything between them. */
const HEAD_BYTES = 64;
const TAIL_BYTES = 32;

export interface SnapshotTarget {
  readonly nodeId: NodeId;
  readonly workerIndex: number;
}

export class SnapshotSender {
  readonly target: SnapshotTarget;
  readonly #owner: LinkOwner;
  readonly #pacer: Pacer;
  readonly #file: string;
  readonly #described: Pick<SnapshotOffer, 'rangeId' | 'message'>;
  #frames: FrameSocket | null = null;
  #isOpen = false;
  #cancelled: string | null = null;
  /** Written by the receiver, as far as it has said. */
  #written = 0;
  /** Resolves what the pump waits for: room in the window or in the socket. */
  #wake: (() => void) | null = null;

  constructor(
    owner: LinkOwner,
    pacer: Pacer,
    target: SnapshotTarget,
    described: Pick<SnapshotOffer, 'rangeId' | 'message'>,
    file: string,
  ) {
    this.#owner = owner;
    this.#pacer = pacer;
    this.target = target;
    this.#described = described;
    this.#file = file;
  }

  /** Never rejects: what goes wrong is a reason why it was not taken. */
  async run(): Promise<SnapshotOutcome> {
    let handle: FileHandle | null = null;
    try {
      handle = await open(this.#file, 'r');
      const { size } = await handle.stat();
      const offer = { ...this.#described, fileBytes: size, identity: await identityOf(handle, size) };
      return await this.#tryUntilDone(handle, offer);
    } catch (error) {
      return { isTaken: false, reason: (error as Error).message };
    } finally {
      await handle?.close();
    }
  }

  cancel(reason: string): void {
    this.#cancelled = reason;
    this.#frames?.close(reason);
    this.#wake?.();
  }

  tick(): void {
    const frames = this.#frames;
    if (frames === null) return;
    const { tickMs, silentTicksMax } = this.#owner.timings;
    if (++frames.silentTicks > silentTicksMax) {
      frames.close(`nothing was heard of it for ${tickMs * silentTicksMax} ms`);
    } else if (this.#isOpen && !frames.writing) {
      frames.signal(PEER_PING);
      frames.send();
    }
  }

  async #tryUntilDone(handle: FileHandle, offer: SnapshotOffer): Promise<SnapshotOutcome> {
    const { timings, options } = this.#owner;
    let fruitless = 0;
    let best = 0;
    while (this.#cancelled === null) {
      const outcome = await this.#attempt(handle, offer);
      if (outcome.isFinal) return outcome;
      fruitless = this.#written > best ? 0 : fruitless + 1;
      best = Math.max(best, this.#written);
      if (fruitless >= FRUITLESS_ATTEMPTS_MAX) return outcome;
      const backoffMs = Math.min(timings.backoffMaxMs, timings.backoffMinMs * 2 ** fruitless);
      await new Promise((resolve) => setTimeout(resolve, backoffMs * (0.5 + options.random() / 2)).unref());
    }
    return { isTaken: false, reason: this.#cancelled };
  }

  /** One connection. Resolves when it is over; `isFinal`: nothing would be won by another. */
  #attempt(handle: FileHandle, offer: SnapshotOffer): Promise<SnapshotOutcome & { readonly isFinal: boolean }> {
    const { options, counters } = this.#owner;
    const { nodeId, workerIndex } = this.target;
    return new Promise((resolve) => {
      const address = options.directory.addressOf(nodeId, workerIndex);
      if (address === null) {
        resolve({ isTaken: false, isFinal: false, reason: `no address is known of node ${nodeId}` });
        return;
      }
      let isPumping = false;
      const frames: FrameSocket = dial(
        options,
        counters,
        { nodeId, workerIndex, address, purpose: PURPOSE_SNAPSHOT },
        {
          onOpen: () => {
            this.#isOpen = true;
            writeSnapshotOffer(frames.begin(PEER_SNAPSHOT_OFFER), offer);
            frames.send();
          },
          onFrame: (kind, source, start, end) => {
            if (kind === PEER_SNAPSHOT_FROM) {
              this.#written = readSnapshotFrom(source, start, end);
              if (this.#written > offer.fileBytes) throw new PeerProtocolError('more was written than was offered');
              this.#wake?.();
              if (isPumping) return;
              isPumping = true;
              this.#pump(handle, frames, offer.fileBytes).catch((error: Error) => frames.close(error.message));
            } else if (kind === PEER_SNAPSHOT_OUTCOME) {
              resolve({ ...readSnapshotOutcome(source, start, end), isFinal: true });
              // Both sides end it now: cut off while its bytes are read, the runtime never lets go of the socket (Node 26).
              frames.finish('it was received');
            } else if (kind !== PEER_PONG) {
              throw new PeerProtocolError(`a frame of kind ${kind} does not belong here`);
            }
          },
          onWritable: () => this.#wake?.(),
          onClose: (reason, kind) => {
            this.#frames = null;
            this.#isOpen = false;
            this.#wake?.();
            resolve({ isTaken: false, isFinal: kind === 'refused', reason });
          },
        },
      );
      this.#frames = frames;
    });
  }

  async #pump(handle: FileHandle, frames: FrameSocket, fileBytes: number): Promise<void> {
    let sent = this.#written;
    while (sent < fileBytes) {
      while (!frames.closed && (frames.writing || sent - this.#written >= limits.snapshotWindowBytes)) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      const bytes = Math.min(limits.snapshotChunkBytes, fileBytes - sent);
      await this.#pacer.take(bytes);
      const chunk = await readChunk(handle, bytes, sent);
      if (frames.closed) return;
      writeSnapshotChunk(frames.begin(PEER_SNAPSHOT_CHUNK), sent, chunk);
      frames.end();
      frames.send();
      sent += bytes;
    }
  }
}

/** Throws when the file is shorter than it was. */
async function readChunk(handle: FileHandle, bytes: number, position: number): Promise<Buffer> {
  const chunk = Buffer.allocUnsafeSlow(bytes);
  let done = 0;
  while (done < bytes) {
    const { bytesRead } = await handle.read(chunk, done, bytes - done, position + done);
    if (bytesRead === 0) throw new Error('the checkpoint is shorter than it was when it was offered');
    done += bytesRead;
  }
  return chunk;
}

async function identityOf(handle: FileHandle, fileBytes: number): Promise<number> {
  const head = await readChunk(handle, Math.min(HEAD_BYTES, fileBytes), 0);
  const tailBytes = Math.min(TAIL_BYTES, fileBytes);
  const tail = await readChunk(handle, tailBytes, fileBytes - tailBytes);
  return crc32(tail, 0, tail.length, crc32(head, 0, head.length));
}
