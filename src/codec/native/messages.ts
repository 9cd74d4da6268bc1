/**
 * What the protocol's own requests answer, and how errors travel as values. These are rare, so they are msgpack maps
 * made and read by msgpackr; the arguments of every request are an array of binary strings like a command's.
 */
import { addExtension, Packr, Unpackr } from 'msgpackr';
import type { RangeEpoch } from '../../core/range.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { SkerryError } from '../../core/errors.ts';
import { EXT_COMMAND_ERROR, EXT_STORE_ERROR } from './frame.ts';

/** Where one shard worker listens for native clients. */
export interface WorkerAddress {
  /** A worker among all workers of the cluster: node id × 256 + its index in the node. */
  readonly worker: number;
  /** Empty, 0.0.0.0 or :: = the host that the client dialled. */
  readonly host: string;
  readonly port: number;
}

/** A range as clients see it. */
export interface RangeRoute {
  readonly rangeId: number;
  /** First key; empty = the beginning of the key space. */
  readonly startKey: Uint8Array;
  /** First key behind the range; null = the end of the key space. */
  readonly endKey: Uint8Array | null;
  readonly epoch: RangeEpoch;
  /** The worker that leads the range; 0 = nobody is known to. */
  readonly worker: number;
  /** The leader's term: of two that contradict each other, the greater one is right. */
  readonly term: number;
}

/** Who holds what. The ranges are in key order and cover the whole key space. */
export interface Topology {
  /** Grows with every change of the node's routing. */
  readonly generation: number;
  /** Of all nodes that are known. */
  readonly workers: readonly WorkerAddress[];
  readonly ranges: readonly RangeRoute[];
}

/** The answer to HELLO. */
export interface HelloReply {
  readonly protocol: number;
  /** Version of the server's software. */
  readonly server: string;
  /** The worker at the other end of this connection. */
  readonly worker: number;
  /** The largest value of a request's length field. */
  readonly frameBytesMax: number;
  readonly topology: Topology;
}

/** The way from the node that is asked to another one. */
export interface PeerView {
  /** self, connected, lost, or idle: no connection was needed yet. */
  readonly state: string;
  /** The last round trip; null: none yet. */
  readonly roundTripMs: number | null;
  /** Why it is lost. */
  readonly problem: string | null;
}

/** A node as clients see it. */
export interface ClusterNode {
  readonly nodeId: number;
  readonly name: string;
  /** INIT, JOINING, ACTIVE, LEAVING or INACTIVE. */
  readonly state: string;
  readonly addresses: {
    readonly host: string;
    readonly controlPort: number;
    readonly nativePort: number;
    readonly respPort: number;
    readonly httpPort: number;
  };
  readonly workers: number;
  /** `dc=ams,rack=4` */
  readonly locality: string;
  /** The coordinator has not heard from it for a while. */
  readonly isSilent: boolean;
  readonly peer: PeerView;
}

/** What the nodes of a cluster know about it. */
export interface ClusterStatus {
  readonly clusterId: string;
  /** Counts the changes of the catalog. */
  readonly revision: number;
  readonly replicationFactor: number;
  /** Where range 1 leads; 0: not known. */
  readonly coordinator: number;
  readonly nodes: readonly ClusterNode[];
  /** Replicas of the asked node that are damaged, and that their ranges have not taken out yet. */
  readonly damaged: readonly { readonly rangeId: number; readonly what: string; readonly since: string }[];
}

/** A replica of a range that lost its majority. */
export interface SurvivingReplica {
  readonly nodeId: number;
  readonly role: 'voter' | 'learner';
  /** Of the last entry in its log, committed or not. */
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly appliedIndex: number;
}

/** What is left of a range, and what was done about it. */
export interface RangeRecovery {
  readonly rangeId: number;
  /** Nodes of its voters. */
  readonly voters: readonly number[];
  /** The asked node's replica first. */
  readonly survivors: readonly SurvivingReplica[];
  /** Whether the asked node's replica goes on alone now. */
  readonly isRecovered: boolean;
}

/** A command's own error: the text begins with its word ("WRONGTYPE …"). */
export class CommandErrorValue {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

// Known to every msgpackr of this process; nobody else has these numbers.
addExtension({
  type: EXT_COMMAND_ERROR,
  unpack: (bytes: Uint8Array) => new CommandErrorValue(Buffer.from(bytes).toString('utf8')),
});
addExtension({ type: EXT_STORE_ERROR, unpack: storeErrorFrom });

const options = { useRecords: false, mapsAsObjects: true, int64AsType: 'auto', copyBuffers: true } as const;

function createPackr(): Packr {
  // msgpackr knows 'auto', its types do not yet.
  return new Packr({ ...options, int64AsType: options.int64AsType as 'number' });
}

const packr = createPackr();
const unpackr = new Unpackr({ ...options, int64AsType: options.int64AsType as 'number' });

/** Encodes a message: a plain object, array, string, number, Uint8Array. */
export function packMessage(value: unknown): Buffer {
  return packr.pack(value);
}

/**
 * Decodes the one msgpack value in source[start, end). Binary strings are copied, so that the result outlives the source.
 * Errors come as CommandErrorValue or SkerryError; throws SkerryError KV_INVALID on bytes that are no msgpack.
 */
export function unpackMessage(source: Buffer, start: number, end: number): unknown {
  try {
    return unpackr.unpack(source.subarray(start, end));
  } catch (cause) {
    throw new SkerryError('KV_INVALID', 'a reply is not the msgpack value that it should be', { cause });
  }
}

/** Encodes an error of the store as ext 2. */
export function packStoreError(error: SkerryError): Buffer {
  const body = packr.pack({
    code: error.code,
    message: error.message,
    retryable: error.retryable,
    hint: error.hint,
  });
  const header = Buffer.alloc(6);
  header[0] = 0xc9;
  header.writeUInt32BE(body.length, 1);
  header[5] = EXT_STORE_ERROR;
  return Buffer.concat([header, body]);
}

function storeErrorFrom(bytes: Uint8Array): SkerryError {
  const value = unpackr.unpack(bytes) as { code: ErrorCode; message: string; retryable: boolean; hint: object };
  return new SkerryError(value.code, value.message, {
    retryable: value.retryable,
    hint: value.hint as Record<string, unknown>,
  });
}
