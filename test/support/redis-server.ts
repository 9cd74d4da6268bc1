/** A fresh redis-server for comparing replies with, and a client that hands them over byte for byte. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

/** The version of the redis-server on the PATH, or null when there is none. */
export function redisServerVersion(): string | null {
  const { status, stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  if (status !== 0) return null;
  return /v=([\d.]+)/.exec(stdout)?.[1] ?? null;
}

export interface RedisServer {
  readonly port: number;
  /** Sends all commands at once; resolves with the bytes of each reply. RESP2. */
  run(commands: readonly (readonly (string | Buffer)[])[]): Promise<Buffer[]>;
  stop(): Promise<void>;
}

/** Starts a server with one database, without persistence, on a free port. `settings`: further options. */
export async function startRedisServer(settings: readonly string[] = []): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'redis-compare-'));
  const port = await freePort();
  const fixed = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--databases', '1'];
  const server = spawn('redis-server', [...fixed, '--dir', dir, ...settings], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(server, 'exit');
  for await (const chunk of server.stdout) if (String(chunk).includes('Ready to accept connections')) break;
  const socket = createConnection(port, '127.0.0.1');
  await once(socket, 'connect');
  let received: Buffer = Buffer.alloc(0);
  let onData: (() => void) | null = null;
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    onData?.();
  });
  return {
    port,
    async run(commands) {
      const replies: Buffer[] = [];
      socket.write(Buffer.concat(commands.map(encodeCommand)));
      let at = 0;
      while (replies.length < commands.length) {
        const end = replyEnd(received, at);
        if (end >= 0) {
          replies.push(Buffer.from(received.subarray(at, end)));
          at = end;
          continue;
        }
        received = received.subarray(at);
        at = 0;
        await new Promise<void>((resolve) => (onData = resolve));
      }
      received = received.subarray(at);
      return replies;
    },
    async stop() {
      socket.destroy();
      server.kill('SIGKILL');
      await exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function encodeCommand(words: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = typeof word === 'string' ? Buffer.from(word, 'latin1') : word;
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** Offset behind the RESP2 reply at `at`, or -1 when it is not complete. */
export function replyEnd(bytes: Buffer, at: number): number {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return -1;
  const type = bytes[at];
  const behind = lineEnd + 2;
  if (type === 0x2b || type === 0x2d || type === 0x3a) return behind;
  const length = Number(bytes.toString('latin1', at + 1, lineEnd));
  if (length < 0) return behind;
  if (type === 0x24) return behind + length + 2 <= bytes.length ? behind + length + 2 : -1;
  let end = behind;
  for (let i = 0; i < length && end >= 0; i++) end = replyEnd(bytes, end);
  return end;
}
