/** The connections of one worker, for CLIENT LIST, INFO and KILL. */
import type { Connection } from '../../net/connection.ts';

export interface RespClient {
  readonly id: number;
  readonly connection: Connection;
  readonly address: string;
  readonly localAddress: string;
  readonly connectedAtMs: number;
  name: string;
  libraryName: string;
  libraryVersion: string;
  /** Upper case; a subcommand behind a bar. */
  lastCommand: string;
  lastActiveMs: number;
  commandCount: number;
  bytesIn: number;
  /** Commands queued by MULTI, or -1 outside. */
  queued: number;
  watched: number;
  /** Ends the connection: at once, or after the replies that are owed to the client itself. */
  kill(isSelf: boolean): void;
}

export interface ClientRegistry {
  readonly clients: ReadonlyMap<number, RespClient>;
  /** A new id: never given twice by this node, ascending. */
  nextId(): number;
  add(client: RespClient): void;
  remove(client: RespClient): void;
}

/** Ids of different workers never meet: worker w gives w + 1, w + 1 + workerCount, … */
export function createClientRegistry(workerIndex: number, workerCount: number): ClientRegistry {
  const clients = new Map<number, RespClient>();
  let given = 0;
  return {
    clients,
    nextId: () => workerIndex + 1 + workerCount * given++,
    add: (client) => void clients.set(client.id, client),
    remove: (client) => void clients.delete(client.id),
  };
}

/** A client as a line of CLIENT LIST, in Redis's words. */
export function describeClient(client: RespClient, nowMs: number): string {
  const { connection } = client;
  const fields: Record<string, string | number> = {
    id: client.id,
    addr: client.address,
    laddr: client.localAddress,
    fd: -1,
    name: client.name,
    age: Math.floor((nowMs - client.connectedAtMs) / 1000),
    idle: Math.floor((nowMs - client.lastActiveMs) / 1000),
    flags: client.queued >= 0 ? 'x' : 'N',
    db: 0,
    sub: 0,
    psub: 0,
    ssub: 0,
    multi: client.queued,
    watch: client.watched,
    omem: connection.unsentBytes,
    events: 'r',
    cmd: client.lastCommand.toLowerCase(),
    user: 'default',
    redir: -1,
    resp: connection.protocol,
    'lib-name': client.libraryName,
    'lib-ver': client.libraryVersion,
    'tot-net-in': client.bytesIn,
    'tot-net-out': connection.bytesOut,
    'tot-cmds': client.commandCount,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}
