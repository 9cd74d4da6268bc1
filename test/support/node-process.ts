/** A real node in a process of its own, on free ports, for tests that kill it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const LAUNCHER = fileURLToPath(new URL('../../src/cli/skerry.js', import.meta.url));

export interface NodeProcess {
  readonly child: ChildProcess;
  readonly port: number;
  readonly respPort: number;
  readonly httpPort: number;
  /** What it wrote to stderr so far. */
  stderr(): string;
  /** Ends it with the signal and waits until it is gone. Returns its exit code, null after a signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts a node and resolves when it serves. Rejects with what it said when it ends instead. */
export async function startNode(dataDir: string, flags: readonly string[] = []): Promise<NodeProcess> {
  const child = spawn(
    process.execPath,
    [
      LAUNCHER,
      'serve',
      '--json',
      '--data-dir',
      dataDir,
      '--port',
      '0',
      '--resp-port',
      '0',
      '--http-port',
      '0',
      ...flags,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
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
  const { port, respPort, httpPort } = JSON.parse(line[0]) as { port: number; respPort: number; httpPort: number };
  return {
    child,
    port,
    respPort,
    httpPort,
    stderr: () => stderr,
    async end(signal) {
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}
