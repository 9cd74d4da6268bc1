/** Commands that a range does not run after all: sent on their way again, or refused where that would be wrong. */
import type { Args } from '../src/core/kv/args.ts';
import type { RequestId } from '../src/core/kv/batch.ts';
import type { ReplyTarget } from '../src/core/kv/reply.ts';
import { replyError } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { RangeScope } from '../src/core/range.ts';
import type { ParkedRead } from './parked-reads.ts';
import type { PendingBatch } from './pending-batch.ts';
import type { ReplicaHost } from './replica-host.ts';
import { RANGE_MOVED } from './replies.ts';

/**
 * Sends the commands of a batch that will not be applied, and the reads behind them, on their way again. `scope`: for
 * those without keys; null when the boundaries have changed under them.
 */
export function sendBatchAgain(host: ReplicaHost, batch: PendingBatch, scope: RangeScope | null): void {
  batch.takeApart({
    write: (spec, args, target, slot, requestId) => sendAgain(host, spec, args, target, slot, requestId, scope),
    read: (read) => sendReadAgain(host, read, scope),
  });
}

export function sendReadAgain(
  host: ReplicaHost,
  { spec, args, target, slot, scopeVersion }: ParkedRead,
  scope: RangeScope | null,
): void {
  if (scopeVersion !== 0 && scope === null) replyError(target, slot, RANGE_MOVED);
  else host.resubmit(spec, args, target, slot, null, scopeVersion === 0 ? null : scope);
}

export function sendAgain(
  host: ReplicaHost,
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
  scope: RangeScope | null,
): void {
  // Commands without keys are addressed to a range by whoever gathers their replies; it asks again.
  if (spec.firstKey === 0 && spec.touched === undefined && scope === null) replyError(target, slot, RANGE_MOVED);
  else host.resubmit(spec, args, target, slot, requestId, spec.firstKey === 0 ? scope : null);
}
