/** How much of the machine's CPU went to others while something was measured: what makes a result worth less. Linux. */
import { existsSync, readFileSync } from 'node:fs';

interface CpuTicks {
  /** Of all CPUs, the idle ones included. */
  readonly all: number;
  readonly busy: number;
  /** Of this process and of all its children that have ended. */
  readonly own: number;
}

/** Call it when what is measured begins; the answer, called when all processes of the measurement have ended, is a share of all CPUs. */
export function watchForeignWork(): () => number | null {
  if (!existsSync('/proc/self/stat')) return () => null;
  const from = readTicks(readFileSync('/proc/stat', 'latin1'), readFileSync('/proc/self/stat', 'latin1'));
  return () => {
    const to = readTicks(readFileSync('/proc/stat', 'latin1'), readFileSync('/proc/self/stat', 'latin1'));
    return foreignShare(from, to);
  };
}

/**
 * `machine`: /proc/stat, whose first line is `cpu user nice system idle iowait irq softirq steal …`; `self`: /proc/self/stat
 * (proc(5)): utime, stime, cutime and cstime are its fields 14 to 17.
 */
export function readTicks(machine: string, self: string): CpuTicks {
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = (
    machine.split('\n', 1)[0] ?? ''
  )
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  // The name of the program, in brackets, may hold anything; field 3 comes behind it.
  const fields = self
    .replace(/^.*\) /s, '')
    .split(' ')
    .map(Number);
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0);
  return { all: busy + idle + iowait, busy, own };
}

/** Of all CPUs between the two; between 0 and 1. */
export function foreignShare(from: CpuTicks, to: CpuTicks): number {
  const foreign = to.busy - from.busy - (to.own - from.own);
  return Math.min(1, Math.max(0, foreign / Math.max(1, to.all - from.all)));
}
