/** Bytes to values and back: checksums, and the frames of both protocols, for keys of 16 bytes and values of 100. */
import { createByteWriter } from '../../src/codec/byte-writer.ts';
import { crc32 } from '../../src/codec/crc.ts';
import { FrameReader } from '../../src/codec/native/frame-reader.ts';
import {
  createRequestFrame,
  readRequest,
  REQUEST_HEADER_BYTES,
  requestBytesMax,
  writeRequest,
} from '../../src/codec/native/frame.ts';
import { NativeReplyWriter } from '../../src/codec/native/reply-writer.ts';
import { RespParser } from '../../src/codec/resp/parser.ts';
import { Resp2Writer } from '../../src/codec/resp/reply-writer.ts';
import { requireCommand } from '../../src/core/kv/table.ts';
import { runSuite } from './suite.ts';

const BATCH = 64;
const key = Buffer.from('key:000000123456');
const value = Buffer.alloc(100, 'x');
const page = Buffer.alloc(64 * 1024, 'y');

const { op } = requireCommand('SET');
const identity = { clientId: 7, sequence: 100, floor: 90 };
const set = [key, value];
const request = Buffer.alloc(requestBytesMax(set));
const requestEnd = writeRequest(request, 0, 1, 1, 1, op, 0, identity, set);
const requests = Buffer.concat(Array.from({ length: BATCH }, () => request.subarray(0, requestEnd)));
const frame = createRequestFrame();
const frames = new FrameReader(REQUEST_HEADER_BYTES - 4, 2 ** 20, (source, start, end) => {
  if (readRequest(source, start, end, frame) !== null) throw new Error('a frame of our own is wrong');
});

const command = Buffer.from(`*3\r\n$3\r\nSET\r\n$16\r\n${key.toString()}\r\n$100\r\n${value.toString()}\r\n`);
const commands = Buffer.concat(Array.from({ length: BATCH }, () => command));
let commandCount = 0;
const parser = new RespParser({ bulkBytesMax: 2 ** 20, onCommand: () => commandCount++ });

const out = createByteWriter(1024 * 1024);
const resp = new Resp2Writer(out);
const native = new NativeReplyWriter(out);

function repliesOf(write: () => void): () => void {
  return () => {
    out.length = 0;
    for (let i = 0; i < BATCH; i++) write();
  };
}

await runSuite('codec', [
  { name: 'crc32 of 128 B', run: () => crc32(page, 0, 128) },
  { name: 'crc32 of 4 KiB', run: () => crc32(page, 0, 4096) },
  { name: 'crc32 of 64 KiB', run: () => crc32(page, 0, page.length) },
  { name: 'native: write a SET', run: () => writeRequest(request, 0, 1, 1, 1, op, 0, identity, set) },
  { name: 'native: cut and read SETs, 64 in a chunk', run: () => frames.push(requests), per: BATCH },
  { name: 'RESP: read SETs, 64 in a chunk', run: () => parser.push(commands), per: BATCH },
  { name: 'RESP: write +OK', run: repliesOf(() => resp.simple('OK')), per: BATCH },
  { name: 'RESP: write a value', run: repliesOf(() => resp.bulk(value, 0, value.length)), per: BATCH },
  { name: 'native: write a value', run: repliesOf(() => native.bulk(value, 0, value.length)), per: BATCH },
]);
