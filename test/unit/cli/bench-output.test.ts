/** What `skerry bench` shows while it runs, and what it says behind the numbers. */
import test from 'ava';
import { remarksOn, showBenchProgress } from '../../../src/cli/bench-output.ts';
import type { NamedRun } from '../../../src/cli/bench-output.ts';
import { runLoad } from '../../../src/bench/load.ts';
import { planOf } from '../../../bench/harness/loads.ts';
import type { Target, TargetEvents } from '../../../src/bench/target.ts';
import { DONE, MISS } from '../../../src/bench/target.ts';

const now = {
  phase: 'measuring',
  elapsedMs: 3000,
  totalMs: 12_000,
  operations: 12_345,
  operationsMax: null,
  perSecond: 4321.5,
  errors: 2,
} as const;

function shown(label: string, isTTY: boolean, columns: number): string {
  let text = '';
  const show = showBenchProgress(label, { isTTY, columns, write: (more: string) => (text += more) });
  show.progress(now);
  show.end();
  return text;
}

test('progress is one line that is written over and gone at the end', (t) => {
  t.is(
    shown('set, 50 clients', true, 80),
    '\r\x1b[Kset, 50 clients: measuring, 25 %, 4322 requests/s, 2 failed\r\x1b[K',
  );
});

test('progress never runs over the edge of the terminal, where it could not be written over', (t) => {
  const [, line = ''] = shown('get:95,update:5,insert:4,scan:3,rmw:2, 256 clients', true, 60).split('\r\x1b[K');
  t.is(line, 'get:95,update:5,insert:4,scan:3,rmw:2, 256 clients: measuri');
  t.is(line.length, 59);
});

test('nothing is shown where there is no terminal', (t) => {
  t.is(shown('set', false, 80), '');
});

/** A run on a target that answers every request when it is asked the next time. */
async function runWith(outcome: typeof DONE | typeof MISS): Promise<NamedRun> {
  const createTarget = (): Target => {
    let events: TargetEvents;
    const begun: number[] = [];
    return {
      open(given) {
        events = given;
        return Promise.resolve();
      },
      begin: (slot) => void begun.push(slot),
      flush: () =>
        void setImmediate(() => {
          for (const slot of begun.splice(0)) events.done(slot, outcome, performance.now());
          if (begun.length > 0) events.turned(performance.now());
        }),
      close: () => Promise.resolve(),
    };
  };
  const plan = planOf('get', 0, { clients: 3, warmUpMs: 0, durationMs: Infinity, operations: 20 });
  return { ...(await runLoad(plan, { kind: 'here', createTarget })), node: null, workload: 'get' };
}

test('a load that did not do what it seems to have done is remarked on', async (t) => {
  const quiet = { generator: { cpuUsPerOperation: 1, cpuSharePerThread: 0.2, lag: null } };
  const good = { ...(await runWith(DONE)), ...quiet };
  t.deepEqual(remarksOn(good), []);
  const missing = { ...(await runWith(MISS)), ...quiet };
  t.deepEqual(remarksOn(missing), [
    'get, clients 3: 20 of 20 reads were of keys that are not there; --load writes them first',
  ]);
  const plan = { ...good.plan, ratePerSecond: 1000 };
  t.deepEqual(remarksOn({ ...good, plan, operationsPerSecond: 960 }), []);
  t.deepEqual(remarksOn({ ...good, plan, operationsPerSecond: 940 }), [
    'get, clients 3: the rate was not reached: 940 of 1000 requests/s',
  ]);
  const busy = { ...good, generator: { ...quiet.generator, cpuSharePerThread: 0.97 } };
  t.deepEqual(remarksOn(busy), ['get, clients 3: the generator had no time left (97 % of a core): more --threads']);
});
