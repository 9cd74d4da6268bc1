/**
 * Which puts of a log its replay may leave out: those whose key is put again before anything else looks at it.
 *
 *     the log       SET a 1 · SET b 1 · SET a 2 · INCR a · SET a 4 · SET b 2
 *     is replayed                       SET a 2 · INCR a · SET a 4 · SET b 2
 *
 * A first pass over the log fills a table of the keys that are put, each with its last put; the next event of the key either
 * is another put, which makes that one superfluous, or anything else, which needs it. What comes of it is one bit a command.
 * A look at this table costs a tenth of what a put into the store does.
 *
 * Only SET with a key and a value counts as a put: its outcome depends on nothing. With a request id it may be a retry that
 * is not run again; and whatever else it may be, a command's keys are all that it looks at, or it has none and may look at
 * everything.
 *
 * Two threads may do it, each for its share of the keys, chosen by their hash: both read all of the log, and a command that looks at
 * everything is heeded by both. The bits of the shares are or-ed; a share that is missing only means that its puts are run.
 *
 *     table, open addressing, each slot:   i32 hash | u32 where the key lies, 0 = empty | u32 its length | u32 last put + 1
 */
import { commandByOp, requireCommand } from '../src/core/kv/table.ts';
import { assert } from '../src/core/assert.ts';
import { createArgs } from '../src/core/kv/args.ts';
import type { Args } from '../src/core/kv/args.ts';
import type { BatchCommand } from '../src/core/kv/batch.ts';
import { BATCH_HEADER_BYTES, batchCount, COMMAND_HAS_REQUEST_ID, readCommand } from '../src/core/kv/batch.ts';
import { limits } from '../src/core/limits.ts';

const SLOT_WORDS = 4;
const KEY_AT = 1;
const KEY_BYTES = 2;
const LAST_PUT = 3;
const SLOTS_MIN = 1024;
/** Of one table: 64 MiB of slots. Keys beyond are not followed, which only means that all their puts are run. */
const SLOTS_MAX = 4 * 2 ** 20;
/** Keys made to collide cost no more than this; who finds no slot so near is not followed. */
const PROBES_MAX = 32;
const SET_OP = requireCommand('SET').op;

/** Commands that are looked up together. */
const GROUP = 64;
/** In place of the end of a key, when the command is no put, and when it is one of another share. */
const NO_PUT = -1;
const OTHERS_PUT = -2;

/** Which keys are followed: those whose hash, modulo `of`, is `index`. */
export interface Share {
  readonly index: number;
  readonly of: number;
}

export const ALL_KEYS: Share = { index: 0, of: 1 };

/** What the log of a range may leave out: a bit for each of its commands. Plain data, which may cross threads. */
export interface SupersededBits {
  readonly count: number;
  readonly bits: Uint32Array;
}

/** Whether the command need not be run. `ordinal`: how many commands of the range stand before it. */
export function isSuperseded({ count, bits }: SupersededBits, ordinal: number): boolean {
  return ordinal < count && (((bits[ordinal >>> 5] as number) >>> (ordinal & 31)) & 1) !== 0;
}

/** What two shares of the keys have found in the same log. */
export function joinBits(one: SupersededBits, other: SupersededBits): SupersededBits {
  assert(one.count === other.count, 'superseded: two shares have read different logs');
  return { count: one.count, bits: one.bits.map((word, i) => word | (other.bits[i] as number)) };
}

const newCommand = (): BatchCommand => ({
  op: 0,
  flags: 0,
  requestId: { clientId: 0, sequence: 0, floor: 0 },
  args: createArgs(),
  next: 0,
});

/** Follows the batches of one range, in the order in which they will be applied. */
export class SupersededPuts {
  /** What #touch() has read; kept so that the reads are not optimized away. */
  touched = 0;
  readonly #valueBytesMax: number;
  readonly #share: Share;
  readonly #command = newCommand();
  readonly #looking = newCommand();
  /** Of a group of commands: where each begins, and where the key is that it puts. */
  readonly #offsets = new Int32Array(GROUP);
  readonly #keyStarts = new Int32Array(GROUP);
  readonly #keyEnds = new Int32Array(GROUP);
  readonly #hashes = new Int32Array(GROUP);
  readonly #keyAts = new Int32Array(GROUP);
  /** Commands noted. */
  #count = 0;
  /** Puts before this command are needed, whatever follows. */
  #needed = 0;
  #bits = new Uint32Array(1024);
  #slots = new Int32Array(SLOTS_MIN * SLOT_WORDS);
  #used = 0;
  #keys = Buffer.alloc(SLOTS_MIN * 16);
  /** Offset 0 means that a slot is empty. */
  #keysEnd = 1;

  constructor(valueBytesMax: number, share = ALL_KEYS) {
    this.#valueBytesMax = valueBytesMax;
    this.#share = share;
  }

  /** Notes the commands of the next batch. */
  note(batch: Buffer): void {
    const command = this.#command;
    const count = batchCount(batch);
    if (this.#count + count > this.#bits.length * 32) this.#growBits(this.#count + count);
    command.next = BATCH_HEADER_BYTES;
    for (let from = 0; from < count; from += GROUP) {
      const length = Math.min(GROUP, count - from);
      for (let i = 0; i < length; i++) this.#readAhead(batch, i);
      this.touched = this.#touch(batch, length);
      for (let i = 0; i < length; i++) this.#noteOne(batch, i);
    }
  }

  /** The log has been read: what came of it. */
  finish(): SupersededBits {
    return { count: this.#count, bits: this.#bits.slice(0, Math.ceil(this.#count / 32)) };
  }

  /** Reads the next command as number `i` of the group. */
  #readAhead(batch: Buffer, i: number): void {
    const command = this.#command;
    const { args } = command;
    this.#offsets[i] = command.next;
    readCommand(batch, command.next, command);
    const isPut = command.op === SET_OP && (command.flags & COMMAND_HAS_REQUEST_ID) === 0 && this.#fits(args);
    this.#keyEnds[i] = NO_PUT;
    if (!isPut) return;
    const hash = hashOf(batch, args.start[0] as number, args.end[0] as number);
    this.#hashes[i] = hash;
    this.#keyStarts[i] = args.start[0] as number;
    // The low bits choose the slot in the table.
    const isMine = (hash >>> 24) % this.#share.of === this.#share.index;
    this.#keyEnds[i] = isMine ? (args.end[0] as number) : OTHERS_PUT;
  }

  /** Whether a SET of these surely ends with that value under that key. */
  #fits({ count, start, end }: Args): boolean {
    const keyBytes = (end[0] as number) - (start[0] as number);
    const valueBytes = (end[1] as number) - (start[1] as number);
    return count === 2 && keyBytes <= limits.keyBytesMax && Math.max(keyBytes, valueBytes) <= this.#valueBytesMax;
  }

  /**
   * Reads what the group is about to need of the table, all slots and then all keys: the processor waits for the memory of
   * all of them together instead of one after another.
   */
  #touch(batch: Buffer, length: number): number {
    const slots = this.#slots;
    const keys = this.#keys;
    const mask = slots.length - 1;
    let sum = 0;
    for (let i = 0; i < length; i++) {
      const slot = ((this.#hashes[i] as number) * SLOT_WORDS) & mask;
      this.#keyAts[i] = slots[slot + KEY_AT] as number;
    }
    for (let i = 0; i < length; i++) sum ^= keys[(this.#keyAts[i] as number) >>> 0] as number;
    return sum ^ batch.length;
  }

  #noteOne(batch: Buffer, i: number): void {
    const end = this.#keyEnds[i] as number;
    if (end === NO_PUT) {
      const command = this.#looking;
      readCommand(batch, this.#offsets[i] as number, command);
      this.#look(command.op, command.args);
    } else if (end !== OTHERS_PUT) {
      this.#put(batch, this.#keyStarts[i] as number, end, this.#hashes[i] as number);
    }
    this.#count++;
  }

  #put(batch: Buffer, start: number, end: number, hash: number): void {
    const slot = this.#find(batch, start, end, hash, true);
    if (slot < 0) return;
    const previous = ((this.#slots[slot + LAST_PUT] as number) >>> 0) - 1;
    if (previous >= this.#needed) {
      const word = previous >>> 5;
      this.#bits[word] = (this.#bits[word] as number) | (1 << (previous & 31));
    }
    this.#slots[slot + LAST_PUT] = this.#count + 1;
  }

  /** A command that may read its keys, or all when it has none. */
  #look(op: number, args: Args): void {
    const spec = commandByOp(op);
    assert(spec !== undefined, 'superseded: a batch holds an unknown command');
    if (spec.firstKey === 0) {
      this.#needed = this.#count;
      return;
    }
    const last = spec.lastKey < 0 ? args.count + spec.lastKey : Math.min(spec.lastKey, args.count) - 1;
    for (let i = spec.firstKey - 1; i <= last; i += spec.keyStep) {
      const [start, end] = [args.start[i] as number, args.end[i] as number];
      const slot = this.#find(args.buffer, start, end, hashOf(args.buffer, start, end), false);
      if (slot >= 0) this.#slots[slot + LAST_PUT] = 0;
    }
  }

  /** The slot of a key; -1 when it has none, and gets none. */
  #find(key: Buffer, start: number, end: number, hash: number, insert: boolean): number {
    const keyBytes = end - start;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (hash * SLOT_WORDS) & mask;
    for (let probes = 0; probes < PROBES_MAX; probes++, slot = (slot + SLOT_WORDS) & mask) {
      const at = (slots[slot + KEY_AT] as number) >>> 0;
      if (at === 0) return insert ? this.#insert(slot, hash, key, start, end) : -1;
      if (slots[slot] === hash && slots[slot + KEY_BYTES] === keyBytes && this.#isKey(at, key, start, keyBytes)) {
        return slot;
      }
    }
    return -1;
  }

  #isKey(at: number, key: Buffer, start: number, keyBytes: number): boolean {
    const keys = this.#keys;
    for (let i = 0; i < keyBytes; i++) if (keys[at + i] !== key[start + i]) return false;
    return true;
  }

  #insert(slot: number, hash: number, key: Buffer, start: number, end: number): number {
    if ((this.#used + 1) * 2 * SLOT_WORDS > this.#slots.length) {
      if (this.#slots.length >= SLOTS_MAX * SLOT_WORDS) return -1;
      this.#growSlots();
      return this.#find(key, start, end, hash, true);
    }
    const at = this.#keysEnd;
    if (at + end - start > this.#keys.length) {
      const larger = Buffer.allocUnsafe(this.#keys.length * 2 + end - start);
      this.#keys.copy(larger, 0, 0, at);
      this.#keys = larger;
    }
    key.copy(this.#keys, at, start, end);
    this.#keysEnd = at + Math.max(1, end - start);
    this.#slots[slot] = hash;
    this.#slots[slot + KEY_AT] = at;
    this.#slots[slot + KEY_BYTES] = end - start;
    this.#used++;
    return slot;
  }

  #growSlots(): void {
    const old = this.#slots;
    const slots = new Int32Array(old.length * 2);
    const mask = slots.length - 1;
    this.#used = 0;
    for (let from = 0; from < old.length; from += SLOT_WORDS) {
      if (old[from + KEY_AT] === 0) continue;
      let slot = ((old[from] as number) * SLOT_WORDS) & mask;
      let probes = 0;
      while (slots[slot + KEY_AT] !== 0 && probes++ < PROBES_MAX) slot = (slot + SLOT_WORDS) & mask;
      if (probes >= PROBES_MAX) continue;
      for (let word = 0; word < SLOT_WORDS; word++) slots[slot + word] = old[from + word] as number;
      this.#used++;
    }
    this.#slots = slots;
  }

  #growBits(commands: number): void {
    const bits = new Uint32Array(Math.max(this.#bits.length * 2, Math.ceil(commands / 32)));
    bits.set(this.#bits);
    this.#bits = bits;
  }
}

/** Four bytes at a time, mixed as MurmurHash3 mixes them. */
function hashOf(key: Buffer, start: number, end: number): number {
  let hash = end - start;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      (key[at] as number) |
      ((key[at + 1] as number) << 8) |
      ((key[at + 2] as number) << 16) |
      ((key[at + 3] as number) << 24);
    const mixed = Math.imul(word, 0xcc9e2d51);
    hash ^= Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
    hash = Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ (key[at] as number), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
