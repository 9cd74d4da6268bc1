/** Dialling a worker of another node, up to the end of the handshake. */
import type { Socket } from 'node:net';
import { createConnection } from 'node:net';
import type { OnPeerFrame } from '../../codec/peer/frame-reader.ts';
import { PEER_HELLO, PEER_REFUSED, PEER_WELCOME, PeerProtocolError } from '../../codec/peer/frame.ts';
import type { PeerPurpose } from '../../codec/peer/handshake.ts';
import { PEER_VERSION, readRefusal, readWelcome, REFUSED_FOR_GOOD, writeHello } from '../../codec/peer/handshake.ts';
import type { NodeId } from '../../core/brands.ts';
import { limits } from '../../core/limits.ts';
import { sharedReads } from '../shared-reads.ts';
import { FrameSocket } from './frame-socket.ts';
import { strangerText } from './stranger.ts';
import type { PeerAddress, PeerCounters, PeerMeshOptions } from './types.ts';

/**
 * Why a connection is over: `broken` by the network or the other side's end, `damaged` bytes or a breach of the protocol,
 * `refused` by one of both sides until somebody changes something.
 */
export type CloseKind = 'broken' | 'damaged' | 'refused';

export interface DialEvents {
  /** The other side is whom it should be, and takes frames. */
  readonly onOpen: () => void;
  /** After onOpen. */
  readonly onFrame: OnPeerFrame;
  readonly onWritable: () => void;
  /** Called once. */
  readonly onClose: (reason: string, kind: CloseKind) => void;
}

export interface DialTarget {
  readonly nodeId: NodeId;
  readonly workerIndex: number;
  readonly address: PeerAddress;
  readonly purpose: PeerPurpose;
}

export function dial(
  options: PeerMeshOptions,
  counters: PeerCounters,
  { nodeId, workerIndex, address, purpose }: DialTarget,
  events: DialEvents,
): FrameSocket {
  let isOpen = false;
  let isRefused = false;
  const refuse = (reason: string): void => {
    isRefused = true;
    frames.close(reason);
  };
  const greet: OnPeerFrame = (kind, source, start, end) => {
    if (kind === PEER_WELCOME) {
      const { version, listener } = readWelcome(source, start, end);
      if (version !== PEER_VERSION) throw new PeerProtocolError(`it chose version ${version}, which was not offered`);
      const stranger = strangerText(options, listener, nodeId, workerIndex);
      if (stranger !== null) {
        refuse(stranger);
        return;
      }
      frames.payloadBytesMax = limits.peerFrameBytesMax;
      isOpen = true;
      events.onOpen();
    } else if (kind === PEER_REFUSED) {
      const { code, reason } = readRefusal(source, start, end);
      if (code === REFUSED_FOR_GOOD) refuse(reason);
      else frames.close(`refused for now: ${reason}`);
    } else {
      throw new PeerProtocolError(`a frame of kind ${kind} is no answer to a HELLO`);
    }
  };
  const onread = sharedReads(() => socket);
  const socket: Socket = createConnection({ ...address, noDelay: true, onread });
  const frames = new FrameSocket(socket, counters, {
    onFrame: (kind, source, start, end) => {
      if (isOpen) events.onFrame(kind, source, start, end);
      else greet(kind, source, start, end);
    },
    onWritable: () => {
      if (isOpen) events.onWritable();
    },
    onClose: (reason, isProtocolError) =>
      events.onClose(reason, isRefused ? 'refused' : isProtocolError ? 'damaged' : 'broken'),
  });
  writeHello(frames.begin(PEER_HELLO), {
    versionMin: PEER_VERSION,
    versionMax: PEER_VERSION,
    purpose,
    dialler: options.self,
    targetNodeId: nodeId,
    targetWorker: workerIndex,
  });
  frames.send();
  return frames;
}
