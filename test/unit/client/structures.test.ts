/** The small structures behind the client: request ids, and the window of writes. */
import test from 'ava';
import * as fc from 'fast-check';
import { parseUrl } from '../../../src/client/address.ts';
import { PendingTable } from '../../../src/client/pending-table.ts';
import { RequestWindow } from '../../../src/client/request-window.ts';

test('every call is found under its own id and under no other, in whatever order replies come', (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat()), { maxLength: 2000 }), (steps) => {
      const table = new PendingTable<{ requestId: number }>();
      const open = new Map<number, { requestId: number }>();
      for (const step of steps) {
        if (step === null || open.size === 0) {
          const call = { requestId: 0 };
          table.add(call);
          t.false(open.has(call.requestId));
          open.set(call.requestId, call);
        } else {
          const id = [...open.keys()][step % open.size] as number;
          t.is(table.take(id), open.get(id) ?? null);
          t.is(table.take(id), null);
          open.delete(id);
        }
        t.is(table.size, open.size);
      }
      t.deepEqual(
        table.all().map(({ requestId }) => requestId),
        [...open.keys()].sort((a, b) => a - b),
      );
    }),
    { numRuns: 30 },
  );
});

test('one call that never ends does not make the table grow', (t) => {
  const table = new PendingTable<{ requestId: number }>();
  const stuck = { requestId: 0 };
  table.add(stuck);
  for (let i = 0; i < 10_000; i++) {
    const call = { requestId: 0 };
    table.add(call);
    t.is(table.take(call.requestId), call);
  }
  t.is(table.size, 1);
  t.is(table.take(stuck.requestId), stuck);
  t.is(table.take(0), null);
});

test('the floor is the smallest sequence that has not settled, against a naive list', (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat()), { maxLength: 300 }), (steps) => {
      const window = new RequestWindow();
      const open: number[] = [];
      let next = 1;
      for (const step of steps) {
        if (step === null || open.length === 0) {
          t.is(window.take(), next);
          open.push(next++);
        } else {
          window.settle(open.splice(step % open.length, 1)[0] as number);
        }
        t.is(window.floor, open[0] ?? next);
        t.is(window.width, next - (open[0] ?? next));
      }
    }),
  );
});

test('addresses: names, numbers, ports left out, IPv6 in brackets, several of them', (t) => {
  t.deepEqual(parseUrl('skerry://node-1.example.org'), [{ host: 'node-1.example.org', port: 7370 }]);
  t.deepEqual(parseUrl('skerry://127.0.0.1:1/'), [{ host: '127.0.0.1', port: 1 }]);
  t.deepEqual(parseUrl('skerry://[::1]:65535,b:2'), [
    { host: '::1', port: 65_535 },
    { host: 'b', port: 2 },
  ]);
});
