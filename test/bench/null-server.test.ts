/** The server that does nothing answers what the generator asks, in both protocols. */
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { load, planOf } from '../../bench/harness/loads.ts';
import { makeBenchDir, startSubject } from '../../bench/harness/processes.ts';
import type { LoadTarget } from '../../src/bench/load.ts';

const PROGRAM = fileURLToPath(new URL('../../bench/harness/null-server.ts', import.meta.url));

test('every request of a load is answered once, over several threads of the generator', async (t) => {
  const server = await startSubject('null server', [process.execPath, PROGRAM], makeBenchDir(), (printed) =>
    printed.endsWith('}\n'),
  );
  t.teardown(() => server.stop());
  const { port, respPort } = JSON.parse(server.printed) as { port: number; respPort: number };
  const targets: readonly LoadTarget[] = [
    { kind: 'native', server: `127.0.0.1:${port}` },
    { kind: 'resp', host: '127.0.0.1', port: respPort },
  ];
  for (const target of targets) {
    const counted = { warmUpMs: 0, durationMs: Infinity, operations: 5001 };
    const plan = planOf('set', 0, { clients: 7, pipeline: 8, threads: 2, ...counted });
    // oxlint-disable-next-line no-await-in-loop
    const { operations, errors, latency } = await load(plan, target);
    t.deepEqual({ operations, errors, count: latency.count }, { operations: 5001, errors: 0, count: 5001 });
  }
});

test('a program that ends before it serves says what it printed', async (t) => {
  const command = [process.execPath, '-e', 'console.error("no port left"); process.exitCode = 3'] as const;
  await t.throwsAsync(
    startSubject('it', [...command], makeBenchDir(), () => false),
    { message: /it ended with 3: no port left/ },
  );
});
