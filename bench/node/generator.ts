/** What the load generator itself costs: loads on a server that answers at once and keeps nothing. */
import { fileURLToPath } from 'node:url';
import { load, planOf } from '../harness/loads.ts';
import { makeBenchDir, startSubject } from '../harness/processes.ts';
import type { Row, RowOptions, RowResult } from '../harness/row.ts';
import { figure } from '../harness/row.ts';
import { spreadOf } from '../harness/statistics.ts';
import type { LoadTarget } from '../../src/bench/load.ts';
import type { MeasuredRun } from '../../src/bench/measured-run.ts';

const NULL_SERVER = fileURLToPath(new URL('../harness/null-server.ts', import.meta.url));

async function measure({ pairs, seconds, say }: RowOptions): Promise<RowResult> {
  await using stack = new AsyncDisposableStack();
  const server = await startSubject('null server', [process.execPath, NULL_SERVER], makeBenchDir(), (printed) =>
    printed.endsWith('}\n'),
  );
  stack.defer(() => server.stop());
  const { port, respPort } = JSON.parse(server.printed) as { port: number; respPort: number };
  const native: LoadTarget = { kind: 'native', server: `127.0.0.1:${port}` };
  const resp: LoadTarget = { kind: 'resp', host: '127.0.0.1', port: respPort };
  const cases = [
    { name: 'RESP, 50 clients', target: resp, pipeline: 1 },
    { name: 'RESP, 50 clients, pipeline 16', target: resp, pipeline: 16 },
    { name: 'native, 50 clients', target: native, pipeline: 1 },
    { name: 'native, 50 clients, pipeline 16', target: native, pipeline: 16 },
  ];
  const runs: MeasuredRun[][] = cases.map(() => []);
  for (let round = 0; round < pairs; round++) {
    for (const [i, { name, target, pipeline }] of cases.entries()) {
      // oxlint-disable-next-line no-await-in-loop
      const run = await load(planOf('set', seconds, { pipeline }), target);
      runs[i]?.push(run);
      say(`${round + 1}: ${name}: ${run.operationsPerSecond.toFixed(0)}/s`);
    }
  }
  const figures = cases.flatMap(({ name }, i) => {
    const own = runs[i] as MeasuredRun[];
    return [
      figure(`${name}: at most`, '/s', spreadOf(own.map((run) => run.operationsPerSecond)), 'higher'),
      figure(`${name}: CPU`, 'µs', spreadOf(own.map((run) => run.generator.cpuUsPerOperation)), 'lower'),
      figure(`${name}: p99`, 'ms', spreadOf(own.map((run) => run.latency.p99Ms)), 'lower'),
    ];
  });
  return { figures, details: null };
}

export const generatorRow: Row = {
  id: 'generator',
  title: 'The load generator itself, against a server that does nothing',
  lacks: () => null,
  run: measure,
};
