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
  /** The nodes that believe they lead what the key belongs to. */
  leaders(key: string): readonly number[];
  /** How often a client is told one of them. Default 0.5. */
  readonly toldChance?: number;
  /** One value of so many is long. Default Infinity: none. */
  readonly longEvery?: number;
}

/** Hands a request to a node; `answer` may never be called, or late. */
export type Submit = (node: number, request: ClientRequest, answer: Answer) => void;

const LONG_BYTES_MIN = 10_000;
const LONG_BYTES_SPREAD = 40_000;

/** Long values have several lengths. */
function valueOf(number: number, longEvery: number): string {
  const value = `v${number}`;
  if (number % longEvery !== 0) return value;
  return `${value}:`.padEnd(LONG_BYTES_MIN + ((number * 7919) % LONG_BYTES_SPREAD), 'x');
}

export class Clients {
  readonly history: Operation[] = [];
  /** Answered with ok. */
  readsDone = 0;
  writesDone = 0;
  longWritesDone = 0;
  /** Of readsDone, those by a lease. */
  leaseReadsDone = 0;
  failed = 0;
  unknown = 0;
  readonly #time: VirtualTime;
  readonly #prng: Prng;
  readonly #options: ClientOptions;
  readonly #submit: Submit;
  /** Orders what happens at one moment, as the simulation does. */
  #moment = 0;
  #nextValue = 1;
  /** Where the leader was last seen, by client. */
  readonly #leader: number[];
  /** At which node. */
  readonly #underWay = new Map<Answer, number>();
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
    for (const done of this.#underWay.keys()) done({ outcome: 'unknown' });
  }

  /** Their connections with this node break. */
  disconnect(node: number): void {
    for (const [done, at] of this.#underWay) if (at === node) done({ outcome: 'unknown' });
  }

  #think(client: number): void {
    this.#time.after(this.#prng.next() * 2 * this.#options.thinkMs, () => {
      if (!this.isStopped) this.#call(client);
    });
  }

  #call(client: number): void {
    const { keys, writeChance, leaseChance, timeoutMs, longEvery = Infinity } = this.#options;
    const kind = this.#prng.chance(writeChance) ? 'write' : 'read';
    const request: ClientRequest = {
      kind,
      key: `k${this.#prng.below(keys)}`,
      value: kind === 'write' ? valueOf(this.#nextValue++, longEvery) : '',
      consistency: this.#prng.chance(leaseChance) ? 'lease' : 'linearizable',
    };
    const invokedAt = this.#moment++;
    const done: Answer = (reply) => {
      if (!this.#underWay.delete(done)) return;
      this.#record(client, request, invokedAt, reply);
      this.#think(client);
    };
    this.#time.after(timeoutMs, () => done({ outcome: 'unknown' }));
    const leaders = this.#options.leaders(request.key);
    const isTold = leaders.length > 0 && this.#prng.chance(this.#options.toldChance ?? 0.5);
    const node = (isTold ? leaders[this.#prng.below(leaders.length)] : this.#leader[client]) as number;
    this.#underWay.set(done, node);
    this.#time.after(this.#prng.next() * 2, () => {
      this.#submit(node, request, (reply) => this.#time.after(this.#prng.next() * 2, () => done(reply)));
    });
  }

  #record(client: number, request: ClientRequest, invokedAt: number, reply: ClientReply): void {
    const { kind, key, value, consistency } = request;
    const { outcome } = reply;
    if (outcome === 'failed') this.failed++;
    if (outcome === 'unknown') this.unknown++;
    if (outcome === 'ok' && kind === 'read' && consistency === 'lease') this.leaseReadsDone++;
    if (outcome === 'ok' && kind === 'read') this.readsDone++;
    if (outcome === 'ok' && kind === 'write') this.writesDone++;
    if (outcome === 'ok' && kind === 'write' && value.length >= LONG_BYTES_MIN) this.longWritesDone++;
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
