/** CLIENT: what a connection may ask and say about itself and about the others of its worker. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import type { RespClient } from '../clients.ts';
import { describeClient } from '../clients.ts';
import type { Answer, OwnCommand } from '../own-command.ts';
import { answered, container, control, integerAt, wordAt } from '../own-command.ts';
import type { RespSession } from '../session.ts';

export const CLIENT_NAME_REFUSED = 'ERR Client names cannot contain spaces, newlines or special characters.';
const SYNTAX = 'ERR syntax error';
const ADMIN = ['admin', 'noscript', 'loading', 'stale'];
const ADMIN_CATEGORIES = ['admin', 'slow', 'dangerous', 'connection'];
const CLIENT_TYPES = new Set(['normal', 'slave', 'replica', 'pubsub', 'master']);

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

function describeAll(session: RespSession, clients: Iterable<RespClient>, sink: ReplySink): void {
  const nowMs = session.services.nowMs();
  sink.text(Array.from(clients, (client) => `${describeClient(client, nowMs)}\n`).join(''));
}

function list(session: RespSession, args: Args, sink: ReplySink): void {
  const { clients } = session.services.clients;
  const option = args.count > 1 ? wordAt(args, 1) : '';
  if (args.count === 1) {
    describeAll(session, clients.values(), sink);
  } else if (option === 'TYPE' && args.count === 3) {
    const type = argText(args, 2);
    if (!CLIENT_TYPES.has(type.toLowerCase())) sink.error(`ERR Unknown client type '${type}'`);
    else describeAll(session, type.toLowerCase() === 'normal' ? clients.values() : [], sink);
  } else if (option === 'ID' && args.count > 2) {
    const found: RespClient[] = [];
    for (let i = 2; i < args.count; i++) {
      const id = integerAt(args, i);
      if (id === null) {
        sink.error('ERR Invalid client ID');
        return;
      }
      const client = clients.get(id);
      if (client !== undefined) found.push(client);
    }
    describeAll(session, found, sink);
  } else {
    sink.error(SYNTAX);
  }
}

interface KillFilter {
  readonly matches: ((client: RespClient) => boolean)[];
  skipsSelf: boolean;
}

/** Reads one filter and its value into `filter`. Returns what is wrong, or null. */
function readKillFilter(args: Args, i: number, filter: KillFilter): string | null {
  const value = argText(args, i + 1);
  switch (wordAt(args, i)) {
    case 'ID': {
      const id = integerAt(args, i + 1);
      if (id === null || id < 1) return 'ERR client-id should be greater than 0';
      filter.matches.push((client) => client.id === id);
      return null;
    }
    case 'ADDR':
      filter.matches.push(({ address }) => address === value);
      return null;
    case 'LADDR':
      filter.matches.push(({ localAddress }) => localAddress === value);
      return null;
    case 'TYPE': {
      const type = value.toLowerCase();
      if (!CLIENT_TYPES.has(type)) return `ERR Unknown client type '${value}'`;
      filter.matches.push(() => type === 'normal');
      return null;
    }
    case 'USER':
      return value === 'default' ? null : `ERR No such user '${value}'`;
    case 'SKIPME': {
      const word = value.toLowerCase();
      if (word !== 'yes' && word !== 'no') return SYNTAX;
      filter.skipsSelf = word === 'yes';
      return null;
    }
    default:
      return SYNTAX;
  }
}

function kill(session: RespSession, args: Args, sink: ReplySink): void {
  const all = [...session.services.clients.clients.values()];
  const end = (client: RespClient): void => client.kill(client === session.client);
  if (args.count === 2) {
    const address = argText(args, 1);
    const found = all.find((client) => client.address === address);
    if (found === undefined) {
      sink.error('ERR No such client');
    } else {
      sink.simple('OK');
      end(found);
    }
    return;
  }
  const filter: KillFilter = { matches: [], skipsSelf: true };
  for (let i = 1; i < args.count; i += 2) {
    const error = i + 1 < args.count ? readKillFilter(args, i, filter) : SYNTAX;
    if (error !== null) {
      sink.error(error);
      return;
    }
  }
  const found = all.filter(
    (client) => !(filter.skipsSelf && client === session.client) && filter.matches.every((isMatch) => isMatch(client)),
  );
  sink.integer(found.length);
  for (const client of found) end(client);
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

export const clientCommand: OwnCommand = container('CLIENT', [
  sub('ID', 2, ({ client }, _args, sink) => sink.integer(client.id)),
  sub('GETNAME', 2, getName),
  sub('SETNAME', 3, setName),
  sub('SETINFO', 4, setInfo),
  sub('INFO', 2, (session, _args, sink) => describeAll(session, [session.client], sink)),
  admin('LIST', -2, list),
  admin('KILL', -3, kill),
  control('CLIENT|REPLY', 3, reply, 'connection', true),
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
]);
