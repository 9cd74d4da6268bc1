/**
 * What the control plane asks of this worker's ranges, and what it is told of them: membership changes, transfers of
 * leadership, changes of the catalog, reports.
 */
import type { CatalogResult } from '../src/core/catalog/types.ts';
import type { MemberId, RangeId } from '../src/core/brands.ts';
import { isJoint } from '../src/core/raft/configuration.ts';
import type { ConfChangeStep, ProgressStatus, RaftStatus } from '../src/core/raft/types.ts';
import type { DamagedReplica, MemberProgress, RangeReport } from './messages.ts';
import { encodeCatalogChange } from './entry.ts';
import type { Replica } from './replica.ts';
import { NOT_LEADER } from './replies.ts';

/** Called once: with an error's text, or null when it is done. */
export type AdminCallback = (error: string | null) => void;

export interface MembershipChange {
  readonly rangeId: RangeId;
  /** epoch.confVersion that the asker saw. */
  readonly confVersion: number;
  readonly changes: readonly ConfChangeStep[];
  readonly isJoint: boolean;
}

/** A member that lacks no more entries than this keeps up. */
const CAUGHT_UP_ENTRIES = 64;
/** The catalog lives here. */
const CATALOG_RANGE = 1 as RangeId;

interface RangeHost {
  readonly replicas: ReadonlyMap<RangeId, Replica>;
  touched(replica: Replica): void;
}

export class RangeAdmin {
  /** Members that were given up, and that their groups may still count on. */
  readonly damaged = new Map<RangeId, DamagedReplica>();
  readonly #host: RangeHost;
  readonly #replicas: ReadonlyMap<RangeId, Replica>;
  #transfers: { readonly replica: Replica; readonly to: MemberId; readonly done: AdminCallback }[] = [];

  constructor(host: RangeHost) {
    this.#host = host;
    this.#replicas = host.replicas;
  }

  changeMembers({ rangeId, confVersion, changes, isJoint: joint }: MembershipChange, done: AdminCallback): void {
    const replica = this.#leaderOf(rangeId, done);
    if (replica === null) return;
    if (replica.descriptor.epoch.confVersion !== confVersion) {
      done('ERR the members of the range have changed since; look at them and try again');
      return;
    }
    const change = { changes, transition: joint ? 'joint' : 'auto' } as const;
    replica.ask(
      (raft) => raft.proposeConfChange(change),
      (error) => done(error),
    );
  }

  /** `done` when another member leads, or when that was given up. */
  transferLeader(rangeId: RangeId, to: MemberId, done: AdminCallback): void {
    const replica = this.#leaderOf(rangeId, done);
    if (replica === null) return;
    if (replica.transferLeadership(to)) this.#transfers.push({ replica, to, done });
    else done('ERR leadership can only be handed to a voter of the range');
  }

  /** Goes on without the other voters, which are lost for good; `done` when it is on its way to the log. */
  recoverAlone(rangeId: RangeId, done: AdminCallback): void {
    const replica = this.#replicas.get(rangeId);
    if (replica === undefined || replica.raft.leader !== 0) {
      done(replica === undefined ? 'ERR the range has no replica here' : 'ERR the range has a leader');
      return;
    }
    replica.raft.becomeOnlyVoter();
    this.#host.touched(replica);
    done(null);
  }

  changeCatalog(op: Uint8Array, done: (error: string | null, result: CatalogResult | null) => void): void {
    const replica = this.#leaderOf(CATALOG_RANGE, (error) => done(error, null));
    replica?.ask((raft) => raft.propose(encodeCatalogChange(op)), done);
  }

  /** Looks after transfers under way; once a turn. */
  turn(): void {
    if (this.#transfers.length === 0) return;
    const open = [];
    for (const transfer of this.#transfers) {
      const { replica, to, done } = transfer;
      if (!replica.isLeader) done(null);
      else if (replica.raft.status().transferee !== to) done('ERR the member did not take leadership in time');
      else open.push(transfer);
    }
    this.#transfers = open;
  }

  reports(): RangeReport[] {
    return [...this.#replicas.values()].map((replica) => {
      const { descriptor, raft, store } = replica;
      const status = raft.status();
      return {
        descriptor,
        memberId: raft.id,
        leader: raft.leader,
        term: raft.term,
        appliedIndex: raft.appliedIndex,
        lastIndex: raft.lastIndex,
        lastTerm: raft.lastTerm,
        isChanging: isJoint(status.conf) || status.confIndex > status.applied,
        members: status.progress.map((progress) => memberProgress(status, progress)),
        bytes: store.bytesUsed,
      };
    });
  }

  #leaderOf(rangeId: RangeId, refuse: AdminCallback): Replica | null {
    const replica = this.#replicas.get(rangeId);
    if (replica?.isLeader === true) return replica;
    refuse(NOT_LEADER);
    return null;
  }
}

function memberProgress({ commit }: RaftStatus, { id, state, match, recentActive }: ProgressStatus): MemberProgress {
  return {
    memberId: id,
    matchIndex: match,
    isActive: recentActive,
    isCaughtUp: state === 'replicate' && match + CAUGHT_UP_ENTRIES >= commit,
  };
}
