/**
 * The control server of a node: takes connections of other nodes' main threads, lets in who belongs here, and answers their
 * requests. What comes in is checked (protocol.ts) before anybody acts on it.
 */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { SkerryError } from '../../core/errors.ts';
import type { Logger } from '../../observe/log.ts';
import { encodeFrame, FrameReader, KIND_ANSWER, KIND_FAILURE, KIND_REQUEST } from './frames.ts';
import type { Frame } from './frames.ts';
import { checkRequest, FRAME_BYTES_MAX, HELLO_BYTES_MAX, isRequestType, toWireError } from './protocol.ts';
import type { AnswerBody, RequestBody, RequestType } from './protocol.ts';

const CONNECTIONS_MAX = 1024;
const HELLO_TIMEOUT_MS = 10_000;
const UNSENT_BYTES_MAX = 128 * 1024 * 1024;

type Asked = Exclude<RequestType, 'hello'>;

/** One for each request; rejects or throws SkerryError. */
export type RequestHandlers = {
  readonly [T in Asked]: (body: RequestBody<T>) => AnswerBody<T> | Promise<AnswerBody<T>>;
};

export interface ControlService {
  /** Lets a connection in; throws SkerryError when it does not belong here. */
  readonly admit: (hello: RequestBody<'hello'>) => AnswerBody<'hello'>;
  readonly handlers: RequestHandlers;
}

export interface ControlServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens at once. Rejects with KV_NETWORK when it cannot; `hint.code` is the system's, such as EADDRINUSE. */
export async function startControlServer(
  host: string,
  port: number,
  service: ControlService,
  log: Logger,
): Promise<ControlServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, service, log);
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const message = `The control server cannot listen on ${host}:${port}: ${cause.message}. Choose another --peer-port or --host.`;
      reject(new SkerryError('KV_NETWORK', message, { cause, hint: { code: cause.code } }));
    });
    server.listen(port, host, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', (err) => log.error({ err }, 'the control server failed'));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function serve(socket: Socket, { admit, handlers }: ControlService, log: Logger): void {
  const reader = new FrameReader(HELLO_BYTES_MAX);
  let isKnown = false;
  const end = (reason: string): void => {
    log.debug({ peer: socket.remoteAddress, reason }, 'ended a control connection');
    socket.destroy();
  };
  const helloTimer = setTimeout(() => end('no hello'), HELLO_TIMEOUT_MS);
  socket.once('close', () => clearTimeout(helloTimer));
  socket.on('error', (error) => end(error.message));
  const reply = (frame: Frame): void => {
    if (!socket.writable) return;
    socket.write(encodeFrame(frame));
    if (socket.writableLength > UNSENT_BYTES_MAX) end('it does not read its answers');
  };
  const refuse = (id: number, error: unknown): void => reply({ kind: KIND_FAILURE, id, error: toWireError(error) });

  const take = (frame: Frame): void => {
    if (frame.kind !== KIND_REQUEST) return end('an answer to nothing');
    const { id, type, body } = frame;
    if (!isRequestType(type)) {
      return refuse(id, new SkerryError('KV_INVALID', `there is no control request ${type}`));
    }
    if (type !== 'hello') return isKnown ? answer(id, type, body) : end('the first request is no hello');
    try {
      const greeting = admit(checkRequest('hello', body));
      isKnown = true;
      clearTimeout(helloTimer);
      reader.bytesMax = FRAME_BYTES_MAX;
      reply({ kind: KIND_ANSWER, id, body: greeting });
    } catch (error) {
      refuse(id, error);
      socket.end();
    }
    return undefined;
  };

  const answer = <T extends Asked>(id: number, type: T, body: unknown): void => {
    new Promise<AnswerBody<T>>((resolve) => {
      resolve(handlers[type](checkRequest(type, body)));
    }).then(
      (result) => reply({ kind: KIND_ANSWER, id, body: result }),
      (error: unknown) => refuse(id, error),
    );
  };

  socket.on('data', (chunk: Buffer) => {
    try {
      for (const frame of reader.push(chunk)) if (!socket.writableEnded) take(frame);
    } catch (error) {
      end((error as Error).message);
    }
  });
}
