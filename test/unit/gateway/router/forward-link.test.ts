/** Two ends of the rings between two workers, in one thread: what waits where, and that it ends. */
import test from 'ava';
import type { Args } from '../../../../src/core/kv/args.ts';
import { argText, createArgs } from '../../../../src/core/kv/args.ts';
import type { ReplyTarget } from '../../../../src/core/kv/reply.ts';
import { discardReply } from '../../../../src/core/kv/reply.ts';
import { requireCommand } from '../../../../src/core/kv/table.ts';
import { limits } from '../../../../src/core/limits.ts';
import { connectLink } from '../../../../src/gateway/gateway.ts';
import type { ForwardLink } from '../../../../src/gateway/router/forward-link.ts';
import { createLinks } from '../../../../src/server/links.ts';
import { createDoorbell } from '../../../../src/sharedarraybuffer-ring/index.ts';

const GET = requireCommand('GET');
const MiB = 1024 * 1024;

function argsOf(text: string): Args {
  const args = createArgs();
  args.buffer = Buffer.from(text);
  args.start[0] = 0;
  args.end[0] = args.buffer.length;
  args.count = 1;
  return args;
}

/** Keeps the replies in the order of their coming: the slot and how the bytes begin and how many they are. */
class Client implements ReplyTarget {
  readonly protocol = 2;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly replies: string[] = [];

  begin() {
    return discardReply;
  }

  finish(): void {
    throw new Error('replies come encoded');
  }

  raw(slot: number, source: Buffer, start: number, end: number): void {
    this.replies.push(`${slot} ${source.toString('latin1', start, start + 20).split('.')[0]} ${end - start}`);
  }
}

interface Worker {
  readonly link: ForwardLink;
  readonly client: Client;
  /** Requests run here. */
  ran: number;
}

/** Two workers that answer each request at once: with `bytes` that begin with its argument. */
function twoWorkers(bytes: number): readonly [Worker, Worker] {
  const doorbells = [createDoorbell(), createDoorbell()];
  const [ends0 = [], ends1 = []] = createLinks(2, limits.forwardRingBytes);
  const workers = [ends0[0], ends1[0]].map((end): Worker => {
    if (end === undefined) throw new Error('two endpoints are linked');
    const worker: Worker = {
      client: new Client(),
      ran: 0,
      link: connectLink(end, doorbells, Infinity, ({ args, slot }, target) => {
        worker.ran++;
        const reply = Buffer.alloc(bytes, '.');
        reply.write(argText(args, 0));
        target.raw(slot, reply, 0, reply.length);
      }),
    };
    return worker;
  });
  return workers as [Worker, Worker];
}

function turn({ link }: Worker): void {
  link.drain();
  link.flush();
}

test('two workers that are full of large replies towards each other free each other, and all come in order', (t) => {
  const bytes = MiB;
  const workers = twoWorkers(bytes);
  const count = 200;
  for (const { link, client } of workers) {
    for (let i = 0; i < count; i++) link.request(GET, argsOf(`key ${i}`), client, i, null, null);
    link.flush();
  }
  for (const worker of workers) turn(worker);
  const most = (limits.forwardBacklogBytesMax + limits.forwardPortBytesMax) / bytes + 3;
  for (const { ran, link } of workers) {
    t.true(ran <= most, `${ran} requests were run before anybody took a reply`);
    t.is(ran + link.heldCount, count);
  }
  for (let turns = 0; workers.some(({ link }) => link.inFlight > 0); turns++) {
    t.true(turns < 1000);
    for (const worker of workers) {
      const { ran } = worker;
      turn(worker);
      t.true(worker.ran - ran <= most);
    }
  }
  const expected = Array.from({ length: count }, (_, i) => `${i} key ${i} ${bytes}`);
  for (const { client } of workers) t.deepEqual(client.replies, expected);
});

test('a worker that takes nothing is asked no more than it may have unanswered, and again when it answers', (t) => {
  const [asker, owner] = twoWorkers(10);
  const key = 'k'.repeat(MiB);
  let asked = 0;
  while (!asker.link.overloaded) asker.link.request(GET, argsOf(key), asker.client, asked++, null, null);
  t.true(asked * MiB <= limits.forwardInFlightBytesMax + 2 * MiB);
  for (let turns = 0; asker.link.inFlight > 0; turns++) {
    t.true(turns < 1000);
    turn(asker);
    turn(owner);
  }
  t.false(asker.link.overloaded);
  t.is(asker.client.replies.length, asked);
});

function clientWith(writesInFlight: number): ReplyTarget {
  return Object.assign(new Client(), { writesInFlight });
}

test('a read that waits at the other worker stays behind the writes that it came behind, whatever comes after it', (t) => {
  const doorbells = [createDoorbell(), createDoorbell()];
  const [[end] = [], [otherEnd] = []] = createLinks(2, limits.forwardRingBytes);
  if (end === undefined || otherEnd === undefined) throw new Error('two endpoints are linked');
  const waiting: ReplyTarget[] = [];
  const asker = connectLink(end, doorbells, Infinity, () => t.fail());
  const owner = connectLink(otherEnd, doorbells, Infinity, (_frame, target) => void waiting.push(target));
  asker.request(GET, argsOf('behind a write'), clientWith(1), 0, null, null);
  asker.request(GET, argsOf('of another connection'), clientWith(0), 0, null, null);
  asker.flush();
  owner.drain();
  t.deepEqual(
    waiting.map(({ writesInFlight }) => writesInFlight),
    [1, 0],
  );
});
