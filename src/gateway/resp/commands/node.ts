/** CONFIG, INFO, ACL WHOAMI: the node. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import { globMatches } from '../../../core/kv/commands/glob.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import type { Answer, OwnCommand } from '../own-command.ts';
import { answered, container } from '../own-command.ts';
import type { RespSession } from '../session.ts';

const ADMIN = ['admin', 'noscript', 'loading', 'stale'];
const DANGEROUS = ['admin', 'slow', 'dangerous'];

function configGet({ services }: RespSession, args: Args, sink: ReplySink): void {
  const patterns: Buffer[] = [];
  for (let i = 1; i < args.count; i++) patterns.push(Buffer.from(argText(args, i).toLowerCase(), 'latin1'));
  const found = [...services.config.all()].filter(([name]) => {
    const text = Buffer.from(name);
    return patterns.some((pattern) => globMatches(pattern, 0, pattern.length, text, 0, text.length));
  });
  sink.map(found.length);
  for (const [name, value] of found) {
    sink.text(name);
    sink.text(value);
  }
}

function configSet({ services }: RespSession, args: Args, sink: ReplySink): void {
  const { config } = services;
  if (args.count % 2 === 0) {
    sink.error('ERR syntax error');
    return;
  }
  const known = config.all();
  const wanted = new Map<string, string>();
  // All names are looked at before anything is changed.
  for (let i = 1; i < args.count; i += 2) {
    const name = argText(args, i).toLowerCase();
    const error = !known.has(name)
      ? `ERR Unknown option or number of arguments for CONFIG SET - '${argText(args, i)}'`
      : wanted.has(name)
        ? `ERR CONFIG SET failed (possibly related to argument '${name}') - duplicate parameter`
        : null;
    if (error !== null) {
      sink.error(error);
      return;
    }
    wanted.set(name, argText(args, i + 1));
  }
  for (const [name, value] of wanted) {
    const error = config.set(name, value);
    if (error !== null) {
      sink.error(error);
      return;
    }
  }
  sink.simple('OK');
}

function configResetStat({ services }: RespSession, _args: Args, sink: ReplySink): void {
  services.config.resetStatistics();
  sink.simple('OK');
}

function info({ services }: RespSession, args: Args, sink: ReplySink): void {
  const wanted = new Set<string>();
  for (let i = 0; i < args.count; i++) wanted.add(argText(args, i).toLowerCase());
  const isAll = wanted.size === 0 || ['all', 'default', 'everything'].some((word) => wanted.has(word));
  const texts = services
    .info()
    .filter(([name]) => isAll || wanted.has(name.toLowerCase()))
    .map(([name, fields]) => {
      const lines = Object.entries(fields).map(([field, value]) => `${field}:${value}\r\n`);
      return `# ${name}\r\n${lines.join('')}`;
    });
  sink.text(texts.join('\r\n'));
}

const config = (name: string, arity: number, answer: Answer) =>
  answered(`CONFIG|${name}`, arity, answer, ADMIN, DANGEROUS);

export const nodeCommands: readonly OwnCommand[] = [
  container('CONFIG', [
    config('GET', -3, configGet),
    config('SET', -4, configSet),
    config('RESETSTAT', 2, configResetStat),
    config('REWRITE', 2, (_session, _args, sink) => sink.error('ERR The server is running without a config file')),
  ]),
  answered('INFO', -1, info, ['loading', 'stale'], ['slow', 'dangerous']),
  container('ACL', [answered('ACL|WHOAMI', 2, (_session, _args, sink) => sink.text('default'))]),
];
