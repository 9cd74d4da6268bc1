/** Runs the commands that touch no key (PING, ECHO, TIME), which need no range and so no store. */
import type { Hlc } from '../brands.ts';
import type { Args } from './args.ts';
import type { ReplySink } from './reply.ts';
import type { CommandSpec } from './spec.ts';
import type { OrderedStore } from './store.ts';
import { createValueRef } from './store.ts';

const noStore = new Proxy({} as OrderedStore, {
  get(_, name) {
    throw new TypeError(`a command without keys used the store (${String(name)})`);
  },
});
const value = createValueRef();
const lookups = new Float64Array(2);

/** `nowMs`: the wall clock, Unix milliseconds. */
export function runKeyless(spec: CommandSpec, args: Args, nowMs: number, reply: ReplySink): void {
  spec.run({ args, store: noStore, reply, version: 0 as Hlc, nowMs, valueBytesMax: 0, seed: 0, value, lookups });
}
