/**
 * One command whose keys (or whose meaning) lie in several ranges, run as one command per range; the replies become one.
 * Each part is linearizable by itself, the whole is not one instant: docs/resp.md says so.
 */
import type { Args } from '../../core/kv/args.ts';
import { copyArgs, createArgs } from '../../core/kv/args.ts';
import type { RequestId } from '../../core/kv/batch.ts';
import type { ReplySink, ReplyTarget } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import type { RangeScope, Route } from '../../core/range.ts';
import { decodeReply, playReply, ReplyCollector } from './reply-value.ts';
import type { ReplyValue } from './reply-value.ts';
import type { RouteTable } from './route-table.ts';

/** Sends a command to one range; `scope` for commands without keys. */
export type SendToRange = (
  route: Route,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
  scope: RangeScope | null,
) => void;

/** Receives the replies of the parts, by slot 0 … count - 1, and calls `done` with all of them. */
export class PartReplies implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight: number;
  readonly #collector = new ReplyCollector();
  readonly #values: ReplyValue[];
  #missing: number;
  readonly #done: (values: readonly ReplyValue[]) => void;

  constructor(count: number, writesInFlight: number, done: (values: readonly ReplyValue[]) => void) {
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

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.#arrived(slot, decodeReply(source, start, end));
  }

  #arrived(slot: number, value: ReplyValue): void {
    this.#values[slot] = value;
    this.#missing--;
    if (this.#missing === 0) this.#done(this.#values);
  }
}

interface Part {
  readonly route: Route;
  readonly args: Args;
  /** For perKey: which element of the whole reply each element of this part's reply is. */
  readonly positions: number[];
}

/** Runs a command over several ranges. `args` are copied; the reply comes to target's `slot`. */
export function gather(
  table: RouteTable,
  send: SendToRange,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
): void {
  const whole = copyArgs(args);
  const parts = spec.firstKey === 0 ? everyRange(table, whole) : byRange(table, spec, whole);
  const replies = new PartReplies(parts.length, target.writesInFlight, (values) => {
    // The boundaries changed under a command that goes to every range: what came back has gaps or overlaps. The commands
    // of this kind only read, or (FLUSHALL) may be repeated, so ask again.
    if (values.some(isRangeMoved)) gather(table, send, spec, whole, target, slot, requestId);
    else answer(combine(spec, parts, values), target, slot);
  });
  parts.forEach(({ route, args: partArgs }, i) => {
    const { rangeId, epoch } = route.range;
    const scope = spec.firstKey === 0 ? { rangeId, version: epoch.version } : null;
    send(route, spec, partArgs, replies, i, requestId, scope);
  });
}

export function answer(value: ReplyValue, target: ReplyTarget, slot: number): void {
  playReply(value, target.begin(slot));
  target.finish(slot);
}

export function isRangeMoved(value: ReplyValue): boolean {
  return value instanceof CommandErrorValue && value.text.startsWith('RANGEMOVED ');
}

function firstError(values: readonly ReplyValue[]): CommandErrorValue | undefined {
  return values.find((value) => value instanceof CommandErrorValue);
}

function everyRange(table: RouteTable, args: Args): Part[] {
  return table.routes.map((route) => ({ route, args, positions: [] }));
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

function combine(spec: CommandSpec, parts: readonly Part[], values: readonly ReplyValue[]): ReplyValue {
  const error = firstError(values);
  if (error !== undefined) return error;
  switch (spec.gather) {
    case 'sum':
      return values.reduce<number>((sum, value) => sum + Number(value), 0);
    case 'concat':
      return values.flatMap((value) => value as readonly ReplyValue[]);
    case 'perKey': {
      const whole: ReplyValue[] = [];
      parts.forEach(({ positions }, i) => {
        const elements = values[i] as readonly ReplyValue[];
        positions.forEach((position, element) => (whole[position] = elements[element] ?? null));
      });
      return whole;
    }
    default:
      return values[0] ?? null;
  }
}
