import test from 'ava';
import { AssertionFailed } from '../../src/core/assert.ts';
import type { TextChange } from '../support/mutations.ts';
import { importPlanted } from '../support/mutations.ts';
import { plantedBugs } from './planted-bugs.ts';
import { Simulation } from './simulation.ts';
import type * as simulation from './simulation.ts';
import type { TracedEvent } from './state-trace.ts';
import { StateTrace, UNTRACEABLE } from './state-trace.ts';
import { TraceRules } from './trace-rules.ts';

type Simulate = typeof Simulation;

/** What the rules say of a run, as far as it came. */
function complaint(Simulate: Simulate, seed: number, faults = {}): { against: string | null; events: number } {
  const trace = new StateTrace(3);
  try {
    new Simulate({ seed, members: 3, faultyMs: 1500, faults: { ...faults, ...UNTRACEABLE }, trace }).run();
  } catch (error) {
    // The simulator has rules of its own, and other members' logs in view; here only the trace counts.
    if (!(error instanceof Error) || error.name !== AssertionFailed.name) throw error;
  }
  const rules = new TraceRules();
  for (const line of trace.lines) {
    const against = rules.take((JSON.parse(line) as { readonly event: TracedEvent }).event);
    if (against !== null) return { against, events: trace.lines.length };
  }
  return { against: null, events: trace.lines.length };
}

test('traces take only steps that the specification has: the rules of etcdraft.tla, replayed event by event', (t) => {
  let sum = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const { against, events } = complaint(Simulation, seed);
    t.is(against, null, `seed ${seed}`);
    sum += events;
  }
  t.true(sum > 20_000, `${sum} events`);
});

const inElection = (from: string, to: string): TextChange => ({ file: 'src/core/raft/election.ts', from, to });
const planted = (name: string): readonly TextChange[] => plantedBugs.find((bug) => bug.name === name)?.changes ?? [];

const bugs: readonly { name: string; changes: readonly TextChange[]; says: RegExp }[] = [
  { name: 'traceCountsUnsynced', changes: planted('leaderCountsUnsynced'), says: /a quorum does not have it/ },
  {
    name: 'traceOldTermCounted',
    changes: planted('oldTermCounted'),
    says: /of an earlier term is committed by counting/,
  },
  {
    name: 'traceVotesTwice',
    changes: [inElection('const isGranted = isFree && ', 'const isGranted = (isFree || !isPreVote) && ')],
    says: /it has voted for|leads in this term|a leader does not campaign/,
  },
  {
    name: 'traceLeadsWithoutQuorum',
    changes: [
      inElection('if (result !== VOTE_WON) return false', 'if (result !== VOTE_WON && r.votes.size < 1) return false'),
    ],
    says: /a quorum has not voted for it|only candidates become leaders/,
  },
];

for (const { name, changes, says } of bugs) {
  test(`the rules notice in a trace alone: ${name}`, async (t) => {
    const url = new URL('simulation.ts', import.meta.url);
    const { Simulation: Planted } = (await importPlanted(url, name, changes)) as typeof simulation;
    const faults = { partitionEveryMs: 200, partitionMs: 150 };
    let against: string | null = null;
    for (let seed = 1; seed <= 100 && against === null; seed++) ({ against } = complaint(Planted, seed, faults));
    t.regex(String(against), says);
  });
}
