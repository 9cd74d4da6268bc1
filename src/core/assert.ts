/**
 * Assertions: what must hold, checked where it must hold. A failed assertion means that the program, not its input,
 * is wrong; whoever catches it stops the node (see AssertionFailed), because going on could acknowledge something false.
 */

export class AssertionFailed extends Error {
  override readonly name = 'AssertionFailed';
  readonly code = 'KV_ASSERTION';
}

/** Throws AssertionFailed unless `condition` holds. Keep `message` a constant string on hot paths. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailed(message);
}

/** For the branch that the types rule out. */
export function unreachable(value: never, message = 'unreachable'): never {
  throw new AssertionFailed(`${message}: ${String(value)}`);
}
