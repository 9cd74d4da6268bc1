/** Servers to be measured, each a process of its own in a folder of its own; and what the system says of a process. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const TMPFS_MAGIC = 0x01021994;
/** Of the kernel's times in /proc; fixed on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const STOP_MS = 30_000;

export interface Subject {
  readonly name: string;
  readonly pid: number;
  /** Ends it, waits until it is gone, and deletes its folder unless it is to be kept. */
  stop(options?: { readonly signal?: NodeJS.Signals; readonly keepDir?: boolean }): Promise<void>;
}

/** What is there still when this program is ended from outside, and must not outlive it. */
const children = new Set<ChildProcess>();
const dirs = new Set<string>();

process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

/** Makes signals end this program with all that it has started. */
export function endWithSignals(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
}

/** A new folder on a real disk, deleted when this program ends. `SKERRY_BENCH_DIR` says where; default: the system's folder for temporary files. */
export function makeBenchDir(): string {
  const parent = process.env['SKERRY_BENCH_DIR'] ?? os.tmpdir();
  if (statfsSync(parent).type === TMPFS_MAGIC) {
    throw new Error(`${parent} is in memory, where a sync costs nothing: set SKERRY_BENCH_DIR to a folder on a disk`);
  }
  const dir = mkdtempSync(path.join(parent, 'skerry-bench-'));
  dirs.add(dir);
  return dir;
}

/**
 * Starts a program and resolves when `isReady` has found what it waits for in what the program prints (both outputs).
 * Rejects with what was printed when it ends before that.
 */
export async function startSubject(
  name: string,
  command: readonly [string, ...string[]],
  dir: string,
  isReady: (printed: string) => boolean,
): Promise<Subject & { readonly printed: string }> {
  const [file, ...args] = command;
  const child = spawn(file, args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const printed = await new Promise<string>((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString();
      if (isReady(text)) resolve(text);
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${text}`)));
  });
  // A pipe that nobody reads stops the writer.
  child.stdout.removeAllListeners('data').resume();
  child.stderr.removeAllListeners('data').resume();
  return {
    name,
    pid: child.pid as number,
    printed,
    async stop({ signal = 'SIGTERM', keepDir = false } = {}) {
      await end(child, signal);
      if (!keepDir) rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await exited;
  clearTimeout(timer);
}

/** CPU time of a process so far, of all its threads. Linux. */
export function cpuSecondsOf(pid: number): number {
  // The name of the program, in brackets, may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process. Linux. */
export function residentBytesOf(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kibibytes) * 1024;
}
