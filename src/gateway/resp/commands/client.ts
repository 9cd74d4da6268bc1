/** CLIENT: what a connection may ask and say about itself and about the others of its node. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import { addressFilter, parseKillFilter, parseListFilter } from '../client-filter.ts';
import { describeClient } from '../clients.ts';
import type { Answer, LateReply, OwnCommand } from '../own-command.ts';
import { answered, asked, container, control, integerAt, wordAt } from '../own-command.ts';
import type { RespSession } from '../session.ts';

export const CLIENT_NAME_REFUSED = 'ERR Client names cannot contain spaces, newlines or special characters.';
const SYNTAX = 'ERR syntax error';
const ADMIN = ['admin', 'noscript', 'loading', 'stale'];
const CONNECTION_CATEGORIES = ['slow', 'connection'];
const ADMIN_CATEGORIES = ['admin', 'slow', 'dangerous', 'connection'];

/** Printable ASCII without the space, as Redis wants names. */
export function isPlainWord(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}

function setName({ client }: RespSession, args: Args, sink: ReplySink): void {
  const name = argText(args, 1);
  if (isPlainWord(name)) {
    client.name = name;
    sink.simple('OK');
  } else {
    sink.error(CLIENT_NAME_REFUSED);
  }
}

function setInfo({ client }: RespSession, args: Args, sink: ReplySink): void {
  const attribute = argText(args, 1).toLowerCase();
  const value = argText(args, 2);
  if (attribute !== 'lib-name' && attribute !== 'lib-ver') {
    sink.error(`ERR Unrecognized option '${argText(args, 1)}'`);
  } else if (!isPlainWord(value)) {
    sink.error(`ERR ${attribute} cannot contain spaces, newlines or special characters.`);
  } else {
    if (attribute === 'lib-name') client.libraryName = value;
    else client.libraryVersion = value;
    sink.simple('OK');
  }
}

function info({ services, client }: RespSession, _args: Args, sink: ReplySink): void {
  sink.text(`${describeClient(client, services.nowMs())}\n`);
}

const refusal =
  (error: string): LateReply =>
  (sink) =>
    sink.error(error);

async function list({ services }: RespSession, args: Args): Promise<LateReply> {
  const filter = parseListFilter(args);
  if (typeof filter === 'string') return refusal(filter);
  const clients = await services.node.listClients(filter);
  return (sink) => sink.text(clients.map(({ line }) => `${line}\n`).join(''));
}

async function kill({ services, client }: RespSession, args: Args): Promise<LateReply> {
  const isOldForm = args.count === 2;
  const filter = isOldForm ? addressFilter(argText(args, 1)) : parseKillFilter(args, client.id);
  if (typeof filter === 'string') return refusal(filter);
  const killed = await services.node.killClients(filter, client.id);
  if (!isOldForm) return (sink) => sink.integer(killed);
  return killed === 0 ? refusal('ERR No such client') : (sink) => sink.simple('OK');
}

/** ON is answered, OFF and SKIP are not. */
function reply(session: RespSession, args: Args): void {
  const mode = wordAt(args, 1);
  if (mode === 'ON') {
    session.replyMode = 'ON';
    session.answer((sink) => sink.simple('OK'));
  } else if (mode === 'OFF' || mode === 'SKIP') {
    session.replyMode = mode;
  } else {
    session.answer((sink) => sink.error(SYNTAX));
  }
}

function onOrOff(_session: RespSession, args: Args, sink: ReplySink): void {
  const word = wordAt(args, 1);
  if (word === 'ON' || word === 'OFF') sink.simple('OK');
  else sink.error(SYNTAX);
}

function tracking(_session: RespSession, args: Args, sink: ReplySink): void {
  const word = wordAt(args, 1);
  if (word === 'OFF') sink.simple('OK');
  else sink.error(word === 'ON' ? 'ERR client side caching is not supported' : SYNTAX);
}

function trackingInfo(_session: RespSession, _args: Args, sink: ReplySink): void {
  sink.map(3);
  sink.text('flags');
  sink.set(1);
  sink.text('off');
  sink.text('redirect');
  sink.integer(-1);
  sink.text('prefixes');
  sink.array(0);
}

function getName({ client }: RespSession, _args: Args, sink: ReplySink): void {
  if (client.name === '') sink.null();
  else sink.text(client.name);
}

function unblock(_session: RespSession, args: Args, sink: ReplySink): void {
  // Nobody ever waits: there are no blocking commands.
  if (integerAt(args, 1) === null) sink.error('ERR value is not an integer or out of range');
  else sink.integer(0);
}

const sub = (name: string, arity: number, answer: Answer) => answered(`CLIENT|${name}`, arity, answer);
const admin = (name: string, arity: number, answer: Answer) =>
  answered(`CLIENT|${name}`, arity, answer, ADMIN, ADMIN_CATEGORIES);
const ok: Answer = (_session, _args, sink) => sink.simple('OK');

export const clientCommand: OwnCommand = container(
  'CLIENT',
  [
    sub('ID', 2, ({ client }, _args, sink) => sink.integer(client.id)),
    sub('GETNAME', 2, getName),
    sub('SETNAME', 3, setName),
    sub('SETINFO', 4, setInfo),
    sub('INFO', 2, info),
    asked('CLIENT|LIST', -2, list, ADMIN, ADMIN_CATEGORIES),
    asked('CLIENT|KILL', -3, kill, ADMIN, ADMIN_CATEGORIES),
    control('CLIENT|REPLY', 3, reply, ['noscript', 'loading', 'stale'], CONNECTION_CATEGORIES, true),
    admin('NO-EVICT', 3, onOrOff),
    sub('NO-TOUCH', 3, onOrOff),
    admin('UNPAUSE', 2, ok),
    admin('UNBLOCK', -3, unblock),
    sub('GETREDIR', 2, (_session, _args, sink) => sink.integer(-1)),
    sub('TRACKING', -3, tracking),
    sub('TRACKINGINFO', 2, trackingInfo),
    sub('CACHING', 3, (_session, _args, sink) =>
      sink.error(
        'ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled',
      ),
    ),
  ],
  CONNECTION_CATEGORIES,
);
