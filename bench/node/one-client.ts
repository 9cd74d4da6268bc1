/** One client, one SET at a time: what a durable write takes beyond the disk's own sync. */
import { load, planOf } from '../harness/loads.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { startSkerry } from '../harness/servers.ts';
import { alternate, spreadOf } from '../harness/statistics.ts';
import { timeSyncs } from '../harness/sync.ts';
import type { LoadTarget } from '../../src/bench/load.ts';
import { probeOverHttp } from '../../src/bench/node-probe.ts';

const SYNCS = 2000;

async function measure({ pairs, seconds, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const skerry = await startSkerry();
  stack.defer(() => skerry.stop());
  const probe = probeOverHttp(`${skerry.host}:${skerry.httpPort}`);
  const figures = [];
  const details: Record<string, unknown> = {};
  const ways: Readonly<Record<string, LoadTarget>> = {
    'native client': { kind: 'native', server: `${skerry.host}:${skerry.port}` },
    RESP: { kind: 'resp', host: skerry.host, port: skerry.respPort },
  };
  for (const [name, target] of Object.entries(ways)) {
    const fsyncMs: number[] = [];
    // oxlint-disable-next-line no-await-in-loop
    const runs = await alternate(
      pairs,
      async () => {
        const run = await load(planOf('set', seconds, { clients: 1 }), target, probe);
        fsyncMs.push(run.node?.meanFsyncMs ?? Number.NaN);
        return run.latency.p50Ms;
      },
      () => Promise.resolve(spreadOf(timeSyncs(skerry.dir, SYNCS)).median),
      ({ ours, theirs }, number) =>
        say(`${number}: ${name} p50 ${ours.toFixed(3)} ms, fdatasync ${theirs.toFixed(3)} ms`),
    );
    const beyondUs = spreadOf(runs.map(({ ours, theirs }) => (ours - theirs) * 1000));
    details[name] = runs;
    figures.push(
      figure(`${name}: beyond 1 fdatasync`, 'µs', beyondUs, 'lower', { must: 150, aim: 80 }),
      figure(`${name}: p50 of a SET`, 'ms', spreadOf(runs.map(({ ours }) => ours)), 'lower'),
      figure(`${name}: the log’s own write and sync, mean`, 'ms', spreadOf(fsyncMs), 'lower'),
      figure('4 KiB written and fdatasync', 'ms', spreadOf(runs.map(({ theirs }) => theirs)), 'lower'),
    );
  }
  return { figures, details };
}

export const oneClientRow: Row = {
  id: 'one-client',
  title: 'One client, one SET at a time, against the disk’s own sync',
  lacks: () => null,
  run: measure,
};
