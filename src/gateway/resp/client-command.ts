/** CLIENT: what a connection may ask and say about itself and the others of its worker. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import type { ClientRegistry, RespClient } from './clients.ts';
import { describeClient } from './clients.ts';

/** What CLIENT REPLY may be set to. */
export type ReplyMode = 'ON' | 'OFF' | 'SKIP';

export interface ClientCommandPorts {
  readonly clients: ClientRegistry;
  readonly nowMs: number;
  readonly setReplyMode: (mode: ReplyMode) => void;
}

const NO_BLANKS = 'ERR Client names cannot contain spaces, newlines or special characters.';

function hasBlanks(text: string): boolean {
  for (const char of text) if (char < '!' || char > '~') return true;
  return false;
}

/** Sets the connection's name. Returns an error, or null. */
export function setClientName(client: RespClient, name: string): string | null {
  if (hasBlanks(name)) return NO_BLANKS;
  client.name = name;
  return null;
}

export function runClientCommand(client: RespClient, args: Args, sink: ReplySink, ports: ClientCommandPorts): void {
  const { clients, nowMs } = ports;
  const sub = argText(args, 0).toUpperCase();
  const ok = (error: string | null): void => (error === null ? sink.simple('OK') : sink.error(error));
  const wants = (count: number): boolean => {
    if (args.count === count) return true;
    sink.error(`ERR wrong number of arguments for 'client|${sub.toLowerCase()}' command`);
    return false;
  };
  switch (sub) {
    case 'ID':
      if (wants(1)) sink.integer(client.id);
      break;
    case 'GETNAME':
      if (!wants(1)) break;
      if (client.name === '') sink.null();
      else sink.text(client.name);
      break;
    case 'SETNAME':
      if (wants(2)) ok(setClientName(client, argText(args, 1)));
      break;
    case 'SETINFO':
      if (wants(3)) ok(setInfo(client, argText(args, 1), argText(args, 2)));
      break;
    case 'INFO':
      if (wants(1)) sink.text(`${describeClient(client, nowMs)}\n`);
      break;
    case 'LIST':
      sink.text([...clients.clients.values()].map((other) => `${describeClient(other, nowMs)}\n`).join(''));
      break;
    case 'KILL':
      kill(args, sink, clients);
      break;
    case 'REPLY': {
      const mode = args.count === 2 ? argText(args, 1).toUpperCase() : '';
      if (mode === 'ON' || mode === 'OFF' || mode === 'SKIP') {
        ports.setReplyMode(mode);
        sink.simple('OK');
      } else {
        sink.error('ERR syntax error');
      }
      break;
    }
    case 'NO-EVICT':
    case 'NO-TOUCH':
      if (wants(2)) ok(null);
      break;
    case 'GETREDIR':
      sink.integer(-1);
      break;
    case 'UNPAUSE':
      ok(null);
      break;
    case 'TRACKING':
      if (args.count === 2 && argText(args, 1).toUpperCase() === 'OFF') ok(null);
      else sink.error('ERR client tracking is not supported');
      break;
    default:
      sink.error(`ERR unknown subcommand '${argText(args, 0)}'. Try CLIENT HELP.`);
  }
}

function setInfo(client: RespClient, attribute: string, value: string): string | null {
  const name = attribute.toLowerCase();
  if (hasBlanks(value)) return `ERR ${name} cannot contain spaces, newlines or special characters.`;
  if (name === 'lib-name') client.libraryName = value;
  else if (name === 'lib-ver') client.libraryVersion = value;
  else return `ERR Unrecognized option '${attribute}'`;
  return null;
}

function kill(args: Args, sink: ReplySink, clients: ClientRegistry): void {
  if (args.count === 2) {
    const address = argText(args, 1);
    const found = [...clients.clients.values()].find((client) => client.address === address);
    if (found === undefined) sink.error('ERR No such client');
    else {
      found.connection.closeWhenAnswered();
      sink.simple('OK');
    }
    return;
  }
  const isById = args.count === 3 && argText(args, 1).toUpperCase() === 'ID';
  if (!isById) {
    sink.error('ERR syntax error');
    return;
  }
  const found = clients.clients.get(Number(argText(args, 2)));
  found?.connection.closeWhenAnswered();
  sink.integer(found === undefined ? 0 : 1);
}
