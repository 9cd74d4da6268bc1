import test from 'ava';
import { nodeSamples } from '../../../../src/server/cluster/cluster-samples.ts';
import { PeerBook } from '../../../../src/server/cluster/peer-book.ts';

const open = (nodeId: number, roundTripMs: number) => ({ nodeId, isOpen: true, problem: null, roundTripMs });

test('a node is as far away as from the worker that is farthest from it, and lost when one worker has lost it', (t) => {
  const book = new PeerBook();
  t.is(book.viewOf(1, 1).state, 'self');
  t.is(book.viewOf(2, 1).state, 'idle', 'nobody has needed it yet');
  book.set(0, [open(2, 0)]);
  t.deepEqual(book.viewOf(2, 1), { state: 'connected', roundTripMs: null, problem: null });
  book.set(0, [open(2, 0.5), open(3, 9)]);
  book.set(1, [open(2, 0.75)]);
  t.is(book.viewOf(2, 1).roundTripMs, 0.75);
  book.set(1, [{ nodeId: 2, isOpen: false, problem: 'connect ECONNREFUSED', roundTripMs: 0.75 }]);
  t.deepEqual(book.viewOf(2, 1), { state: 'lost', roundTripMs: null, problem: 'connect ECONNREFUSED' });
  t.is(book.viewOf(3, 1).state, 'connected');
});

test('metrics name every node that is in, and how it is reached', (t) => {
  const addresses = { host: 'h', controlPort: 1, nativePort: 2, respPort: 3, httpPort: 4 };
  const node = { addresses, workers: 1, locality: '', isSilent: false };
  const lost = { state: 'lost', roundTripMs: null, problem: 'gone' };
  const samples = nodeSamples([
    { ...node, nodeId: 1, name: 'a', state: 'ACTIVE', peer: { state: 'self', roundTripMs: null, problem: null } },
    { ...node, nodeId: 2, name: 'b', state: 'ACTIVE', peer: { state: 'connected', roundTripMs: 2, problem: null } },
    { ...node, nodeId: 3, name: 'c', state: 'LEAVING', isSilent: true, peer: lost },
    { ...node, nodeId: 4, name: 'd', state: 'INACTIVE', peer: lost },
  ]);
  const shown = samples.map(({ family, labels, value }) => [family.name, ...Object.values(labels), value].join(' '));
  t.deepEqual(shown, [
    'skerry_node_state 1 a ACTIVE 1',
    'skerry_node_state 2 b ACTIVE 1',
    'skerry_node_state 3 c LEAVING 1',
    'skerry_node_silent 1 0',
    'skerry_node_silent 2 0',
    'skerry_node_silent 3 1',
    'skerry_peer_up 2 1',
    'skerry_peer_up 3 0',
    'skerry_peer_latency_seconds 2 0.002',
  ]);
});
