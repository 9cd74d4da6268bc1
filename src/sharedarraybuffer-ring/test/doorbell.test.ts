// The doorbell: no wake-up lost, none twice, none for a parking that was taken back.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import * as fc from 'fast-check';
import { createDoorbell, Doorbell } from '../index.ts';
import { countNotifies } from './notifies.ts';
import type { PingPongOptions, PingPongReport } from './pingpong.worker.ts';
import { runReporting } from './reporting.ts';
import type { RingingOptions } from './ringing.worker.ts';

const never = (): boolean => false;

/** Resolves after every wake-up that was under way: notifies are delivered in their order, and this one is the last. */
async function delivered(): Promise<void> {
  const doorbell = new Doorbell(createDoorbell());
  const woken = new Promise<void>((resolve) => {
    doorbell.park(never, resolve);
  });
  doorbell.ring();
  await woken;
}

/** Notifies the memory of a doorbell past its protocol, as a ringer does that comes late. Returns how many it woke. */
function notifyLate(shared: SharedArrayBuffer): number {
  const words = new Int32Array(shared);
  let woken = 0;
  for (let word = 0; word < words.length; word += 1) woken += Atomics.notify(words, word);
  return woken;
}

function playSide(options: PingPongOptions): Promise<PingPongReport> {
  return runReporting('pingpong.worker.ts', options);
}

for (const [first, second] of [
  ['blocking', 'blocking'],
  ['async', 'blocking'],
  ['async', 'async'],
] as const) {
  test.serial(`50,000 rounds of ping-pong lose no wake-up: ${first} against ${second}`, async (t) => {
    t.timeout(60_000);
    const rounds = new SharedArrayBuffer(8);
    const [bellA, bellB] = [createDoorbell(), createDoorbell()];
    const roundsMax = 50_000;
    const [sideA, sideB] = await Promise.all([
      playSide({ rounds, roundsMax, ownDoorbell: bellA, otherDoorbell: bellB, parity: 0, waiting: first }),
      playSide({ rounds, roundsMax, ownDoorbell: bellB, otherDoorbell: bellA, parity: 1, waiting: second }),
    ]);
    t.is(new Int32Array(rounds)[0], roundsMax);
    t.true(sideA.notifies <= sideB.parkings, 'side A notified more often than side B parked');
    t.true(sideB.notifies <= sideA.parkings, 'side B notified more often than side A parked');
    t.true(sideA.notifies + sideB.notifies > 1000, 'hardly anyone slept: the test shows nothing');
    t.log(`parked ${sideA.parkings} and ${sideB.parkings} times, notified ${sideB.notifies} and ${sideA.notifies}`);
  });
}

test.serial('many ringers notify at most once for each parking', async (t) => {
  t.timeout(60_000);
  const shared = createDoorbell();
  const words = new SharedArrayBuffer(8);
  const view = new Int32Array(words);
  const ringing: RingingOptions = { doorbell: shared, words };
  const counts = [0, 1, 2].map(() => runReporting<number>('ringing.worker.ts', ringing));
  const doorbell = new Doorbell(shared);
  const parkings = 3000;
  let wakes = 0;
  for (let parking = 0; parking < parkings; parking += 1) {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        wakes += 1;
        resolve();
      };
      if (!doorbell.park(never, wake)) resolve();
    });
  }
  Atomics.store(view, 1, 1);
  const notifies = (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  t.true(notifies <= parkings, `${notifies} notifies for ${parkings} parkings`);
  // How many parkings slept before they were rung is the scheduler's affair.
  t.true(wakes <= notifies && notifies > 100, `${wakes} wake-ups from ${notifies} notifies`);
  t.true(Atomics.load(view, 0) > parkings, 'the bell was rung more often than it was parked at');
});

test.serial('ringing costs no notify while nobody is parked, and one while somebody is', async (t) => {
  const notifies = countNotifies();
  try {
    const doorbell = new Doorbell(createDoorbell());
    for (let ring = 0; ring < 100; ring += 1) doorbell.ring();
    t.is(notifies.count(), 0);
    let wakes = 0;
    doorbell.park(never, () => {
      wakes += 1;
    });
    for (let ring = 0; ring < 100; ring += 1) doorbell.ring();
    t.is(notifies.count(), 1);
    t.is(wakes, 0, 'wake is called later, never inside ring or park');
    doorbell.park(never, () => undefined);
    doorbell.unpark();
    doorbell.ring();
    t.is(notifies.count(), 1, 'nobody notifies after unpark');
  } finally {
    notifies.restore();
  }
});

test.serial('of two ringers that find the waiter parked at the same moment, one notifies', (t) => {
  const shared = createDoorbell();
  const waiter = new Doorbell(shared);
  const [first, second] = [new Doorbell(shared), new Doorbell(shared)];
  waiter.park(never, () => undefined);
  const notifies = countNotifies();
  const load = Atomics.load;
  // The second ringer rings as a whole between the first one's look at the flag and what it does then.
  Atomics.load = new Proxy(load, {
    apply: (original, self, parameters: Parameters<typeof load>): unknown => {
      const flag: unknown = Reflect.apply(original, self, parameters);
      Atomics.load = load;
      second.ring();
      return flag;
    },
  });
  try {
    first.ring();
    t.is(notifies.count(), 1);
  } finally {
    Atomics.load = load;
    notifies.restore();
    waiter.unpark();
  }
});

test('parking and unparking again and again leaves one waiter behind, not many', (t) => {
  const shared = createDoorbell();
  const doorbell = new Doorbell(shared);
  for (let parking = 0; parking < 100; parking += 1) {
    t.true(doorbell.park(never, () => undefined));
    doorbell.unpark();
  }
  t.is(notifyLate(shared), 1);
});

test.serial('any order of park, unpark and ring wakes the last parking once, and no other', async (t) => {
  const stepArbitrary = fc.constantFrom(
    ...(['park', 'park', 'ring', 'ring', 'turn', 'turn', 'unpark', 'late'] as const),
  );
  let wakeUps = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(stepArbitrary, { minLength: 5, maxLength: 60, size: 'max' }), async (steps) => {
      const shared = createDoorbell();
      const waiter = new Doorbell(shared);
      const ringer = new Doorbell(shared);
      const woken: number[] = [];
      const expected: number[] = [];
      let parking = 0;
      let current: { readonly id: number; rung: boolean } | null = null;
      for (const step of [...steps, 'turn' as const]) {
        switch (step) {
          case 'park': {
            parking += 1;
            const id = parking;
            if (!waiter.park(never, () => woken.push(id))) throw new Error('parked at an idle bell, and was sent on');
            current = { id, rung: false };
            break;
          }
          case 'unpark':
            waiter.unpark();
            current = null;
            break;
          case 'ring':
            ringer.ring();
            if (current !== null) current.rung = true;
            break;
          case 'late':
            notifyLate(shared);
            break;
          case 'turn':
            await delivered();
            if (current?.rung === true) {
              expected.push(current.id);
              current = null;
              wakeUps += 1;
            }
            if (woken.join() !== expected.join()) throw new Error(`woke ${woken.join()}, not ${expected.join()}`);
            break;
        }
      }
    }),
    { numRuns: 600 },
  );
  t.true(wakeUps > 300, `only ${wakeUps} wake-ups happened`);
});

test('news that came before the parking are found by the re-check: park and wait return at once', (t) => {
  const doorbell = new Doorbell(createDoorbell());
  const isParkedDuringReCheck = (): boolean => {
    // A ring inside the re-check stands for one that comes between the re-check and the sleep.
    doorbell.ring();
    return false;
  };
  const fail = (): void => t.fail('woken although never parked');
  t.false(doorbell.park(() => true, fail));
  t.false(doorbell.park(isParkedDuringReCheck, fail));
  doorbell.wait(() => true);
  doorbell.wait(isParkedDuringReCheck);
  t.pass();
});

test('a blocking wait ends at its timeout', (t) => {
  const doorbell = new Doorbell(createDoorbell());
  const startedMs = performance.now();
  doorbell.wait(never, 30);
  const elapsedMs = performance.now() - startedMs;
  t.true(elapsedMs >= 29, `${elapsedMs} ms`);
});

test('a notify that comes late does not end a blocking wait: only a ring does', async (t) => {
  const shared = createDoorbell();
  const worker = new Worker(new URL('waiting.worker.ts', import.meta.url), { workerData: shared });
  let rung = false;
  worker.once('message', () => {
    rung = true;
  });
  const exited = once(worker, 'exit');
  for (let late = 0; late < 50;) {
    late += notifyLate(shared);
    await nextTurn();
  }
  t.false(rung);
  new Doorbell(shared).ring();
  await exited;
  t.true(rung);
});

test('a thread that died while parked costs its ringers one notify, and nothing hangs', async (t) => {
  const shared = createDoorbell();
  const worker = new Worker(new URL('waiting.worker.ts', import.meta.url), { workerData: shared });
  while (notifyLate(shared) === 0) {
    await nextTurn();
  }
  await worker.terminate();
  const doorbell = new Doorbell(shared);
  doorbell.ring();
  doorbell.ring();
  const woken = new Promise<void>((resolve) => {
    t.true(doorbell.park(never, resolve), 'the next waiter finds the bell as new');
  });
  doorbell.ring();
  await woken;
});

test('a parked process exits by itself', async (t) => {
  const main = fileURLToPath(new URL('parked.process.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [main], { timeout: 20_000 });
  t.is(stdout, 'parked');
});

test('a parked worker thread exits by itself', async (t) => {
  const worker = new Worker(new URL('parked.process.ts', import.meta.url), { stdout: true });
  const [code] = (await once(worker, 'exit')) as [number];
  t.is(code, 0);
});
