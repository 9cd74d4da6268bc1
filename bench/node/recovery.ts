/**
 * What replaying a log costs one worker: logs of several kinds are left behind by a node that is killed, and replayed in
 * this very thread, by the code that a worker starts with. CPU time of the thread is what counts: other work on the
 * machine lengthens the wait, not that. The constants of shards/checkpointer.ts come from here.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import type { NodeId } from '../../src/core/brands.ts';
import { MemoryArena } from '../../src/engine/memory/arena.ts';
import { DataDir } from '../../src/server/data-dir.ts';
import { loadCheckpoint, writeCheckpoint } from '../../src/storage/checkpoint/index.ts';
import { nodeDisk } from '../../src/storage/disk.ts';
import { scanWal } from '../../src/storage/wal/recovery.ts';
import type { LoadPlan } from '../../src/bench/plan.ts';
import { encodeRangeMeta } from '../../shards/entry.ts';
import type { RecoveredRange } from '../../shards/recovery.ts';
import { recoverRanges } from '../../shards/recovery.ts';
import { load, planOf } from '../harness/loads.ts';
import { makeBenchDir } from '../harness/processes.ts';
import type { Figure, Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startSkerry } from '../harness/servers.ts';
import { spreadOf } from '../harness/statistics.ts';

/** One worker, one range, and nothing that makes the node write a checkpoint. */
const FLAGS = ['--workers', '1', '--wal-segment', '512mb', '--max-recovery-seconds', '3600'];
const REPLAYS_MAX = 3;
const VALUE_BYTES_MAX = 2 ** 26;
const MB = 1e6;

interface Kind {
  readonly name: string;
  readonly workload: string;
  readonly plan: Partial<LoadPlan>;
}

const kinds: readonly Kind[] = [
  { name: 'SET, values of 100 bytes', workload: 'set', plan: { operations: 1_000_000, pipeline: 64 } },
  {
    name: 'SET, values of 16 KiB',
    workload: 'set',
    plan: { operations: 15_000, pipeline: 4, keyCount: 10_000, valueBytes: 16_384 },
  },
];

/** Seconds of CPU that `work` takes this thread, and what it returns. */
function timed<T>(work: () => T): { readonly seconds: number; readonly value: T } {
  const before = process.threadCpuUsage();
  const value = work();
  const { user, system } = process.threadCpuUsage(before);
  return { seconds: (user + system) / 1e6, value };
}

async function leaveLog(dir: string, { workload, plan }: Kind): Promise<void> {
  const node = await startSkerry(FLAGS, dir);
  await load(planOf(workload, 0, { warmUpMs: 0, ...plan }), { kind: 'resp', host: node.host, port: node.respPort });
  await node.stop({ signal: 'SIGKILL', keepDir: true });
}

interface Replay {
  readonly scanBytesPerSecond: number;
  readonly commandsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly range: RecoveredRange;
  readonly arena: MemoryArena;
}

function replay(dir: string): Replay {
  const data = new DataDir(nodeDisk, path.join(dir, 'data'));
  const { walDir } = data;
  const scan = timed(() => scanWal(nodeDisk, walDir));
  const { checkpoints } = data.findRanges(1 as NodeId);
  const arena = new MemoryArena({ maxBytes: 2 ** 34 });
  const { seconds, value } = timed(() =>
    recoverRanges({
      nodeId: 1 as NodeId,
      disk: nodeDisk,
      walDir,
      scan: scan.value,
      checkpoints: checkpoints.map(({ file }) => file),
      staged: [],
      folder: data.checkpoints,
      checkpointed: new Set<number>(checkpoints.map(({ rangeId }) => rangeId)),
      members: [],
      mayHeal: false,
      nowMs: Date.now(),
      createStore: () => arena.createStore(),
      valueBytesMax: VALUE_BYTES_MAX,
    }),
  );
  const range = value.ranges[0] as RecoveredRange;
  return {
    scanBytesPerSecond: scan.value.bytesRead / scan.seconds,
    commandsPerSecond: range.replayedCommands / seconds,
    bytesPerSecond: range.replayedBytes / seconds,
    range,
    arena,
  };
}

/** Keys a second that a checkpoint of the range is loaded with. */
function loadKeys(dir: string, { range, arena }: Replay): number {
  const { descriptor, store, machine, conf, appliedIndex, appliedTerm } = range;
  const file = path.join(dir, 'measured.ckpt');
  const { rangeId } = descriptor;
  const meta = encodeRangeMeta({ descriptor, conf, sessions: machine.encodeSessions() });
  const { latestVersion } = machine;
  writeCheckpoint(nodeDisk, file, store.cursor(), { rangeId, appliedIndex, appliedTerm, latestVersion, meta });
  const loaded = arena.createStore();
  const { seconds } = timed(() => {
    const loader = loaded.bulkLoad();
    loadCheckpoint(nodeDisk, file, loader);
    loader.finish();
  });
  return loaded.keyCount / seconds;
}

async function measure({ pairs, say }: RowOptions): Promise<RowResult> {
  const figures: Figure[] = [];
  for (const kind of kinds) {
    const dir = makeBenchDir();
    try {
      // oxlint-disable-next-line no-await-in-loop
      await leaveLog(dir, kind);
      const replays = Array.from({ length: Math.min(pairs, REPLAYS_MAX) }, () => replay(dir));
      const spread = (of: (replayed: Replay) => number) => spreadOf(replays.map(of));
      figures.push(
        figure(
          `${kind.name}: replayed`,
          'commands/s',
          spread((run) => run.commandsPerSecond),
          'higher',
        ),
        figure(
          `${kind.name}: replayed`,
          'MB/s',
          spread((run) => run.bytesPerSecond / MB),
          'higher',
        ),
        figure(
          `${kind.name}: log verified`,
          'MB/s',
          spread((run) => run.scanBytesPerSecond / MB),
          'higher',
        ),
        figure(
          `${kind.name}: checkpoint loaded`,
          'keys/s',
          spread((run) => loadKeys(dir, run)),
          'higher',
        ),
      );
      say(`${kind.name}: ${figures.at(-4)?.value.toFixed(0)} commands/s`);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
  return { figures, details: { clock: 'CPU time of one thread', pageCache: 'warm' } };
}

export const recoveryRow: Row = {
  id: 'recovery',
  title: 'Replaying the log, one worker',
  lacks: () => null,
  run: measure,
};
