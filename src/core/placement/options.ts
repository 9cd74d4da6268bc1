/** What the placement of replicas and leaders goes by, and the steps it asks for. */
import type { MemberId, NodeId, RangeId } from '../brands.ts';
import type { CatalogState } from '../catalog/types.ts';
import type { ConfChangeStep } from '../raft/types.ts';
import type { DamagedReplica, RangeView } from './report.ts';

export interface PlacementOptions {
  /** A node that was not heard of for so long is given no replicas and counts for no quorum. */
  readonly silentAfterMs: number;
  /** A node that was not heard of for so long is replaced. */
  readonly replaceAfterMs: number;
  /** Ranges that may be given a new replica at a time; those that are small count for a part of one. */
  readonly movesMax: number;
  /** A range of so many bytes counts whole, a smaller one in proportion, but not for less than a sixteenth. */
  readonly moveBytes: number;
  /** Steps of one plan. */
  readonly stepsMax: number;
}

export interface PlacementInput {
  readonly catalog: CatalogState;
  /** By node id: when it was last heard of. A node that is missing was never heard of. */
  readonly heardMs: ReadonlyMap<number, number>;
  readonly views: readonly RangeView[];
  /** Of all nodes. */
  readonly damaged: readonly DamagedReplica[];
  /** A step for these is under way. */
  readonly busy: ReadonlySet<RangeId>;
  readonly nowMs: number;
}

export type PlacementStep =
  /** To be asked of the leader. */
  | {
      readonly type: 'changeMembers';
      readonly rangeId: RangeId;
      readonly leader: MemberId;
      readonly confVersion: number;
      readonly changes: readonly ConfChangeStep[];
      readonly isJoint: boolean;
      /** For people. */
      readonly reason: string;
    }
  | {
      readonly type: 'transferLeader';
      readonly rangeId: RangeId;
      readonly leader: MemberId;
      readonly to: MemberId;
      readonly reason: string;
    }
  /** To be told to the member's node. */
  | {
      readonly type: 'dropReplica';
      readonly rangeId: RangeId;
      readonly memberId: MemberId;
      readonly confVersion: number;
    }
  /** To be proposed to the catalog. */
  | { readonly type: 'setNodeState'; readonly nodeId: NodeId; readonly state: 'INACTIVE' };

export const PLACEMENT_DEFAULTS: PlacementOptions = {
  silentAfterMs: 2000,
  replaceAfterMs: 60_000,
  movesMax: 4,
  moveBytes: 16 * 1024 * 1024,
  stepsMax: 64,
};
