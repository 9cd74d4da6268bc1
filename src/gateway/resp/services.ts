/** What a RESP session needs of the worker that it runs on. */
import type { CommandRouter } from '../ports.ts';
import type { ClientRegistry } from './clients.ts';

/** Settings as CONFIG shows them, under the names that Redis tools know. */
export interface ConfigPort {
  /** All names and values. */
  all(): ReadonlyMap<string, string>;
  /** Changes a setting while the node runs. Returns what is wrong, or null. */
  set(name: string, value: string): string | null;
  resetStatistics(): void;
}

export interface RespServices {
  readonly router: CommandRouter;
  readonly config: ConfigPort;
  /** INFO's sections in order: name, then `field:value` lines. */
  readonly info: () => readonly (readonly [section: string, fields: Readonly<Record<string, string | number>>])[];
  readonly clients: ClientRegistry;
  /** Wall clock, Unix milliseconds. */
  readonly nowMs: () => number;
  readonly valueBytesMax: number;
  /** Version of this software. */
  readonly version: string;
  /** Counts commands: reads and writes of the store, and those that the session answers itself. */
  readonly onCommands: (reads: number, writes: number, others: number) => void;
}
