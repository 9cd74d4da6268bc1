/**
 * Configurations as values: what a change makes of one, and their bytes in a config entry.
 *
 * A config entry carries the whole configuration that holds from it on, not the difference, so a member's
 * configuration is a function of its log: the latest in it (Raft paper §6), whether committed or not.
 *
 *   config entry, little-endian:  u8 version=1 │ u8 flags (1 = autoLeave) │ 4 × u16 counts │ f64 ids … │ context
 *   (ids in the order voters, votersOutgoing, learners, learnersNext; f64 holds any safe integer)
 */
import { assert } from '../assert.ts';
import type { MemberId } from '../brands.ts';
import type { ConfChange, ConfState } from './types.ts';

const FORMAT_VERSION = 1;
const FLAG_AUTO_LEAVE = 1;
const HEADER_BYTES = 10;
const ID_BYTES = 8;

const EMPTY_CONF: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

const byNumber = (a: number, b: number): number => a - b;

/** A plain configuration of these members. */
export function confOf(voters: readonly MemberId[], learners: readonly MemberId[] = []): ConfState {
  return {
    ...EMPTY_CONF,
    voters: [...new Set(voters)].sort(byNumber),
    learners: [...new Set(learners)].sort(byNumber),
  };
}

export function isJoint(conf: ConfState): boolean {
  return conf.votersOutgoing.length > 0;
}

export function isVoter(conf: ConfState, id: MemberId): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id);
}

/** Everybody whom a leader sends entries to. */
export function membersOf(conf: ConfState): Set<MemberId> {
  return new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext]);
}

/**
 * The configuration that `change` leads to from `conf`, or null when it makes no sense: nothing to change, no voter
 * left, another change while joint, leaving when not joint.
 */
export function changedConf(conf: ConfState, change: ConfChange): ConfState | null {
  if (change.changes.length === 0) return isJoint(conf) ? leftJoint(conf) : null;
  if (isJoint(conf)) return null;

  const voters = new Set(conf.voters);
  const learners = new Set(conf.learners);
  for (const { type, id } of change.changes) {
    if (!Number.isSafeInteger(id) || id <= 0) return null;
    voters.delete(id);
    learners.delete(id);
    if (type === 'addVoter') voters.add(id);
    else if (type === 'addLearner') learners.add(id);
  }
  if (voters.size === 0) return null;

  const added = [...voters].filter((id) => !conf.voters.includes(id)).length;
  const removed = conf.voters.filter((id) => !voters.has(id)).length;
  const learnersSame = learners.size === conf.learners.length && conf.learners.every((id) => learners.has(id));
  if (added + removed === 0 && learnersSame) return null;

  const transition = change.transition ?? 'auto';
  if (transition === 'auto' && added + removed <= 1) return confOf([...voters], [...learners]);
  // While joint a demoted voter still votes in the outgoing half, so it becomes a learner only afterwards.
  const demoted = [...learners].filter((id) => conf.voters.includes(id));
  return {
    voters: [...voters].sort(byNumber),
    votersOutgoing: conf.voters,
    learners: [...learners].filter((id) => !demoted.includes(id)).sort(byNumber),
    learnersNext: demoted.sort(byNumber),
    autoLeave: transition !== 'explicit',
  };
}

/** C_new of a joint C_old,new. */
export function leftJoint(conf: ConfState): ConfState {
  return confOf(conf.voters, [...conf.learners, ...conf.learnersNext]);
}

/** The data of a config entry. */
export function encodeConfEntry(conf: ConfState, context: Uint8Array = new Uint8Array(0)): Uint8Array {
  const lists = [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext];
  const ids = lists.flat();
  const bytes = new Uint8Array(HEADER_BYTES + ids.length * ID_BYTES + context.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FORMAT_VERSION);
  view.setUint8(1, conf.autoLeave ? FLAG_AUTO_LEAVE : 0);
  for (const [i, list] of lists.entries()) view.setUint16(2 + i * 2, list.length, true);
  for (const [i, id] of ids.entries()) view.setFloat64(HEADER_BYTES + i * ID_BYTES, id, true);
  bytes.set(context, HEADER_BYTES + ids.length * ID_BYTES);
  return bytes;
}

/** What encodeConfEntry() wrote. Throws AssertionFailed on anything else: it was checked by the log's CRC before. */
export function decodeConfEntry(data: Uint8Array): { readonly conf: ConfState; readonly context: Uint8Array } {
  assert(data.length >= HEADER_BYTES && data[0] === FORMAT_VERSION, 'a config entry of a known format');
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let offset = HEADER_BYTES;
  const list = (position: number): MemberId[] => {
    const ids: MemberId[] = [];
    for (let count = view.getUint16(2 + position * 2, true); count > 0; count--) {
      ids.push(view.getFloat64(offset, true) as MemberId);
      offset += ID_BYTES;
    }
    return ids;
  };
  const conf: ConfState = {
    voters: list(0),
    votersOutgoing: list(1),
    learners: list(2),
    learnersNext: list(3),
    autoLeave: view.getUint8(1) === FLAG_AUTO_LEAVE,
  };
  return { conf, context: data.subarray(offset) };
}
