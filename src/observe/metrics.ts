/**
 * The table of everything that is counted. Each row is one fixed slot in every thread's metrics area (counters.ts), so
 * that counting is one addition at a known place and no name is ever looked up on a hot path.
 *
 * A family is what Prometheus sees: one name, one type, one help text, samples that differ in their labels. Its scope
 * says which threads have it: shard workers (`worker="0"`) or WAL writers (`wal="0"`).
 */
import type { ErrorCode } from '../core/errors.ts';

export type MetricScope = 'worker' | 'wal';

export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly scope: MetricScope;
}

export interface ScalarMetric {
  readonly family: MetricFamily;
  readonly labels: Readonly<Record<string, string>>;
}

export interface HistogramMetric {
  readonly family: MetricFamily;
  readonly labels: Readonly<Record<string, string>>;
  /** Recorded units in one of the family's base unit: 1e6 for microseconds shown as seconds, 1 for bytes. */
  readonly unitsPerBase: number;
  /** Prometheus sees the buckets that end at 2^first, 2^(first + 1) … 2^last recorded units. */
  readonly exponents: readonly [first: number, last: number];
}

type MakeScalar = (labels?: Readonly<Record<string, string>>) => ScalarMetric;

function scalar(type: 'counter' | 'gauge', scope: MetricScope, name: string, help: string): MakeScalar {
  const family: MetricFamily = { name, type, help, scope };
  return (labels = {}) => ({ family, labels });
}

function histogram(
  scope: MetricScope,
  name: string,
  help: string,
  unitsPerBase: number,
  exponents: readonly [number, number],
  labels: Readonly<Record<string, string>> = {},
): HistogramMetric {
  return { family: { name, type: 'histogram', help, scope }, labels, unitsPerBase, exponents };
}

const MICROSECONDS = 1e6;
const ONE = 1;

const commands = scalar('counter', 'worker', 'skerry_commands_total', 'Commands answered to clients, by kind.');
const errors = scalar(
  'counter',
  'worker',
  'skerry_errors_total',
  'Requests of clients answered with an error, by its code.',
);
const closed = scalar('counter', 'worker', 'skerry_connections_closed_total', 'Client connections closed, by reason.');
const ringFill = scalar(
  'gauge',
  'worker',
  'skerry_ring_fill_ratio',
  'Share of a ring in use at the end of the last turn: of the ring to the WAL writer, and of the fullest ring to another worker.',
);
const ringFull = scalar(
  'counter',
  'worker',
  'skerry_ring_full_total',
  'Times that a ring had no room for what was to be written; it waits, nothing is lost.',
);

const lookups = scalar(
  'counter',
  'worker',
  'skerry_keyspace_lookups_total',
  'Keys that commands looked up to read them, as Redis counts, by whether they were there.',
);

const peerBytes = scalar('counter', 'worker', 'skerry_peer_bytes_total', 'Bytes to and from other nodes.');
const peerFrames = scalar('counter', 'worker', 'skerry_peer_frames_total', 'Frames to and from other nodes.');
const peerMessages = scalar(
  'counter',
  'worker',
  'skerry_peer_messages_total',
  'Raft messages to and from other nodes.',
);
const snapshots = scalar(
  'counter',
  'worker',
  'skerry_snapshots_total',
  'Snapshots sent to and received from other nodes, and taken.',
);
const readBack = (unit: string, what: string): ScalarMetric =>
  scalar(
    'counter',
    'worker',
    `skerry_raft_read_back_${unit}_total`,
    `${what} read back from the log for followers that lag: the leader’s memory had them no longer.`,
  )();
const refused = scalar(
  'counter',
  'worker',
  'skerry_raft_proposals_dropped_total',
  'Batches of writes that did not become what they were to be: refused by the group for now (they wait), displaced in the log by another leader, or without an end in time.',
);
const phase = (name: string): HistogramMetric =>
  histogram(
    'worker',
    'skerry_write_phase_seconds',
    'Where the time of writes went at the range’s leader, by phase (docs/explain.md). Each write counts with the time of its batch.',
    MICROSECONDS,
    [4, 24],
    { phase: name },
  );

/** Counters and gauges, in the order of their slots. */
export const scalarMetrics = {
  commandsRead: commands({ kind: 'read' }),
  commandsWrite: commands({ kind: 'write' }),
  commandsOther: commands({ kind: 'other' }),
  commandsForwarded: scalar(
    'counter',
    'worker',
    'skerry_commands_forwarded_total',
    'Commands handed to another worker, because their range lives there.',
  )(),

  connectionsAccepted: scalar(
    'counter',
    'worker',
    'skerry_connections_accepted_total',
    'Client connections accepted.',
  )(),
  connectionsOpen: scalar('gauge', 'worker', 'skerry_connections_open', 'Client connections that are open now.')(),
  connectionsClosedByClient: closed({ reason: 'client' }),
  connectionsClosedIdle: closed({ reason: 'idle' }),
  connectionsClosedLimit: closed({ reason: 'limit' }),
  connectionsClosedProtocol: closed({ reason: 'protocol' }),
  connectionsClosedOutput: closed({ reason: 'output' }),
  connectionsClosedNetwork: closed({ reason: 'network' }),
  connectionsClosedShutdown: closed({ reason: 'shutdown' }),
  bytesIn: scalar('counter', 'worker', 'skerry_network_receive_bytes_total', 'Bytes read from client sockets.')(),
  bytesOut: scalar('counter', 'worker', 'skerry_network_transmit_bytes_total', 'Bytes written to client sockets.')(),
  messagesIn: scalar('counter', 'worker', 'skerry_network_receive_messages_total', 'Requests read from clients.')(),
  messagesOut: scalar('counter', 'worker', 'skerry_network_transmit_messages_total', 'Replies written to clients.')(),

  proposals: scalar(
    'counter',
    'worker',
    'skerry_raft_proposals_total',
    'Raft entries that leaders have put into their logs.',
  )(),
  entriesApplied: scalar(
    'counter',
    'worker',
    'skerry_raft_applied_entries_total',
    'Raft entries applied, on leaders and followers.',
  )(),
  proposalsRefused: refused({ reason: 'refused' }),
  proposalsDisplaced: refused({ reason: 'displaced' }),
  proposalsUnknown: refused({ reason: 'unknown' }),
  electionsStarted: scalar(
    'counter',
    'worker',
    'skerry_raft_elections_total',
    'Elections that replicas of this worker stood for, those that asked first whether they could win included.',
  )(),
  electionsWon: scalar('counter', 'worker', 'skerry_raft_elections_won_total', 'Elections that they won.')(),
  leaderChanges: scalar(
    'counter',
    'worker',
    'skerry_raft_leader_changes_total',
    'Times that a replica of this worker learned of another leader.',
  )(),
  rangesLed: scalar('gauge', 'worker', 'skerry_raft_leaders', 'Ranges that are led here.')(),
  leases: scalar(
    'gauge',
    'worker',
    'skerry_raft_leases',
    'Ranges that are led here and whose lease holds: they answer reads without asking anybody.',
  )(),
  resting: scalar(
    'gauge',
    'worker',
    'skerry_raft_resting',
    'Replicas here whose group rests: nobody has asked anything of it for a while, and it sends no messages.',
  )(),
  leaderless: scalar('gauge', 'worker', 'skerry_raft_leaderless', 'Replicas here that know of no leader.')(),
  ranges: scalar('gauge', 'worker', 'skerry_ranges', 'Ranges that live in this worker.')(),
  damagedReplicas: scalar(
    'gauge',
    'worker',
    'skerry_damaged_replicas',
    'Replicas of this worker that were found damaged, and that their ranges have not taken out yet.',
  )(),
  keys: scalar('gauge', 'worker', 'skerry_keys', 'Keys stored, expired ones not yet removed included.')(),
  keysExpiring: scalar('gauge', 'worker', 'skerry_keys_expiring', 'Keys stored that have an expiry.')(),
  keysExpired: scalar('counter', 'worker', 'skerry_keys_expired_total', 'Keys removed because their time was over.')(),
  // Side by side: the ranges count them through one view.
  keyspaceHits: lookups({ result: 'hit' }),
  keyspaceMisses: lookups({ result: 'miss' }),
  memoryUsedBytes: scalar('gauge', 'worker', 'skerry_memory_used_bytes', 'Bytes of the store in use.')(),
  memoryReservedBytes: scalar(
    'gauge',
    'worker',
    'skerry_memory_reserved_bytes',
    'Bytes of shared memory that the store has taken from the system.',
  )(),
  longestValueBytes: scalar(
    'gauge',
    'worker',
    'skerry_longest_value_bytes',
    'No value in the memory of this worker is longer; it may be a quarter above the longest.',
  )(),

  walRingFill: ringFill({ ring: 'wal' }),
  forwardRingFill: ringFill({ ring: 'forward' }),
  walRingFull: ringFull({ ring: 'wal' }),
  forwardRingFull: ringFull({ ring: 'forward' }),

  peerBytesIn: peerBytes({ direction: 'in' }),
  peerBytesOut: peerBytes({ direction: 'out' }),
  peerFramesIn: peerFrames({ direction: 'in' }),
  peerFramesOut: peerFrames({ direction: 'out' }),
  peerMessagesIn: peerMessages({ direction: 'in' }),
  peerMessagesOut: peerMessages({ direction: 'out' }),
  peerMessagesDropped: scalar(
    'counter',
    'worker',
    'skerry_peer_messages_dropped_total',
    'Raft messages to other nodes that were not sent: no connection, or too many waited.',
  )(),
  peerQueuedBytes: scalar(
    'gauge',
    'worker',
    'skerry_peer_queued_bytes',
    'Raft messages that wait for a connection to another node to take them.',
  )(),
  peerConnects: scalar('counter', 'worker', 'skerry_peer_connects_total', 'Connections made to other nodes.')(),
  peerBreaks: scalar(
    'counter',
    'worker',
    'skerry_peer_breaks_total',
    'Connections to other nodes that broke, could not be made or were refused.',
  )(),
  readBackEntries: readBack('entries', 'Raft entries'),
  readBackBytes: readBack('bytes', 'Bytes of Raft entries'),
  snapshotsSent: snapshots({ direction: 'out' }),
  snapshotsReceived: snapshots({ direction: 'in' }),

  checkpoints: scalar('counter', 'worker', 'skerry_checkpoints_total', 'Checkpoints completed.')(),
  checkpointBytes: scalar('counter', 'worker', 'skerry_checkpoint_bytes_total', 'Bytes of checkpoints written.')(),
  checkpointsFailed: scalar(
    'counter',
    'worker',
    'skerry_checkpoint_failures_total',
    'Checkpoints given up; the log behind them stays.',
  )(),
  recoverySeconds: scalar(
    'gauge',
    'worker',
    'skerry_recovery_seconds',
    'How long this worker took to load its checkpoints and replay its log at the last start.',
  )(),
  recoveryRecords: scalar('gauge', 'worker', 'skerry_recovery_records', 'Log records replayed at the last start.')(),
  eventLoopStallMaxSeconds: scalar(
    'gauge',
    'worker',
    'skerry_event_loop_stall_max_seconds',
    'The longest time in the last half minute that the event loop of this worker did not turn.',
  )(),

  errorNotLeader: errors({ code: 'KV_NOT_LEADER' }),
  errorRangeMoved: errors({ code: 'KV_RANGE_MOVED' }),
  errorCrossRange: errors({ code: 'KV_CROSS_RANGE' }),
  errorConflict: errors({ code: 'KV_CONFLICT' }),
  errorTimeout: errors({ code: 'KV_TIMEOUT' }),
  errorUnknownResult: errors({ code: 'KV_UNKNOWN_RESULT' }),
  errorOverloaded: errors({ code: 'KV_OVERLOADED' }),
  errorDiskFull: errors({ code: 'KV_DISK_FULL' }),
  errorOutOfMemory: errors({ code: 'KV_OUT_OF_MEMORY' }),
  errorTooLarge: errors({ code: 'KV_TOO_LARGE' }),
  errorInvalid: errors({ code: 'KV_INVALID' }),
  errorNetwork: errors({ code: 'KV_NETWORK' }),
  errorPartition: errors({ code: 'KV_PARTITION' }),
  errorConsensus: errors({ code: 'KV_CONSENSUS' }),
  errorState: errors({ code: 'KV_STATE' }),
  errorCorrupt: errors({ code: 'KV_CORRUPT' }),
  errorAborted: errors({ code: 'KV_ABORTED' }),
  errorReply: errors({ code: 'KV_REPLY' }),

  walBytes: scalar('counter', 'wal', 'skerry_wal_written_bytes_total', 'Bytes written to the log, padding included.')(),
  walRecords: scalar('counter', 'wal', 'skerry_wal_records_total', 'Records written to the log.')(),
  walFsyncs: scalar('counter', 'wal', 'skerry_wal_fsyncs_total', 'Times that the log was synced to the disk.')(),
  walSegments: scalar('gauge', 'wal', 'skerry_wal_segments', 'Segment files that hold records some range needs.')(),
  scrubBytes: scalar(
    'counter',
    'wal',
    'skerry_scrub_bytes_total',
    'Bytes that the scrubber has read, of each file rounded up to 256 KiB.',
  )(),
  scrubFiles: scalar('counter', 'wal', 'skerry_scrub_files_total', 'Files that the scrubber has read to their end.')(),
  scrubPasses: scalar('counter', 'wal', 'skerry_scrub_passes_total', 'Times that the scrubber has read everything.')(),
  scrubDamages: scalar('counter', 'wal', 'skerry_scrub_damages_total', 'Damaged files that the scrubber has found.')(),
  scrubProgress: scalar(
    'gauge',
    'wal',
    'skerry_scrub_progress_ratio',
    'Share of the files of this pass that are read.',
  )(),
  walDiskFull: scalar('gauge', 'wal', 'skerry_wal_disk_full', '1 while writes are refused for want of disk space.')(),
} as const satisfies Record<string, ScalarMetric>;

/** Latencies and sizes. */
export const histogramMetrics = {
  commandLatency: histogram(
    'worker',
    'skerry_command_duration_seconds',
    'From a request read off its socket to its reply handed back.',
    MICROSECONDS,
    [4, 24],
  ),
  batchCommands: histogram('worker', 'skerry_raft_batch_commands', 'Commands in one Raft entry.', ONE, [0, 14]),
  writeQueue: phase('queue'),
  writeWalWait: phase('wal_wait'),
  writeFsync: phase('fsync'),
  writeNotice: phase('notice'),
  writeReplication: phase('replication'),
  writeApply: phase('apply'),
  peerRoundTrip: histogram(
    'worker',
    'skerry_peer_round_trip_seconds',
    'From a ping to a worker of another node to its answer, on the connection that Raft messages take.',
    MICROSECONDS,
    [4, 24],
  ),
  checkpointDuration: histogram(
    'worker',
    'skerry_checkpoint_duration_seconds',
    'Time from the start of a checkpoint until it was durable.',
    MICROSECONDS,
    [10, 28],
  ),
  walFsync: histogram(
    'wal',
    'skerry_wal_fsync_duration_seconds',
    'Time of one write and sync of the log.',
    MICROSECONDS,
    [5, 24],
  ),
  walBatchRecords: histogram('wal', 'skerry_wal_batch_records', 'Records made durable by one sync.', ONE, [0, 14]),
  walBatchBytes: histogram(
    'wal',
    'skerry_wal_batch_bytes',
    'Bytes made durable by one sync, padding included.',
    ONE,
    [12, 26],
  ),
} as const satisfies Record<string, HistogramMetric>;

export type ScalarName = keyof typeof scalarMetrics;
export type HistogramName = keyof typeof histogramMetrics;

export const scalarNames = Object.keys(scalarMetrics) as ScalarName[];
export const histogramNames = Object.keys(histogramMetrics) as HistogramName[];

/** Where each counter and gauge lies: an index into a metrics area. */
export const slots = Object.freeze(Object.fromEntries(scalarNames.map((name, index) => [name, index]))) as Readonly<
  Record<ScalarName, number>
>;

/** The slot that counts errors of a code. */
export const errorSlots: Readonly<Record<ErrorCode, number>> = Object.freeze({
  KV_NOT_LEADER: slots.errorNotLeader,
  KV_RANGE_MOVED: slots.errorRangeMoved,
  KV_CROSS_RANGE: slots.errorCrossRange,
  KV_CONFLICT: slots.errorConflict,
  KV_TIMEOUT: slots.errorTimeout,
  KV_UNKNOWN_RESULT: slots.errorUnknownResult,
  KV_OVERLOADED: slots.errorOverloaded,
  KV_DISK_FULL: slots.errorDiskFull,
  KV_OUT_OF_MEMORY: slots.errorOutOfMemory,
  KV_TOO_LARGE: slots.errorTooLarge,
  KV_INVALID: slots.errorInvalid,
  KV_NETWORK: slots.errorNetwork,
  KV_PARTITION: slots.errorPartition,
  KV_CONSENSUS: slots.errorConsensus,
  KV_STATE: slots.errorState,
  KV_CORRUPT: slots.errorCorrupt,
  KV_ABORTED: slots.errorAborted,
  KV_REPLY: slots.errorReply,
});
