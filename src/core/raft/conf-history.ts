/**
 * The configurations in one member's log: the latest one is in force from the moment it is appended (Raft paper §6),
 * and the one before it comes back when the log is cut.
 */
import type { LogIndex } from '../brands.ts';
import { decodeConfEntry } from './configuration.ts';
import type { ConfState, Entry } from './types.ts';
import { ENTRY_CONFIG } from './types.ts';

interface ConfAt {
  /** Index of the entry, or of the checkpoint, that made it. */
  readonly index: LogIndex;
  readonly conf: ConfState;
}

export class ConfHistory {
  private history: ConfAt[];

  constructor(index: LogIndex, conf: ConfState) {
    this.history = [{ index, conf }];
  }

  get latest(): ConfAt {
    return this.history.at(-1) as ConfAt;
  }

  /** The configuration as of `index`, which must not be before the last compact(), and all later ones. */
  since(index: LogIndex): readonly ConfAt[] {
    const inForce = this.history.findLastIndex((candidate) => candidate.index <= index);
    return this.history.slice(Math.max(inForce, 0));
  }

  /** Takes note of an appended entry; whether it changed the configuration. */
  appended(entry: Entry): boolean {
    if (entry.type !== ENTRY_CONFIG) return false;
    this.history.push({ index: entry.index, conf: decodeConfEntry(entry.data).conf });
    return true;
  }

  /** The log was cut from `index` on; whether that changed the configuration. */
  truncatedFrom(index: LogIndex): boolean {
    const before = this.history.length;
    while (this.latest.index >= index) this.history.pop();
    return this.history.length !== before;
  }

  compacted(index: LogIndex): void {
    while (this.history.length > 1 && (this.history[1] as ConfAt).index <= index) this.history.shift();
  }
}
