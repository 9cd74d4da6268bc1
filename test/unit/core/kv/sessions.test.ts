import test from 'ava';
import * as fc from 'fast-check';
import { replayReply, ReplyRecorder } from '../../../../src/core/kv/recorded-reply.ts';
import { discardReply } from '../../../../src/core/kv/reply.ts';
import type { ReplySink } from '../../../../src/core/kv/reply.ts';
import {
  LOOKUP_FORGOTTEN,
  LOOKUP_NEW,
  LOOKUP_REMEMBERED,
  SESSION_LIMITS,
  SessionTable,
} from '../../../../src/core/kv/sessions.ts';
import { KvMachine, ValueSink } from '../../../support/kv-machine.ts';

const request = (sequence: number, floor = 1, clientId = 7) => ({ clientId, sequence, floor });

test('a retried write is applied once and gets the reply of the first time (FAILURES 19)', (t) => {
  const kv = new KvMachine();
  t.is(kv.runOnce(request(1), 'INCR', 'counter'), 1);
  t.is(kv.runOnce(request(2), 'INCR', 'counter'), 2);
  t.is(kv.runOnce(request(1), 'INCR', 'counter'), 1);
  t.is(kv.runOnce(request(2), 'INCR', 'counter'), 2);
  t.is(kv.run('GET', 'counter'), '2');
  // Another client's first request is not this one's.
  t.is(kv.runOnce(request(1, 1, 8), 'INCR', 'counter'), 3);
});

test('a retry after a restart from a checkpoint is applied once (FAILURES 19)', (t) => {
  const before = new KvMachine();
  before.runOnce(request(1), 'APPEND', 'log', 'x');
  const after = new KvMachine({ store: before.store, sessions: before.machine.encodeSessions() });
  after.nowMs = before.nowMs + 1;
  t.is(after.runOnce(request(1), 'APPEND', 'log', 'x'), 1);
  t.is(after.run('GET', 'log'), 'x');
  t.is(after.runOnce(request(2), 'APPEND', 'log', 'y'), 2);
});

test('a refused write is refused again by its retry, whatever changed in between', (t) => {
  const kv = new KvMachine();
  kv.run('SET', 'a', 'no number');
  t.is(kv.runOnce(request(1), 'INCR', 'a'), '-ERR value is not an integer or out of range');
  kv.run('SET', 'a', '1');
  t.is(kv.runOnce(request(1), 'INCR', 'a'), '-ERR value is not an integer or out of range');
  t.is(kv.run('GET', 'a'), '1');
});

test('a retry of a request whose reply was given up is refused as unknown, and not applied (FAILURES 23)', (t) => {
  const kv = new KvMachine();
  kv.runOnce(request(1), 'INCR', 'counter');
  kv.runOnce(request(2, 2), 'INCR', 'counter');
  t.regex(String(kv.runOnce(request(1), 'INCR', 'counter')), /^-UNKNOWNRESULT /);
  t.is(kv.run('GET', 'counter'), '2');
});

test('a reply too long to be kept does not let its retry run again', (t) => {
  const kv = new KvMachine();
  const long = 'v'.repeat(100_000);
  kv.run('SET', 'a', long);
  t.is(kv.runOnce(request(1), 'GETSET', 'a', 'b'), long);
  t.regex(String(kv.runOnce(request(1), 'GETSET', 'a', 'b')), /^-UNKNOWNRESULT this request was applied once/);
});

/** Every kind of value, with texts that need care. */
const sends: readonly ((sink: ReplySink) => void)[] = [
  (sink) => sink.simple('OK'),
  (sink) => sink.simple('QUEUED'),
  (sink) => sink.error('ERR \u00e4 text'),
  (sink) => sink.integer(0),
  (sink) => sink.integer(-9_007_199_254_740_991),
  (sink) => sink.integer(-(2n ** 63n)),
  (sink) => sink.double(0.1),
  (sink) => sink.boolean(true),
  (sink) => sink.boolean(false),
  (sink) => sink.bulk(Buffer.from('..\x00\xff\r\n..', 'latin1'), 2, 6),
  (sink) => sink.bulk(Buffer.alloc(5000, 'x'), 0, 5000),
  (sink) => sink.bulk(Buffer.alloc(0), 0, 0),
  (sink) => sink.text('int'),
  (sink) => sink.null(),
  (sink) => sink.nullArray(),
  (sink) => sink.array(0),
];

test('a recorded reply is the reply', (t) => {
  const value = fc.constantFrom(...sends);
  fc.assert(
    fc.property(fc.array(value, { maxLength: 8 }), fc.constantFrom('array', 'map', 'set', 'one'), (values, kind) => {
      const send = (sink: ReplySink): void => {
        const shown = kind === 'one' ? values.slice(0, 1) : kind === 'map' ? [...values, ...values] : values;
        if (kind === 'array') sink.array(shown.length);
        if (kind === 'map') sink.map(values.length);
        if (kind === 'set') sink.set(shown.length);
        for (const part of shown) part(sink);
      };
      const direct = new ValueSink();
      const recorder = new ReplyRecorder(direct, 64 * 1024);
      send(recorder);
      const passedOn = direct.take();
      const again = new ValueSink();
      replayReply(recorder.take() as string, again);
      t.deepEqual(again.take(), passedOn);
    }),
  );
});

test('a recorder that gave up on one reply records the next', (t) => {
  const recorder = new ReplyRecorder(discardReply, 20);
  recorder.array(2);
  recorder.text('much too long for it');
  recorder.integer(1);
  t.is(recorder.take(), null);
  recorder.integer(1);
  t.is(recorder.take()?.length, 9);
});

test('replies below the floor are dropped, those above are kept', (t) => {
  const table = new SessionTable();
  for (let sequence = 1; sequence <= 10; sequence++) table.record(request(sequence), `r${sequence}`);
  table.record(request(11, 8), 'r11');
  t.is(table.lookup(request(7)), LOOKUP_FORGOTTEN);
  for (let sequence = 8; sequence <= 11; sequence++) {
    t.is(table.lookup(request(sequence)), LOOKUP_REMEMBERED);
    t.is(table.found, `r${sequence}`);
  }
  t.is(table.lookup(request(12)), LOOKUP_NEW);
});

test('no bound of the table makes a retry look new, except that on clients', (t) => {
  const limits = { clientsMax: 3, repliesMax: 4, bytesMax: 1000 };
  const table = new SessionTable(limits);
  for (let sequence = 1; sequence <= 6; sequence++) table.record(request(sequence), 'r');
  t.is(table.lookup(request(2)), LOOKUP_FORGOTTEN);
  t.is(table.lookup(request(3)), LOOKUP_REMEMBERED);
  // Long replies of another client push out those of the silent one first.
  table.record(request(1, 1, 8), 'x'.repeat(400));
  table.record(request(2, 1, 8), 'x'.repeat(400));
  t.is(table.lookup(request(5)), LOOKUP_FORGOTTEN);
  t.is(table.lookup(request(1, 1, 8)), LOOKUP_REMEMBERED);
  t.true(table.byteLength <= limits.bytesMax);
  table.record(request(1, 1, 9), 'r');
  table.record(request(1, 1, 10), 'r');
  t.is(table.clientCount, 3);
  t.is(table.lookup(request(6)), LOOKUP_NEW);
  t.is(table.lookup(request(2, 1, 8)), LOOKUP_REMEMBERED);
});

interface Step {
  readonly clientId: number;
  readonly sequence: number;
  readonly floor: number;
}

/** What the table knows of each request; new ones are recorded. */
function runSteps(table: SessionTable, steps: readonly Step[]): unknown[] {
  return steps.map((step, i) => {
    const known = table.lookup(step);
    const found = known === LOOKUP_REMEMBERED ? table.found : '';
    if (known === LOOKUP_NEW) table.record(step, `${i}`.repeat(i % 9));
    return [known, found];
  });
}

test('a table that was written down and read back behaves as the one that was not', (t) => {
  const step = fc.record({
    clientId: fc.integer({ min: 1, max: 6 }),
    sequence: fc.integer({ min: 1, max: 30 }),
    floor: fc.integer({ min: 0, max: 15 }),
  });
  const limits = { clientsMax: 4, repliesMax: 5, bytesMax: 900 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.array(step, { maxLength: 60 }), (before, after) => {
      const table = new SessionTable(limits);
      runSteps(table, before);
      const copy = SessionTable.decode(table.encode(), limits);
      t.deepEqual(runSteps(copy, after), runSteps(table, after));
      t.deepEqual(copy.encode(), table.encode());
      t.is(copy.byteLength, table.byteLength);
    }),
  );
});

test('the table stays within its bounds, and no request runs twice while its client is known', (t) => {
  const step = fc.record({
    clientId: fc.integer({ min: 1, max: 3 }),
    sequence: fc.integer({ min: 1, max: 40 }),
    lag: fc.integer({ min: 0, max: 10 }),
  });
  const limits = { clientsMax: 3, repliesMax: 6, bytesMax: 1200 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new SessionTable(limits);
      const applied = new Set<string>();
      for (const { clientId, sequence, lag } of steps) {
        const one = { clientId, sequence, floor: Math.max(0, sequence - lag) };
        if (table.lookup(one) !== LOOKUP_NEW) continue;
        const name = `${clientId}/${sequence}`;
        t.false(applied.has(name));
        applied.add(name);
        table.record(one, 'r'.repeat(sequence));
        t.true(table.byteLength <= limits.bytesMax);
      }
    }),
  );
  t.true(SESSION_LIMITS.repliesMax >= 65_536);
});
