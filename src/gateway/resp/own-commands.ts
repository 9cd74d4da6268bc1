/** The commands that concern the connection or the node, not the keys. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import { globMatches } from '../../core/kv/commands/glob.ts';
import { argIs } from '../../core/kv/commands/shared.ts';
import { runClientCommand, setClientName } from './client-command.ts';
import type { ReplyMode } from './client-command.ts';
import { runCommandCommand } from './command-command.ts';
import type { RespSession } from './session.ts';
import { wrongArity } from './services.ts';

interface OwnCommand {
  /** As Redis counts it: the name included, negative = at least. */
  readonly arity: number;
  /** Runs at once inside MULTI, too. */
  readonly inMulti: boolean;
  readonly run: (session: RespSession, args: Args) => void;
}

const NO_AUTH_SET =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?';

const ownCommands: Readonly<Record<string, OwnCommand>> = {
  HELLO: { arity: -1, inMulti: false, run: hello },
  AUTH: { arity: -2, inMulti: false, run: (session) => session.answer((sink) => sink.error(NO_AUTH_SET)) },
  QUIT: { arity: -1, inMulti: true, run: quit },
  RESET: { arity: 1, inMulti: true, run: reset },
  SELECT: { arity: 2, inMulti: false, run: select },
  CLIENT: { arity: -2, inMulti: false, run: client },
  COMMAND: {
    arity: -1,
    inMulti: false,
    run: (session, args) => session.answer((sink) => runCommandCommand(args, sink)),
  },
  CONFIG: { arity: -2, inMulti: false, run: config },
  INFO: { arity: -1, inMulti: false, run: info },
  MULTI: { arity: 1, inMulti: true, run: multi },
  EXEC: { arity: 1, inMulti: true, run: exec },
  DISCARD: { arity: 1, inMulti: true, run: discard },
  WATCH: { arity: -2, inMulti: true, run: watch },
  UNWATCH: { arity: 1, inMulti: false, run: unwatch },
};

export function isOwnCommand(name: string): boolean {
  return Object.hasOwn(ownCommands, name);
}

export function runOwnCommand(session: RespSession, name: string, args: Args): void {
  const own = ownCommands[name] as OwnCommand;
  const { transaction } = session;
  const isArityRight = own.arity < 0 ? args.count + 1 >= -own.arity : args.count + 1 === own.arity;
  if (!isArityRight) {
    transaction.isSpoiled ||= transaction.isOpen;
    session.answer((sink) => wrongArity(sink, name));
  } else if (transaction.isOpen && !own.inMulti) {
    transaction.isSpoiled = true;
    session.answer((sink) => sink.error(`ERR Command not allowed inside a transaction: ${name.toLowerCase()}`));
  } else {
    own.run(session, args);
  }
}

function hello(session: RespSession, args: Args): void {
  const version = args.count === 0 ? session.connection.protocol : Number(argText(args, 0));
  if (version !== 2 && version !== 3) {
    session.answer((sink) =>
      sink.error(
        Number.isInteger(version)
          ? 'NOPROTO unsupported protocol version'
          : 'ERR Protocol version is not an integer or out of range',
      ),
    );
    return;
  }
  for (let i = 1; i < args.count;) {
    const word = argText(args, i).toUpperCase();
    if (word === 'AUTH' && i + 2 < args.count) {
      // The default user has no password: anything is accepted for it, as in Redis with `nopass`.
      if (argText(args, i + 1) !== 'default') {
        session.answer((sink) => sink.error('WRONGPASS invalid username-password pair or user is disabled.'));
        return;
      }
      i += 3;
    } else if (word === 'SETNAME' && i + 1 < args.count) {
      const wrong = setClientName(session.client, argText(args, i + 1));
      if (wrong !== null) {
        session.answer((sink) => sink.error(wrong));
        return;
      }
      i += 2;
    } else {
      const option = argText(args, i);
      session.answer((sink) => sink.error(`ERR Syntax error in HELLO option '${option}'`));
      return;
    }
  }
  session.afterReplies(() => {
    session.connection.protocol = version;
    session.answer((sink) => describeServer(session, version, sink));
  });
}

function describeServer(session: RespSession, protocol: number, sink: ReplySink): void {
  sink.map(7);
  sink.text('server');
  sink.text('redis');
  sink.text('version');
  sink.text(REDIS_VERSION);
  sink.text('proto');
  sink.integer(protocol);
  sink.text('id');
  sink.integer(session.client.id);
  sink.text('mode');
  sink.text('standalone');
  sink.text('role');
  sink.text('master');
  sink.text('modules');
  sink.array(0);
}

/** The version of Redis whose commands are spoken; clients choose their behaviour by it. */
export const REDIS_VERSION = '7.0.15';

function quit(session: RespSession): void {
  session.answer((sink) => sink.simple('OK'));
  session.close();
}

function reset(session: RespSession): void {
  session.transaction.reset();
  session.client.queued = -1;
  session.client.watched = 0;
  session.client.name = '';
  session.replyMode = 'ON';
  session.afterReplies(() => {
    session.connection.protocol = 2;
    session.answer((sink) => sink.simple('RESET'));
  });
}

function select(session: RespSession, args: Args): void {
  const text = argText(args, 0);
  session.answer((sink) => {
    if (text === '0') sink.simple('OK');
    else
      sink.error(/^-?\d+$/.test(text) ? 'ERR DB index is out of range' : 'ERR value is not an integer or out of range');
  });
}

function client(session: RespSession, args: Args): void {
  const { clients, nowMs } = session.services;
  let mode: ReplyMode | null = null;
  const setReplyMode = (next: ReplyMode): void => {
    mode = next;
  };
  // OFF and SKIP are not answered themselves; whether they are right is known before the reply is sent.
  const isQuiet = args.count === 2 && argIs(args, 0, 'REPLY') && (argIs(args, 1, 'OFF') || argIs(args, 1, 'SKIP'));
  const before = session.replyMode;
  if (isQuiet) session.replyMode = 'OFF';
  else if (args.count === 2 && argIs(args, 0, 'REPLY') && argIs(args, 1, 'ON')) session.replyMode = 'ON';
  session.answer((sink) => runClientCommand(session.client, args, sink, { clients, nowMs: nowMs(), setReplyMode }));
  if (mode === 'SKIP') {
    session.replyMode = before;
    session.replyMode = 'SKIP';
  }
}

function config(session: RespSession, args: Args): void {
  const { config: port } = session.services;
  const sub = argText(args, 0).toUpperCase();
  session.answer((sink) => {
    if (sub === 'GET' && args.count >= 2) {
      const found = [...port.all()].filter(([name]) => matchesAny(name, args));
      sink.map(found.length);
      for (const [name, value] of found) {
        sink.text(name);
        sink.text(value);
      }
    } else if (sub === 'SET' && args.count >= 3 && args.count % 2 === 1) {
      for (let i = 1; i < args.count; i += 2) {
        const wrong = port.set(argText(args, i).toLowerCase(), argText(args, i + 1));
        if (wrong !== null) {
          sink.error(wrong);
          return;
        }
      }
      sink.simple('OK');
    } else if (sub === 'RESETSTAT' && args.count === 1) {
      port.resetStatistics();
      sink.simple('OK');
    } else if (sub === 'GET' || sub === 'SET' || sub === 'RESETSTAT') {
      sink.error(`ERR wrong number of arguments for 'config|${sub.toLowerCase()}' command`);
    } else {
      sink.error(`ERR unknown subcommand '${argText(args, 0)}'. Try CONFIG HELP.`);
    }
  });
}

function matchesAny(name: string, args: Args): boolean {
  const text = Buffer.from(name);
  for (let i = 1; i < args.count; i++) {
    const pattern = Buffer.from(argText(args, i).toLowerCase());
    if (globMatches(pattern, 0, pattern.length, text, 0, text.length)) return true;
  }
  return false;
}

function info(session: RespSession, args: Args): void {
  const wanted = new Set<string>();
  for (let i = 0; i < args.count; i++) wanted.add(argText(args, i).toLowerCase());
  const all = wanted.size === 0 || ['all', 'default', 'everything'].some((word) => wanted.has(word));
  const sections = session.services.info().filter(([name]) => all || wanted.has(name.toLowerCase()));
  const text = sections
    .map(([name, fields]) => {
      const lines = Object.entries(fields).map(([field, value]) => `${field}:${value}\r\n`);
      return `# ${name}\r\n${lines.join('')}`;
    })
    .join('\r\n');
  session.answer((sink) => sink.text(text));
}

function multi(session: RespSession): void {
  const { transaction } = session;
  if (transaction.isOpen) {
    session.answer((sink) => sink.error('ERR MULTI calls can not be nested'));
    return;
  }
  transaction.begin();
  session.client.queued = 0;
  session.answer((sink) => sink.simple('OK'));
}

function exec(session: RespSession): void {
  if (session.transaction.isOpen) session.exec();
  else session.answer((sink) => sink.error('ERR EXEC without MULTI'));
}

function discard(session: RespSession): void {
  if (!session.transaction.isOpen) {
    session.answer((sink) => sink.error('ERR DISCARD without MULTI'));
    return;
  }
  session.transaction.reset();
  session.client.queued = -1;
  session.client.watched = 0;
  session.answer((sink) => sink.simple('OK'));
}

function watch(session: RespSession, args: Args): void {
  if (session.transaction.isOpen) session.answer((sink) => sink.error('ERR WATCH inside MULTI is not allowed'));
  else session.watch(args);
}

function unwatch(session: RespSession): void {
  session.transaction.unwatch();
  session.client.watched = 0;
  session.answer((sink) => sink.simple('OK'));
}
