/** A real node in a process of its own, on free ports, for tests that kill it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

export const LAUNCHER = fileURLToPath(new URL('../../src/cli/skerry.js', import.meta.url));

export interface NodeProcess {
  readonly child: ChildProcess;
  readonly port: number;
  readonly respPort: number;
  readonly httpPort: number;
  readonly peerPort: number;
  /** Its exit code when it is gone, null after a signal. */
  readonly exited: Promise<number | null>;
  /** What it wrote to stderr so far. */
  stderr(): string;
  /** Ends it with the signal and waits until it is gone. Returns its exit code, null after a signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export interface Launch {
  /** What the process is started by, such as `ip netns exec name`. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a node and resolves when it serves. Rejects with what it said when it ends instead. */
export async function startNode(
  dataDir: string,
  flags: readonly string[] = [],
  { wrapper = [], env = {} }: Launch = {},
): Promise<NodeProcess> {
  const [command = process.execPath, ...before] = [...wrapper, process.execPath];
  const child = spawn(
    command,
    [
      ...before,
      LAUNCHER,
      'serve',
      '--json',
      '--data-dir',
      dataDir,
      '--port',
      '0',
      '--resp-port',
      '0',
      '--peer-port',
      '0',
      '--http-port',
      '0',
      ...flags,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  );
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const line = await Promise.race([
    once(createInterface(child.stdout), 'line') as Promise<[string]>,
    exited.then(([code]) => {
      throw new Error(`the node ended with ${code}: ${stderr}`);
    }),
  ]);
  const ports = JSON.parse(line[0]) as Pick<NodeProcess, 'port' | 'respPort' | 'httpPort' | 'peerPort'>;
  return {
    child,
    port: ports.port,
    respPort: ports.respPort,
    httpPort: ports.httpPort,
    peerPort: ports.peerPort,
    exited: exited.then(([code]) => code),
    stderr: () => stderr,
    async end(signal) {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}

/** A folder that is removed when the test ends. */
export async function temporaryDir(t: ExecutionContext): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'skerry-test-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A node of two workers, cut at m, so that each client's keys lie half with its own worker; gone when the test ends. */
export async function withNode(
  t: ExecutionContext,
  flags: readonly string[] = ['--workers', '2', '--pre-split', 'm'],
): Promise<NodeProcess> {
  const node = await startNode(await temporaryDir(t), flags);
  t.teardown(async () => {
    if (node.child.exitCode === null && node.child.signalCode === null) await node.end('SIGKILL');
  });
  return node;
}
