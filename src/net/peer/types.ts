/** What the peer mesh and its owner tell each other. */
import type { PeerIdentity } from '../../codec/peer/handshake.ts';
import type { NodeId, RangeId } from '../../core/brands.ts';
import type { Beat } from '../../core/beat.ts';
import type { Message } from '../../core/raft/types.ts';
import type { PeerInbound } from './inbound.ts';

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** Where the other nodes are. What it says may change at any time; PeerMesh.addressesChanged() makes the mesh look again. */
export interface PeerDirectory {
  /** Shard workers of a node; 0 = not known. */
  workersOf(nodeId: NodeId): number;
  addressOf(nodeId: NodeId, workerIndex: number): PeerAddress | null;
}

/** Counts since the start; gauges are as of now. */
export interface PeerCounters {
  bytesIn: number;
  bytesOut: number;
  framesIn: number;
  framesOut: number;
  /** Raft messages. */
  messagesIn: number;
  messagesOut: number;
  /** Raft messages that were not sent: no connection, or too many waited. */
  messagesDropped: number;
  /** Connections made, the first ones included. */
  connects: number;
  /** Connections lost, attempts that failed, refusals. */
  breaks: number;
  /** Snapshots sent and taken, and received and taken. */
  snapshotsSent: number;
  snapshotsReceived: number;
  /** Bytes of Raft messages that wait (gauge). */
  queuedBytes: number;
}

export function createPeerCounters(): PeerCounters {
  return {
    bytesIn: 0,
    bytesOut: 0,
    framesIn: 0,
    framesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    messagesDropped: 0,
    connects: 0,
    breaks: 0,
    snapshotsSent: 0,
    snapshotsReceived: 0,
    queuedBytes: 0,
  };
}

export interface PeerTimings {
  /** The mesh looks at its connections, and pings, so often. */
  readonly tickMs: number;
  /** After so many ticks without a byte from the other side a connection is given up. */
  readonly silentTicksMax: number;
  /** The first wait before dialling again; doubled each time up to the longest. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** The wait after a refusal that somebody has to do something about. */
  readonly refusedBackoffMs: number;
}

export const peerTimings: PeerTimings = {
  tickMs: 250,
  silentTicksMax: 6,
  backoffMinMs: 50,
  backoffMaxMs: 1000,
  refusedBackoffMs: 10_000,
};

/** How snapshots come and go. */
export interface SnapshotPorts {
  /** What all snapshots that this worker sends may take now; 0 = no limit. */
  readonly bytesPerSecond: () => number;
  /** A name for a file to receive into, unlike any other; its folder is there. What is left behind by a crash is the owner's to delete. */
  readonly incomingFile: (rangeId: RangeId, index: number) => string;
  /** Reads the whole file, not in this thread's turn: null, or what is wrong with it. Without it, arrived() reads it anyway. */
  readonly verify?: (file: string) => Promise<string | null>;
  /** The file is whole and durable, and belongs to the owner. `done`, once: whether the member has what it holds. */
  readonly arrived: (rangeId: RangeId, message: Message, file: string, done: (isTaken: boolean) => void) => void;
}

export interface PeerMeshOptions {
  readonly self: PeerIdentity;
  readonly directory: PeerDirectory;
  /** Why this node is not to be talked to, in words for its operator (removed; another store under its id); null: it is welcome. */
  readonly refusePeer: (nodeId: NodeId, storeId: string) => string | null;
  /** A Raft message for a member of this worker, to be stepped at once. Its entries' data is its own. */
  readonly onMessage: (rangeId: RangeId, message: Message) => void;
  /** A beat of a worker of another node. */
  readonly onBeat: (nodeId: NodeId, workerIndex: number, beat: Beat) => void;
  /** The connection to that worker broke or cannot be made: once, until it has been made again. */
  readonly onUnreachable: (nodeId: NodeId, workerIndex: number) => void;
  /** Commands of another node's worker: the payload of one REQUESTS frame. May throw PeerProtocolError. */
  readonly onRequests: (inbound: PeerInbound, source: Buffer, start: number, end: number) => void;
  /** How long a ping to another worker and its answer took, milliseconds. */
  readonly onRoundTrip?: (ms: number) => void;
  /** Asks for a turn of the loop, at whose end flush() is called. */
  readonly schedule: () => void;
  /** Uniform in [0, 1), for the jitter of back-off. */
  readonly random: () => number;
  /** Something that an operator should read: a refusal, damaged bytes. Not called for each attempt. */
  readonly warn: (text: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Without them, snapshots are refused. */
  readonly snapshots?: SnapshotPorts;
  readonly counters?: PeerCounters;
  readonly timings?: Partial<PeerTimings>;
  /** Raft messages that wait for one peer, in bytes, above which the oldest are dropped. */
  readonly queueBytesMax?: number;
}

/**
 * Commands for one worker of another node, as the connection takes them; src/gateway/router/peer-remote.ts is one.
 */
export interface PeerRequester {
  /** Whether there is anything to send. */
  readonly waiting: boolean;
  /** Appends requests that wait to an open frame: all, or as many as make it about `bytes` long. */
  write(out: PeerOutput, bytes: number): void;
  /** The payload of one REPLIES frame. May throw PeerProtocolError. */
  onReplies(source: Buffer, start: number, end: number): void;
  /** The connection has been made. */
  onOpen(): void;
  /** The connection broke, or could not be made: whatever was written and not answered is unknown. */
  onBroken(reason: string): void;
}

/** The buffer of a frame in the making (a ByteWriter). */
export interface PeerOutput {
  buffer: Buffer;
  length: number;
  reserve(bytes: number): void;
  append(source: Buffer, start: number, end: number): void;
}

export type PeerState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

export interface PeerStatus {
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly state: PeerState;
  /** Why it is not open; null when it is, or was not needed yet. */
  readonly problem: string | null;
  readonly queuedBytes: number;
  /** Of the last ping, milliseconds; 0 = none was answered yet. */
  readonly roundTripMs: number;
}
