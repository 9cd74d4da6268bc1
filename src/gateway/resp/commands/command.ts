/** COMMAND: what clients and redis-cli ask about the commands there are. */
import type { Args } from '../../../core/kv/args.ts';
import { argText } from '../../../core/kv/args.ts';
import { globMatches } from '../../../core/kv/commands/glob.ts';
import type { ReplySink } from '../../../core/kv/reply.ts';
import type { CommandSpec } from '../../../core/kv/spec.ts';
import { allCommands, lookupCommand } from '../../../core/kv/table.ts';
import { keyUsesOf, tipsOf } from '../command-facts.ts';
import type { OwnCommand } from '../own-command.ts';
import { answered, container, isArityRight, wordAt } from '../own-command.ts';

/** Flags of the command table that are no words of Redis. */
const OUR_FLAGS = new Set(['internal', 'native']);

/** First, last and step, as COMMAND counts them. */
type KeyPositions = readonly [first: number, last: number, step: number];

const NO_KEYS: KeyPositions = [0, 0, 0];

/** What is told of a command, of the store or of the session. */
interface Entry {
  readonly name: string;
  readonly arity: number;
  readonly flags: readonly string[];
  readonly categories: readonly string[];
  readonly keys: KeyPositions;
  readonly subcommands: readonly Entry[];
}

function entryOfSpec(spec: CommandSpec): Entry {
  const { name, arity, categories, firstKey, lastKey, keyStep } = spec;
  const flags = spec.flags.filter((flag) => !OUR_FLAGS.has(flag));
  const entry: Entry = { name, arity, categories, flags, keys: [firstKey, lastKey, keyStep], subcommands: [] };
  return name === 'OBJECT' ? objectContainer(entry) : entry;
}

/** OBJECT is one command of the store, and in Redis a container. */
function objectContainer(object: Entry): Entry {
  const sub = (name: string): Entry => ({ ...object, name: `OBJECT|${name}`, arity: 3 });
  const help: Entry = {
    ...object,
    name: 'OBJECT|HELP',
    flags: ['loading', 'stale'],
    categories: ['keyspace', 'slow'],
    keys: NO_KEYS,
  };
  const subcommands = [...['ENCODING', 'FREQ', 'IDLETIME', 'REFCOUNT'].map(sub), { ...help, arity: 2 }];
  return { ...object, flags: [], categories: ['slow'], keys: NO_KEYS, subcommands };
}

function entryOfOwn(own: OwnCommand): Entry {
  const subcommands = own.kind === 'container' ? [...own.subcommands.values()].map(entryOfOwn) : [];
  const { name, arity, flags, categories } = own;
  return { name, arity, flags, categories, keys: name === 'WATCH' ? [1, -1, 1] : NO_KEYS, subcommands };
}

function describe(entry: Entry, sink: ReplySink): void {
  const { name, arity, flags, categories, keys, subcommands } = entry;
  sink.array(10);
  sink.text(name.toLowerCase());
  sink.integer(arity);
  sink.set(flags.length);
  for (const flag of flags) sink.simple(flag);
  for (const position of keys) sink.integer(position);
  sink.set(categories.length);
  for (const category of categories) sink.simple(`@${category}`);
  const tips = tipsOf(name);
  sink.array(tips.length);
  for (const tip of tips) sink.text(tip);
  describeKeys(entry, sink);
  sink.array(subcommands.length);
  for (const subcommand of subcommands) describe(subcommand, sink);
}

/** The key specifications: runs of neighbouring keys that are used alike. All runs but the last have one key. */
function describeKeys({ name, flags, keys: [first, last, step] }: Entry, sink: ReplySink): void {
  const uses = first === 0 ? [] : keyUsesOf(name, flags.includes('write'));
  sink.array(uses.length);
  uses.forEach(({ flags: useFlags, notes }, i) => {
    const begin = first + i;
    const isLast = i === uses.length - 1;
    sink.map(notes === undefined ? 3 : 4);
    if (notes !== undefined) {
      sink.text('notes');
      sink.text(notes);
    }
    sink.text('flags');
    sink.set(useFlags.length);
    for (const flag of useFlags) sink.simple(flag);
    sink.text('begin_search');
    describeStep(sink, 'index', [['index', begin]]);
    sink.text('find_keys');
    describeStep(sink, 'range', [
      ['lastkey', !isLast ? 0 : last < 0 ? last : last - begin],
      ['keystep', step],
      ['limit', 0],
    ]);
  });
}

function describeStep(sink: ReplySink, type: string, numbers: readonly (readonly [string, number])[]): void {
  sink.map(2);
  sink.text('type');
  sink.text(type);
  sink.text('spec');
  sink.map(numbers.length);
  for (const [name, value] of numbers) {
    sink.text(name);
    sink.integer(value);
  }
}

function describeDocs({ name, categories, subcommands }: Entry, sink: ReplySink): void {
  sink.text(name.toLowerCase());
  sink.map(subcommands.length > 0 ? 3 : 2);
  sink.text('summary');
  sink.text(`See docs/resp.md and https://redis.io/commands/${name.split('|')[0]?.toLowerCase()}`);
  sink.text('group');
  sink.text(categories.find((category) => GROUPS.has(category)) ?? 'server');
  if (subcommands.length === 0) return;
  sink.text('subcommands');
  sink.map(subcommands.length);
  for (const subcommand of subcommands) describeDocs(subcommand, sink);
}

const GROUPS = new Set(['string', 'bitmap', 'connection', 'transaction', 'keyspace']);

function getKeys(args: Args, sink: ReplySink): void {
  const spec = lookupCommand(args.buffer, args.start[1] as number, args.end[1] as number);
  const words = args.count - 1;
  if (spec === undefined) {
    sink.error('ERR Invalid command specified');
  } else if (spec.firstKey === 0) {
    sink.error('ERR The command has no key arguments');
  } else if (isArityRight(spec.arity, words)) {
    const last = spec.lastKey < 0 ? words + spec.lastKey : spec.lastKey;
    const keys: number[] = [];
    for (let i = spec.firstKey; i <= last; i += spec.keyStep) keys.push(i + 1);
    sink.array(keys.length);
    for (const i of keys) sink.bulk(args.buffer, args.start[i] as number, args.end[i] as number);
  } else {
    sink.error('ERR Invalid number of arguments specified for command');
  }
}

/** COMMAND over all commands of the store and those of the session, itself included. */
export function createCommandCommand(own: readonly OwnCommand[]): OwnCommand {
  const flags = ['loading', 'stale'];
  const categories = ['slow', 'connection'];
  const entries = new Map<string, Entry>();
  const add = (entry: Entry): void => {
    entries.set(entry.name, entry);
    for (const subcommand of entry.subcommands) entries.set(subcommand.name, subcommand);
  };
  const top = (): Entry[] => [...entries.values()].filter(({ name }) => !name.includes('|'));
  const describeAll = (sink: ReplySink): void => {
    const all = top();
    sink.array(all.length);
    for (const entry of all) describe(entry, sink);
  };
  const sub = (name: string, arity: number, answer: (args: Args, sink: ReplySink) => void) =>
    answered(`COMMAND|${name}`, arity, (_session, args, sink) => answer(args, sink), flags, categories);

  function list(args: Args, sink: ReplySink): void {
    let found = top();
    if (args.count === 4 && wordAt(args, 1) === 'FILTERBY') {
      const by = wordAt(args, 2);
      const value = argText(args, 3).toLowerCase();
      const pattern = Buffer.from(value, 'latin1');
      if (by === 'PATTERN') {
        found = found.filter(({ name }) => {
          const text = Buffer.from(name.toLowerCase());
          return globMatches(pattern, 0, pattern.length, text, 0, text.length);
        });
      } else if (by === 'ACLCAT') {
        found = found.filter((entry) => entry.categories.includes(value));
      } else if (by === 'MODULE') {
        found = [];
      } else {
        sink.error('ERR syntax error');
        return;
      }
    } else if (args.count !== 1) {
      sink.error('ERR syntax error');
      return;
    }
    sink.array(found.length);
    for (const { name } of found) sink.text(name.toLowerCase());
  }

  function infoOf(args: Args, sink: ReplySink): void {
    if (args.count === 1) {
      describeAll(sink);
      return;
    }
    sink.array(args.count - 1);
    for (let i = 1; i < args.count; i++) {
      const entry = entries.get(wordAt(args, i));
      if (entry === undefined) sink.null();
      else describe(entry, sink);
    }
  }

  function docs(args: Args, sink: ReplySink): void {
    let found = top();
    if (args.count > 1) {
      const names = Array.from({ length: args.count - 1 }, (_, i) => wordAt(args, i + 1));
      found = names.flatMap((name) => entries.get(name) ?? []);
    }
    sink.map(found.length);
    for (const entry of found) describeDocs(entry, sink);
  }

  const command = container(
    'COMMAND',
    [
      sub('COUNT', 2, (_args, sink) => sink.integer(top().length)),
      sub('LIST', -2, list),
      sub('INFO', -2, infoOf),
      sub('DOCS', -2, docs),
      sub('GETKEYS', -4, getKeys),
    ],
    categories,
    answered('COMMAND', 1, (_session, _args, sink) => describeAll(sink), flags, categories),
  );
  for (const spec of allCommands) {
    if (!spec.flags.includes('internal') && !spec.flags.includes('native')) add(entryOfSpec(spec));
  }
  for (const each of [...own, command]) add(entryOfOwn(each));
  return command;
}
