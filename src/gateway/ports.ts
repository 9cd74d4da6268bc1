/**
 * What the servers that clients talk to (RESP, native) need of the rest of the store. The router implements it; tests
 * put a state machine of one thread in its place.
 *
 *     session ── submit(spec, args, target, slot) ──▶ router ──▶ a range of this worker, or another worker
 *     target  ◀── begin(slot) … finish(slot), or raw(slot, …) ──┘
 */
import type { Args } from '../core/kv/args.ts';
import type { ReplyTarget } from '../core/kv/reply.ts';
import type { CommandSpec } from '../core/kv/spec.ts';

export type { ReplyProtocol, ReplySink, ReplyTarget } from '../core/kv/reply.ts';

export interface CommandRouter {
  /** Changes whenever a command may take another way than those before it took. */
  readonly generation: number;
  /**
   * Runs a command whose arity has been checked. Exactly one reply arrives at target's `slot`: during the call, or later.
   * `args` are valid only during the call.
   */
  submit(spec: CommandSpec, args: Args, target: ReplyTarget, slot: number): void;
}
