/** Sockets that have something to send: each is written to once per turn of the loop, whatever it was given meanwhile. */

export interface Flushable {
  flush(): void;
}

export interface FlushQueue {
  /** Puts it on the list, unless it is there. */
  add(item: Flushable): void;
  flushAll(): void;
}

/** `schedule` asks for a turn of the loop, at whose end flushAll() is called. */
export function createFlushQueue(schedule: () => void): FlushQueue {
  let waiting: Flushable[] = [];
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
  };
}
