/** The core with its log in view of the observer. */
import type { LogIndex, Term } from '../../src/core/brands.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { Entry } from '../../src/core/raft/types.ts';
import type { Observed } from './invariants.ts';

export class WatchedRaft extends Raft implements Observed {
  get firstIndex(): LogIndex {
    return this.state.log.firstIndex;
  }

  termAt(index: LogIndex): Term {
    return this.state.log.termAt(index);
  }

  entryAt(index: LogIndex): Entry {
    return this.state.log.at(index);
  }
}
