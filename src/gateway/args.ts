/** Arguments that the gateway makes itself. */
import type { Args } from '../core/kv/args.ts';
import { createArgs } from '../core/kv/args.ts';

export function argsOf(parts: readonly Buffer[]): Args {
  const args = createArgs();
  args.buffer = Buffer.concat(parts);
  args.count = parts.length;
  let at = 0;
  for (const part of parts) {
    args.start.push(at);
    at += part.length;
    args.end.push(at);
  }
  return args;
}
