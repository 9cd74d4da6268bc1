/** INFO: the node in the words that Redis's tools look for. */
import { totalmem } from 'node:os';
import type { NodeFigures, Rates } from '../node-figures.ts';
import { REDIS_VERSION } from './commands/connection.ts';

export interface InfoNumbers {
  readonly version: string;
  /** Names this run of the node: 40 hexadecimal digits. */
  readonly runId: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly port: number;
  readonly workerCount: number;
  readonly connectionsMax: number;
  readonly memoryMaxBytes: number;
  /** The most that has been seen in use. */
  readonly memoryPeakBytes: number;
  readonly figures: NodeFigures;
  readonly rates: Rates;
}

type Section = readonly [name: string, fields: Readonly<Record<string, string | number>>];

/** 1536 as "1.50K". */
function human(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const exponent = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** exponent).toFixed(2)}${'BKMGT'.charAt(exponent)}`;
}

export function infoSections(numbers: InfoNumbers): readonly Section[] {
  const { figures, rates } = numbers;
  const uptimeSeconds = Math.floor((numbers.nowMs - numbers.startedAtMs) / 1000);
  const { rss } = process.memoryUsage();
  const cpu = process.cpuUsage();
  const used = figures.memoryUsedBytes;
  const peak = Math.max(used, numbers.memoryPeakBytes);
  return [
    [
      'Server',
      {
        redis_version: REDIS_VERSION,
        skerry_version: numbers.version,
        redis_mode: 'standalone',
        os: `${process.platform} ${process.arch}`,
        arch_bits: 64,
        multiplexing_api: 'libuv',
        process_id: process.pid,
        run_id: numbers.runId,
        tcp_port: numbers.port,
        server_time_usec: numbers.nowMs * 1000,
        uptime_in_seconds: uptimeSeconds,
        uptime_in_days: Math.floor(uptimeSeconds / 86_400),
        executable: process.execPath,
        config_file: '',
        io_threads_active: numbers.workerCount,
        node_version: process.version,
      },
    ],
    [
      'Clients',
      {
        connected_clients: figures.connections,
        cluster_connections: 0,
        maxclients: numbers.connectionsMax,
        blocked_clients: 0,
        tracking_clients: 0,
      },
    ],
    [
      'Memory',
      {
        used_memory: used,
        used_memory_human: human(used),
        used_memory_rss: rss,
        used_memory_rss_human: human(rss),
        used_memory_peak: peak,
        used_memory_peak_human: human(peak),
        total_system_memory: totalmem(),
        total_system_memory_human: human(totalmem()),
        maxmemory: numbers.memoryMaxBytes,
        maxmemory_human: human(numbers.memoryMaxBytes),
        maxmemory_policy: 'noeviction',
        mem_fragmentation_ratio: (rss / Math.max(1, used)).toFixed(2),
      },
    ],
    [
      'Persistence',
      {
        loading: 0,
        async_loading: 0,
        rdb_bgsave_in_progress: 0,
        rdb_last_bgsave_status: 'ok',
        aof_enabled: 1,
        aof_rewrite_in_progress: 0,
        aof_rewrite_scheduled: 0,
        aof_last_bgrewrite_status: 'ok',
        aof_last_write_status: 'ok',
      },
    ],
    [
      'Stats',
      {
        total_connections_received: figures.connectionsTotal,
        total_commands_processed: figures.commandsTotal,
        instantaneous_ops_per_sec: Math.round(rates.commands),
        total_net_input_bytes: figures.bytesIn,
        total_net_output_bytes: figures.bytesOut,
        instantaneous_input_kbps: (rates.bytesIn / 1024).toFixed(2),
        instantaneous_output_kbps: (rates.bytesOut / 1024).toFixed(2),
        rejected_connections: figures.connectionsRefused,
        expired_keys: figures.keysExpired,
        evicted_keys: 0,
        keyspace_hits: figures.keyspaceHits,
        keyspace_misses: figures.keyspaceMisses,
        pubsub_channels: 0,
        pubsub_patterns: 0,
      },
    ],
    ['Replication', { role: 'master', connected_slaves: 0 }],
    ['CPU', { used_cpu_sys: (cpu.system / 1e6).toFixed(6), used_cpu_user: (cpu.user / 1e6).toFixed(6) }],
    ['Cluster', { cluster_enabled: 0 }],
    ['Ranges', { ranges: figures.ranges }],
    ['Keyspace', figures.keys === 0 ? {} : { db0: `keys=${figures.keys},expires=${figures.keysExpiring},avg_ttl=0` }],
  ];
}
