/** Sockets that have something to send: each is written to once per turn of the loop, whatever it was given meanwhile. */

export interface Flushable {
  flush(): void;
}

/** Something that keeps what it could send, because more is about to come that can leave with it. */
export interface Holdable {
  /** It was kept for long enough. */
  flushHeld(): void;
}

export interface FlushQueue {
  /** Puts it on the list, unless it is there. */
  add(item: Flushable): void;
  flushAll(): void;
  /** Calls its flushHeld(), once, within HOLD_MS. */
  hold(item: Holdable): void;
}

/** The rest of a pipeline's replies comes sooner, unless its disk or its quorum is slow. */
const HOLD_MS = 4;

/** `schedule` asks for a turn of the loop, at whose end flushAll() is called. */
export function createFlushQueue(schedule: () => void): FlushQueue {
  let waiting: Flushable[] = [];
  // One timer for all: some are let go early, which costs a write.
  let held: Holdable[] = [];
  const release = (): void => {
    const due = held;
    held = [];
    for (const item of due) item.flushHeld();
  };
  return {
    add(item) {
      if (waiting.length === 0) schedule();
      waiting.push(item);
    },
    flushAll() {
      const due = waiting;
      waiting = [];
      for (const item of due) item.flush();
    },
    hold(item) {
      if (held.length === 0) setTimeout(release, HOLD_MS);
      held.push(item);
    },
  };
}
