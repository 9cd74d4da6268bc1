/**
 * One range's life on this node: its Raft member, its state machine, the commands that wait.
 *
 *                 submit                flush                 Ready.committed
 *     commands ──────────▶ filling ──────────────▶ proposed ──────────────────▶ applied, replies
 *                          (one batch per turn;    (in the log,                 (state machine,
 *                           full ones queue up)     not yet applied)             reads behind writes)
 *
 * A single-voter group has one append on its way to the disk at a time; what arrives meanwhile is merged into the next
 * entry, so the disk sets the pace and no timer is needed. A group with peers pipelines.
 *
 * Invariant: a reply to a write is made only while applying its committed entry; a reply to a read only when every write
 * acknowledged before the read arrived is applied here and this node provably still leads.
 */
import { assert } from '../src/core/assert.ts';
import type { LogIndex, Term } from '../src/core/brands.ts';
import type { Args } from '../src/core/kv/args.ts';
import { copyArgs, createArgs } from '../src/core/kv/args.ts';
import type { BatchCommand, RequestId } from '../src/core/kv/batch.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_KIND,
  batchCount,
  batchRangeVersion,
  COMMAND_HAS_REQUEST_ID,
  readCommand,
} from '../src/core/kv/batch.ts';
import type { ReplySink, ReplyTarget } from '../src/core/kv/reply.ts';
import { discardReply } from '../src/core/kv/reply.ts';
import type { CommandSpec } from '../src/core/kv/spec.ts';
import type { StateMachine } from '../src/core/kv/state-machine.ts';
import { commandByOp } from '../src/core/kv/table.ts';
import { limits } from '../src/core/limits.ts';
import type { RangeDescriptor } from '../src/core/range.ts';
import type { Raft } from '../src/core/raft/raft.ts';
import type { Entry } from '../src/core/raft/types.ts';
import type { Engine } from '../src/engine/engine.ts';
import { decodeSplit, encodeSplit, SPLIT_KIND } from './entry.ts';
import type { SplitEntry } from './entry.ts';
import { PendingBatch } from './pending-batch.ts';
