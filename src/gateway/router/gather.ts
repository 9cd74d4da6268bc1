/**
 * One command whose keys (or whose meaning) lie in several ranges, run as one command per range; the replies become one.
 * Each part is linearizable by itself, the whole is not one instant: docs/resp.md says so.
 */
import type { Args } from '../../core/kv/args.ts';
import { copyArgs, createArgs } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import type { RangeExplanation } from '../../core/kv/explanation.ts';
import { REPLY_TOO_LARGE } from '../../core/kv/commands/shared.ts';
import type { ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { meaningOf } from '../../codec/error-words.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import { limits } from '../../core/limits.ts';
import type { Route } from '../../core/range.ts';
import { decodeReply, playReply, ReplyCollector } from './reply-value.ts';
import type { ReplyValue } from './reply-value.ts';
import type { RouteTable } from './route-table.ts';
import type { Router } from './router.ts';

/** Receives the replies of the parts, by slot 0 … count - 1, and calls `done` with all of them. */
export class PartReplies implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight: number;
  readonly #collector = new ReplyCollector();
  readonly #values: ReplyValue[];
  #missing: number;
  #bytes = 0;
  readonly #done: (values: readonly ReplyValue[]) => void;
  readonly #explain: ((explanation: RangeExplanation) => void) | null;
  readonly #patienceMs: number;

  constructor(
    count: number,
    writesInFlight: number,
    done: (values: readonly ReplyValue[]) => void,
    explain: ((explanation: RangeExplanation) => void) | null = null,
    patienceMs = Infinity,
  ) {
    this.#patienceMs = patienceMs;
    this.#explain = explain;
    this.writesInFlight = writesInFlight;
    this.#values = Array.from<ReplyValue>({ length: count }).fill(null);
    this.#missing = count;
    this.#done = done;
  }

  begin(): ReplySink {
    return this.#collector;
  }

  finish(slot: number): void {
    this.#arrived(slot, this.#collector.take());
  }

  patienceMs(): number {
    return this.#patienceMs;
  }

  /** The whole is explained by its parts. */
  explain(_slot: number, explanation: RangeExplanation): void {
    this.#explain?.(explanation);
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.#arrived(slot, decodeReply(source, start, end));
  }

  #arrived(slot: number, value: ReplyValue): void {
    this.#bytes += bytesOf(value);
    // The parts that came before are kept until all are here: no more are added to them.
    this.#values[slot] = this.#bytes > limits.replyBytesMax ? TOO_LARGE : value;
    this.#missing--;
    if (this.#missing === 0) this.#done(this.#values);
  }
}

function bytesOf(value: ReplyValue): number {
  if (value instanceof Uint8Array) return value.byteLength;
  return isArray(value) ? value.reduce((sum: number, element) => sum + bytesOf(element), 0) : 0;
}

interface Part {
  readonly route: Route;
  readonly args: Args;
  /** For perKey: which element of the whole reply each element of this part's reply is. */
  readonly positions: number[];
}

/** Runs a command over several ranges. `args` are copied; the reply comes to target's `slot`. */
export function gather(
  router: Router,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
): void {
  const whole = copyArgs(args);
  if (spec.firstKey === 0) toEveryRange(router, spec, whole, target, slot, requestId, 1);
  else toKeys(router, spec, whole, target, slot, requestId);
}

/**
 * Runs a command without keys in every range. When the boundaries change under it, what comes back has gaps or overlaps;
 * the commands of this kind only read, or (FLUSHALL) may be repeated, so all are asked again.
 */
function toEveryRange(
  router: Router,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
  attempt: number,
): void {
  const { routes, generation } = router.table;
  const again = (): void => toEveryRange(router, spec, args, target, slot, requestId, attempt + 1);
  const replies = new PartReplies(
    routes.length,
    target.writesInFlight,
    (values) => {
      const reply = (): void => answer(combine(spec, [], values, requestId !== null), target, slot);
      if (values.some(isRangeMoved)) router.moved.retry(generation, attempt, again, reply);
      else reply();
    },
    (explanation) => target.explain?.(slot, explanation),
    target.patienceMs?.(slot),
  );
  routes.forEach((route, i) => {
    const { rangeId, epoch } = route.range;
    router.send(route, spec, args, replies, i, requestId, { rangeId, version: epoch.version });
  });
}

/** Runs a command in each range that has keys of it. Whoever leads a range looks at the keys again. */
function toKeys(
  router: Router,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
): void {
  const parts = byRange(router.table, spec, args);
  const replies = new PartReplies(
    parts.length,
    target.writesInFlight,
    (values) => answer(combine(spec, parts, values, requestId !== null), target, slot),
    (explanation) => target.explain?.(slot, explanation),
    target.patienceMs?.(slot),
  );
  parts.forEach(({ route, args: partArgs }, i) => router.send(route, spec, partArgs, replies, i, requestId, null));
}

export function answer(value: ReplyValue, target: ReplyTarget, slot: number): void {
  playReply(value, target.begin(slot));
  target.finish(slot);
}

export function isRangeMoved(value: ReplyValue): boolean {
  return value instanceof CommandErrorValue && value.text.startsWith('RANGEMOVED ');
}

/**
 * The error that stands for the whole: one that says that nothing is known goes before those that say that nothing was done; and
 * those are no longer true of a write when other parts of it were done, unless it has an identity and the client sends it again.
 */
function errorOf(
  { write }: CommandSpec,
  values: readonly ReplyValue[],
  isIdentified: boolean,
): CommandErrorValue | undefined {
  const errors = values.filter((value) => value instanceof CommandErrorValue);
  const error = errors.find(({ text }) => text.startsWith('UNKNOWNRESULT ')) ?? errors[0];
  if (error === undefined || !write || isIdentified || errors.length === values.length) return error;
  const code = meaningOf(error.text)?.code;
  if (code === undefined || code === 'KV_UNKNOWN_RESULT') return error;
  return new CommandErrorValue(`UNKNOWNRESULT the command was done in some ranges and not in others: ${error.text}`);
}

/** Splits the keys (all arguments: MGET, DEL, EXISTS, UNLINK, TOUCH) by range, in the order of the ranges' first keys. */
function byRange(table: RouteTable, spec: CommandSpec, args: Args): Part[] {
  const parts = new Map<Route, Part>();
  for (let i = spec.firstKey - 1; i < args.count; i += spec.keyStep) {
    const start = args.start[i] as number;
    const end = args.end[i] as number;
    const route = table.find(args.buffer, start, end);
    let part = parts.get(route);
    if (part === undefined) {
      part = { route, args: { ...createArgs(), buffer: args.buffer }, positions: [] };
      parts.set(route, part);
    }
    const own = part.args;
    own.start[own.count] = start;
    own.end[own.count] = end;
    own.count++;
    part.positions.push(i);
  }
  return [...parts.values()];
}

const TOO_LARGE = new CommandErrorValue(REPLY_TOO_LARGE);

/** A client that gives two commands the same identity is answered what the range remembers of the first. */
const OTHER_COMMAND = new CommandErrorValue('ERR the identity of this request is that of another command');

const isCount = (value: ReplyValue): value is number => typeof value === 'number';
const isArray = (value: ReplyValue): value is readonly ReplyValue[] => Array.isArray(value);

function combine(
  spec: CommandSpec,
  parts: readonly Part[],
  values: readonly ReplyValue[],
  isIdentified: boolean,
): ReplyValue {
  const error = errorOf(spec, values, isIdentified);
  if (error !== undefined) return error;
  switch (spec.gather) {
    case 'sum':
      return values.every(isCount) ? values.reduce((sum, count) => sum + count, 0) : OTHER_COMMAND;
    case 'concat':
      return values.every(isArray) ? values.flat() : OTHER_COMMAND;
    case 'perKey': {
      if (!values.every(isArray)) return OTHER_COMMAND;
      const whole: ReplyValue[] = [];
      parts.forEach(({ positions }, i) => {
        const elements = values[i] ?? [];
        positions.forEach((position, element) => (whole[position] = elements[element] ?? null));
      });
      return whole;
    }
    default:
      return values[0] ?? null;
  }
}
