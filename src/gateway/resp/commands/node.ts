/** CONFIG, INFO, ACL WHOAMI: the node. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import { globMatches } from '../../../core/kv/commands/glob.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import { parseChanges, showSettings } from '../config.ts';
import type { Answer, LateReply, OwnCommand } from '../own-command.ts';
import { answered, asked, container } from '../own-command.ts';
import type { RespSession } from '../session.ts';

const ADMIN = ['admin', 'noscript', 'loading', 'stale'];
const SLOW = ['slow'];
const DANGEROUS = ['admin', 'slow', 'dangerous'];

const ok: LateReply = (sink) => sink.simple('OK');

function configGet({ services }: RespSession, args: Args, sink: ReplySink): void {
  const all = showSettings(services.config.settings());
  // As in Redis, a parameter that is asked for by its name is called as it was written.
  const found = new Map<string, string>();
  for (let i = 1; i < args.count; i++) {
    const given = argText(args, i);
    const pattern = Buffer.from(given.toLowerCase(), 'latin1');
    const isGlob = /[[*?]/.test(given);
    for (const [name, value] of all) {
      const text = Buffer.from(name);
      if (!globMatches(pattern, 0, pattern.length, text, 0, text.length)) continue;
      found.set(isGlob ? name : given, value);
    }
  }
  sink.map(found.size);
  for (const [name, value] of found) {
    sink.text(name);
    sink.text(value);
  }
}

async function configSet({ services }: RespSession, args: Args): Promise<LateReply> {
  if (args.count % 2 === 0) return (sink) => sink.error('ERR syntax error');
  const pairs: [string, string][] = [];
  for (let i = 1; i < args.count; i += 2) pairs.push([argText(args, i), argText(args, i + 1)]);
  const changes = parseChanges(pairs);
  if (typeof changes === 'string') return (sink) => sink.error(changes);
  await services.config.change(changes);
  return ok;
}

async function configResetStat({ services }: RespSession): Promise<LateReply> {
  await services.node.resetStatistics();
  return ok;
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

const rewrite: Answer = (_session, _args, sink) => sink.error('ERR The server is running without a config file');
const whoAmI: Answer = (_session, _args, sink) => sink.text('default');

export const nodeCommands: readonly OwnCommand[] = [
  container(
    'CONFIG',
    [
      config('GET', -3, configGet),
      asked('CONFIG|SET', -4, configSet, ADMIN, DANGEROUS),
      asked('CONFIG|RESETSTAT', 2, configResetStat, ADMIN, DANGEROUS),
      config('REWRITE', 2, rewrite),
    ],
    SLOW,
  ),
  answered('INFO', -1, info, ['loading', 'stale'], ['slow', 'dangerous']),
  container('ACL', [answered('ACL|WHOAMI', 2, whoAmI, ['noscript', 'loading', 'stale'], SLOW)], SLOW),
];
