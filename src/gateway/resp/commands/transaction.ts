/** MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
import type { Args } from '../../../core/kv/args.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import type { OwnCommand } from '../own-command.ts';
import { answered, control } from '../own-command.ts';
import type { RespSession } from '../session.ts';

function multi({ transaction, answer }: RespSession): void {
  if (transaction.isOpen) {
    answer((sink) => sink.error('ERR MULTI calls can not be nested'));
    return;
  }
  transaction.begin();
  answer((sink) => sink.simple('OK'));
}

function exec(session: RespSession): void {
  if (session.transaction.isOpen) session.exec();
  else session.answer((sink) => sink.error('ERR EXEC without MULTI'));
}

function discard({ transaction, answer }: RespSession): void {
  if (!transaction.isOpen) {
    answer((sink) => sink.error('ERR DISCARD without MULTI'));
    return;
  }
  transaction.reset();
  answer((sink) => sink.simple('OK'));
}

function watch(session: RespSession, args: Args): void {
  if (session.transaction.isOpen) session.answer((sink) => sink.error('ERR WATCH inside MULTI is not allowed'));
  else session.watch(args);
}

function unwatch({ transaction }: RespSession, _args: Args, sink: ReplySink): void {
  transaction.unwatch();
  sink.simple('OK');
}

const FLAGS = ['noscript', 'loading', 'stale', 'fast', 'allow_busy'];
const CATEGORIES = ['fast', 'transaction'];

export const transactionCommands: readonly OwnCommand[] = [
  control('MULTI', 1, multi, FLAGS, CATEGORIES),
  control('EXEC', 1, exec, ['noscript', 'loading', 'stale', 'skip_slowlog'], ['slow', 'transaction']),
  control('DISCARD', 1, discard, FLAGS, CATEGORIES),
  control('WATCH', -2, watch, FLAGS, CATEGORIES),
  answered('UNWATCH', 1, unwatch, FLAGS, CATEGORIES),
];
