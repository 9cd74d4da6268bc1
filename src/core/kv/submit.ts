/** A command on its way from the connection that read it to the range that runs it, past whatever stands between. */
import type { Args } from './args.ts';
import type { RequestId } from './batch.ts';
import type { ReplyTarget } from './reply.ts';
import type { CommandSpec } from './spec.ts';

/**
 * Takes a command: exactly one reply arrives at target's `slot`, during the call or later. `args` are valid only during the
 * call. `requestId` is null for a command that is not to be recognized when it comes again. `Address`: where it is to go, and
 * what else is known of its way.
 */
export type Submit<Address extends readonly unknown[] = []> = (
  spec: CommandSpec,
  args: Args,
  target: ReplyTarget,
  slot: number,
  requestId: RequestId | null,
  ...address: Address
) => void;

/** The same for whoever keeps it for a while; what keeps it longer than a call has `args` of its own. */
export interface SubmittedCommand {
  readonly spec: CommandSpec;
  readonly args: Args;
  readonly target: ReplyTarget;
  readonly slot: number;
  readonly requestId: RequestId | null;
}
