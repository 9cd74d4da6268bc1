/** list(): pages of LIST, one after another, through all ranges that lie between the bounds. */
import { SkerryError } from '../core/errors.ts';
import { requireCommand } from '../core/kv/table.ts';
import { CALL_READ } from './call.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { ClientSettings, Entry, Format, Key, ListOptions } from './options.ts';
import { consistencyCode } from './options.ts';
import { decodeValue, unexpected } from './replies.ts';

const LIST = requireCommand('LIST');

interface Bounds {
  start: Buffer;
  /** `start` itself is not wanted. */
  isAfterStart: boolean;
  /** Exclusive; empty = no end. */
  end: Buffer;
}

export async function* listEntries<As extends Format>(
  dispatcher: Dispatcher,
  settings: ClientSettings,
  options: ListOptions<As>,
  format: As,
): AsyncIterableIterator<Entry<As>> {
  const bounds = boundsOf(options);
  const { limit: wanted = Infinity } = options;
  if (!(wanted >= 0) || (wanted !== Infinity && !Number.isSafeInteger(wanted))) {
    throw new SkerryError('KV_INVALID', `the limit of list() is ${wanted}; it must be a whole number from 0 on`);
  }
  const isReverse = options.reverse === true;
  let left = wanted;
  while (left > 0) {
    const limit = Math.min(left, settings.pageEntries);
    const flags = `${isReverse ? 'R' : ''}${bounds.isAfterStart ? 'A' : ''}`;
    const { start, end } = bounds;
    const page = await dispatcher.call(
      {
        op: LIST.op,
        isExplained: false,
        kind: CALL_READ,
        args: [start, end, String(limit), flags],
        key: isReverse ? end : start,
        consistency: consistencyCode(options),
      },
      decodeValue,
      options,
    );
    if (!Array.isArray(page)) throw unexpected('a page of entries');
    const [how, next, ...items] = page as [unknown, Buffer | null, ...Buffer[]];
    for (let i = 0; i + 1 < items.length; i += 2) {
      const key = items[i] as Buffer;
      const value = items[i + 1] as Buffer;
      yield (format === 'text' ? { key: key.toString(), value: value.toString() } : { key, value }) as Entry<As>;
      left--;
    }
    if (next === null) return;
    if (isReverse) {
      bounds.end = next;
    } else {
      bounds.start = next;
      bounds.isAfterStart = how === 'after';
    }
  }
}

function boundsOf(options: ListOptions): Bounds {
  const { prefix, start, end, cursor, reverse } = options;
  if (prefix !== undefined && (start !== undefined || end !== undefined)) {
    throw new SkerryError('KV_INVALID', 'list() takes a prefix, or start and end, not both');
  }
  const bounds: Bounds = {
    start: asBuffer(prefix ?? start ?? ''),
    isAfterStart: false,
    end: prefix === undefined ? asBuffer(end ?? '') : afterPrefix(asBuffer(prefix)),
  };
  if (cursor === undefined) return bounds;
  // It narrows the bounds and never widens them.
  const edge = asBuffer(cursor);
  if (reverse === true) {
    if (bounds.end.length === 0 || Buffer.compare(edge, bounds.end) < 0) bounds.end = edge;
  } else if (Buffer.compare(edge, bounds.start) >= 0) {
    bounds.start = edge;
    bounds.isAfterStart = true;
  }
  return bounds;
}

function asBuffer(key: Key): Buffer {
  return typeof key === 'string' ? Buffer.from(key) : Buffer.from(key.buffer, key.byteOffset, key.byteLength);
}

/** The first key that is larger than all keys with this prefix; empty when there is none. */
function afterPrefix(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  const end = Buffer.from(prefix.subarray(0, length));
  if (length > 0) end[length - 1] = (end[length - 1] as number) + 1;
  return end;
}
