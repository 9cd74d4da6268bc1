/** What the process as a whole uses, under the names that Prometheus's own client libraries give it. */
import type { Sample } from './prometheus.ts';

function gauge(name: string, help: string, value: number): Sample {
  return { family: { name, type: 'gauge', help }, labels: {}, value };
}

/** `version`: of Skerry. `startedAtMs`: Unix milliseconds. */
export function processSamples(version: string, startedAtMs: number): Sample[] {
  const memory = process.memoryUsage();
  const cpu = process.cpuUsage();
  return [
    {
      family: { name: 'skerry_build_info', type: 'gauge', help: 'Always 1; its labels say what is running.' },
      labels: { version, node: process.versions.node },
      value: 1,
    },
    gauge('process_start_time_seconds', 'When the process started, in Unix seconds.', startedAtMs / 1000),
    {
      family: { name: 'process_cpu_seconds_total', type: 'counter', help: 'CPU time of all threads.' },
      labels: {},
      value: (cpu.user + cpu.system) / 1e6,
    },
    gauge('process_resident_memory_bytes', 'Memory of the process that is in RAM.', memory.rss),
    gauge('nodejs_heap_size_used_bytes', 'JavaScript heap of the main thread that is in use.', memory.heapUsed),
    gauge(
      'nodejs_external_memory_bytes',
      'Memory that JavaScript objects of the main thread hold outside its heap.',
      memory.external,
    ),
  ];
}
