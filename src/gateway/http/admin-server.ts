/**
 * The admin HTTP server: health, metrics and status for operators and their tools. It runs on the main thread, reads what the
 * threads have left in shared memory, and never asks the data path for anything that it would have to wait for.
 *
 *     GET /healthz   200 while the process lives
 *     GET /readyz    200 when the node is recovered and takes writes; else 503 with the reasons
 *     GET /metrics   Prometheus text
 *     GET /status    everything about the node, as JSON
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SkerryError, type ErrorCode } from '../../core/errors.ts';
import type { Logger } from '../../observe/log.ts';
import { PROMETHEUS_CONTENT_TYPE } from '../../observe/prometheus.ts';

/** What the server is asked for; the node supplies it. */
export interface AdminSource {
  /** Why the node cannot serve reads and writes now, in words; empty when it can. */
  readonly notReady: () => readonly string[];
  /** The page for Prometheus. */
  readonly metrics: () => string;
  /** Plain data for JSON. */
  readonly status: () => unknown;
}

export interface AdminServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly log: Logger;
}

export interface AdminServer {
  readonly host: string;
  readonly port: number;
  /** Answers what was asked before, then stops. */
  close(): Promise<void>;
}

interface Answer {
  readonly statusCode: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Handler = (source: AdminSource) => Answer;

const routes: Readonly<Record<string, Handler>> = {
  '/healthz': () => json(200, { status: 'alive' }),
  '/readyz': (source) => {
    const reasons = source.notReady();
    return reasons.length === 0 ? json(200, { status: 'ready' }) : json(503, { status: 'not ready', reasons });
  },
  '/metrics': (source) => ({ statusCode: 200, contentType: PROMETHEUS_CONTENT_TYPE, body: source.metrics() }),
  '/status': (source) => json(200, source.status()),
};

const METHODS = 'GET, HEAD';
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 256;

/**
 * Listens at once.
 * @throws SkerryError KV_NETWORK when the address cannot be listened on.
 */
export async function startAdminServer(source: AdminSource, options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS });
  server.maxConnections = CONNECTIONS_MAX;
  server.on('request', (request, response) => send(request, response, answer(request, source, options.log)));
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `The admin HTTP server cannot listen on ${options.host}:${options.port}: ${cause.message}. Choose another --http-port or --host.`;
      reject(new SkerryError('KV_NETWORK', message, { cause }));
    });
    server.listen(options.port, options.host, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', (err) => options.log.error({ err }, 'the admin HTTP server failed'));

  const { address, port } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

function answer(request: IncomingMessage, source: AdminSource, log: Logger): Answer {
  // The path up to the query; an absolute URL, as proxies send it, is cut to its path too.
  const path = /^(?:https?:\/\/[^/?#]*)?([^?#]*)/i.exec(request.url ?? '')?.[1] ?? '';
  const handler = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (handler === undefined) {
    return failure(404, 'KV_INVALID', `There is nothing at ${path}. There is: ${Object.keys(routes).join(', ')}.`);
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const message = `${request.method} is not possible at ${path}; use ${METHODS}.`;
    return { ...failure(405, 'KV_INVALID', message), headers: { Allow: METHODS } };
  }
  try {
    return handler(source);
  } catch (err) {
    log.error({ err, path }, 'an admin request failed');
    return failure(500, 'KV_STATE', `${path} failed: ${(err as Error).message}`);
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { statusCode, contentType, body, headers }: Answer,
): void {
  // Nobody needs a request body here; what is sent anyway must not keep the connection waiting.
  request.resume();
  response.writeHead(statusCode, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function json(statusCode: number, value: unknown): Answer {
  return { statusCode, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value, null, 2)}\n` };
}

function failure(statusCode: number, code: ErrorCode, message: string): Answer {
  return json(statusCode, { error: { code, message } });
}
