/** Readys on their way to the disk, when the ring has no room for all of one. */
import test from 'ava';
import type { LogIndex, RangeId } from '../../../src/core/brands.ts';
import type { Ready } from '../../../src/core/raft/types.ts';
import { MetricsWriter } from '../../../src/observe/counters.ts';
import type { LogAppender } from '../../../shards/host-ports.ts';
import { WritesUnderWay } from '../../../shards/writes-under-way.ts';

const RANGE = 1 as RangeId;

const READY: Ready = {
  number: 1,
  hardState: null,
  entries: [],
  truncated: false,
  messages: [],
  messagesAfterPersist: [],
  committed: [],
  commit: 0 as LogIndex,
  readStates: [],
  snapshot: null,
  snapshotRequests: [],
  softState: null,
  mustSync: true,
};

/** Takes each Ready in so many pieces, and has room for one piece at a time. */
class NarrowLog implements LogAppender {
  position = 0;
  #durable = 0;
  #piecesLeft = 0;
  readonly #pieces: number;
  /** Runs when it has said that there is no more room, before the caller knows. */
  whenFull: (() => void) | null = null;

  constructor(pieces: number) {
    this.#pieces = pieces;
  }

  append(): boolean {
    if (this.#piecesLeft === 0) this.#piecesLeft = this.#pieces;
    if (this.position === this.#durable) {
      this.position++;
      this.#piecesLeft--;
    }
    if (this.#piecesLeft === 0) return true;
    this.whenFull?.();
    return false;
  }

  /** The writer has synced what the ring holds. */
  synced(): void {
    this.#durable = this.position;
  }

  publish(): void {
    // What is in here is seen at once.
  }

  durable(): number {
    return this.#durable;
  }

  syncOf(): null {
    return null;
  }
}

function writesInto(log: LogAppender): WritesUnderWay {
  return new WritesUnderWay({ log, metrics: new MetricsWriter(), monotonicMs: () => 0 });
}

test('room that the writer made is news while a write waits for it', (t) => {
  const log = new NarrowLog(3);
  const writes = writesInto(log);
  writes.push(RANGE, null, READY, null);
  t.false(writes.hasNews, 'nothing has become durable since the ring was full');
  log.synced();
  t.true(writes.hasNews);
  writes.pump();
  t.false(writes.hasNews);
  log.synced();
  writes.pump();
  t.false(writes.hasNews, 'all of it is in the ring, and not durable yet');
  log.synced();
  t.true(writes.hasNews, 'the write is in the ring, and durable');
  let taken = 0;
  writes.takeDurable(() => taken++);
  t.is(taken, 1);
  t.false(writes.hasNews);
});

test('room that is made while the ring is found full is not slept through', (t) => {
  const log = new NarrowLog(2);
  const writes = writesInto(log);
  log.whenFull = () => log.synced();
  writes.push(RANGE, null, READY, null);
  t.true(writes.hasNews);
});
