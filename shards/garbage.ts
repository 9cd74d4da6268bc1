/**
 * Shared memory goes back to the system only when the garbage collector of every thread that knew it has run, and the
 * collectors do not count shared memory: an idle thread would keep it for ever.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | null = null;

/** Runs this thread's garbage collector: five to fifteen milliseconds for the heap of one of our threads. */
export function collectGarbage(): void {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
