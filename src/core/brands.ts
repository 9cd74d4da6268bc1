/**
 * Branded numbers, so that a term is never passed where an index is wanted.
 * All of them are safe integers (< 2^53); on disk and on the wire they are u64 or u32, little-endian.
 */

declare const brand: unique symbol;
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Raft term. 0 = no term yet. */
export type Term = Branded<number, 'Term'>;
/** Position in one range's Raft log. The first entry is 1; 0 = before the log. */
export type LogIndex = Branded<number, 'LogIndex'>;
/** Identifies a range for ever; never used again after a merge. Range 1 is the catalog. */
export type RangeId = Branded<number, 'RangeId'>;
/** Identifies a node of the cluster, for ever; 0 = none. */
export type NodeId = Branded<number, 'NodeId'>;
/** Identifies a member of a Raft group and says where it lives (member.ts); 0 = nobody. */
export type MemberId = Branded<number, 'MemberId'>;
/** Hybrid logical clock reading: Unix milliseconds × 2048 + logical counter. See hlc.ts. */
export type Hlc = Branded<number, 'Hlc'>;
