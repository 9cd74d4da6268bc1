import test from 'ava';
import { readFileSync } from 'node:fs';
import type { ByteWriter } from '../../../../src/codec/byte-writer.ts';
import { createByteWriter } from '../../../../src/codec/byte-writer.ts';
import {
  beginPeerFrame,
  endPeerFrame,
  PEER_HELLO,
  PEER_PING,
  PEER_RAFT,
  PEER_REFUSED,
  PEER_WELCOME,
} from '../../../../src/codec/peer/frame.ts';
import {
  PURPOSE_DATA,
  REFUSED_FOR_GOOD,
  writeHello,
  writeRefusal,
  writeWelcome,
} from '../../../../src/codec/peer/handshake.ts';
import { writeRaftMessage } from '../../../../src/codec/peer/raft-messages.ts';
import type { LogIndex, NodeId, RangeId, Term } from '../../../../src/core/brands.ts';
import { memberId } from '../../../../src/core/member.ts';
import type { Message } from '../../../../src/core/raft/types.ts';
import { ENTRY_DATA, MSG_APPEND, MSG_HEARTBEAT } from '../../../../src/core/raft/types.ts';

const ONE = 1 as NodeId;
const TWO = 2 as NodeId;

function frame(kind: number, write: (out: ByteWriter) => void): Buffer {
  const out = createByteWriter();
  const start = beginPeerFrame(out);
  write(out);
  endPeerFrame(out, start, kind);
  return Buffer.from(out.buffer.subarray(0, out.length));
}

const heartbeat: Message = {
  type: MSG_HEARTBEAT,
  from: memberId(ONE, 0, 7),
  to: memberId(TWO, 3, 9),
  term: 5 as Term,
  index: 0 as LogIndex,
  logTerm: 0 as Term,
  commit: 1000 as LogIndex,
  context: 2 ** 20,
  hint: 0 as LogIndex,
  reject: false,
  entries: [],
  snapshot: null,
};

const append: Message = {
  ...heartbeat,
  type: MSG_APPEND,
  index: 41 as LogIndex,
  logTerm: 4 as Term,
  commit: 41 as LogIndex,
  entries: ['ab', 'c'].map((text, i) => {
    return { index: (42 + i) as LogIndex, term: 5 as Term, type: ENTRY_DATA, data: Buffer.from(text) };
  }),
};

test('the bytes in docs/peer-protocol.md are those that the code writes', (t) => {
  const text = readFileSync(new URL('../../../../docs/peer-protocol.md', import.meta.url), 'utf8');
  const examples = text.slice(text.indexOf('## Example bytes'));
  const documented = [...examples.matchAll(/^(?:[0-9a-f]{2} {1,2})+/gm)]
    .map(([line]) => line.replaceAll(' ', ''))
    .join('');
  const dialler = { clusterId: 'c-1', nodeId: ONE, workerIndex: 0, storeId: 's-1' };
  const listener = { clusterId: 'c-1', nodeId: TWO, workerIndex: 3, storeId: 's-2' };
  const written = [
    frame(PEER_HELLO, (out) =>
      writeHello(out, {
        versionMin: 1,
        versionMax: 1,
        purpose: PURPOSE_DATA,
        dialler,
        targetNodeId: TWO,
        targetWorker: 3,
      }),
    ),
    frame(PEER_WELCOME, (out) => writeWelcome(out, { version: 1, listener })),
    frame(PEER_RAFT, (out) => {
      writeRaftMessage(out, 300 as RangeId, heartbeat);
      writeRaftMessage(out, 4 as RangeId, append);
    }),
    frame(PEER_REFUSED, (out) => writeRefusal(out, { code: REFUSED_FOR_GOOD, reason: 'removed' })),
    frame(PEER_PING, () => undefined),
  ];
  t.is(documented, Buffer.concat(written).toString('hex'));
});
