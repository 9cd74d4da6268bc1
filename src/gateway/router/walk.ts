/**
 * Commands that visit the ranges one after another, a page at a time: SCAN, LIST, RANDOMKEY.
 *
 * Each page is read from one range as it is at that moment. A key that is there from the first page to the last is seen,
 * because the way through the key space has no gaps, wherever ranges are cut meanwhile.
 */
import type { Args } from '../../core/kv/args.ts';
import { argCopy, argText } from '../../core/kv/args.ts';
import type { ReplyTarget } from '../../core/kv/reply.ts';
import type { CommandSpec } from '../../core/kv/spec.ts';
import { requireCommand } from '../../core/kv/table.ts';
import { compareBytes } from '../../core/range.ts';
import { CommandErrorValue } from '../../codec/native/messages.ts';
import type { CursorTable } from './cursor-table.ts';
import { answer, isRangeMoved, PartReplies } from './gather.ts';
import type { ReplyValue } from './reply-value.ts';
import type { Route } from '../../core/range.ts';
import type { Router } from './router.ts';
import { argsOf } from '../args.ts';

const NOTHING = Buffer.alloc(0);
const scanRange = requireCommand('SCANRANGE');
const dbsize = requireCommand('DBSIZE');

export type Walk = (router: Router, spec: CommandSpec, args: Args, target: ReplyTarget, slot: number) => void;

export function createWalk(cursors: CursorTable): Walk {
  return (router, spec, args, target, slot) => {
    if (spec.name === 'SCAN') scan(router, cursors, args, target, slot);
    else if (spec.name === 'LIST') list(router, spec, args, target, slot);
    else randomKey(router, spec, target, slot);
  };
}

/** Runs a command on the range that `find` gives, again if its boundaries changed on the way. */
function onRange(
  router: Router,
  find: () => Route,
  spec: CommandSpec,
  parts: readonly Buffer[],
  writesInFlight: number,
  done: (value: ReplyValue, route: Route) => void,
  attempt = 1,
): void {
  const route = find();
  const { rangeId, epoch } = route.range;
  const { generation } = router.table;
  const again = (): void => onRange(router, find, spec, parts, writesInFlight, done, attempt + 1);
  const replies = new PartReplies(1, writesInFlight, ([value = null]) => {
    if (isRangeMoved(value)) router.moved.retry(generation, attempt, again, () => done(value, route));
    else done(value, route);
  });
  router.send(route, spec, argsOf(parts), replies, 0, null, { rangeId, version: epoch.version });
}

interface ScanOptions {
  readonly from: Buffer;
  readonly pattern: Buffer;
  readonly count: number;
  /** TYPE asks for another kind than strings: nothing is shown, but the way is the same. */
  readonly showsNothing: boolean;
}

function parseScan(cursors: CursorTable, args: Args): ScanOptions | string {
  const cursorText = argText(args, 0);
  if (!/^\d{1,20}$/.test(cursorText)) return 'ERR invalid cursor';
  const from = cursorText === '0' ? NOTHING : cursors.get(Number(cursorText));
  if (from === null) return 'ERR this cursor is too old, or was never given; begin again with cursor 0';
  let pattern: Buffer = NOTHING;
  let count = 10;
  let showsNothing = false;
  for (let i = 1; i < args.count; i += 2) {
    const word = argText(args, i).toUpperCase();
    if (i + 1 >= args.count) return 'ERR syntax error';
    if (word === 'MATCH') {
      pattern = argCopy(args, i + 1);
    } else if (word === 'COUNT') {
      const countText = argText(args, i + 1);
      count = Number(countText);
      if (!/^-?\d+$/.test(countText) || !Number.isSafeInteger(count))
        return 'ERR value is not an integer or out of range';
      if (count < 1) return 'ERR syntax error';
    } else if (word === 'TYPE') {
      showsNothing = argText(args, i + 1).toLowerCase() !== 'string';
    } else {
      return 'ERR syntax error';
    }
  }
  return { from, pattern, count, showsNothing };
}

function scan(router: Router, cursors: CursorTable, args: Args, target: ReplyTarget, slot: number): void {
  const options = parseScan(cursors, args);
  if (typeof options === 'string') {
    answer(new CommandErrorValue(options), target, slot);
    return;
  }
  const { from, pattern, count, showsNothing } = options;
  const find = (): Route => router.table.find(from, 0, from.length);
  const parts = [from, Buffer.from(String(count)), pattern];
  onRange(router, find, scanRange, parts, target.writesInFlight, (value, { range }) => {
    if (value instanceof CommandErrorValue) {
      answer(value, target, slot);
      return;
    }
    const [next, ...keys] = value as readonly ReplyValue[];
    const goOnAt = (next as Uint8Array | null) ?? range.endKey;
    const cursor = goOnAt === null ? 0 : cursors.put(Buffer.from(goOnAt));
    answer([Buffer.from(String(cursor)), showsNothing ? [] : keys], target, slot);
  });
}

/** LIST: one page; where it ends with its range, the reply says to go on at the next one (`next`). */
function list(router: Router, spec: CommandSpec, args: Args, target: ReplyTarget, slot: number): void {
  const start = argCopy(args, 0);
  const end = argCopy(args, 1);
  const flags = argText(args, 3);
  const isReverse = flags.includes('R');
  const parts = [start, end, argCopy(args, 2), argCopy(args, 3)];
  const find = (): Route => {
    if (!isReverse) return router.table.find(start, 0, start.length);
    return lastRouteBelow(router.table.routes, end);
  };
  onRange(router, find, spec, parts, target.writesInFlight, (value, { range }) => {
    if (value instanceof CommandErrorValue || !Array.isArray(value)) {
      answer(value, target, slot);
      return;
    }
    const [next, ...items] = value as readonly ReplyValue[];
    // [how to go on, key or null, items …]: 'after' the key, or 'at' a range's edge.
    if (next !== null && next !== undefined) answer(['after', next, ...items], target, slot);
    else if (isReverse) {
      const goesOn = range.startKey.length > 0 && compareWhole(range.startKey, start) > 0;
      answer(['at', goesOn ? range.startKey : null, ...items], target, slot);
    } else {
      const goesOn = range.endKey !== null && (end.length === 0 || compareWhole(range.endKey, end) < 0);
      answer(['at', goesOn ? range.endKey : null, ...items], target, slot);
    }
  });
}

function compareWhole(left: Buffer, right: Buffer): number {
  return compareBytes(left, 0, left.length, right, 0, right.length);
}

/** The range with the last key below `end` (empty = no end). */
function lastRouteBelow(routes: readonly Route[], end: Buffer): Route {
  if (end.length === 0) return routes.at(-1) as Route;
  return routes.findLast(({ range }) => compareWhole(range.startKey, end) < 0) ?? (routes[0] as Route);
}

/** RANDOMKEY: a range chosen in proportion to its keys, then a key of it. */
function randomKey(router: Router, spec: CommandSpec, target: ReplyTarget, slot: number): void {
  const { routes } = router.table;
  const sizes = new PartReplies(routes.length, target.writesInFlight, (values) => {
    const counts = values.map((value) => (typeof value === 'number' ? value : 0));
    let rest = Math.random() * counts.reduce((sum, count) => sum + count, 0);
    const chosen = routes[counts.findIndex((count) => (rest -= count) < 0)] ?? routes[0];
    const { startKey } = (chosen as Route).range;
    const find = (): Route => router.table.find(startKey, 0, startKey.length);
    onRange(router, find, spec, [], 0, (value) => answer(value, target, slot));
  });
  routes.forEach((route, i) => {
    const { rangeId, epoch } = route.range;
    router.send(route, dbsize, argsOf([]), sizes, i, null, { rangeId, version: epoch.version });
  });
}
