/** The Raft core without disk and network: a proposal from propose() to applied(), alone and with two followers. */
import type { LogIndex, MemberId, Term } from '../../src/core/brands.ts';
import { createPrng } from '../../src/core/prng.ts';
import { confOf } from '../../src/core/raft/configuration.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { Message } from '../../src/core/raft/types.ts';
import { runSuite } from './suite.ts';

const BATCH = 64;
const data = Buffer.alloc(120, 'x');

function createGroup(size: number): readonly Raft[] {
  const ids = Array.from({ length: size }, (_, i) => (i + 1) as MemberId);
  const group = ids.map(
    (id) =>
      new Raft({
        id,
        prng: createPrng(id),
        log: {
          snapshotIndex: 0 as LogIndex,
          snapshotTerm: 0 as Term,
          conf: confOf(ids),
          entries: [],
          hardState: { term: 0 as Term, vote: 0 as MemberId, commit: 0 as LogIndex },
          applied: 0 as LogIndex,
        },
      }),
  );
  for (let ticks = 0; group[0]?.leader !== 1 && ticks < 1000; ticks++) {
    group[0]?.tick();
    settle(group);
  }
  if (group[0]?.leader !== 1) throw new Error('the first member does not lead');
  return group;
}

/** Carries out all orders, writes at once and messages without loss, until nobody has any. */
function settle(group: readonly Raft[]): void {
  for (let isBusy = true; isBusy;) {
    isBusy = false;
    for (const raft of group) {
      while (raft.hasReady()) {
        isBusy = true;
        const ready = raft.ready();
        raft.persisted(ready.number);
        const last = ready.committed.at(-1);
        if (last !== undefined) raft.applied(last.index);
        deliver(group, ready.messages);
        deliver(group, ready.messagesAfterPersist);
      }
    }
  }
}

function deliver(group: readonly Raft[], messages: readonly Message[]): void {
  for (const message of messages) group[message.to - 1]?.step(message);
}

function proposals(group: readonly Raft[], count: number): () => void {
  return () => {
    for (let i = 0; i < count; i++) group[0]?.propose(data);
    settle(group);
  };
}

const alone = createGroup(1);
const three = createGroup(3);

await runSuite('Raft core', [
  { name: 'one voter: propose, persist, commit, apply', run: proposals(alone, 1) },
  { name: 'one voter: the same, 64 at a time', run: proposals(alone, BATCH), per: BATCH },
  { name: 'three voters: all steps of all members', run: proposals(three, 1) },
  { name: 'three voters: the same, 64 at a time', run: proposals(three, BATCH), per: BATCH },
  {
    name: 'three voters: a tick of an idle leader, heartbeats answered',
    run: () => {
      three[0]?.tick();
      settle(three);
    },
  },
]);
