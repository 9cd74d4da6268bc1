/** INFO: the node in the words that Redis's tools look for. */
import { REDIS_VERSION } from './commands/connection.ts';

/** Sums over all workers. */
export interface InfoNumbers {
  readonly version: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly port: number;
  readonly workerCount: number;
  readonly connections: number;
  readonly connectionsTotal: number;
  readonly connectionsMax: number;
  readonly commandsTotal: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly keys: number;
  readonly keysExpired: number;
  readonly memoryUsedBytes: number;
  readonly memoryMaxBytes: number;
  readonly ranges: number;
}

type Section = readonly [name: string, fields: Readonly<Record<string, string | number>>];

export function infoSections(numbers: InfoNumbers): readonly Section[] {
  const uptimeSeconds = Math.floor((numbers.nowMs - numbers.startedAtMs) / 1000);
  const { rss } = process.memoryUsage();
  const cpu = process.cpuUsage();
  return [
    [
      'Server',
      {
        redis_version: REDIS_VERSION,
        skerry_version: numbers.version,
        redis_mode: 'standalone',
        os: `${process.platform} ${process.arch}`,
        arch_bits: 64,
        process_id: process.pid,
        tcp_port: numbers.port,
        uptime_in_seconds: uptimeSeconds,
        uptime_in_days: Math.floor(uptimeSeconds / 86_400),
        io_threads_active: numbers.workerCount,
        node_version: process.version,
      },
    ],
    ['Clients', { connected_clients: numbers.connections, maxclients: numbers.connectionsMax, blocked_clients: 0 }],
    [
      'Memory',
      {
        used_memory: numbers.memoryUsedBytes,
        used_memory_rss: rss,
        maxmemory: numbers.memoryMaxBytes,
        maxmemory_policy: 'noeviction',
      },
    ],
    [
      'Persistence',
      { loading: 0, async_loading: 0, aof_enabled: 1, aof_last_write_status: 'ok', rdb_bgsave_in_progress: 0 },
    ],
    [
      'Stats',
      {
        total_connections_received: numbers.connectionsTotal,
        total_commands_processed: numbers.commandsTotal,
        total_net_input_bytes: numbers.bytesIn,
        total_net_output_bytes: numbers.bytesOut,
        expired_keys: numbers.keysExpired,
        evicted_keys: 0,
      },
    ],
    ['Replication', { role: 'master', connected_slaves: 0 }],
    ['CPU', { used_cpu_sys: (cpu.system / 1e6).toFixed(6), used_cpu_user: (cpu.user / 1e6).toFixed(6) }],
    ['Cluster', { cluster_enabled: 0 }],
    ['Ranges', { ranges: numbers.ranges }],
    ['Keyspace', numbers.keys === 0 ? {} : { db0: `keys=${numbers.keys},expires=0,avg_ttl=0` }],
  ];
}
