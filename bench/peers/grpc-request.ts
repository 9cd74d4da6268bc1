/**
 * The bytes of a unary gRPC call over HTTP/2, as a template: everything but the stream's number and the key is the same each
 * time, and writing it costs the generator next to nothing.
 *
 *     HEADERS frame │ DATA frame: 0, u32 length, protobuf message       RFC 9113; gRPC over HTTP/2, "Requests"
 *
 * Header fields are literals that are not indexed (RFC 7541 §6.2.2), so that no state lies behind them.
 */
import { KEY_BYTES } from '../../src/bench/keys.ts';

export const FRAME_HEADER_BYTES = 9;
export const FRAME_DATA = 0;
export const FRAME_HEADERS = 1;
export const FLAG_END_STREAM = 1;
const FLAG_END_HEADERS = 4;
const GRPC_PREFIX_BYTES = 5;

/** Header fields of the static table that are the same in all calls: `:method: POST`, `:scheme: http`. */
const METHOD_AND_SCHEME = Buffer.of(0x83, 0x86);
const NAME_PATH = Buffer.of(0x04);
const NAME_AUTHORITY = Buffer.of(0x01);
/** 31, which takes a second byte behind a prefix of four bits. */
const NAME_CONTENT_TYPE = Buffer.of(0x0f, 0x10);

export interface RequestTemplate {
  readonly bytes: Buffer;
  /** Where the numbers of the stream are: in the header of each frame. */
  readonly streamOffsets: readonly [number, number];
  /** Of the KEY_BYTES bytes of the key. */
  readonly keyOffset: number;
  /** What counts against HTTP/2's windows. */
  readonly flowBytes: number;
}

/** `path`: `/package.Service/Method`; `message`: protobuf that holds the key, all zeros for now, at `keyAt`. */
export function requestTemplate(authority: string, path: string, message: Buffer, keyAt: number): RequestTemplate {
  const block = Buffer.concat([
    METHOD_AND_SCHEME,
    NAME_PATH,
    text(path),
    NAME_AUTHORITY,
    text(authority),
    NAME_CONTENT_TYPE,
    text('application/grpc'),
    Buffer.of(0x00),
    text('te'),
    text('trailers'),
  ]);
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  const headers = frame(FRAME_HEADERS, FLAG_END_HEADERS, 0, block);
  const data = frame(FRAME_DATA, FLAG_END_STREAM, 0, Buffer.concat([prefix, message]));
  return {
    bytes: Buffer.concat([headers, data]),
    streamOffsets: [5, headers.length + 5],
    keyOffset: headers.length + FRAME_HEADER_BYTES + GRPC_PREFIX_BYTES + keyAt,
    flowBytes: GRPC_PREFIX_BYTES + message.length,
  };
}

/** One HTTP/2 frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** A string of less than 127 bytes, as it is. */
function text(value: string): Buffer {
  return Buffer.concat([Buffer.of(value.length), Buffer.from(value, 'latin1')]);
}

/** A protobuf field of bytes. */
function bytesField(number: number, value: Uint8Array): Buffer {
  const length = [];
  let rest = value.length;
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.of((number << 3) | 2, ...length, rest), value]);
}

const key = Buffer.alloc(KEY_BYTES);
const KEY_AT = 2;

/** etcdserverpb.KV/Put of a key and a value. */
export function putTemplate(authority: string, valueBytes: number): RequestTemplate {
  const message = Buffer.concat([bytesField(1, key), bytesField(2, Buffer.alloc(valueBytes, 'x'))]);
  return requestTemplate(authority, '/etcdserverpb.KV/Put', message, KEY_AT);
}

/** etcdserverpb.KV/Range of one key; linearizable, as is etcd's default. */
export function rangeTemplate(authority: string): RequestTemplate {
  return requestTemplate(authority, '/etcdserverpb.KV/Range', bytesField(1, key), KEY_AT);
}

/**
 * Whether the RangeResponse at bytes[start, end), behind gRPC's prefix, holds a key-value: field 2 is there.
 * Fields: header 1, kvs 2, more 3, count 4.
 */
export function hasKeyValue(bytes: Buffer, start: number, end: number): boolean {
  let at = start + GRPC_PREFIX_BYTES;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < end; scale *= 0x80) {
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < end) {
    const tag = varint();
    if (tag >>> 3 === 2) return true;
    const value = varint();
    if ((tag & 7) === 2) at += value;
  }
  return false;
}
