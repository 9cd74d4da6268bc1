// One thread holds both ends: what the ring promises without any race.
import test from 'ava';
import * as fc from 'fast-check';
import { createRing, Doorbell, RingConsumer, RingProducer } from '../index.ts';
import {
  HEAD_TURNS_WORD,
  HEAD_WORD,
  loadPosition,
  SKIP_WORD,
  TAIL_TURNS_WORD,
  TAIL_WORD,
  turnsOf,
  wordsOf,
} from '../layout.ts';
import { Model } from './model.ts';
import type { Step } from './model.ts';

function ends(capacityBytes: number, startPosition = 0): { producer: RingProducer; consumer: RingConsumer } {
  const ring = createRing({ capacityBytes, startPosition });
  return { producer: new RingProducer(ring, null), consumer: new RingConsumer(ring) };
}

function put(producer: RingProducer, bytes: number, fill = 1): boolean {
  const offset = producer.reserve(bytes);
  if (offset === -1) return false;
  producer.buffer.fill(fill, offset, offset + bytes);
  producer.commit(bytes);
  producer.publish();
  return true;
}

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('reserve' as const), bytes: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('reserve' as const), bytes: fc.integer({ min: 1, max: 128 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('commit' as const), bytes: fc.constantFrom(0, 1, 7, 16, 999, 999, 999) }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'reserveToLapEnd' }) },
  { weight: 4, arbitrary: fc.constant<Step>({ kind: 'publish' }) },
  { weight: 4, arbitrary: fc.constant<Step>({ kind: 'consume' }) },
  { weight: 3, arbitrary: fc.constant<Step>({ kind: 'consumeAll' }) },
  { weight: 4, arbitrary: fc.constant<Step>({ kind: 'release' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('releaseTo' as const), records: fc.nat({ max: 4 }) }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'newProducer' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'newConsumer' }) },
);

const startPositionArbitrary = fc.oneof(
  fc.nat({ max: 300 }),
  fc.nat({ max: 500 }).map((bytes) => 2 ** 31 - bytes),
  fc.nat({ max: 500 }).map((bytes) => 2 ** 32 - bytes),
  fc.nat({ max: 500 }).map((bytes) => 2 ** 45 + 2 ** 32 - bytes),
);

test('any interleaving of both ends behaves like a plain queue', (t) => {
  const seen = { full: 0, skipped: 0, exactLapEnd: 0, abandoned: 0, consumed: 0 };
  fc.assert(
    fc.property(
      fc.constantFrom(64, 128),
      startPositionArbitrary,
      fc.array(stepArbitrary, { minLength: 20, maxLength: 400, size: 'max' }),
      (capacityBytes, startPosition, steps) => {
        const ring = createRing({ capacityBytes, startPosition });
        const newProducer = (): RingProducer => new RingProducer(ring, null);
        const newConsumer = (): RingConsumer => new RingConsumer(ring);
        const ringEnds = { producer: newProducer(), consumer: newConsumer(), newProducer, newConsumer };
        const model = new Model(ringEnds, capacityBytes, startPosition);
        for (const step of steps) {
          model.take(step.kind === 'reserve' ? { ...step, bytes: Math.min(step.bytes, capacityBytes) } : step);
        }
        for (const way of Object.keys(seen) as (keyof typeof seen)[]) seen[way] += model.seen[way];
      },
    ),
    { numRuns: 1000 },
  );
  for (const [way, times] of Object.entries(seen)) t.true(times > 500, `${way} happened only ${times} times`);
});

test('a record that does not fit before the end of the memory begins at its front', (t) => {
  const { producer, consumer } = ends(64);
  t.true(put(producer, 40, 1));
  t.true(consumer.poll());
  consumer.consume(40);
  consumer.release();
  t.true(put(producer, 30, 2));
  t.is(producer.position, 64 + 30);
  t.true(consumer.readable);
  t.true(consumer.poll());
  t.deepEqual([consumer.start, consumer.end], [0, 30]);
  consumer.consume(30);
  t.is(consumer.position, producer.position);
  consumer.release();
  t.is(producer.released(), producer.position);
  t.is(producer.bytesFree, 64);
});

test('bytes before and behind a skip come in two polls', (t) => {
  const { producer, consumer } = ends(64);
  put(producer, 30, 1);
  consumer.poll();
  consumer.consume(30);
  consumer.release();
  put(producer, 20, 2);
  put(producer, 20, 3);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [30, 50]);
  consumer.consume(20);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [0, 20]);
});

test('a ring filled to its last byte is full, not empty', (t) => {
  const { producer, consumer } = ends(64);
  t.true(put(producer, 64));
  t.is(producer.bytesFree, 0);
  t.is(producer.reserve(1), -1);
  t.true(consumer.readable);
  t.true(consumer.poll());
  t.deepEqual([consumer.start, consumer.end], [0, 64]);
  consumer.consume(64);
  t.false(consumer.poll());
  t.is(producer.reserve(1), -1, 'consumed bytes are not free before they are released');
  consumer.release();
  t.is(producer.reserve(1), 0);
});

test('a record of half the capacity fits an empty ring wherever that stands', (t) => {
  for (let startPosition = 0; startPosition <= 64; startPosition += 1) {
    const { producer, consumer } = ends(64, startPosition);
    t.true(put(producer, 32, startPosition), `at ${startPosition}`);
    t.true(consumer.poll());
    t.is(consumer.end - consumer.start, 32);
  }
});

test('committed records are invisible until they are published, then all are there', (t) => {
  const { producer, consumer } = ends(64);
  for (let record = 0; record < 3; record += 1) {
    producer.reserve(10);
    producer.commit(10);
  }
  t.false(consumer.readable);
  t.false(consumer.poll());
  producer.publish();
  t.true(consumer.poll());
  t.is(consumer.end - consumer.start, 30);
});

test('an abandoned reservation leaves no trace, even one that would have skipped', (t) => {
  const { producer, consumer } = ends(64, 40);
  t.is(producer.reserve(30), 0);
  t.is(producer.reserve(8), 40);
  producer.commit(8);
  producer.publish();
  t.is(producer.position, 48);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [40, 48]);
});

test('a failed reservation cannot be committed, and does not undo what was committed before', (t) => {
  const { producer, consumer } = ends(64);
  producer.reserve(60);
  producer.commit(60);
  t.is(producer.reserve(8), -1);
  t.throws(() => producer.commit(8), { instanceOf: RangeError });
  producer.publish();
  consumer.poll();
  t.is(consumer.end, 60);
});

test('a failed reservation takes back the one before it', (t) => {
  const { producer } = ends(64, 40);
  t.is(producer.reserve(8), 40);
  t.is(producer.reserve(64), -1);
  t.throws(() => producer.commit(8), { instanceOf: RangeError });
  t.is(producer.position, 40);
});

test('poll grows the view when more is published, and keeps what is not consumed', (t) => {
  const { producer, consumer } = ends(64);
  put(producer, 10);
  consumer.poll();
  consumer.consume(4);
  t.is(consumer.start, 4);
  put(producer, 10);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [4, 20]);
});

test('releaseTo is the durable watermark: the producer sees the position of the last durable record', (t) => {
  const { producer, consumer } = ends(1024);
  const positions = [100, 200, 300].map((bytes) => {
    put(producer, bytes);
    return producer.position;
  });
  consumer.poll();
  consumer.consume(600);
  for (const position of positions) {
    consumer.releaseTo(position);
    t.is(producer.released(), position);
  }
  t.throws(() => consumer.releaseTo(599), { instanceOf: RangeError });
  t.throws(() => consumer.releaseTo(601), { instanceOf: RangeError });
});

test('positions go on past 2^32 on both sides, in steps of any size', (t) => {
  const startPosition = 2 ** 32 - 1000;
  const { producer, consumer } = ends(256, startPosition);
  let records = 0;
  for (; producer.position < 2 ** 32 + 2 ** 20; records += 1) {
    t.true(put(producer, 1 + ((records * 37) % 128), records & 0xff));
    consumer.poll();
    if (consumer.buffer[consumer.start] !== (records & 0xff)) t.fail(`record ${records} is not what was written`);
    consumer.consume(consumer.end - consumer.start);
    consumer.release();
    if (consumer.position !== producer.position) t.fail(`positions part at record ${records}`);
    if (producer.released() !== producer.position) t.fail(`the watermark lags at record ${records}`);
  }
  t.true(records > 10_000);
});

test('ends that begin late know the full position, also beyond 2^32', (t) => {
  for (const startPosition of [0, 2 ** 31 - 5, 2 ** 32 - 5, 2 ** 33 + 2 ** 31 - 5, 2 ** 52 - 5]) {
    const ring = createRing({ capacityBytes: 64, startPosition });
    const producer = new RingProducer(ring, null);
    const consumer = new RingConsumer(ring);
    put(producer, 20);
    consumer.poll();
    consumer.consume(consumer.end - consumer.start);
    consumer.release();
    t.is(new RingProducer(ring, null).position, producer.position);
    t.is(new RingProducer(ring, null).released(), producer.position);
    t.is(new RingConsumer(ring).position, producer.position);
  }
});

test('an end that was killed between its two stores leaves a position that can be read', (t) => {
  for (const [word, turnsWord] of [
    [HEAD_WORD, HEAD_TURNS_WORD],
    [TAIL_WORD, TAIL_TURNS_WORD],
  ] as const) {
    for (const before of [2 ** 31 - 10, 2 ** 32 - 10, 2 ** 33 + 2 ** 31 - 10]) {
      const words = wordsOf(createRing({ capacityBytes: 64, startPosition: before }));
      Atomics.store(words, turnsWord, turnsOf(before + 20));
      t.is(loadPosition(words, word, turnsWord), before);
      Atomics.store(words, word, (before + 20) | 0);
      t.is(loadPosition(words, word, turnsWord), before + 20);
    }
  }
});

test('a skip word from 2^32 bytes ago is not taken for a new one', (t) => {
  const ring = createRing({ capacityBytes: 64 });
  const producer = new RingProducer(ring, null);
  const consumer = new RingConsumer(ring);
  const words = wordsOf(ring);
  const pass = (bytes: number): void => {
    put(producer, bytes);
    consumer.poll();
    consumer.consume(bytes);
    consumer.release();
  };
  pass(40);
  pass(32);
  t.is(producer.position, 96);
  pass(16);
  // The next lap ends without a skip. Its words look as if 2^32 bytes ago a skip had begun at this very lap's 48th byte.
  Atomics.store(words, SKIP_WORD, 64 + 48);
  put(producer, 16);
  put(producer, 8);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [48, 64]);
  consumer.consume(16);
  consumer.poll();
  t.deepEqual([consumer.start, consumer.end], [0, 8]);
});

test('memory that is no ring, and sizes that cannot be, are refused', (t) => {
  for (const capacityBytes of [0, 32, 63, 100, 2 ** 31, Number.NaN, 64.5]) {
    t.throws(() => createRing({ capacityBytes }), { instanceOf: RangeError }, `${capacityBytes}`);
  }
  t.throws(() => createRing({ capacityBytes: 64, startPosition: -1 }), { instanceOf: RangeError });
  t.throws(() => new RingProducer(new SharedArrayBuffer(512 + 64), null), { instanceOf: TypeError });
  t.throws(() => new RingConsumer(new SharedArrayBuffer(700)), { instanceOf: TypeError });
  t.throws(() => new Doorbell(new SharedArrayBuffer(8)), { instanceOf: TypeError });
  const { producer, consumer } = ends(64);
  for (const bytes of [0, -1, 65, Number.NaN]) t.throws(() => producer.reserve(bytes), { instanceOf: RangeError });
  t.throws(() => consumer.consume(1), { instanceOf: RangeError });
});
