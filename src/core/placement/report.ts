/** What is known about the ranges of a cluster: what replicas report, and what follows from all reports together. */
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../brands.ts';
import type { RangeDescriptor, Route } from '../range.ts';

/** What the leader of a range says of one of its members. */
export interface MemberProgress {
  readonly memberId: MemberId;
  readonly matchIndex: LogIndex;
  /** Heard of within an election timeout. The leader itself is. */
  readonly isActive: boolean;
  /** It replicates (no probe, no snapshot) and lacks so little that it would not hold up a commit. */
  readonly isCaughtUp: boolean;
}

/** What a worker says of a range that it has a replica of. */
export interface RangeReport {
  /** As of what this replica has applied. */
  readonly descriptor: RangeDescriptor;
  /** This replica's member id; it need not be in the descriptor (it waits for its first snapshot, or is removed). */
  readonly memberId: MemberId;
  /** 0 = not known. This replica leads when it is its own id. */
  readonly leader: MemberId;
  readonly term: Term;
  readonly appliedIndex: LogIndex;
  /** Of this replica's log, whether committed or not. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** A configuration change is not finished: joint, or not yet committed. No other can be made. */
  readonly isChanging: boolean;
  /** Of a leader, itself included; else empty. */
  readonly members: readonly MemberProgress[];
  /** Memory of the keys and values. */
  readonly bytes: number;
}

/**
 * A replica that has lost something of what it stored: its member has fallen silent for good, and its range must go on
 * without it.
 */
export interface DamagedReplica {
  readonly rangeId: RangeId;
  readonly memberId: MemberId;
  /** For people. */
  readonly what: string;
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

/** All that the reports say of one range. */
export interface RangeView extends Route {
  readonly rangeId: RangeId;
  /** The leader's own report; null while nobody reports that it leads. */
  readonly report: RangeReport | null;
  /** Of all replicas, by the node that reported. */
  readonly replicas: readonly RangeReport[];
}

/**
 * Puts reports together, by range, in the order of range ids. Of several replicas that say they lead, the one of the
 * greatest term does; the descriptor is its, or else the newest.
 */
export function viewOf(reports: ReadonlyMap<NodeId, readonly RangeReport[]>): RangeView[] {
  const byRange = new Map<RangeId, RangeReport[]>();
  for (const report of [...reports.values()].flat()) {
    const { rangeId } = report.descriptor;
    const others = byRange.get(rangeId);
    if (others === undefined) byRange.set(rangeId, [report]);
    else others.push(report);
  }
  return [...byRange].sort(([a], [b]) => a - b).map(([rangeId, replicas]) => viewOfRange(rangeId, replicas));
}

function viewOfRange(rangeId: RangeId, replicas: readonly RangeReport[]): RangeView {
  let newest = replicas[0] as RangeReport;
  let known: RangeReport | null = null;
  for (const report of replicas) {
    if (isNewer(report.descriptor, newest.descriptor)) newest = report;
    if (report.leader !== 0 && (known === null || isBetterWord(report, known))) known = report;
  }
  const report = known !== null && known.leader === known.memberId ? known : null;
  return {
    rangeId,
    range: (report ?? newest).descriptor,
    leader: known?.leader ?? (0 as MemberId),
    term: known?.term ?? (0 as Term),
    report,
    replicas,
  };
}

/** Whether `report` knows better than `other` who leads: a later term, or the leader's own word. */
function isBetterWord(report: RangeReport, other: RangeReport): boolean {
  if (report.term !== other.term) return report.term > other.term;
  return report.leader === report.memberId && other.leader !== other.memberId;
}

function isNewer(a: RangeDescriptor, b: RangeDescriptor): boolean {
  if (a.epoch.version !== b.epoch.version) return a.epoch.version > b.epoch.version;
  return a.epoch.confVersion > b.epoch.confVersion;
}
