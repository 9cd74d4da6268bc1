/**
 * Deletes keys whose time has come even if nobody asks for them. Reads never show an expired key; this only gives the
 * memory back. Every round looks at some leaves of each range that has expiring keys, and proposes the deletion of what
 * it finds as an ordinary entry: replicas stay equal, whatever their clocks say.
 */
import { createArgs } from '../src/core/kv/args.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { Replica } from './replica.ts';

/** One round's share per range: about a millisecond. */
const LEAVES_PER_ROUND = 2000;
const KEYS_PER_ROUND = 5000;

export interface ExpiryCycle {
  /** Looks at the next leaves of each range. Returns how many keys it found and has proposed to delete. */
  round(replicas: Iterable<Replica>, nowMs: number): number;
}

/** `expired`: the command that deletes those of its keys that are expired by the batch's clock. */
export function createExpiryCycle(expired: CommandSpec): ExpiryCycle {
  const beginning = Buffer.alloc(0);
  const positions = new WeakMap<Replica, Buffer>();
  return {
    round(replicas, nowMs) {
      let found = 0;
      for (const replica of replicas) {
        if (!replica.isLeader || replica.store.expiringCount === 0) continue;
        const keys: Buffer[] = [];
        const next = replica.store.scanExpired(
          positions.get(replica) ?? beginning,
          nowMs,
          LEAVES_PER_ROUND,
          (key, start, end) => {
            if (keys.length < KEYS_PER_ROUND) keys.push(Buffer.from(key.subarray(start, end)));
          },
        );
        positions.set(replica, next ?? beginning);
        if (keys.length === 0) continue;
        replica.submitInternal(expired, argsOf(keys));
        found += keys.length;
      }
      return found;
    },
  };
}

function argsOf(keys: readonly Buffer[]): ReturnType<typeof createArgs> {
  const args = createArgs();
  args.buffer = Buffer.concat(keys);
  let at = 0;
  for (const key of keys) {
    args.start.push(at);
    at += key.length;
    args.end.push(at);
  }
  args.count = keys.length;
  return args;
}
