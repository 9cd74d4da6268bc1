/**
 * Clients of a simulated cluster: each has one operation under way at a time, writes values that nobody wrote before, and
 * gives up waiting after a while, not knowing what became of it. What all of them did is the history to be judged.
 */
import type { Prng } from '../../src/core/prng.ts';
import type { Operation } from '../support/linearizability.ts';
import type { Answer, ClientReply, ClientRequest } from './node.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface ClientOptions {
  readonly keys: number;
  readonly writeChance: number;
  /** Of the reads. */
  readonly leaseChance: number;
  readonly thinkMs: number;
  readonly timeoutMs: number;
  readonly nodes: number;
  /** The nodes that believe they lead; a client is told now and then. */
  leaders(): readonly number[];
}

/** Hands a request to a node; `answer` may never be called, or late. */
export type Submit = (node: number, request: ClientRequest, answer: Answer) => void;

export class Clients {
  readonly history: Operation[] = [];
  /** Answered with ok. */
  readsDone = 0;
  writesDone = 0;
  readonly #time: VirtualTime;
  readonly #prng: Prng;
  readonly #options: ClientOptions;
  readonly #submit: Submit;
  /** Orders what happens at one moment, as the simulation does. */
  #moment = 0;
  #nextValue = 1;
  /** Where the leader was last seen, by client. */
  readonly #leader: number[];
  readonly #underWay = new Set<Answer>();
  isStopped = false;

  constructor(time: VirtualTime, prng: Prng, options: ClientOptions, submit: Submit, count: number) {
    this.#time = time;
    this.#prng = prng;
    this.#options = options;
    this.#submit = submit;
    this.#leader = Array.from({ length: count }, () => 1 + prng.below(options.nodes));
    for (let client = 0; client < count; client++) this.#think(client);
  }

  /** Nobody waits any longer. */
  stop(): void {
    this.isStopped = true;
    for (const done of this.#underWay) done({ outcome: 'unknown' });
  }

  #think(client: number): void {
    this.#time.after(this.#prng.next() * 2 * this.#options.thinkMs, () => {
      if (!this.isStopped) this.#call(client);
    });
  }

  #call(client: number): void {
    const { keys, writeChance, leaseChance, timeoutMs } = this.#options;
    const kind = this.#prng.chance(writeChance) ? 'write' : 'read';
    const request: ClientRequest = {
      kind,
      key: `k${this.#prng.below(keys)}`,
      value: kind === 'write' ? `v${this.#nextValue++}` : '',
      consistency: this.#prng.chance(leaseChance) ? 'lease' : 'linearizable',
    };
    const invokedAt = this.#moment++;
    const done: Answer = (reply) => {
      if (!this.#underWay.delete(done)) return;
      this.#record(client, request, invokedAt, reply);
      this.#think(client);
    };
    this.#underWay.add(done);
    this.#time.after(timeoutMs, () => done({ outcome: 'unknown' }));
    const leaders = this.#options.leaders();
    const isTold = leaders.length > 0 && this.#prng.chance(0.5);
    const node = (isTold ? leaders[this.#prng.below(leaders.length)] : this.#leader[client]) as number;
    this.#time.after(this.#prng.next() * 2, () => {
      this.#submit(node, request, (reply) => this.#time.after(this.#prng.next() * 2, () => done(reply)));
    });
  }

  #record(client: number, { kind, key, value }: ClientRequest, invokedAt: number, reply: ClientReply): void {
    const { outcome } = reply;
    if (outcome === 'ok' && kind === 'read') this.readsDone++;
    if (outcome === 'ok' && kind === 'write') this.writesDone++;
    if (outcome !== 'ok') this.#leader[client] = 1 + this.#prng.below(this.#options.nodes);
    this.history.push({
      client,
      key,
      kind,
      value: kind === 'write' ? value : outcome === 'ok' ? reply.value : null,
      invokedAt,
      returnedAt: outcome === 'unknown' ? null : this.#moment++,
      outcome,
    });
  }
}
