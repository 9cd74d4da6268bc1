/** The encoder of replies for a protocol, by its number. */
import { unreachable } from '../core/assert.ts';
import type { ReplyProtocol, ReplySink } from '../core/kv/reply.ts';
import type { ByteWriter } from './byte-writer.ts';
import { NativeReplyWriter } from './native/reply-writer.ts';
import { Resp2Writer, Resp3Writer } from './resp/reply-writer.ts';

/** A sink that appends replies in `protocol` to `out`. */
export function createReplyWriter(protocol: ReplyProtocol, out: ByteWriter): ReplySink {
  switch (protocol) {
    case 2:
      return new Resp2Writer(out);
    case 3:
      return new Resp3Writer(out);
    case 4:
      return new NativeReplyWriter(out);
    default:
      return unreachable(protocol);
  }
}
