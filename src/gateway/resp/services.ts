/** What a RESP session needs of the worker that it runs on. */
import type { CommandRouter } from '../ports.ts';
import type { WholeNode } from '../node-questions.ts';
import type { ClientRegistry } from './clients.ts';
import type { RunTimeSettings, ShownSettings } from './config.ts';

/** The node's settings, as CONFIG reads and changes them. */
export interface ConfigPort {
  readonly settings: () => ShownSettings;
  /** Changes settings on all workers; resolves when all of them know. */
  readonly change: (changes: Partial<RunTimeSettings>) => Promise<void>;
}

export interface RespServices {
  readonly router: CommandRouter;
  readonly config: ConfigPort;
  /** INFO's sections in order: name, then `field:value` lines. */
  readonly info: () => readonly (readonly [section: string, fields: Readonly<Record<string, string | number>>])[];
  /** This worker's connections. */
  readonly clients: ClientRegistry;
  readonly node: WholeNode;
  /** Wall clock, Unix milliseconds. */
  readonly nowMs: () => number;
  readonly valueBytesMax: number;
  /** Version of this software. */
  readonly version: string;
  /** Counts commands: reads and writes of the store, and those that the session answers itself. */
  readonly onCommands: (reads: number, writes: number, others: number) => void;
}
