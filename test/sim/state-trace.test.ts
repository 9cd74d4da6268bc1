import test from 'ava';
import { Simulation } from './simulation.ts';
import { StateTrace, UNTRACEABLE } from './state-trace.ts';
import type { TracedEvent } from './state-trace.ts';

function traceOf(seed: number): TracedEvent[] {
  const trace = new StateTrace(3);
  new Simulation({ seed, members: 3, faultyMs: 1500, faults: UNTRACEABLE, trace }).run();
  return trace.lines.map((line) => {
    const { tag, event } = JSON.parse(line) as { tag: string; event: TracedEvent };
    if (tag !== 'trace') throw new Error(`a line without its tag: ${line}`);
    return event;
  });
}

const NAMES =
  /^(?:InitState|Bootstrap|ApplyConfChange|Become(?:Follower|Candidate|Leader)|Commit|Replicate|Ready|(?:Send|Receive)(?:AppendEntries|RequestVote)(?:Request|Response))$/;
const EVENT_KEYS = 'applied,conf,log,name,nid,role,state';
const MESSAGE_KEYS = 'commit,entries,from,index,logTerm,reject,rejectHint,term,to,type,vote';

const keysOf = (value: object): string => Object.keys(value).toSorted().join();

test('a trace has the form of etcd/raft: one event a line, with the names and fields of state_trace.go', (t) => {
  const events = traceOf(1);
  const names = new Set<string>();
  for (const event of events) {
    names.add(event.name);
    t.regex(event.name, NAMES);
    t.regex(event.role, /^State(?:Follower|Candidate|Leader)$/);
    t.is(keysOf({ ...event, msg: 0, prop: 0 }), `${EVENT_KEYS},msg,prop`.split(',').toSorted().join());
    t.is(keysOf(event.state), 'commit,term,vote');
    t.is(event.msg !== undefined, /^(?:Send|Receive)/.test(event.name));
    if (event.msg === undefined) continue;
    t.is(keysOf(event.msg), MESSAGE_KEYS);
    t.regex(event.msg.type, /^Msg(?:App|AppResp|Heartbeat|HeartbeatResp|Snap|Vote|VoteResp)$/);
    t.is(event.nid, event.name.startsWith('Send') ? event.msg.from : event.msg.to);
  }
  for (const name of ['Bootstrap', 'BecomeCandidate', 'BecomeLeader', 'Replicate', 'Commit', 'Ready'])
    t.true(names.has(name));
});

test('a trace is a story that can be true: nothing is received that was not sent, nobody leads without a candidacy', (t) => {
  for (let seed = 1; seed <= 5; seed++) {
    const sent = new Set<string>();
    const last = new Map<string, TracedEvent>();
    const candidacies = new Set<string>();
    for (const event of traceOf(seed)) {
      const { name, nid, state, msg } = event;
      const message = JSON.stringify(msg);
      if (name.startsWith('Send')) sent.add(message);
      if (name.startsWith('Receive')) t.true(sent.has(message), `${seed}: received, never sent: ${message}`);
      const before = last.get(nid);
      if (before !== undefined) {
        t.true(state.term >= before.state.term && state.commit >= before.state.commit, `${seed}: ${nid} goes back`);
      }
      last.set(nid, event);
      if (name === 'BecomeCandidate') candidacies.add(`${nid} ${state.term}`);
      if (name === 'BecomeLeader')
        t.true(candidacies.has(`${nid} ${state.term}`), `${seed}: ${nid} never was a candidate`);
      if (name === 'BecomeCandidate') t.is(state.vote, nid);
    }
  }
});
