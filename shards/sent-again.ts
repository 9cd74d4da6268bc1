/** Commands that a range does not run after all: sent on their way again, or refused where that would be wrong. */
import type { MemberId } from '../src/core/brands.ts';
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

/** The boundaries have changed under a batch: sends its commands, and the reads behind them, on their way again. */
export function sendBatchAgain(host: ReplicaHost, batch: PendingBatch): void {
  batch.takeApart({
    write: (spec, args, target, slot, requestId) => sendAgain(host, spec, args, target, slot, requestId, null),
    read: (read) => sendReadAgain(host, read, null),
  });
}

/**
 * A range is not led here any more: sends all that waits in it on its way again, or back to those that find the leader themselves.
 * First the reads, since those that came behind a write wait in its batch.
 */
export function sendAllAgain(
  host: ReplicaHost,
  reads: readonly ParkedRead[],
  batches: readonly PendingBatch[],
  scope: RangeScope,
  leader: MemberId,
): void {
  const read = (parked: ParkedRead): void => {
    if (parked.target.notLeader === undefined) sendReadAgain(host, parked, scope);
    else parked.target.notLeader(parked.slot, leader);
  };
  for (const parked of reads) read(parked);
  for (const batch of batches) {
    batch.takeApart({
      write: (spec, args, target, slot, requestId) => {
        if (target.notLeader === undefined) sendAgain(host, spec, args, target, slot, requestId, scope);
        else target.notLeader(slot, leader);
      },
      read,
    });
  }
}

function sendReadAgain(
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
