/** The layouts of docs/wal-format.md: its example is read back, byte for byte. */
import fs from 'node:fs';
import test from 'ava';
import {
  DATA_OFFSET,
  readSegmentHeader,
  SEGMENT_BYTES_MIN,
  STATE_CLOSED,
  writeSegmentHeader,
} from '../../../../src/storage/wal/format.ts';
import type { SegmentState } from '../../../../src/storage/wal/format.ts';
import { createManifest } from '../../../../src/storage/wal/manifest.ts';
import { segmentName } from '../../../../src/storage/wal/segment.ts';
import { FaultyDisk } from '../../../support/faulty-disk.ts';
import { readLog, WAL_DIR, WalHarness } from '../../../support/wal-harness.ts';

const LOG_ID = 0x0102030405;

/** The bytes of the document's example. */
function exampleBytes(): Buffer {
  const text = fs.readFileSync(new URL('../../../../docs/wal-format.md', import.meta.url), 'utf8');
  const bytes = Buffer.alloc(0x3000);
  for (const [, at, row] of text.matchAll(/^([0-9a-f]{6}) {2}((?:[0-9a-f]{2} ){15}[0-9a-f]{2})/gm)) {
    Buffer.from((row as string).replaceAll(' ', ''), 'hex').copy(bytes, Number.parseInt(at as string, 16));
  }
  return bytes;
}

test('the document’s example is a log that is read as it says', (t) => {
  const disk = new FaultyDisk();
  disk.mkdir(WAL_DIR);
  createManifest(disk, WAL_DIR, { generation: 1, logId: LOG_ID, firstSegment: 12, openedSegment: 12 });
  const file = disk.openFile(`${WAL_DIR}/${segmentName(12)}`, 'w+');
  const bytes = exampleBytes();
  file.truncate(64 * 1024 * 1024);
  file.write(bytes, 0, bytes.length, 0);
  const { scan, records } = readLog(disk);
  t.is(scan.segments[0]?.state, STATE_CLOSED);
  t.deepEqual(scan.ranges.get(3), {
    firstIndex: 42,
    lastIndex: 42,
    lastTerm: 7,
    hardState: { term: 7, vote: 1, commit: 41 },
    cutSequence: 0,
    rewriteSequence: 0,
    checkpoint: null,
  });
  t.deepEqual(
    records.map(({ sequence, type, index, data }) => [sequence, type, index, data.toString('latin1')]),
    [
      [1001, 4, 41, '\x01\0\0\0\0\0\0\0'],
      [1002, 1, 42, 'hello'],
    ],
  );
});

test('a header reads back, and a single flipped bit makes it none', (t) => {
  const header = {
    segmentId: 2 ** 40 + 7,
    logId: LOG_ID,
    startSequence: 2 ** 50 + 1,
    endSequence: 2 ** 50 + 99,
    entryCount: 99,
    segmentBytes: SEGMENT_BYTES_MIN,
    createdUs: 1_700_000_000_000_001,
    modifiedUs: 1_700_000_000_000_002,
    dataChecksum: 0xdeadbeef,
    dataEnd: DATA_OFFSET,
    state: STATE_CLOSED as SegmentState,
  };
  const block = Buffer.alloc(128);
  writeSegmentHeader(block, header);
  t.deepEqual(readSegmentHeader(block, 0), header);
  for (let bit = 0; bit < 128 * 8; bit++) {
    const harmed = Buffer.from(block);
    harmed[bit >> 3] = (harmed[bit >> 3] as number) ^ (1 << (bit & 7));
    t.is(readSegmentHeader(harmed, 0), null, `bit ${bit}`);
  }
});

test('the log itself writes what the document’s example shows', (t) => {
  const disk = new FaultyDisk();
  disk.mkdir(WAL_DIR);
  createManifest(disk, WAL_DIR, { generation: 1, logId: LOG_ID, firstSegment: 12, openedSegment: 0 });
  const log = new WalHarness(disk);
  log.hardState(3, 7, 1, 41);
  log.append(3, 42, 'hello', { term: 7 });
  log.flush();
  const written = disk.bytes(`${WAL_DIR}/${segmentName(12)}`, DATA_OFFSET, 0x1000);
  const expected = exampleBytes().subarray(DATA_OFFSET);
  // The example begins with record 1001, this log with record 1.
  for (const [sequence, at] of [
    [1, 0],
    [2, 0x38],
  ] as const) {
    t.is(written.readUInt32LE(at), sequence);
    t.true(written.subarray(at + 16, at + 56).equals(expected.subarray(at + 16, at + 56)));
  }
  t.true(written.subarray(0x70).equals(Buffer.alloc(0x1000 - 0x70)));
});
