/**
 * Every setting of a node: its name, what it may be, its default and what it does. config.ts fills them from flags,
 * environment and file; docs/configuration.md is generated from this table (`node ops/generate-docs.ts`).
 *
 * A setting `group.name` is written
 *   in a configuration file   { "network": { "respPort": 7379 } }
 *   as a flag                 --resp-port 7379
 *   in the environment        SKERRY_RESP_PORT=7379
 *
 * Outside the file a size loses its "Bytes", because its value may say a unit of its own (--max-memory 2gb), and the
 * settings of the groups wal, raft and log carry the group's name (--wal-segment, --log-level).
 */
import { limits } from '../core/limits.ts';
import { NODE_ID_MAX, WORKERS_MAX } from '../core/member.ts';
import {
  addressList,
  choice,
  integer,
  keyList,
  multipleOf,
  port,
  powerOfTwo,
  size,
  text,
  tiers,
  yesNo,
  type Setting,
} from './setting-kinds.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const settingGroups = {
  node: {
    nodeId: integer(0, NODE_ID_MAX, {
      default: 0,
      defaultText: '0 (what the data folder says; 1 in a new cluster)',
      help: 'Number of this node. A node that joins a cluster is given one; say it only to make sure that the data folder is the one you mean.',
    }),
    dataDir: text('a folder', '<dir>', {
      default: './data',
      help: 'Where everything of this node lies. Made when it is not there.',
    }),
    walDir: text('a folder', '<dir>', {
      default: '',
      defaultText: '`wal` in the data folder',
      help: 'Where the write-ahead log lies, to give it a disk of its own.',
    }),
  },
  network: {
    host: text('an address or a host name', '<host>', {
      default: '127.0.0.1',
      help: 'Address that all servers of this node listen on. There is no authentication yet: let only trusted networks reach it.',
    }),
    port: port({ default: 7370, help: 'Port of the native protocol; 0 takes a free one.' }),
    respPort: port({ default: 7379, help: 'Port of the Redis protocol; 0 takes a free one.' }),
    httpPort: port({ default: 7371, help: 'Port of health checks, metrics and status; 0 takes a free one.' }),
    peerPort: port({
      default: 7380,
      help: 'Port for the other nodes of the cluster. The workers take the ports after it; 0 takes free ones. A cluster of one node takes free ones too when it is in use.',
    }),
    maxConnections: integer(1, limits.connectionsMax, {
      default: 10_000,
      help: 'Client connections at a time, over all workers and protocols; further ones are told so and closed.',
    }),
    idleTimeoutMs: integer(0, 2 ** 31 - 1, {
      default: 0,
      defaultText: '0 (never)',
      help: 'Closes a client connection that sent nothing for so long.',
    }),
    maxOutputBytes: size(limits.connectionOutputPauseBytes, 4 * GiB, {
      default: limits.connectionOutputMaxBytes,
      help: 'Replies that a client may leave unread before its connection is closed.',
    }),
  },
  cluster: {
    snapshotRateBytes: size(64 * KiB, 16 * GiB, {
      default: 64 * MiB,
      help: 'What a worker sends of snapshots to new or lagging replicas in a second, at most, and loads of those that it receives, uncompressed.',
    }),
    snapshotBusyRateBytes: size(64 * KiB, 16 * GiB, {
      default: 8 * MiB,
      help: 'The same while the machine is busy (a load average of half of its cores or more): lower costs clients less, and takes longer.',
    }),
    bootstrap: yesNo({
      default: false,
      help: 'A new data folder becomes the first node of a new cluster, also when --join is given. Without --join that is so anyway.',
    }),
    join: addressList({
      default: [],
      help: 'Addresses of nodes (their --peer-port) of the cluster that a new data folder joins. Others of the same cluster may be among them.',
    }),
    advertise: text('an address or a host name', '<host>', {
      default: '',
      defaultText: '--host, or the name of this machine when that is every address',
      help: 'Where other nodes and clients reach this node.',
    }),
    nodeName: text('up to 64 letters, digits, dots and dashes', '<name>', {
      default: '',
      defaultText: 'the one it has; for a new node, node- and a part of the store’s id',
      help: 'Name of this node, unique in its cluster. When a node of this name is expected (skerry node add), this is it.',
    }),
    locality: tiers({
      default: [],
      help: 'Where this node stands, such as dc=ams,rack=4. Replicas are spread over different places, the widest tier first. A node stays where it was until it is told of another place.',
    }),
    replicationFactor: choice(['1', '3', '5', '7'], {
      default: '3',
      help: 'Replicas of each range in a new cluster, as far as it has nodes for them. Says nothing to a cluster that exists.',
    }),
    replaceAfterSeconds: integer(5, 86_400, {
      default: 60,
      help: 'A node that nobody has heard of for so long is dead: its replicas are made anew on others.',
    }),
  },
  wal: {
    segmentBytes: size(
      limits.walRingBytes,
      1 * GiB,
      { default: limits.walSegmentBytes, help: 'Size of one file of the write-ahead log.' },
      multipleOf(MiB),
    ),
    ringBytes: size(
      limits.walFragmentBytesMax * 4,
      256 * MiB,
      {
        default: limits.walRingBytes,
        help: 'Memory between each worker and the log writer. When it is full, clients wait. Smaller than a segment.',
      },
      powerOfTwo,
    ),
    spareSegments: integer(1, 64, {
      default: 2,
      help: 'Empty log files kept ready, so that no write waits for one to be made.',
    }),
  },
  raft: {
    electionTimeoutMs: integer(50, 60_000, {
      default: 500,
      help: 'A follower that heard nothing for one to two times this long stands for election.',
    }),
    heartbeatIntervalMs: integer(10, 10_000, {
      default: 50,
      help: 'How often a leader is heard of when there is nothing to say. At most a third of the election timeout.',
    }),
  },
  threads: {
    workers: integer(1, WORKERS_MAX, {
      default: (machine) => Math.min(WORKERS_MAX, Math.max(1, machine.parallelism - 1)),
      defaultText: 'CPUs available less one, at least 1',
      help: 'Shard workers: threads that own ranges and serve clients. By default one CPU is left to the log and to callers on this machine.',
    }),
    ioThreads: integer(2, 64, {
      default: 2,
      help: 'Threads for the disk: one writes the log, the others make segments and checkpoints.',
    }),
    cpuThreads: integer(1, 64, { default: 1, help: 'Threads for compression and other long computations.' }),
    forwardRingBytes: size(
      64 * KiB,
      256 * MiB,
      { default: limits.forwardRingBytes, help: 'Memory between each two workers, each way.' },
      powerOfTwo,
    ),
  },
  memory: {
    maxMemoryBytes: size(limits.memoryBytesMin, limits.memoryBytesMax, {
      default: (machine) => Math.max(limits.memoryBytesMin, Math.floor((machine.memoryBytes * 0.75) / MiB) * MiB),
      defaultText: '75 % of the memory available',
      help: 'Memory of the store, over all workers. When it is used up, writes that need more are refused.',
    }),
    maxValueBytes: size(1 * KiB, limits.valueBytesCeiling, {
      default: limits.valueBytesDefault,
      help: 'The largest value a client may store.',
    }),
  },
  recovery: {
    maxRecoverySeconds: integer(1, limits.recoverySecondsMax, {
      default: 10,
      help: 'How long a restart may take: ranges are checkpointed as often as that needs.',
    }),
  },
  scrub: {
    rateBytes: size(64 * KiB, 16 * GiB, {
      default: 4 * MiB,
      help: 'What the scrubber, which reads checkpoints and log segments to find damage early, may take of the disk, in a second.',
    }),
    intervalSeconds: integer(0, 31_536_000, {
      default: 86_400,
      defaultText: '86400 (a day)',
      help: 'The scrubber begins to read everything anew so long after it began the last time; 0: it does not run.',
    }),
  },
  ranges: {
    preSplit: keyList({
      default: [],
      help: 'Keys at which a new store is split from the start. Says nothing to a store that exists.',
    }),
  },
  log: {
    level: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      default: 'info',
      help: 'The least important messages that are still written.',
    }),
    format: choice(['text', 'json'], { default: 'text', help: 'Lines for people, or one JSON object per line.' }),
  },
} as const;

type Groups = typeof settingGroups;
type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** All settings of a node, complete and checked. Plain data: it can be handed to a worker. */
export type Settings = {
  readonly [Group in keyof Groups]: { readonly [Name in keyof Groups[Group]]: ValueOf<Groups[Group][Name]> };
};

export interface SettingRow {
  readonly group: string;
  readonly name: string;
  /** `group.name` */
  readonly path: string;
  /** `--resp-port` */
  readonly flag: string;
  /** `respPort`: the flag as option parsers name it. */
  readonly option: string;
  /** `SKERRY_RESP_PORT` */
  readonly variable: string;
  readonly setting: Setting<unknown>;
}

const prefixedGroups = new Set(['wal', 'raft', 'scrub', 'log']);

const dashed = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The table as a list, in its order. */
export const settingRows: readonly SettingRow[] = Object.entries(settingGroups).flatMap(([group, settings]) =>
  Object.entries(settings as Record<string, Setting<unknown>>).map(([name, setting]) => {
    const short = setting.placeholder === '<size>' ? name.replace(/Bytes$/, '') : name;
    const option = prefixedGroups.has(group) ? `${group}${short.charAt(0).toUpperCase()}${short.slice(1)}` : short;
    const flag = dashed(option);
    return {
      group,
      name,
      path: `${group}.${name}`,
      flag: `--${flag}`,
      option,
      variable: `SKERRY_${flag.toUpperCase().replaceAll('-', '_')}`,
      setting,
    };
  }),
);
