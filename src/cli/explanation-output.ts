/** An explanation as a table for people: a phase per row, in the order in which they happened. */
import type { Explanation } from '../client/explanation.ts';
import type { RangeExplanation } from '../core/kv/explanation.ts';
import { roundedMs } from '../core/kv/explanation.ts';

type Row = readonly [ms: number | null, what: string, meaning: string];

/** Goes to stderr, as all talk does. */
export function printExplanation(explanation: Explanation): void {
  process.stderr.write(explanationLines(explanation).join(''));
}

/** Lines that end in a line break. */
function explanationLines({ totalMs, roundTripMs, attempts, server, ranges }: Explanation): string[] {
  const rows: Row[] = ranges.flatMap((range) => [...phases(range), [range.totalMs, 'range', describe(range)] as const]);
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined) {
    const isElsewhere = only.nodeId !== server.nodeId || only.worker !== server.worker;
    const way = isElsewhere
      ? `from node ${server.nodeId}, worker ${server.worker} to the leader and back`
      : 'reply made';
    rows.push([roundedMs(server.totalMs - only.totalMs), 'forward', way]);
  }
  rows.push([server.totalMs, 'server', `node ${server.nodeId}, worker ${server.worker}`]);
  rows.push([roundedMs(roundTripMs - server.totalMs), 'network', 'there and back, and queues on the way']);
  if (attempts > 1) rows.push([roundedMs(totalMs - roundTripMs), 'retries', `${attempts} attempts`]);
  rows.push([totalMs, 'total', 'as this client saw it']);
  const cells = rows.map(([ms, what, meaning]) => [ms === null ? '-' : ms.toFixed(3), what, meaning] as const);
  const width = Math.max(...cells.map(([ms]) => ms.length));
  return cells.map(([ms, what, meaning]) => `${ms.padStart(width + 2)} ms  ${what.padEnd(11)}  ${meaning}\n`);
}

function phases(range: RangeExplanation): Row[] {
  if (range.kind === 'read') {
    return [
      [range.queueMs, 'queue', 'behind writes of this connection'],
      [range.readIndexMs, 'read index', 'a quorum confirmed that the leader leads'],
      [range.readMs, 'read', `from what was applied; rests on: ${range.restsOn}`],
    ];
  }
  return [
    [range.queueMs, 'queue', 'until it was in the log'],
    [range.walWaitMs, 'WAL wait', 'until the sync before it had ended'],
    [range.fsyncMs, 'fsync', 'write and sync of the WAL'],
    [range.noticeMs, 'notice', 'until the worker took notice of it'],
    [range.replicationMs, 'replication', 'until a majority of the voters had it, too'],
    [range.applyMs, 'apply', 'applied, reply made'],
  ];
}

function describe(range: RangeExplanation): string {
  const { rangeId, nodeId, worker, term, index } = range;
  const batch = range.kind === 'write' && range.batchCommands > 1 ? `, one of ${range.batchCommands} writes` : '';
  return `range ${rangeId} on node ${nodeId}, worker ${worker}: term ${term}, index ${index}${batch}`;
}
