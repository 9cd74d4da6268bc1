/**
 * Receives checkpoint files from other nodes' workers. What has been written of a file is kept when its connection breaks,
 * for the sender to go on from there.
 *
 *     OFFER ─▶ the same file is known: FROM where it ends     CHUNK ─▶ write ─▶ FROM … whole ─▶ fsync ─▶ verify
 *           └▶ another one, or none: a new file, FROM 0                          ─▶ arrived() ─▶ OUTCOME
 *
 * One file per range: a newer offer takes the place of an older one, and its sender is told. Files are written by Node's asynchronous fs, one
 * chunk after another: this is not the path of the WAL.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, rm } from 'node:fs/promises';
import {
  PEER_PING,
  PEER_SNAPSHOT_CHUNK,
  PEER_SNAPSHOT_FROM,
  PEER_SNAPSHOT_OFFER,
  PEER_SNAPSHOT_OUTCOME,
  PeerProtocolError,
} from '../../codec/peer/frame.ts';
import type { PeerIdentity } from '../../codec/peer/handshake.ts';
import type { SnapshotOffer, SnapshotOutcome } from '../../codec/peer/snapshot.ts';
import {
  readSnapshotChunk,
  readSnapshotOffer,
  writeSnapshotFrom,
  writeSnapshotOutcome,
} from '../../codec/peer/snapshot.ts';
import type { RangeId } from '../../core/brands.ts';
import { limits } from '../../core/limits.ts';
import type { SnapshotMeta } from '../../core/raft/types.ts';
import type { PeerInbound } from './inbound.ts';
import type { PeerCounters, PeerMeshOptions, SnapshotPorts } from './types.ts';

/** What is left of a broken connection is thrown away when nobody has come back for it after so many ticks of the mesh. */
const ABANDONED_TICKS = 240;

interface Incoming {
  /** Names this very file. */
  readonly key: string;
  readonly offer: SnapshotOffer;
  readonly file: string;
  /** Null until it is open, and when it is whole. */
  handle: FileHandle | null;
  /** Who sends it now. */
  inbound: PeerInbound | null;
  /** Received in order; behind `written` by what is being written. */
  received: number;
  written: number;
  /** The last write of the file, to which the next one is chained. */
  writes: Promise<void>;
  /** `receiving`: the file is ours · `handedOver`: it is the owner's · `taken`: kept for a sender that has not heard it · `gone` */
  state: 'receiving' | 'handedOver' | 'taken' | 'gone';
  idleTicks: number;
}

const TAKEN: SnapshotOutcome = { isTaken: true, reason: '' };

export class SnapshotReceiver {
  readonly #options: PeerMeshOptions;
  readonly #counters: PeerCounters;
  readonly #ports: SnapshotPorts;
  readonly #incoming = new Map<RangeId, Incoming>();

  constructor(options: PeerMeshOptions, counters: PeerCounters, ports: SnapshotPorts) {
    this.#options = options;
    this.#counters = counters;
    this.#ports = ports;
  }

  /** Files that are being received. */
  get receiving(): number {
    let count = 0;
    for (const { inbound } of this.#incoming.values()) if (inbound !== null) count++;
    return count;
  }

  /** Takes over a snapshot connection after its handshake. */
  attach(inbound: PeerInbound, dialler: PeerIdentity): void {
    let incoming: Incoming | null = null;
    let isOffered = false;
    inbound.onSnapshotFrame = (kind, source, start, end) => {
      if (kind === PEER_SNAPSHOT_OFFER && !isOffered) {
        isOffered = true;
        const offer = readSnapshotOffer(source, start, end, dialler.nodeId, this.#options.self.nodeId);
        this.#begin(inbound, offer).then(
          (begun) => {
            incoming = begun;
            if (!inbound.open && begun.inbound === inbound) begun.inbound = null;
          },
          (error: Error) => answer(inbound, { isTaken: false, reason: error.message }),
        );
      } else if (kind === PEER_SNAPSHOT_CHUNK && incoming !== null) {
        this.#takeChunk(incoming, inbound, source, start, end);
      } else if (kind !== PEER_PING) {
        throw new PeerProtocolError(`a frame of kind ${kind} does not belong here`);
      }
    };
    inbound.onClosed = () => {
      if (incoming?.inbound === inbound) incoming.inbound = null;
    };
  }

  tick(): void {
    for (const incoming of this.#incoming.values()) {
      incoming.idleTicks = incoming.inbound === null ? incoming.idleTicks + 1 : 0;
      if (incoming.idleTicks > ABANDONED_TICKS) this.#discard(incoming);
    }
  }

  close(): void {
    for (const incoming of this.#incoming.values()) this.#discard(incoming);
  }

  async #begin(inbound: PeerInbound, offer: SnapshotOffer): Promise<Incoming> {
    const { rangeId, message, fileBytes, identity } = offer;
    const { index, term } = message.snapshot as SnapshotMeta;
    const key = [message.to, index, term, fileBytes, identity].join(' ');
    const known = this.#incoming.get(rangeId);
    if (known?.key === key) {
      known.inbound?.frames.close('the same snapshot is sent over another connection');
      known.inbound = inbound;
      await known.writes;
      known.received = known.written;
      if (known.state === 'taken') answer(inbound, TAKEN);
      else if (known.state === 'receiving') this.#acknowledge(known);
      else if (known.state === 'gone') throw new Error('it was given up meanwhile');
      return known;
    }
    if (known !== undefined && isNewer(known.offer, offer)) throw new Error('a newer snapshot is here, or on its way');
    if (fileBytes === 0) throw new Error('an empty file is no checkpoint');
    if (known !== undefined) this.#discard(known);
    const incoming: Incoming = {
      key,
      offer,
      file: this.#ports.incomingFile(rangeId, index),
      handle: null,
      inbound,
      received: 0,
      written: 0,
      writes: Promise.resolve(),
      state: 'receiving',
      idleTicks: 0,
    };
    this.#incoming.set(rangeId, incoming);
    incoming.writes = this.#open(incoming);
    await incoming.writes;
    return incoming;
  }

  async #open(incoming: Incoming): Promise<void> {
    try {
      incoming.handle = await open(incoming.file, 'w+');
      this.#acknowledge(incoming);
    } catch (error) {
      this.#fail(incoming, error);
    }
  }

  #takeChunk(incoming: Incoming, inbound: PeerInbound, source: Buffer, start: number, end: number): void {
    if (incoming.inbound !== inbound) return;
    const chunk = readSnapshotChunk(source, start, end);
    const { fileBytes } = incoming.offer;
    const length = end - chunk.start;
    if (chunk.offset !== incoming.received || length === 0 || chunk.offset + length > fileBytes) {
      throw new PeerProtocolError('a piece of a snapshot does not belong where it says');
    }
    if (chunk.offset - incoming.written > limits.snapshotWindowBytes) {
      throw new PeerProtocolError('more of a snapshot was sent than was asked for');
    }
    const bytes = Buffer.from(source.subarray(chunk.start, end));
    incoming.received += length;
    incoming.writes = incoming.writes.then(() => this.#write(incoming, bytes, chunk.offset));
  }

  async #write(incoming: Incoming, bytes: Buffer, offset: number): Promise<void> {
    if (incoming.state !== 'receiving') return;
    const isLast = offset + bytes.length === incoming.offer.fileBytes;
    try {
      await writeAll(incoming.handle as FileHandle, bytes, offset);
      incoming.written = offset + bytes.length;
      this.#acknowledge(incoming);
      if (isLast) await this.#finish(incoming);
    } catch (error) {
      this.#fail(incoming, error);
      return;
    }
    if (isLast && !this.#isGone(incoming)) this.#handOver(incoming);
  }

  /** The file is whole: makes it durable. */
  async #finish(incoming: Incoming): Promise<void> {
    const { file } = incoming;
    const handle = incoming.handle as FileHandle;
    await handle.sync();
    incoming.handle = null;
    await handle.close();
    const damage = (await this.#ports.verify?.(file)) ?? null;
    if (damage !== null) throw new Error(`the checkpoint that was received is damaged: ${damage}`);
  }

  #handOver(incoming: Incoming): void {
    const { file, offer } = incoming;
    incoming.state = 'handedOver';
    this.#ports.arrived(offer.rangeId, offer.message, file, (isTaken) => {
      if (this.#isGone(incoming)) return;
      incoming.state = 'taken';
      const outcome = isTaken ? TAKEN : { isTaken, reason: 'the member has no use for it, or could not read it' };
      if (incoming.inbound !== null) answer(incoming.inbound, outcome);
      if (isTaken) this.#counters.snapshotsReceived++;
      // Sent again it may be of use.
      else this.#discard(incoming);
    });
  }

  #fail(incoming: Incoming, error: unknown): void {
    if (incoming.inbound !== null) answer(incoming.inbound, { isTaken: false, reason: (error as Error).message });
    this.#discard(incoming);
  }

  #isGone({ state }: Incoming): boolean {
    return state === 'gone';
  }

  /** After what is still being written of it. */
  async #deleteFile(incoming: Incoming): Promise<void> {
    const { file } = incoming;
    try {
      await incoming.writes;
      await incoming.handle?.close();
      await rm(file, { force: true });
    } catch (error) {
      this.#options.warn('a file of a snapshot could not be deleted', { err: error, file });
    }
  }

  #acknowledge({ inbound, written }: Incoming): void {
    if (inbound === null || !inbound.open) return;
    writeSnapshotFrom(inbound.frames.begin(PEER_SNAPSHOT_FROM), written);
    inbound.frames.end();
    inbound.frames.send();
  }

  /** Forgets it; deletes its file, unless that was handed over. */
  #discard(incoming: Incoming): void {
    const { offer, inbound, state } = incoming;
    if (state === 'gone') return;
    incoming.state = 'gone';
    if (this.#incoming.get(offer.rangeId) === incoming) this.#incoming.delete(offer.rangeId);
    if (inbound !== null) answer(inbound, { isTaken: false, reason: 'another snapshot took the place of this one' });
    if (state !== 'receiving') return;
    void this.#deleteFile(incoming);
  }
}

/** Whether `known` makes `offer` useless: it is for a later life of the member, or for the same one and reaches further. */
function isNewer(known: SnapshotOffer, offer: SnapshotOffer): boolean {
  if (known.message.to !== offer.message.to) return known.message.to > offer.message.to;
  return (known.message.snapshot as SnapshotMeta).index > (offer.message.snapshot as SnapshotMeta).index;
}

function answer(inbound: PeerInbound, outcome: SnapshotOutcome): void {
  if (!inbound.open) return;
  writeSnapshotOutcome(inbound.frames.begin(PEER_SNAPSHOT_OUTCOME), outcome);
  inbound.frames.finish('the snapshot is done with');
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
