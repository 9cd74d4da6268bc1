/**
 * Bugs to plant into everything that a node of a whole cluster is made of, one at a time; each must be noticed by the
 * simulator of whole clusters (cluster-bugs.test.ts). docs/simulator.md lists them.
 */
import type { PlantedBug } from './planted-bugs.ts';
import { plantedBugs } from './planted-bugs.ts';
import type { TextChange } from '../support/mutations.ts';
import type { ClusterFaults } from './cluster-faults.ts';
import { NO_FAULTS } from './faults.ts';
import type { FaultProfile } from './faults.ts';

export interface ClusterBug {
  readonly name: string;
  /** What a test that plants it is called. */
  readonly title: string;
  readonly changes: readonly TextChange[];
  /** Faults that bring it out sooner. */
  readonly faults?: Partial<FaultProfile & ClusterFaults>;
  /** One value of so many is longer than a record of the log may be. Default Infinity. */
  readonly longEvery?: number;
  /** Where the search begins: a little before the first seed that noticed it when it was planted. Default 1. */
  readonly firstSeed?: number;
}

const SLOW_DISKS = { syncMs: 15, stallChance: 0.1, stallMs: 200 };
const CRASHES = {
  disk: SLOW_DISKS,
  partitionEveryMs: 200,
  partitionMs: 100,
  crashEveryMs: 40,
  downMs: 5,
  stormMs: 400,
};
const CUTS = { partitionEveryMs: 100, partitionMs: 200, stormMs: 400 };
/** Members come and go, and what they are sent comes twice, the second time late. */
const ECHOES = {
  ...NO_FAULTS,
  network: { lossChance: 0, duplicateChance: 0.5, meanDelayMs: 2, lateChance: 0.3, lateMs: 500 },
  membershipEveryMs: 40,
  stormMs: Infinity,
};
const POWER_FAILURES = { crashAllEveryMs: 150, downMs: 20, stormMs: 200, calmOperations: 60 };

/** A bug of planted-bugs.ts, in the core of all replicas. */
function inCore(name: string, faults: ClusterBug['faults'] = {}, firstSeed = 1): ClusterBug {
  const { title, changes } = plantedBugs.find((bug) => bug.name === name) as PlantedBug;
  return { name, title, changes, faults, firstSeed };
}

export const clusterBugs: readonly ClusterBug[] = [
  inCore('voteBeforeSync', CRASHES, 33),
  inCore('answerBeforeSync', CRASHES),
  inCore('leaderCountsUnsynced', CRASHES),
  inCore('leaseForEver', CUTS, 23),
  inCore('readWithoutRound', CUTS, 23),
  inCore('readBeforeOwnTerm', CUTS),
  inCore('learnersCount', { ...CUTS, membershipEveryMs: 20 }),
  inCore('snapshotGoesBack', ECHOES),
  {
    name: 'staleRecordAccepted',
    title: 'a record of a segment’s earlier life that is taken for a new one',
    changes: [
      {
        file: 'src/storage/wal/reader.ts',
        from: 'if (record.sequence !== walk.sequence || record.batch !== walk.batch) {',
        to: 'if (record.batch !== walk.batch) {',
      },
      {
        file: 'src/storage/wal/format.ts',
        from: 'writeU64(bytes, segmentId, 0);\n  writeU64(bytes, logId, 8);',
        to: 'writeU64(bytes, logId, 8);',
      },
    ],
    faults: POWER_FAILURES,
  },
  {
    name: 'voteEndsEntry',
    title: 'a vote written again between the pieces of an entry that ends it',
    changes: [
      {
        file: 'src/storage/wal/entries.ts',
        from: 'if (this.#partial.size > 0 && (record.flags & FLAG_HARD_STATE) === 0)',
        to: 'if (this.#partial.size > 0)',
      },
    ],
    faults: CRASHES,
    longEvery: 3,
  },
];
