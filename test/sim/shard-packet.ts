/** What nodes of the simulated cluster send each other. */
import type { Beat } from '../../src/core/beat.ts';
import type { RangeId } from '../../src/core/brands.ts';
import type { Message } from '../../src/core/raft/types.ts';

export type ShardPacket =
  | { readonly kind: 'raft'; readonly rangeId: RangeId; readonly message: Message }
  | {
      readonly kind: 'snapshot';
      readonly rangeId: RangeId;
      readonly message: Message;
      readonly contents: Buffer;
      readonly transfer: number;
    }
  | { readonly kind: 'beat'; readonly beat: Beat; readonly from: number }
  | { readonly kind: 'taken'; readonly transfer: number; readonly isTaken: boolean };
