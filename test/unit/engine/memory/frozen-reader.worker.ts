/** Reads each frozen state that is posted, several times over, and answers with its lines if they were the same each time. */
import { parentPort } from 'node:worker_threads';
import type { FrozenStore } from '../../../../src/engine/engine.ts';
import { openFrozen } from '../../../../src/engine/memory/frozen.ts';

const READS = 4;

parentPort?.on('message', (frozen: FrozenStore) => {
  const reads = Array.from({ length: READS }, () => read(frozen));
  const stable = new Set(reads.map((lines) => lines.join('\n'))).size === 1;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(stable ? reads[0] : ['the frozen state has changed']);
});

function read(frozen: FrozenStore): string[] {
  const lines: string[] = [];
  const reader = openFrozen(frozen);
  for (let more = reader.first(); more; more = reader.next()) {
    const { value } = reader;
    const key = reader.keyBuffer.toString('latin1', reader.keyStart, reader.keyEnd);
    lines.push(`${key} ${value.version} ${value.buffer.toString('latin1', value.start, value.end)}`);
  }
  return lines;
}
