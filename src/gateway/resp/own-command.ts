/** What the commands that the session answers itself have in common: those about the connection and the node. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { ReplySink } from '../../core/kv/reply.ts';
import type { RespSession } from './session.ts';

/** Sends exactly one reply. `args` are all words behind the command's first, a subcommand's name included. */
export type Answer = (session: RespSession, args: Args, sink: ReplySink) => void;

/** As COMMAND describes it. */
interface Described {
  /** Upper case; a subcommand's is CLIENT|ID. */
  readonly name: string;
  /** As Redis counts it: all words of the name included, negative = at least. */
  readonly arity: number;
  readonly flags: readonly string[];
  readonly categories: readonly string[];
}

/** Answered in one go; inside MULTI it is queued, and answered when EXEC is. */
export interface AnsweredCommand extends Described {
  readonly kind: 'answer';
  readonly answer: Answer;
}

/** Made when the answer is known: sends exactly one reply. */
export type LateReply = (sink: ReplySink) => void;

/**
 * Asks other threads first; commands behind it wait. `args` are valid until `ask` returns. Inside MULTI it is queued, and
 * asked when EXEC has run the store's commands.
 */
export interface AskedCommand extends Described {
  readonly kind: 'ask';
  readonly ask: (session: RespSession, args: Args) => Promise<LateReply>;
}

/** Takes a slot when and if it wants one. Inside MULTI it runs at once, or is refused. */
export interface ControlCommand extends Described {
  readonly kind: 'control';
  readonly isRefusedInMulti: boolean;
  readonly run: (session: RespSession, args: Args) => void;
}

/** CLIENT, CONFIG, COMMAND: the second word decides. */
export interface ContainerCommand extends Described {
  readonly kind: 'container';
  readonly subcommands: ReadonlyMap<string, SingleCommand>;
  /** The command without a second word, where it has a meaning. */
  readonly alone?: AnsweredCommand;
}

export type SingleCommand = AnsweredCommand | AskedCommand | ControlCommand;
export type OwnCommand = SingleCommand | ContainerCommand;

const CONNECTION_FLAGS = ['noscript', 'loading', 'stale'] as const;

export function answered(
  name: string,
  arity: number,
  answer: Answer,
  flags: readonly string[] = CONNECTION_FLAGS,
  categories: readonly string[] = ['slow', 'connection'],
): AnsweredCommand {
  return { kind: 'answer', name, arity, flags, categories, answer };
}

export function asked(
  name: string,
  arity: number,
  ask: AskedCommand['ask'],
  flags: readonly string[],
  categories: readonly string[],
): AskedCommand {
  return { kind: 'ask', name, arity, flags, categories, ask };
}

export function control(
  name: string,
  arity: number,
  run: ControlCommand['run'],
  flags: readonly string[],
  categories: readonly string[],
  isRefusedInMulti = false,
): ControlCommand {
  return { kind: 'control', name, arity, flags, categories, run, isRefusedInMulti };
}

/** A container, with HELP added. */
export function container(
  name: string,
  subcommands: readonly SingleCommand[],
  helpCategories: readonly string[],
  alone?: AnsweredCommand,
): ContainerCommand {
  const byName = new Map<string, SingleCommand>(
    subcommands.map((command) => [command.name.slice(name.length + 1), command]),
  );
  const lines = [
    `${name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`,
    ...[...byName.keys()].sort(),
    'HELP',
    '    Prints this help.',
  ];
  const help: Answer = (_session, _args, sink) => {
    sink.array(lines.length);
    for (const line of lines) sink.simple(line);
  };
  byName.set('HELP', answered(`${name}|HELP`, 2, help, ['loading', 'stale'], helpCategories));
  const common = { kind: 'container', name, subcommands: byName } as const;
  if (alone === undefined) return { ...common, arity: -2, flags: [], categories: ['slow'] };
  return { ...common, alone, arity: -1, flags: alone.flags, categories: alone.categories };
}

export function isArityRight(arity: number, words: number): boolean {
  return arity < 0 ? words >= -arity : words === arity;
}

export function wrongArity(name: string): string {
  return `ERR wrong number of arguments for '${name.toLowerCase()}' command`;
}

/** The option word at `i`, upper case. */
export function wordAt(args: Args, i: number): string {
  return argText(args, i).toUpperCase();
}

/** A decimal integer as Redis reads it (string2ll), or null. Beyond 2^53 it may be rounded. */
export function integerAt(args: Args, i: number): number | null {
  const text = argText(args, i);
  if (!/^(?:0|-?[1-9]\d{0,18})$/.test(text)) return null;
  const exact = BigInt(text);
  return BigInt.asIntN(64, exact) === exact ? Number(exact) : null;
}
