import test from 'ava';
import type { LogIndex, Term } from '../../../src/core/brands.ts';
import { requireCommand } from '../../../src/core/kv/table.ts';
import type { ReplyTarget } from '../../../src/core/kv/reply.ts';
import type { Entry } from '../../../src/core/raft/types.ts';
import { ENTRY_DATA } from '../../../src/core/raft/types.ts';
import { MetricsWriter } from '../../../src/observe/counters.ts';
import { AskedEntries } from '../../../shards/asked-entries.ts';
import { Proposals } from '../../../shards/proposals.ts';
import { argsOf, ValueSink } from '../../support/kv-machine.ts';

const set = requireCommand('SET');
const entry = (index: number, term: number): Entry => ({
  index: index as LogIndex,
  term: term as Term,
  type: ENTRY_DATA,
  data: Buffer.alloc(0),
});

class Waiting implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly #sink = new ValueSink();
  reply = '';

  begin(): ValueSink {
    return this.#sink;
  }
  finish(): void {
    this.reply = String(this.#sink.take()[0]).split(' ', 1)[0] as string;
  }
  raw(): void {
    throw new Error('replies of other threads do not come here');
  }
}

class Log {
  pendingBytes = 0;
  readonly proposals = new Proposals({
    countPending: (bytes) => void (this.pendingBytes += bytes),
    monotonicMs: () => 0,
    metrics: new MetricsWriter(),
  });

  propose(index: number, term: number, nowMs = 0): Waiting {
    const target = new Waiting();
    this.proposals.leads(term as Term);
    this.proposals.add(set, argsOf(['k', `${index} ${term}`]), 0, target, 0, null);
    this.proposals.entered(index as LogIndex, term as Term, nowMs);
    return target;
  }
}

test('a leader that lost its entries, and leads again, answers both what it proposed then and what it proposes now', (t) => {
  const log = new Log();
  const old = log.propose(10, 3);
  // Another leader has cut its log back to 7 meanwhile.
  const renewed = log.propose(8, 5);
  t.truthy(log.proposals.take(entry(8, 5)));
  t.is(renewed.reply, '');
  t.is(log.proposals.take(entry(9, 5)), null);
  t.is(old.reply, '');
  t.is(log.proposals.take(entry(10, 5)), null);
  t.is(old.reply, '-NOTLEADER');
  const next = log.propose(11, 5);
  t.truthy(log.proposals.take(entry(11, 5)));
  t.is(next.reply, '');
});

test('an entry that a leader lost, and a third one brings back, is answered as applied', (t) => {
  const log = new Log();
  log.propose(10, 3);
  const lost = log.propose(8, 5);
  t.is(log.proposals.take(entry(8, 3)), null);
  t.is(lost.reply, '-NOTLEADER');
  const batch = log.proposals.take(entry(10, 3));
  t.is(batch?.term, 3 as Term);
  t.is(log.pendingBytes, 0);
});

test('what a leader lost and nobody decides is unknown in time, and forgotten (FAILURES 23)', (t) => {
  const log = new Log();
  const old = log.propose(10, 3, 100);
  const renewed = log.propose(8, 5, 200);
  log.proposals.giveUpBefore(150);
  t.deepEqual([old.reply, renewed.reply], ['-UNKNOWNRESULT', '']);
  log.proposals.abandon();
  t.is(renewed.reply, '-UNKNOWNRESULT');
  t.is(log.pendingBytes, 0);
  t.false(log.proposals.isAwaited);
});

test('who asks for a change hears of that change, and not of another entry at another index', (t) => {
  const asked = new AskedEntries();
  const heard: string[] = [];
  const ask = (index: number, term: number): void =>
    asked.add(index, term as Term, 0, (error) => heard.push(`${index} ${error?.split(' ', 1)[0] ?? 'done'}`));
  ask(10, 3);
  ask(8, 5);
  asked.applied(entry(8, 5), null, null);
  asked.applied(entry(9, 5), 'ERR of another', null);
  asked.applied(entry(10, 5), null, null);
  t.deepEqual(heard, ['8 done', '10 NOTLEADER']);
});
