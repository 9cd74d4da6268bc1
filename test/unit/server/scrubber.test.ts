import test from 'ava';
import { Scrubber } from '../../../src/server/scrubber.ts';
import type { ScrubberPorts } from '../../../src/server/scrubber.ts';
import type { ScrubResult, ScrubSlice } from '../../../src/storage/scrub.ts';

const checkpoint = (file: string, position = 0): ScrubSlice => ({
  kind: 'checkpoint',
  file,
  from: position === 0 ? null : { position, blocks: 0, checksum: 0 },
});

interface Scrubbed {
  readonly read: string[];
  readonly damaged: string[];
  readonly files: number;
}

/** One pass over files of three slices each; `answer`: what a reading says. */
function passOver(files: readonly string[], answer: (read: readonly string[]) => ScrubResult): Promise<Scrubbed> {
  return new Promise((resolve) => {
    const read: string[] = [];
    const damaged: string[] = [];
    let count = 0;
    const ports: ScrubberPorts = {
      rateBytes: 2 ** 40,
      intervalMs: 1e9,
      files: () => files.map((file) => checkpoint(file)),
      read(slice) {
        const { file, from } = slice as Extract<ScrubSlice, { kind: 'checkpoint' }>;
        const position = from?.position ?? 0;
        read.push(`${file}${position}`);
        const { damage } = answer(read);
        const next = damage !== null || position === 2 ? null : checkpoint(file, position + 1);
        return Promise.resolve({ next, damage });
      },
      damaged: (_slice, what) => damaged.push(what),
      failed: (error) => damaged.push(String(error)),
      count(event) {
        if (event === 'files') count++;
        if (event !== 'passes') return;
        scrubber.stop();
        resolve({ read, damaged, files: count });
      },
      progress: () => undefined,
      nowMs: () => 0,
    };
    const scrubber = new Scrubber(ports);
  });
}

test('every slice of every file is read, one at a time', async (t) => {
  const { read, damaged, files } = await passOver(['a', 'b'], () => ({ next: null, damage: null }));
  t.deepEqual(read, ['a0', 'a1', 'a2', 'b0', 'b1', 'b2']);
  t.deepEqual(damaged, []);
  t.is(files, 2);
});

test('damage that a second reading does not find was a file being replaced', async (t) => {
  let isFirst = true;
  const { read, damaged } = await passOver(['a'], (soFar) => {
    const isHit = isFirst && soFar.at(-1) === 'a1';
    if (isHit) isFirst = false;
    return { next: null, damage: isHit ? 'a flipped bit' : null };
  });
  t.deepEqual(read, ['a0', 'a1', 'a0', 'a1', 'a2']);
  t.deepEqual(damaged, []);
});

test('damage that is found twice is told once', async (t) => {
  const { damaged } = await passOver(['a', 'b'], (soFar) => {
    return { next: null, damage: soFar.at(-1) === 'b2' ? 'a flipped bit' : null };
  });
  t.deepEqual(damaged, ['a flipped bit']);
});
