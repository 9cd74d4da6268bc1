/**
 * A server that answers at once and keeps nothing: what a load generator gets out of it is the generator's own limit.
 * A program: `node null-server.ts`. Prints its ports as one line of JSON and runs until it is told to stop.
 *
 *     RESP     every array of bulk strings is answered with +OK; it is not looked into
 *     native   HELLO gets a topology of one range; every other request null
 */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { FrameReader } from '../../src/codec/native/frame-reader.ts';
import {
  OP_HELLO,
  PROTOCOL_VERSION,
  REQUEST_HEADER_BYTES,
  RESPONSE_HEADER_BYTES,
  STATUS_OK,
  writeResponseHeader,
} from '../../src/codec/native/frame.ts';
import type { HelloReply } from '../../src/codec/native/messages.ts';
import { packMessage } from '../../src/codec/native/messages.ts';

const FRAME_BYTES_MAX = 2 ** 26;
const STAR = 0x2a;
const NEWLINE = 0x0a;
const OK = Buffer.from('+OK\r\n');
const MSGPACK_NULL = 0xc0;

/** One +OK for each `*` at the start of a line: a bulk string of ours never holds one. */
function serveResp(socket: Socket): void {
  let before = NEWLINE;
  const replies = Buffer.alloc(OK.length * 65_536);
  for (let i = 0; i < 65_536; i++) OK.copy(replies, i * OK.length);
  socket.on('data', (chunk: Buffer) => {
    let count = 0;
    for (let at = chunk.indexOf(STAR); at >= 0; at = chunk.indexOf(STAR, at + 1)) {
      if ((at === 0 ? before : chunk[at - 1]) === NEWLINE) count++;
    }
    before = chunk.at(-1) as number;
    socket.write(replies.subarray(0, count * OK.length));
  });
}

/** Worker 0 of node 1. */
const WORKER = 256;

function serveNative(socket: Socket, server: Server): void {
  const { port } = server.address() as AddressInfo;
  const hello: HelloReply = {
    protocol: PROTOCOL_VERSION,
    server: 'null',
    worker: WORKER,
    frameBytesMax: FRAME_BYTES_MAX,
    topology: {
      generation: 1,
      workers: [{ worker: WORKER, host: '', port }],
      ranges: [
        {
          rangeId: 1,
          startKey: Buffer.alloc(0),
          endKey: null,
          epoch: { confVersion: 1, version: 1 },
          worker: WORKER,
          term: 1,
        },
      ],
    },
  };
  let out = Buffer.allocUnsafeSlow(65_536);
  let used = 0;
  const answer = (requestId: number, body: Uint8Array): void => {
    const bytes = RESPONSE_HEADER_BYTES + body.length;
    if (used + bytes > out.length) flush();
    writeResponseHeader(out, used, requestId, STATUS_OK, body.length);
    out.set(body, used + RESPONSE_HEADER_BYTES);
    used += bytes;
  };
  const flush = (): void => {
    if (used > 0) socket.write(out.subarray(0, used));
    out = Buffer.allocUnsafeSlow(65_536);
    used = 0;
  };
  const nothing = Uint8Array.of(MSGPACK_NULL);
  const reader = new FrameReader(REQUEST_HEADER_BYTES - 4, FRAME_BYTES_MAX, (source, start) => {
    const requestId = Number(source.readBigUInt64LE(start + 4));
    const op = source.readUInt16LE(start + 24);
    answer(requestId, op === OP_HELLO ? packMessage(hello) : nothing);
  });
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    flush();
  });
}

async function listen(serve: (socket: Socket, server: Server) => void): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    // Whoever measures goes away without a word.
    socket.on('error', () => socket.destroy());
    serve(socket, server);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

console.log(JSON.stringify({ respPort: await listen(serveResp), port: await listen(serveNative) }));
