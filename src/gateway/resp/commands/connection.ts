/** HELLO, AUTH, QUIT, RESET, SELECT: the connection itself. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import type { OwnCommand } from '../own-command.ts';
import { answered, control, integerAt, wordAt } from '../own-command.ts';
import type { RespSession } from '../session.ts';
import { CLIENT_NAME_REFUSED, isPlainWord } from './client.ts';

/** The version of Redis whose commands are spoken; clients choose their behaviour by it. */
export const REDIS_VERSION = '7.0.15';

const FAST = ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'];
const FAST_CONNECTION = ['fast', 'connection'];

const NO_PASSWORD =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?';
const WRONG_PASSWORD = 'WRONGPASS invalid username-password pair or user is disabled.';

/** There is one user, and any password is right for it: Redis's `nopass`. */
const ONLY_USER = 'default';

function hello(session: RespSession, args: Args): void {
  const refuse = (error: string): void => session.answer((sink) => sink.error(error));
  let protocol = session.connection.protocol;
  if (args.count > 0) {
    const version = integerAt(args, 0);
    if (version === null) {
      refuse('ERR Protocol version is not an integer or out of range');
      return;
    }
    if (version !== 2 && version !== 3) {
      refuse('NOPROTO unsupported protocol version');
      return;
    }
    protocol = version;
  }
  let isUser = true;
  let name: string | null = null;
  for (let i = 1; i < args.count;) {
    const word = wordAt(args, i);
    if (word === 'AUTH' && i + 2 < args.count) {
      isUser = argText(args, i + 1) === ONLY_USER;
      i += 3;
    } else if (word === 'SETNAME' && i + 1 < args.count) {
      name = argText(args, i + 1);
      if (!isPlainWord(name)) {
        refuse(CLIENT_NAME_REFUSED);
        return;
      }
      i += 2;
    } else {
      refuse(`ERR Syntax error in HELLO option '${argText(args, i)}'`);
      return;
    }
  }
  // As in Redis, the name is set even when the user is not let in.
  if (name !== null) session.client.name = name;
  if (!isUser) {
    refuse(WRONG_PASSWORD);
    return;
  }
  session.afterReplies(() => {
    session.connection.protocol = protocol;
    session.answer((sink) => describeServer(session, protocol, sink));
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

function auth(_session: RespSession, args: Args, sink: ReplySink): void {
  if (args.count > 2) sink.error('ERR syntax error');
  else if (args.count === 1) sink.error(NO_PASSWORD);
  else if (argText(args, 0) === ONLY_USER) sink.simple('OK');
  else sink.error(WRONG_PASSWORD);
}

function quit(session: RespSession): void {
  session.answer((sink) => sink.simple('OK'));
  session.close();
}

function reset(session: RespSession): void {
  session.transaction.reset();
  session.client.name = '';
  session.replyMode = 'ON';
  session.afterReplies(() => {
    session.connection.protocol = 2;
    session.answer((sink) => sink.simple('RESET'));
  });
}

function select(_session: RespSession, args: Args, sink: ReplySink): void {
  const index = integerAt(args, 0);
  if (index === null) sink.error('ERR value is not an integer or out of range');
  else if (index === 0) sink.simple('OK');
  else sink.error('ERR DB index is out of range');
}

export const connectionCommands: readonly OwnCommand[] = [
  // The answer to HELLO would be in two protocols at once inside the one to EXEC.
  control('HELLO', -1, hello, FAST, FAST_CONNECTION, true),
  answered('AUTH', -2, auth, FAST, FAST_CONNECTION),
  control('QUIT', -1, quit, FAST, FAST_CONNECTION),
  control('RESET', 1, reset, FAST, FAST_CONNECTION),
  answered('SELECT', 2, select, ['loading', 'stale', 'fast'], FAST_CONNECTION),
];
