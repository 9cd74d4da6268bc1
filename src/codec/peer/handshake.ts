/**
 * How two nodes begin to talk: the dialler says who it is and whom it wants, the listener answers who it is, or why not.
 *
 *     HELLO    "SKRP" · u8 oldest version spoken · u8 newest · u8 purpose · dialler · u8 target worker · varint target node id
 *     WELCOME  "SKRP" · u8 version chosen · listener
 *     REFUSED  u8 code · text
 *
 *     dialler, listener:  text cluster id · varint node id · u8 worker · text store id
 *     text:               varint bytes · UTF-8
 *
 * These three keep their form in every version: nodes of different versions must be able to refuse each other.
 */
import type { NodeId } from '../../core/brands.ts';
import { NODE_ID_MAX } from '../../core/member.ts';
import type { ByteWriter } from '../byte-writer.ts';
import { PeerProtocolError } from './frame.ts';
import { PayloadReader, VARINT_BYTES_MAX, writeVarint } from './varint.ts';

export const PEER_VERSION = 1;
/** Frames until the handshake is done are no longer than this. */
export const HANDSHAKE_BYTES_MAX = 4096;

export const PURPOSE_DATA = 1;
export const PURPOSE_SNAPSHOT = 2;
export type PeerPurpose = typeof PURPOSE_DATA | typeof PURPOSE_SNAPSHOT;

/** Asking again later may help: the node has not started yet, it has too many connections. */
export const REFUSED_FOR_NOW = 1;
/** It will not help before somebody changes something: another cluster, a removed node, a lost disk under an old name. */
export const REFUSED_FOR_GOOD = 2;
export type RefusalCode = typeof REFUSED_FOR_NOW | typeof REFUSED_FOR_GOOD;

/** Who speaks: a worker of a node, with the store whose data the node has. */
export interface PeerIdentity {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  /** Random, made with the node's data folder: another one under the same node id means that the data was lost. */
  readonly storeId: string;
}

export interface Hello {
  readonly versionMin: number;
  readonly versionMax: number;
  readonly purpose: PeerPurpose;
  readonly dialler: PeerIdentity;
  readonly targetNodeId: NodeId;
  readonly targetWorker: number;
}

export interface Welcome {
  readonly version: number;
  readonly listener: PeerIdentity;
}

export interface Refusal {
  readonly code: RefusalCode;
  readonly reason: string;
}

const MAGIC = 'SKRP';

export function writeHello(out: ByteWriter, hello: Hello): void {
  out.appendLatin1(MAGIC);
  appendBytes(out, hello.versionMin, hello.versionMax, hello.purpose);
  writeIdentity(out, hello.dialler);
  appendBytes(out, hello.targetWorker);
  appendVarint(out, hello.targetNodeId);
}

/** Throws PeerProtocolError when the bytes are no HELLO. */
export function readHello(source: Buffer, start: number, end: number): Hello {
  const reader = new PayloadReader(source, start, end);
  readMagic(reader);
  const versionMin = reader.byte();
  const versionMax = reader.byte();
  const purpose = reader.byte();
  if (purpose !== PURPOSE_DATA && purpose !== PURPOSE_SNAPSHOT) {
    throw new PeerProtocolError(`a connection for an unknown purpose ${purpose}`);
  }
  const dialler = readIdentity(reader);
  const targetWorker = reader.byte();
  const targetNodeId = readNodeId(reader);
  return { versionMin, versionMax, purpose, dialler, targetNodeId, targetWorker };
}

export function writeWelcome(out: ByteWriter, { version, listener }: Welcome): void {
  out.appendLatin1(MAGIC);
  appendBytes(out, version);
  writeIdentity(out, listener);
}

/** Throws PeerProtocolError when the bytes are no WELCOME. */
export function readWelcome(source: Buffer, start: number, end: number): Welcome {
  const reader = new PayloadReader(source, start, end);
  readMagic(reader);
  return { version: reader.byte(), listener: readIdentity(reader) };
}

export function writeRefusal(out: ByteWriter, { code, reason }: Refusal): void {
  appendBytes(out, code);
  appendText(out, reason);
}

/** Throws PeerProtocolError when the bytes are no REFUSED. */
export function readRefusal(source: Buffer, start: number, end: number): Refusal {
  const reader = new PayloadReader(source, start, end);
  return { code: reader.byte() === REFUSED_FOR_NOW ? REFUSED_FOR_NOW : REFUSED_FOR_GOOD, reason: reader.text() };
}

function writeIdentity(out: ByteWriter, { clusterId, nodeId, workerIndex, storeId }: PeerIdentity): void {
  appendText(out, clusterId);
  appendVarint(out, nodeId);
  appendBytes(out, workerIndex);
  appendText(out, storeId);
}

function readIdentity(reader: PayloadReader): PeerIdentity {
  const clusterId = reader.text();
  const nodeId = readNodeId(reader);
  const workerIndex = reader.byte();
  return { clusterId, nodeId, workerIndex, storeId: reader.text() };
}

function readNodeId(reader: PayloadReader): NodeId {
  const nodeId = reader.varint();
  if (nodeId === 0 || nodeId > NODE_ID_MAX) throw new PeerProtocolError(`${nodeId} is no node id`);
  return nodeId as NodeId;
}

function readMagic(reader: PayloadReader): void {
  const start = reader.skip(MAGIC.length);
  if (reader.source.toString('latin1', start, start + MAGIC.length) !== MAGIC) {
    throw new PeerProtocolError('the other side is no Skerry node');
  }
}

function appendBytes(out: ByteWriter, ...bytes: readonly number[]): void {
  out.reserve(bytes.length);
  for (const byte of bytes) out.buffer[out.length++] = byte;
}

function appendVarint(out: ByteWriter, value: number): void {
  out.reserve(VARINT_BYTES_MAX);
  out.length = writeVarint(out.buffer, out.length, value);
}

function appendText(out: ByteWriter, text: string): void {
  appendVarint(out, Buffer.byteLength(text));
  out.appendUtf8(text);
}
